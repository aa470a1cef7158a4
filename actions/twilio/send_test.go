package twilio

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
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

func TestMessagesHaveAllTheirParts(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	data := `[{"value":"5 & 7","unit":"F"}]`
	sid := "MG0123456789abcdef0123456789abcdef"
	for _, tt := range []struct {
		name string
		a    *Action
		f    fields
		want sink.TwilioMessage
	}{
		{"a text", w.sms, fields{"message": "Now $VALUE$"}, sink.TwilioMessage{To: "+15005551111", From: "+15005550006", Body: "Now 5 & 7"}},
		{"by a service", w.sms, fields{"from": sid}, sink.TwilioMessage{To: "+15005551111", Service: sid, Body: "Text"}},
		{"by a name", w.sms, fields{"from": "MYFROMID"}, sink.TwilioMessage{To: "+15005551111", From: "MYFROMID", Body: "Text"}},
		{"by WhatsApp", w.whatsapp, nil, sink.TwilioMessage{To: "whatsapp:+15005551111", From: "whatsapp:+15005550006", Body: "Text"}},
		{"a template", w.whatsapp, fields{"message": nil, "content_sid": "TEMPLATE", "from": "whatsapp:+15005550006",
			"content_variables": []fields{{"name": "1", "value": "$VALUE$ \"x\""}, {"name": "b", "value": ""}}},
			sink.TwilioMessage{To: "whatsapp:+15005551111", From: "whatsapp:+15005550006", Template: templateID, Variables: `{"1":"5 \u0026 7 \"x\"","b":""}`}},
		{"a template with an object", w.whatsapp, fields{"message": nil, "content_sid": "TEMPLATE", "from": sid, "content_variables": fields{"1": "$UNIT$"}},
			sink.TwilioMessage{To: "whatsapp:+15005551111", Service: sid, Template: templateID, Variables: `{"1":"F"}`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reply, err := do(t.Context(), t, tt.a, job(t, tt.a.Kind(), data, tt.f), 1)
			if err != nil {
				t.Fatal(err)
			}
			all := w.sink.Messages()
			got := all[len(all)-1]
			if reply.Text != "message "+got.SID || reply.Code != "201" || reply.Secret != "id-of-TOKEN" || reply.Parts != nil {
				t.Errorf("got %+v", reply)
			}
			got.SID = ""
			if d := cmp.Diff(got, tt.want); d != "" {
				t.Errorf("the message (-got +want):\n%s", d)
			}
		})
	}
}

func TestWorkSaysWhatItTouches(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	work, err := w.whatsapp.Prepare(job(t, KindWhatsApp, "", fields{"message": nil, "content_sid": "TEMPLATE"}))
	if err != nil {
		t.Fatal(err)
	}
	reach := work.(actions.Reach)
	if work.Lane() != "whatsapp-twilio/TOKEN" || cmp.Diff(reach.SecretRefs(), []string{"TOKEN", "SID", "TEMPLATE"}) != "" || reach.Recipients() != nil || reach.Actions() != nil {
		t.Errorf("got %s, %v", work.Lane(), reach.SecretRefs())
	}
}

// sentTo is who got a message, sorted.
func sentTo(w *world) []string {
	var to []string
	for _, m := range w.sink.Messages() {
		to = append(to, m.To)
	}
	slices.Sort(to)
	return to
}

func TestRefusedNumbersDoNotHoldUpTheOthers(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	to := "+15005551111; " + sink.TwilioInvalid + "," + sink.TwilioOptedOut + ";+15005552222,+1 (500) 555-1111"
	reply, err := do(t.Context(), t, w.sms, job(t, KindSMS, "", fields{"to": to}), 1)
	if outcome(err) != "dead" || reply.Reason != "recipient" || !strings.Contains(reply.Text, "2 of 4 recipients have it") {
		t.Errorf("got %s, %+v", outcome(err), reply)
	}
	if d := cmp.Diff(sentTo(w), []string{"+15005551111", "+15005552222"}); d != "" {
		t.Errorf("messages (-got +want):\n%s", d)
	}
	var states []string
	for i, p := range reply.Parts {
		states = append(states, p.State+" "+p.Code)
		if len(p.ID) != 12 || p.ID[0] != byte('1'+i) || strings.Contains(p.ID+p.Text, "555") {
			t.Errorf("part %+v", p)
		}
	}
	if d := cmp.Diff(states, []string{"accepted ", "refused 400 21211", "refused 400 21610", "accepted "}); d != "" {
		t.Errorf("parts (-got +want):\n%s", d)
	}
	// A person retries the dead letter: the queue forgets the refused ones.
	kept := []queue.Part{reply.Parts[0], reply.Parts[3]}
	before := w.sink.Count()
	if reply, err = do(t.Context(), t, w.sms, job(t, KindSMS, "", fields{"to": to}), 1, kept...); outcome(err) != "dead" || w.sink.Count() != before+2 || len(reply.Parts) != 2 {
		t.Errorf("the retry: got %s, %+v, %d requests", outcome(err), reply, w.sink.Count()-before)
	}
	if got := len(w.sink.Messages()); got != 2 {
		t.Errorf("got %d messages, want each once", got)
	}
}

