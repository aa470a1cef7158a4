package integration_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/integration/program"
)

// The canaries: values that must be found nowhere but where they are used.
const (
	canaryPassword = "cAnary-p4ss/w+rd=8fQ2"
	canaryWrong    = "cAnary-wr0ng?pw&7hV5k"
	canaryKey      = "cAnary+aws/s3cret+key/0Zy9Xw8Vu7Ts6Rq5Po"
	canaryText     = "cAnary text value: a t0ken <x> \"y\" 3jM"
)

// traces are all forms in which a value could show itself, by name. Base64 has
// three, since a value can begin at any of three places of a longer text.
func traces(value string) map[string][]byte {
	forms := map[string][]byte{
		"raw":       []byte(value),
		"hex":       []byte(hex.EncodeToString([]byte(value))),
		"HEX":       []byte(strings.ToUpper(hex.EncodeToString([]byte(value)))),
		"url query": []byte(url.QueryEscape(value)),
		"url path":  []byte(url.PathEscape(value)),
		"go quoted": []byte(strings.Trim(fmt.Sprintf("%q", value), `"`)),
		"backwards": reversed(value),
	}
	for shift := range 3 {
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := enc.EncodeToString([]byte("xxx"[:shift] + value))
			// The first characters mix with what stands before, the last with
			// what comes after.
			forms[fmt.Sprintf("%s +%d", name, shift)] = []byte(text[(shift*8+5)/6 : len(text)-2])
		}
	}
	return forms
}

func reversed(s string) []byte {
	b := []byte(s)
	slices.Reverse(b)
	return b
}

// evidence is everything a run has left behind, by name.
type evidence map[string][]byte

// seek reports each canary that shows in the evidence, by form and place.
func (e evidence) seek(canaries map[string]string) []string {
	var found []string
	for name, value := range canaries {
		for form, trace := range traces(value) {
			for place, text := range e {
				if bytes.Contains(text, trace) {
					found = append(found, fmt.Sprintf("%s as %s in %s", name, form, place))
				}
			}
		}
	}
	slices.Sort(found)
	return found
}

func TestTheCanaryWouldBeFound(t *testing.T) {
	for form, trace := range traces(canaryPassword) {
		e := evidence{"log": slices.Concat([]byte(`{"msg":"`), trace, []byte(`"}`))}
		if len(e.seek(map[string]string{"password": canaryPassword})) == 0 {
			t.Errorf("the form %s would be missed", form)
		}
	}
	for _, before := range []string{"", "\x00", "u\x00", "\x00user\x00", "login "} {
		line := base64.StdEncoding.EncodeToString([]byte(before + canaryPassword + "\x00after"))
		if len(evidence{"log": []byte("AUTH PLAIN " + line)}.seek(map[string]string{"password": canaryPassword})) == 0 {
			t.Errorf("a login that begins with %q would be missed", before)
		}
	}
}

func TestNoSecretShowsAnywhere(t *testing.T) {
	s := newSite(t)
	srv := s.serve("SEALPOST_LOG_LEVEL=debug", lease)
	canaries := useCanaries(t, s, srv)
	e := gather(t, s, srv)
	if err := s.redis.Stop(); err != nil { // writes what it still holds
		t.Fatal(err)
	}
	files, err := s.redis.Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		e["redis "+filepath.Base(name)] = text
	}
	e["server log"] = []byte(s.logs())

	size := 0
	for name, text := range e {
		if len(text) == 0 && !strings.HasPrefix(name, "redis") {
			t.Errorf("the evidence %s is empty", name)
		}
		size += len(text)
	}
	t.Logf("%d canaries in %d forms sought in %d places, %d bytes", len(canaries), len(traces(canaryText)), len(e), size)
	for _, hit := range e.seek(canaries) {
		t.Error(hit)
	}
}

