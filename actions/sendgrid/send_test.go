package sendgrid

import (
	"context"
	"encoding/json"
	"errors"
	"html"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

func TestAMailHasAllItsParts(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	j := job(t, `[{"value":"5 < 7","unit":"F"}]`, fields{
		"to": "Jo <b@receiver.test>; c@Receiver.test, B@receiver.test", "cc": "d@receiver.test,c@receiver.test", "bcc": "e@receiver.test",
		"reply_to": "r@sender.test", "subject": "Now $VALUE$ $UNIT$", "message": "$VALUE$\r\nend", "html": "<b>$VALUE$</b>",
		"attachments": []any{fields{"filename": "r.csv", "content": "YSxi", "type": "text/csv; charset=utf-8"}, fields{"filename": "x.unknown", "content": "AA=="}},
	})
	reply, err := do(t.Context(), t, w.action, j)
	if err != nil {
		t.Fatal(err)
	}
	want := sink.SendGridMail{
		ID: "sink-1", From: "Ops <ops@sender.test>", To: []string{"Jo <b@receiver.test>", "c@receiver.test"}, Cc: []string{"d@receiver.test"},
		Bcc: []string{"e@receiver.test"}, ReplyTo: []string{"r@sender.test"}, Subject: "Now 5 < 7 F", Text: "5 < 7\r\nend", HTML: "<b>5 &lt; 7</b>",
		Args: map[string]string{"sealpost_job_id": "order-1"}, Files: map[string][]byte{"r.csv": []byte("a,b"), "x.unknown": {0}},
		ContentTypes: []string{"text/plain", "text/html"},
	}
	if d := cmp.Diff(w.sink.Mails(), []sink.SendGridMail{want}); d != "" {
		t.Errorf("the mail (-got +want):\n%s", d)
	}
	if reply.Code != "202" || reply.Text != "message sink-1" || reply.Secret != "id-of-SENDGRID" || reply.SecretVersion != 3 {
		t.Errorf("got %+v", reply)
	}
	r := w.sink.Requests()[0]
	if r.Path != "/v3/mail/send" || r.Header.Get("Authorization") != "Bearer "+apiKey {
		t.Errorf("got %s %s", r.Method, r.Path)
	}
}

func TestWorkSaysWhatItTouches(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	work, err := w.action.Prepare(job(t, "", fields{"cc": "c@Receiver.test", "bcc": "b@receiver.test"}))
	if err != nil {
		t.Fatal(err)
	}
	reach := work.(actions.Reach)
	if work.Lane() != "email-sendgrid/SENDGRID" || cmp.Diff(reach.SecretRefs(), []string{"SENDGRID"}) != "" ||
		cmp.Diff(reach.Recipients(), []string{"b@receiver.test", "c@receiver.test"}) != "" || reach.Actions() != nil {
		t.Errorf("got %s, %v, %v", work.Lane(), reach.SecretRefs(), reach.Recipients())
	}
}

func TestARefusedKeyIsTriedOnce(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	w.sink.SetKey("another")
	for range 5 {
		reply, err := do(t.Context(), t, w.action, job(t, "", nil))
		parked, ok := errors.AsType[*queue.ParkedError](err)
		if !ok || parked.Secret != "id-of-SENDGRID" || parked.Version != 3 || reply.Rule != "unauthorized" || !strings.Contains(err.Error(), "sealpost secret put") {
			t.Fatalf("got %+v, %v, want parked with advice", reply, err)
		}
	}
	if got := w.sink.Count(); got != 1 {
		t.Errorf("got %d requests, want one", got)
	}
	w.sink.SetKey(apiKey + "-new")
	w.vault.values["SENDGRID"] = apiKey + "-new"
	if _, err := do(t.Context(), t, w.action, job(t, "", nil)); err != nil {
		t.Errorf("with a new key: %v", err)
	}
}

func TestNoAnswerAfterTheRequestIsUnknown(t *testing.T) {
	w := newWorld(t, 200*time.Millisecond)
	w.sink.SetFault(func(sink.HTTPRequest) *sink.HTTPAnswer { return &sink.HTTPAnswer{Hang: true} })
	reply, err := do(t.Context(), t, w.action, job(t, "", nil))
	if outcome(err) != "retry" || reply.Reason != "unknown" || reply.Certainty != queue.Unknown || reply.Rule != "no-answer" {
		t.Errorf("got %+v, %v", reply, err)
	}
}

func TestASecretThatCannotBeUsed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*vault)
		want   string // outcome
		rule   string
	}{
		{"is not there", func(v *vault) { delete(v.values, "SENDGRID") }, "dead", "secret-missing"},
		{"is a login", func(v *vault) { v.typ = secrets.TypeSMTP }, "dead", "secret-type"},
		{"is sealed", func(v *vault) { v.err = secrets.ErrSealed }, "retry", "secret-sealed"},
		{"has two lines", func(v *vault) { v.values["SENDGRID"] = "canary-1\r\nX-Evil: canary" }, "dead", "secret-unusable"},
		{"has a blank", func(v *vault) { v.values["SENDGRID"] = "Bearer canary-1" }, "dead", "secret-unusable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 10*time.Second)
			tt.change(w.vault)
			reply, err := do(t.Context(), t, w.action, job(t, "", nil))
			if outcome(err) != tt.want || reply.Rule != tt.rule || w.sink.Count() != 0 {
				t.Errorf("got %s, %+v and %d requests, want %s", outcome(err), reply, w.sink.Count(), tt.want)
			}
			if strings.Contains(everything(reply, err), "canary") {
				t.Errorf("the record shows a value: %+v, %v", reply, err)
			}
		})
	}
}