func TestALaterAttemptSendsOnlyTheRest(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	j := job(t, KindSMS, "", fields{"to": "+15005551111," + sink.TwilioInvalid + ",+15005552222,+15005553333"})
	w.sink.SetFault(func(r sink.HTTPRequest) *sink.HTTPAnswer {
		if strings.Contains(string(r.Body), "5552222") {
			return &sink.HTTPAnswer{Status: 503}
		}
		return nil
	})
	first, err := do(t.Context(), t, w.sms, j, 1)
	if outcome(err) != "retry" || first.Reason != "transient" || len(first.Parts) != 3 {
		t.Fatalf("got %s, %+v", outcome(err), first)
	}
	w.sink.SetFault(nil)
	before := w.sink.Count()
	second, err := do(t.Context(), t, w.sms, j, 2, first.Parts...)
	if outcome(err) != "dead" || second.Reason != "recipient" || second.Rule != "refused-before" || w.sink.Count() != before+1 {
		t.Errorf("got %s, %+v, %d requests", outcome(err), second, w.sink.Count()-before)
	}
	if d := cmp.Diff(sentTo(w), []string{"+15005551111", "+15005552222", "+15005553333"}); d != "" {
		t.Errorf("messages (-got +want):\n%s", d)
	}
	all := append(slices.Clone(first.Parts[:1]), second.Parts...)
	all = append(all, queue.Part{ID: first.Parts[2].ID, State: queue.PartAccepted}, queue.Part{ID: first.Parts[1].ID, State: queue.PartAccepted})
	if reply, err := do(t.Context(), t, w.sms, j, 3, all...); err != nil || !strings.Contains(reply.Text, "4 messages") || w.sink.Count() != before+1 {
		t.Errorf("all accepted before: got %+v, %v", reply, err)
	}
}

func TestWhatIsAboutTheAccountEndsTheAttempt(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	j := job(t, KindSMS, "", fields{"to": "+15005551111,+15005552222,+15005553333"})
	w.sink.SetFault(func(r sink.HTTPRequest) *sink.HTTPAnswer {
		if strings.Contains(string(r.Body), "5552222") {
			return &sink.HTTPAnswer{Status: 429, Header: map[string]string{"Retry-After": "9"}}
		}
		return nil
	})
	reply, err := do(t.Context(), t, w.sms, j, 1)
	if outcome(err) != "throttled 9s" || len(reply.Parts) != 1 || w.sink.Count() != 2 {
		t.Errorf("got %s, %+v, %d requests", outcome(err), reply, w.sink.Count())
	}
	if reply, err = do(t.Context(), t, w.sms, j, 3, reply.Parts...); outcome(err) != "throttled 9s" || len(reply.Parts) != 1 || w.sink.Count() != 4 {
		t.Errorf("the next attempt begins with another: got %s, %+v, %d requests", outcome(err), reply, w.sink.Count())
	}
}

func TestARefusedLoginIsTriedOnce(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	w.sink.SetToken("another")
	for range 5 {
		reply, err := do(t.Context(), t, w.sms, job(t, KindSMS, "", fields{"to": "+15005551111,+15005552222"}), 1)
		parked, ok := errors.AsType[*queue.ParkedError](err)
		if !ok || parked.Secret != "id-of-TOKEN" || parked.Version != 3 || !strings.Contains(err.Error(), "twilio_sid") || reply.Code != "401 20003" {
			t.Fatalf("got %+v, %v, want parked with advice", reply, err)
		}
		if want := []queue.Credential{{Secret: "id-of-SID", Version: 3}}; !slices.Equal(parked.Beside, want) {
			t.Fatalf("parked beside %v, want %v: a 401 may be the SID's", parked.Beside, want)
		}
	}
	if got := w.sink.Count(); got != 1 {
		t.Errorf("got %d requests, want one", got)
	}
}