// useCanaries makes the program use each canary, well and badly, and returns
// them by name.
func useCanaries(t *testing.T, s *site, srv *program.Server) map[string]string {
	t.Helper()
	mails, err := sink.StartSMTP(sink.SMTPConfig{Username: "sink", Password: canaryPassword})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mails.Close() })
	queue, err := sink.StartSQS(sink.SQSConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = queue.Close() })
	s.put("MAIL", smtpSecret(mails.Addr(), "sink", canaryPassword, mails.CAPEM(), "starttls"))
	s.put("WRONG", smtpSecret(mails.Addr(), "sink", canaryWrong, mails.CAPEM(), "starttls"))
	s.put("QUEUE", sqsSecret(queue.URL(), queue.URL()+"/000000000000/plain", canaryKey))
	if _, err := s.PutSecret("TEXT", canaryText); err != nil {
		t.Fatal(err)
	}
	s.becomes(s.send(job(mailAction(nil), nil))[0], "done")
	s.becomes(s.send(job(mailAction(map[string]any{"smtp_secret": "WRONG"}), nil))[0], "parked")
	s.becomes(s.xadd(job(mailAction(map[string]any{"smtp_secret": "TEXT"}), nil)), "dead")
	refused := s.send(job(map[string]any{"type": "queue-sqs", "sqs_secret": "QUEUE", "message": "m"}, nil))[0]
	peers.Eventually(t, later, "an answer of the queue", func() error {
		st, err := s.Show(refused)
		if err == nil && len(st.Attempts) == 0 {
			err = fmt.Errorf("none in %+v", st)
		}
		return err
	})
	echoCanaries(t, s, mails)
	// Values that are refused must not come back in the refusal.
	s.Run(`{"smtp_server":"h","password":"`+canaryWrong+`","x":1}`, "secret", "put", "BAD")
	post(t, srv, s.Token, `{"action":{"type":"email-smtp","smtp_secret":"MAIL","to":`)

	key, err := os.ReadFile(s.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(key)))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"password": canaryPassword, "wrong password": canaryWrong, "aws key": canaryKey, "text": canaryText,
		"master key as written": strings.TrimSpace(string(key)), "master key": string(raw),
		"admin token": s.Token,
	}
}

// echoCanaries has the mail server answer with the login it was sent, as some
// do, in the clear and as the client wrote it.
func echoCanaries(t *testing.T, s *site, mails *sink.SMTP) {
	t.Helper()
	plain := base64.StdEncoding.EncodeToString([]byte("\x00sink\x00" + canaryPassword))
	for _, text := range []string{"5.7.8 bad login " + canaryPassword, "5.7.8 cannot read AUTH PLAIN " + plain} {
		mails.Inject(sink.Fault{Stage: "auth", Code: 535, Text: text})
		// A new version has no kept connection and no remembered verdict.
		s.put("MAIL", smtpSecret(mails.Addr(), "sink", canaryPassword, mails.CAPEM(), "starttls"))
		s.becomes(s.send(job(mailAction(nil), nil))[0], "parked")
		mails.ClearFaults()
	}
	mails.Inject(sink.Fault{Stage: "rcpt", Code: 550, Text: "5.1.1 no such user, " + canaryPassword})
	s.put("MAIL", smtpSecret(mails.Addr(), "sink", canaryPassword, mails.CAPEM(), "starttls"))
	s.drainParked()
	s.becomes(s.send(job(mailAction(nil), nil))[0], "dead")
	mails.ClearFaults()
}

// drainParked waits until the jobs parked on MAIL have had their next try.
func (s *site) drainParked() {
	s.t.Helper()
	s.counts("parked", 2) // those of WRONG and QUEUE stay
}

// gather takes what the program shows to those who may ask: its processes,
// commands, listeners.
func gather(t *testing.T, s *site, srv *program.Server) evidence {
	t.Helper()
	e := evidence{}
	proc := fmt.Sprintf("/proc/%d/", srv.Pid())
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(proc + name)
		if err == nil && len(text) > 0 { // a hardened process hides its environment
			e["process "+name] = text
		}
	}
	commands := [][]string{
		{"secret", "list"}, {"secret", "info", "MAIL"}, {"secret", "info", "TEXT"}, {"secret", "test", "MAIL"},
		{"secret", "test", "WRONG"}, {"dead", "list"}, {"parked", "list"}, {"queue", "stats"},
		{"job", "list", "--state", "dead"}, {"job", "list", "--state", "parked"}, {"token", "list"},
		{"config", "print"}, {"doctor"},
	}
	for _, args := range commands {
		for _, format := range []string{"table", "json"} {
			r := s.Run("", append(args, "-o", format)...)
			e[strings.Join(args, " ")+" "+format] = []byte(r.Stdout + r.Stderr)
		}
	}
	for _, state := range []string{"dead", "parked"} {
		var list []struct{ ID string }
		if err := s.JSON(&list, "job", "list", "--state", state); err != nil {
			t.Fatal(err)
		}
		for _, j := range list {
			e["job show "+j.ID] = []byte(s.Run("", "job", "show", j.ID, "-o", "json").Stdout)
		}
	}
	for _, path := range []string{"/metrics", "/livez", "/readyz?verbose"} {
		_, text, err := srv.Get(path)
		if err != nil {
			t.Fatal(err)
		}
		e["GET "+path] = []byte(text)
	}
	for _, path := range []string{"/secrets", "/secrets/MAIL", "/jobs?state=dead", "/parked", "/dead", "/queue", "/audit", "/tokens", "/info", "/nowhere"} {
		e["GET "+path] = get(t, srv, s.Token, path)
	}
	return e
}

// get asks the API as an admin.
func get(t *testing.T, srv *program.Server, token, path string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.API+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("token", token)
	c := http.Client{Timeout: 30 * time.Second}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read the answer of %s: %v", path, err)
	}
	return text
}
