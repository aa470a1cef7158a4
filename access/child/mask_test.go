package child

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/secrets/redact"
)

// written is what comes out when text is written in the given pieces.
func written(t *testing.T, forms *Spellings, pieces ...string) string {
	t.Helper()
	var out bytes.Buffer
	m := NewMasker(&out, forms)
	for _, p := range pieces {
		if n, err := m.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatalf("Write: got %d, %v, want %d", n, err, len(p))
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestMaskerHidesEverySpelling(t *testing.T) {
	const value = `hunter2 "/?"+&`
	const mail = `{"smtp_server":"mail.example.com","username":"robot@example.com","password":"p4ssw0rd-4711"}`
	const pem = "-----BEGIN X-----\nMIIBcanarycanary\n}\n-----END X-----\n"
	forms := NewSpellings([]redact.String{redact.New(value), redact.New(mail), redact.New(pem), redact.New("abc"), redact.New(""),
		redact.New("pässwörd"), redact.New("short\n")})
	tests := []struct{ name, text, want string }{
		{"as it is", "a " + value + " b", "a [redacted] b"},
		{"twice without a gap", value + value, "[redacted][redacted]"},
		{"in JSON", `{"k":"hunter2 \"/?\"+&"}`, `{"k":"[redacted]"}`},
		{"in a URL", "?x=" + url.QueryEscape(value), "?x=[redacted]"},
		{"in hex", hex.EncodeToString([]byte(value)), "[redacted]"},
		{"in upper-case hex", strings.ToUpper(hex.EncodeToString([]byte(value))), "[redacted]"},
		{"a password inside a structured value", "password is p4ssw0rd-4711.", "password is [redacted]."},
		{"the server of a structured value is no secret", "mail.example.com", "mail.example.com"},
		{"one line of a value of several", "> MIIBcanarycanary", "> [redacted]"},
		{"a short line of it stands everywhere", "func() {}", "func() {}"},
		{"a value below four characters", "abc", "abc"},
		{"the beginning of a value at the end", "hunter2 ", "hunter2 "},
		{"letters as escapes", `p\u00e4ssw\u00f6rd`, "[redacted]"},
		{"a value without its line end", "a short one", "a [redacted] one"},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(written(t, forms, tt.text), tt.want); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
			if diff := cmp.Diff(written(t, forms, strings.Split(tt.text, "")...), tt.want); diff != "" {
				t.Errorf("byte by byte, -got +want:\n%s", diff)
			}
		})
	}
}

func TestMaskerHidesBase64AtAnyPlace(t *testing.T) {
	const value = "canary-4711?>~~"
	forms := NewSpellings([]redact.String{redact.New(value)})
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		for before := range 4 {
			for after := range 4 {
				text := enc.EncodeToString([]byte("user:"[:before] + value + ":x:y"[:after]))
				got := written(t, forms, text[:len(text)/2], text[len(text)/2:])
				if !strings.Contains(got, redact.Placeholder) {
					t.Errorf("%d bytes before and %d after: got %s, want it masked", before, after, got)
				}
			}
		}
	}
}

// Any way of cutting the same text into writes gives the same output.
func TestMaskerDoesNotDependOnWriteBoundaries(t *testing.T) {
	forms := NewSpellings([]redact.String{redact.New("aaaa"), redact.New("aaaab"), redact.New("abab"), redact.New("secret-value")})
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var text strings.Builder
		for range rng.IntN(40) {
			text.WriteString([]string{"a", "b", "aaaa", "abab", "secret-", "value", " "}[rng.IntN(7)])
		}
		whole := written(t, forms, text.String())
		var pieces []string
		for rest := text.String(); rest != ""; {
			n := 1 + rng.IntN(len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		if got := written(t, forms, pieces...); got != whole {
			t.Fatalf("%q in %q: got %q, want %q", text.String(), pieces, got, whole)
		}
		for _, value := range []string{"aaaa", "abab", "secret-value"} {
			if strings.Contains(whole, value) {
				t.Fatalf("%q: got %q, which holds %q", text.String(), whole, value)
			}
		}
	}
}

func TestMaskerPassesOnWhatCannotBeAValue(t *testing.T) {
	var out bytes.Buffer
	m := NewMasker(&out, NewSpellings([]redact.String{redact.New("secret-value")}))
	for _, prompt := range []string{"Name: ", "ok\n"} {
		if _, err := m.Write([]byte(prompt)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := out.String(), "Name: ok\n"; got != want {
		t.Errorf("before Close: got %q, want %q", got, want)
	}
}

func TestVariables(t *testing.T) {
	env := []Entry{}
	for _, key := range []string{"MAIL", "region", "PATH", "ld_preload", "https_proxy", "NODE_OPTIONS", "PYTHONPATH", "PYTHONSTARTUP",
		"T_ANALYSIS_TOKEN", "TAGOIO_API", "SEALPOST_TOKEN", "1ST", "A-B", "A=B", "GOOGLE_KEY", "NODE_ENV"} {
		env = append(env, Entry{key, redact.New("v-" + key)})
	}
	env = append(env, Entry{"ZERO", redact.New("a\x00b")})
	who := Run{ID: "5f5a8f3351d4db99c40dea9e", Base: "http://127.0.0.1:8080", Token: redact.New("a-token"), Env: env, Data: "[]"}
	environ := []string{"PATH=/bin", "MAIL=old", "SEALPOST_TOKEN=spad_x", "SEALPOST_MASTER_KEY_FILE=/k", "T_ANALYSIS_DATA=old", "HOME=/h"}
	vars, left, err := Variables(environ, who)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		if _, twice := got[name]; twice {
			t.Errorf("%s stands twice", name)
		}
		got[name] = value
	}
	if text := got["T_ANALYSIS_ENV"]; !strings.Contains(text, `{"key":"PATH","value":"v-PATH"}`) || !strings.Contains(text, `"ZERO"`) {
		t.Errorf("T_ANALYSIS_ENV: got %s, want every key", text)
	}
	delete(got, "T_ANALYSIS_ENV")
	want := map[string]string{"PATH": "/bin", "HOME": "/h", "MAIL": "v-MAIL", "region": "v-region", "GOOGLE_KEY": "v-GOOGLE_KEY",
		"NODE_ENV": "v-NODE_ENV", "T_ANALYSIS_CONTEXT": "sealpost", "T_ANALYSIS_ID": who.ID, "T_ANALYSIS_TOKEN": "a-token",
		"T_ANALYSIS_DATA": "[]", "TAGOIO_API": who.Base, "TAGOIO_SSE": who.Base}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("variables, -got +want:\n%s", diff)
	}
	if len(left) != 13 {
		t.Errorf("left out: got %d of %q, want 13", len(left), left)
	}
	for _, reason := range left {
		if strings.Contains(reason, "v-") {
			t.Errorf("a reason holds a value: %s", reason)
		}
	}
}

func BenchmarkMasker(b *testing.B) {
	var values []redact.String
	for range 20 {
		values = append(values, redact.New(strings.Repeat("x", 8)+time.Now().Format(time.RFC3339Nano)))
	}
	line := []byte(strings.Repeat("an ordinary line of a log, without anything to hide\n", 20))
	m := NewMasker(&discard{}, NewSpellings(values))
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := m.Write(line); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (*discard) Write(p []byte) (int, error) { return len(p), nil }