func TestNoAnswerAfterTheRequestIsUnknown(t *testing.T) {
	w := newWorld(t, 200*time.Millisecond)
	w.sink.SetFault(func(sink.HTTPRequest) *sink.HTTPAnswer { return &sink.HTTPAnswer{Hang: true} })
	reply, err := do(t.Context(), t, w.sms, job(t, KindSMS, "", fields{"to": "+15005551111,+15005552222"}), 1)
	if outcome(err) != "retry" || reply.Reason != "unknown" || reply.Certainty != queue.Unknown || w.sink.Count() != 1 {
		t.Errorf("got %+v, %v after %d requests", reply, err, w.sink.Count())
	}
}

func TestSecretsThatCannotBeUsed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*vault)
		want   string // rule
		field  string
	}{
		{"no token", func(v *vault) { delete(v.values, "TOKEN") }, "secret-missing", "TOKEN"},
		{"no SID", func(v *vault) { delete(v.values, "SID") }, "secret-missing", "SID"},
		{"a login for mail", func(v *vault) { v.typ = secrets.TypeSMTP }, "secret-type", "text"},
		{"no account SID", func(v *vault) { v.values["SID"] = "canary-77" }, "secret-unusable", "twilio_sid"},
		{"a SID with a path", func(v *vault) { v.values["SID"] = accountID[:30] + "/../" }, "secret-unusable", "twilio_sid"},
		{"the SID of a key", func(v *vault) { v.values["SID"] = "SK" + accountID[2:] }, "secret-unusable", "twilio_sid"},
		{"a token of two lines", func(v *vault) { v.values["TOKEN"] = "canary-77\nX" }, "secret-unusable", "twilio_token"},
		{"no SID of a template", func(v *vault) { v.values["TEMPLATE"] = "canary-77" }, "secret-unusable", "content_sid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 10*time.Second)
			tt.change(w.vault)
			reply, err := do(t.Context(), t, w.whatsapp, job(t, KindWhatsApp, "", fields{"message": nil, "content_sid": "TEMPLATE"}), 1)
			if outcome(err) != "dead" || reply.Rule != tt.want || !strings.Contains(err.Error(), tt.field) || w.sink.Count() != 0 {
				t.Errorf("got %s, %+v, %v", outcome(err), reply, err)
			}
			if shown := everything(reply, err); strings.Contains(shown, "canary") || strings.Contains(shown, accountID[2:20]) {
				t.Errorf("the record shows a value: %s", shown)
			}
		})
	}
}

