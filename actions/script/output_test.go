package script

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestSecretsInOutputAreMasked(t *testing.T) {
	const value = `canary "4711"/?+&~`
	const mail = `{"smtp_server":"mail.example.com","username":"robot@example.com","password":"p4ssw0rd-4711"}`
	w := newWorld(t)
	w.nodes.env = map[string]string{"V": value, "MAIL": mail, "OWN_X": "shown-value"}
	quoted, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string]string{
		"raw": value, "json": string(quoted[1 : len(quoted)-1]), "url": url.QueryEscape(value), "path": url.PathEscape(value),
		"hex": hex.EncodeToString([]byte(value)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(value))),
		"base64": base64.StdEncoding.EncodeToString([]byte(value)), "base64url": base64.RawURLEncoding.EncodeToString([]byte("a" + value)),
		"token": token, "password": "p4ssw0rd-4711",
	}
	text := ""
	for name, form := range forms {
		text += "cat <<'EOF'\n" + name + ": " + form + "\nEOF\n"
		text += "cat >&2 <<'EOF'\nto stderr " + name + ": " + form + "\nEOF\n"
	}
	// One that comes in two writes, and one at the end of which the script fails.
	w.script(idA, text+`printf 'canary "47'; sleep 0.1; printf '11"/?+&~\n'; echo "own $OWN_X"; echo "last $V" >&2; exit 4`)
	reply, err := w.do(t.Context(), job("j", idA))
	if err == nil {
		t.Fatal("the job is done")
	}
	seen := w.nodes.console(idA) + fmt.Sprintf("%+v %v", reply, err)
	for name, form := range forms {
		if core := form[1 : len(form)-3]; strings.Contains(seen, core) {
			t.Errorf("%s shows in:\n%s", name, seen)
		}
	}
	for _, want := range []string{"own shown-value", "raw: [redacted]", "to stderr hex: [redacted]", "\n[redacted]\n"} {
		if !strings.Contains(seen, want) {
			t.Errorf("%q is not in:\n%s", want, seen)
		}
	}
	if reply.Text != "last [redacted]" {
		t.Errorf("text %q", reply.Text)
	}
}

func TestOutputIsBounded(t *testing.T) {
	for name, text := range map[string]string{
		"endless":         "yes 0123456789012345678901234567890123456789",
		"short lines":     "yes ''",
		"one line":        "tr '\\0' x < /dev/zero",
		"random bytes":    "cat /dev/urandom",
		"zeros":           "cat /dev/zero",
		"broken UTF-8":    `while :; do printf '\377\376\033[31m\r\n'; done`,
		"both streams":    "yes a & yes b >&2",
		"deaf to SIGTERM": "trap '' TERM; yes",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *Config) { c.Timeout = 300 * time.Millisecond })
			w.nodes.env = map[string]string{"V": "canary-4711"}
			w.script(idA, text)
			start := time.Now()
			reply, err := w.do(t.Context(), job("j", idA))
			if err == nil && name != "both streams" || len([]rune(reply.Text)) > 200 {
				t.Errorf("got %+v, %v", reply, err)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			kept := w.nodes.console(idA)
			if len(kept) > 3*maxOutput+200 || len(w.nodes.lines[idA]) > maxLines+1 { // a bad byte becomes three
				t.Errorf("kept %d bytes in %d lines", len(kept), len(w.nodes.lines[idA]))
			}
			if strings.ContainsFunc(kept, func(r rune) bool { return r != '\n' && r < ' ' || r == 0x7f }) {
				t.Error("a control character is in the console")
			}
			if !strings.Contains(kept, "bytes more, which are not kept") {
				t.Errorf("the console does not say that something is missing: %.200q", kept[max(0, len(kept)-200):])
			}
		})
	}
}
