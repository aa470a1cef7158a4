package email

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets/redact"
)

var _ actions.Direct = (*Action)(nil)

// value is the login of v as a request carries it.
func value(t *testing.T, v *vault, secret string) redact.String {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"smtp_server": v.login.Server, "smtp_port": v.login.Port,
		"username": v.login.Username, "password": secret, "ca_pem": v.login.CAPEM})
	if err != nil {
		t.Fatal(err)
	}
	return redact.New(string(raw))
}

func TestADirectMailGoesOutWithoutTheStore(t *testing.T) {
	s, v := startSink(t, nil)
	a := action(t, v, 5*time.Second)
	request := `{"to":"b@receiver.test,c@receiver.test","from":"Plant","subject":"It is $VALUE$","message":"plain",` +
		`"html":"<b>$VALUE$</b>","attachment":{"archive":"YSxiCg==","filename":"data.csv","type":"base64"},"unknown":1}`
	reply, err := a.SendWith(t.Context(), value(t, v, password), json.RawMessage(request))
	if err != nil || reply.Certainty != queue.Accepted {
		t.Fatalf("got %+v, %v, want an accepted mail", reply, err)
	}
	if v.opened() != 0 || a.Stats() != (Stats{}) {
		t.Errorf("opened %d secrets, keeps %+v: want neither", v.opened(), a.Stats())
	}
	mails := s.Messages()
	if len(mails) != 1 || len(mails[0].To) != 2 {
		t.Fatalf("mails: got %+v, want one to two recipients", mails)
	}
	raw := string(mails[0].Raw)
	for _, want := range []string{"It is $VALUE$", "<b>$VALUE$</b>", `"Plant" <mailer@sender.test>`, `filename="data.csv"`, "YSxiCg=="} {
		if !strings.Contains(raw, want) {
			t.Errorf("mail: %q is missing in %s", want, raw)
		}
	}
	if strings.Contains(raw, "plain\r\n") {
		t.Error("mail: has the plain text, want the html to go before it")
	}
}

func TestADirectRequestThatIsWrongIsRefusedBeforeAnythingIsSent(t *testing.T) {
	s, v := startSink(t, nil)
	a := action(t, v, 5*time.Second)
	good := value(t, v, password)
	tests := []struct {
		name    string
		value   redact.String
		request string
		want    string
	}{
		{"no recipient", good, `{"subject":"s","message":"m"}`, "no recipient"},
		{"no text", good, `{"to":"b@receiver.test"}`, "no text"},
		{"line end in the subject", good, `{"to":"b@receiver.test","subject":"a\r\nBcc: x@y.test","message":"m"}`, "subject"},
		{"a template", good, `{"to":"b@receiver.test","template":{"name":"x"}}`, "template"},
		{"a list of recipients", good, `{"to":["b@receiver.test"],"message":"m"}`, `field "to"`},
		{"a path as file name", good, `{"to":"b@receiver.test","message":"m","attachment":{"archive":"x","filename":"../x"}}`, "filename"},
		{"a file that is not base64", good, `{"to":"b@receiver.test","message":"m","attachment":{"archive":"%","filename":"x","type":"base64"}}`, "base64"},
		{"no credential", redact.New(""), `{"to":"b@receiver.test","message":"m"}`, "smtp_secret"},
		{"an id in place of the value", redact.New("0123456789abcdef01234567"), `{"to":"b@receiver.test","message":"m"}`, "smtp_secret"},
		{"an unknown field in the credential", redact.New(`{"smtp_server":"a","username":"u","password":"` + password + `","x":1}`), `{"to":"b@receiver.test","message":"m"}`, `"x"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := a.SendWith(t.Context(), tt.value, json.RawMessage(tt.request))
			if got := outcome(err); got != "dead" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %s %v, want dead with %q", got, err, tt.want)
			}
			if strings.Contains(fmt.Sprint(err), password) {
				t.Errorf("the password is shown: %v", err)
			}
		})
	}
	if got := len(s.Messages()); got != 0 {
		t.Errorf("mails: got %d, want none", got)
	}
}

func TestAWrongDirectPasswordIsTriedOnce(t *testing.T) {
	s, v := startSink(t, nil)
	a := action(t, v, 5*time.Second)
	wrong := value(t, v, "canary-wrong-password")
	for range 5 {
		_, err := a.SendWith(t.Context(), wrong, json.RawMessage(`{"to":"b@receiver.test","message":"m"}`))
		if got := outcome(err); got != "parked" || strings.Contains(err.Error(), "canary") {
			t.Fatalf("got %s %v, want a refused credential without its value", got, err)
		}
	}
	if got := s.Counts().Refusals; got != 1 {
		t.Errorf("logins: got %d, want 1 for 5 requests", got)
	}
	if _, err := a.SendWith(t.Context(), value(t, v, password), json.RawMessage(`{"to":"b@receiver.test","message":"m"}`)); err != nil {
		t.Errorf("the right password: got %v, want a mail", err)
	}
}

func TestADirectMailPassesTheGuardAndEndsInTime(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_, v := startSink(t, nil)
	v.login.Port = silent.Addr().(*net.TCPAddr).Port
	request := json.RawMessage(`{"to":"b@receiver.test","message":"m"}`)
	start := time.Now()
	if _, err := action(t, v, 100*time.Millisecond).SendWith(t.Context(), value(t, v, password), request); err == nil || time.Since(start) > 3*time.Second {
		t.Errorf("silent server: got %v after %s, want an error in time", err, time.Since(start))
	}
	closed := New(Config{Vault: v, Worker: "test"}) // may reach the public internet only
	defer closed.Close()
	if _, err := closed.SendWith(t.Context(), value(t, v, password), request); outcome(err) != "dead" {
		t.Errorf("guarded address: got %v, want it refused", err)
	}
}