func TestAMessageOfAnAnalysis(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	good := fields{"from": "+15005550006", "to": "+15005551111", "message": "m $VALUE$"}
	send := func(a *Action, token string, f fields) (queue.Reply, error) {
		value, err := json.Marshal(fields{"twilio_sid": accountID, "twilio_token": token})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		return a.SendWith(context.Background(), redact.New(string(value)), raw)
	}
	for _, tt := range []struct {
		a    *Action
		f    fields
		want sink.TwilioMessage
	}{
		{w.sms, good, sink.TwilioMessage{To: "+15005551111", From: "+15005550006", Body: "m $VALUE$"}},
		{w.whatsapp, good, sink.TwilioMessage{To: "whatsapp:+15005551111", From: "whatsapp:+15005550006", Body: "m $VALUE$"}},
		{w.whatsapp, fields{"from": "+15005550006", "to": "+15005551111", "content_sid": templateID, "content_variables": fields{"1": "a"}},
			sink.TwilioMessage{To: "whatsapp:+15005551111", From: "whatsapp:+15005550006", Template: templateID, Variables: `{"1":"a"}`}},
		{w.whatsapp, fields{"from": "+15005550006", "to": "+15005551111", "message": "m", "content_type": "image/png", "media_url": "https://x.test/a.png"},
			sink.TwilioMessage{To: "whatsapp:+15005551111", From: "whatsapp:+15005550006", Body: "m", Media: "https://x.test/a.png"}},
	} {
		_, err := send(tt.a, authToken, tt.f)
		all := w.sink.Messages()
		if err != nil || len(all) == 0 {
			t.Fatalf("got %v", err)
		}
		got := all[len(all)-1]
		got.SID = ""
		if d := cmp.Diff(got, tt.want); d != "" {
			t.Errorf("the message (-got +want):\n%s", d)
		}
	}
	for name, f := range map[string]fields{
		"attachment":   {"from": "+1", "to": "+15005551111", "message": "m", "attachment": fields{"archive": "canary"}},
		"media_url":    {"from": "+1", "to": "+15005551111", "message": "m", "media_url": "http://canary.test/"},
		`field "to"`:   {"from": "+1", "to": 5, "message": "m"},
		"no text":      {"from": "+1", "to": "+15005551111"},
		"content_sid ": {"from": "+1", "to": "+15005551111", "content_sid": "canary"},
	} {
		if _, err := send(w.whatsapp, authToken, f); outcome(err) != "dead" || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := send(w.sms, "canary-wrong-token", good); outcome(err) != "parked" || strings.Contains(err.Error(), "canary") {
		t.Errorf("a wrong token: got %v", err)
	}
	if _, err := w.sms.SendWith(context.Background(), redact.New("canary"), nil); outcome(err) != "dead" || strings.Contains(err.Error(), "canary") {
		t.Errorf("no login: got %v", err)
	}
}

// payloads are values that mean something to somebody on the way.
func payloads() []string {
	list := []string{
		"$VALUE$", "$DEVICE$", "$$VALUE$$", "$VALUE", "{{1}}", "{{2}}", "{{{x}}}", "${7*7}", "#{7*7}", "%name%", "&To=+15005559999", "&From=x&To=y", "=", "+", "%26To%3D%2B1", "a&b=c;d",
		"\"", "\\", "\\\"", "\",\"2\":\"evil", "\"}&To=+15005559999", "}", "]", "{", "\\u0022", "\\u000d\\u000a", "\u2028", "\u2029", "\ufeff", "\u202e", "\u0000", "\u001b[2J", "\u0085", "\u007f",
		"a\r\nTo: +15005559999", "a\nb", "a\rb", "\r\n\r\nPOST / HTTP/1.1", "<script>alert(1)</script>", "'", "' OR 1=1 --", "../../x", "http://169.254.169.254/", "%0d%0aX: y", "%00", "%25", "whatsapp:+15005559999",
		"null", "true", "1e999", "[]", "{}", "\t", strings.Repeat("A", 700), "ä", "日本語", "🙂", "e\u0301", "\U0010ffff",
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
	in := &login{template: secrets.Text{Value: redact.New(templateID)}}
	for _, p := range list {
		data, err := json.Marshal([]any{map[string]any{"value": p, "unit": "U", "device": "DEVICE-ID"}})
		if err != nil {
			t.Fatal(err)
		}
		text, err := decode(KindSMS, job(t, KindSMS, string(data), fields{"message": "s $VALUE$ e"}))
		if err != nil {
			t.Fatalf("%q: %v", p, err)
		}
		form, err := url.ParseQuery(string(text.form(&login{}, text.to[0])))
		if body := form.Get("Body"); err != nil || len(form) != 3 || form.Get("To") != "+15005551111" || !strings.HasPrefix(body, "s ") || !strings.HasSuffix(body, " e") || strings.Contains(body, "DEVICE-ID") {
			t.Errorf("%q: got %v", p, form)
		}
		template, err := decode(KindWhatsApp, job(t, KindWhatsApp, string(data), fields{"message": nil, "content_sid": "TEMPLATE", "content_variables": []fields{{"name": "1", "value": "s $VALUE$ e"}}}))
		if err != nil {
			t.Fatalf("%q: %v", p, err)
		}
		form, err = url.ParseQuery(string(template.form(in, template.to[0])))
		var values map[string]string
		if err != nil || len(form) != 4 || json.Unmarshal([]byte(form.Get("ContentVariables")), &values) != nil || len(values) != 1 ||
			!strings.HasPrefix(values["1"], "s ") || strings.ContainsAny(values["1"], "\r\n\x00") || strings.Contains(values["1"], "DEVICE-ID") {
			t.Errorf("%q: got %v", p, form)
		}
		for _, field := range []string{"from", "to", "message", "twilio_sid", "twilio_token", "content_sid"} {
			if plan, err := decode(KindWhatsApp, job(t, KindWhatsApp, "", fields{field: p})); err == nil {
				wellFormed(t, plan)
			} else if outcome(err) != "dead" {
				t.Errorf("%s %q: %v", field, p, err)
			}
		}
	}
}