func TestAPrivateAddressIsNotReached(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	a := New(Config{Vault: w.vault, Worker: "w1", URL: w.sink.URL()})
	defer a.Close()
	reply, err := do(t.Context(), t, a, job(t, "", nil))
	if outcome(err) != "dead" || reply.Rule != "blocked-address" || w.sink.Count() != 0 {
		t.Errorf("got %+v, %v", reply, err)
	}
}

// payloads are values that mean something to somebody on the way.
func payloads() []string {
	list := []string{
		"$VALUE$", "$DEVICE$", "$$VALUE$$", "$VALUE", "{{name}}", "{{{name}}}", "<%= 1 %>", "-name-", "%name%", "${7*7}", "#{7*7}",
		"\"", "\\", "\\\"", "\",\"bcc\":[{\"email\":\"evil@x.test\"}],\"x\":\"", "\"}],\"personalizations\":[{\"to\":[{\"email\":\"evil@x.test\"}]}],\"x\":[{\"y\":\"",
		"]}", "}", "\\u0022", "\\u000d\\u000a", "\u2028", "\u2029", "\ufeff", "\u202e", "\u0000", "\u001b[2J", "\u0085", "\u007f",
		"a\r\nBcc: evil@x.test", "a\nBcc: evil@x.test", "a\rBcc: evil@x.test", "\r\n.\r\n", "\r\n\r\n<b>", "=?utf-8?q?Bcc:_evil=40x.test?=",
		"<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' onmouseover='alert(1)", "&lt;b&gt;", "javascript:alert(1)", "<!--", "]]>", "</body>",
		"evil@x.test", "<evil@x.test>", ", evil@x.test", "; evil@x.test", "../../etc/passwd", "http://169.254.169.254/", "' OR 1=1 --", "%0d%0aBcc: evil", "%00", "%25",
		"null", "true", "1e999", "[]", "{}", "\t", " ", strings.Repeat("A", 600), "ä", "日本語", "🙂", "e\u0301", "\U0010ffff",
	}
	for _, p := range list[:45] {
		list = append(list, "x "+p+" $VALUE$ y")
	}
	return list
}

