package sendgrid

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/secrets"
)

func TestProbeTriesAKeyAndSendsNothing(t *testing.T) {
	rows := []struct {
		name  string
		value string
		typ   secrets.Type
		fault *sink.HTTPAnswer
		want  string // steps, and the text of the last one
	}{
		{name: "a key that may send", value: apiKey, want: "secret dial auth scope: mail.send"},
		{name: "a wrong key", value: apiKey + "x", want: "secret dial !auth: The provided authorization grant is invalid"},
		{name: "a key without the permission", value: apiKey, fault: &sink.HTTPAnswer{Body: `{"scopes":["stats.read"]}`}, want: "secret dial auth !scope: the key may not send mail"},
		{name: "another server", value: apiKey, fault: &sink.HTTPAnswer{Body: "<html>"}, want: "secret dial !auth: the answer is not SendGrid's"},
		{name: "a key with a blank", value: "no key", want: "!secret: the secret of sendgrid_api_key is no API key"},
		{name: "the login of a mail server", value: apiKey, typ: secrets.TypeSMTP, want: "!secret: "},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t, 10*time.Second)
			w.vault.values["SENDGRID"] = r.value
			w.sink.SetFault(func(sink.HTTPRequest) *sink.HTTPAnswer { return r.fault })
			ref := secrets.Ref{ID: "id-of-SENDGRID", Key: "SENDGRID", Type: secrets.TypeText, Version: 4, Staged: true}
			if r.typ != "" {
				ref.Type = r.typ
			}
			var names []string
			text := ""
			for _, s := range w.action.Probe(t.Context(), ref) {
				names = append(names, map[bool]string{false: "!"}[s.OK]+s.Name)
				text = s.Text
			}
			if got := strings.Join(names, " ") + ": " + text; !strings.HasPrefix(got, r.want) || strings.Contains(got, "canary") {
				t.Errorf("got %q, want %q...", got, r.want)
			}
			for _, req := range w.sink.Requests() {
				if got := fmt.Sprint(req.Method, " ", req.Path); got != "GET /v3/scopes" {
					t.Errorf("the probe asked for %s", got)
				}
			}
		})
	}
	t.Run("a server that is not there", func(t *testing.T) {
		w := newWorld(t, 10*time.Second)
		_ = w.sink.Close()
		steps := w.action.Probe(t.Context(), secrets.Ref{Key: "SENDGRID", Type: secrets.TypeText})
		if last := steps[len(steps)-1]; last.OK || last.Name == "auth" || last.Text == "" {
			t.Errorf("got %+v", steps)
		}
	})
}