func TestValuesInjectNothing(t *testing.T) {
	list := payloads()
	if len(list) < 100 {
		t.Fatalf("got %d payloads, want 100", len(list))
	}
	for _, p := range list {
		data, err := json.Marshal([]any{map[string]any{"value": p, "unit": "U", "device": "DEVICE-ID"}})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := decode(job(t, string(data), fields{"subject": "s $VALUE$ e", "message": "s $VALUE$ e", "html": "<p title=\"$VALUE$\">$VALUE$</p>"}))
		if err != nil {
			t.Fatalf("%q: %v", p, err)
		}
		r := sent(t, plan)
		if len(plan.recipients()) != 1 || r.Personalizations[0].To[0].Email != "b@receiver.test" || r.Personalizations[0].Bcc != nil {
			t.Errorf("%q: recipients %v", p, plan.recipients())
		}
		if text := r.Content[0].Value; !strings.HasPrefix(text, "s ") || !strings.HasSuffix(text, " e") || strings.Contains(text, "DEVICE-ID") {
			t.Errorf("%q: text %q", p, text)
		}
		inside, ok := strings.CutPrefix(r.Content[1].Value, `<p title="`)
		inside, _, _ = strings.Cut(inside, `"`)
		if !ok || strings.ContainsAny(inside, "<>") || strings.Contains(r.Content[1].Value, "<script") || strings.Contains(r.Content[1].Value, "<img") {
			t.Errorf("%q: html %q", p, r.Content[1].Value)
		}
		if strings.Contains(p, "$VALUE$") && !strings.Contains(html.UnescapeString(inside), "$VALUE$") {
			t.Errorf("%q: a value was looked at again: %q", p, inside)
		}
	}
	// The same values where no variables are filled: they arrive or are refused.
	for _, p := range list {
		for _, field := range []string{"from", "to", "cc", "bcc", "reply_to", "subject", "message", "html", "sendgrid_api_key"} {
			plan, err := decode(job(t, "", fields{field: p}))
			if err == nil {
				sent(t, plan)
			} else if outcome(err) != "dead" {
				t.Errorf("%s %q: %v", field, p, err)
			}
		}
	}
}

func TestAMailOfAnAnalysis(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	send := func(key string, f fields) (queue.Reply, error) {
		raw, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		return w.action.SendWith(context.Background(), redact.New(key), raw)
	}
	good := fields{"from": "a@sender.test", "to": "b@receiver.test,c@receiver.test", "subject": "s", "message": "m $VALUE$"}
	if reply, err := send(apiKey, good); err != nil || reply.Certainty != queue.Accepted {
		t.Fatalf("got %+v, %v", reply, err)
	}
	if m := w.sink.Mails()[0]; m.Text != "m $VALUE$" || len(m.To) != 2 || !strings.HasPrefix(m.Args[jobArgument], "direct-") {
		t.Errorf("got %+v", m)
	}
	_, err := send(apiKey, fields{"from": "a@sender.test", "to": "b@receiver.test", "subject": "s", "message": "m", "html": "<b>h</b>",
		"attachments": fields{"archive": "aGk=", "filename": "a.pdf", "type": "base64"}, "attachment": fields{"archive": "text", "filename": "b.txt", "type": "text/plain"}})
	if m := w.sink.Mails()[1]; err != nil || m.Text != "" || m.HTML != "<b>h</b>" || string(m.Files["a.pdf"]) != "hi" || string(m.Files["b.txt"]) != "text" {
		t.Errorf("got %+v, %v", m, err)
	}
	for name, f := range map[string]fields{
		"from":       {"to": "b@receiver.test", "subject": "s", "message": "m"},
		"template":   {"from": "a@x.test", "to": "b@x.test", "template": fields{"name": "canary"}},
		"archive":    {"from": "a@x.test", "to": "b@x.test", "subject": "s", "message": "m", "attachment": fields{"archive": "canary!", "filename": "x", "type": "base64"}},
		"subject":    {"from": "a@x.test", "to": "b@x.test", "message": "m"},
		`field "to"`: {"from": "a@x.test", "to": 5},
	} {
		if _, err := send(apiKey, f); outcome(err) != "dead" || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	before := w.sink.Count()
	for range 3 {
		if _, err := send("SG.canary-wrong", good); outcome(err) != "parked" || strings.Contains(err.Error(), "canary") {
			t.Errorf("a wrong key: got %v", err)
		}
	}
	if got := w.sink.Count() - before; got != 1 {
		t.Errorf("a wrong key was tried %d times, want once", got)
	}
}

func TestOddMessageIDsAreNotKept(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	for _, id := range []string{"", "<script>", "a b", strings.Repeat("x", 101)} {
		w.sink.SetFault(func(sink.HTTPRequest) *sink.HTTPAnswer {
			return &sink.HTTPAnswer{Status: http.StatusAccepted, Header: map[string]string{"X-Message-Id": id}}
		})
		if reply, err := do(t.Context(), t, w.action, job(t, "", nil)); err != nil || reply.Text != "" {
			t.Errorf("%q: got %+v, %v", id, reply, err)
		}
	}
}
