package post

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

const datum = `[{"variable":"temp","value":73.5,"unit":"F","metadata":{"x":1}},{"variable":"second","value":"a b/c?d&e#f%g"}]`

func TestTheRequest(t *testing.T) {
	w := newWorld(t, 5*time.Second)
	j := job(t, datum, fields{
		"url":            w.sink.URL() + "/t/$VARIABLE$/v?unit=$UNIT$&none=$DEVICE$#part",
		"headers":        fields{"X-Unit": "in $UNIT$", "tagoio-retries": "99", "Accept": "text/plain"},
		"header_secrets": fields{"authorization": "HOOK_TOKEN"},
		"signing_secret": "HOOK_KEY",
	})
	reply, err := do(t.Context(), t, w.action, j, 4)
	if err != nil {
		t.Fatal(err)
	}
	want := queue.Reply{Secret: "id-of-HOOK_TOKEN", SecretVersion: 3, Stage: "done", Code: "200", Certainty: queue.Accepted}
	if diff := cmp.Diff(reply, want); diff != "" {
		t.Errorf("reply -got +want:\n%s", diff)
	}
	got := w.sink.Requests()[0]
	if got.Method != "POST" || got.Path != "/t/temp/v?unit=F&none=" || string(got.Body) != datum {
		t.Errorf("got %s %s %s", got.Method, got.Path, got.Body)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Tagoio-Retries": "4", "Idempotency-Key": "order-1", "User-Agent": "Sealpost",
		"X-Unit": "in F", "Authorization": token, "Accept": "text/plain", "Webhook-Id": "order-1", "Accept-Encoding": "",
	} {
		if v := got.Header.Values(name); strings.Join(v, "|") != value {
			t.Errorf("header %s: got %q, want %q", name, v, value)
		}
	}
	verifier, err := standardwebhooks.NewWebhook(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(got.Body, got.Header); err != nil {
		t.Errorf("signature: %v", err)
	}
	if err := verifier.Verify([]byte("[]"), got.Header); err == nil {
		t.Error("the signature fits another body")
	}
}

func TestAJobWithoutAnythingSendsAnEmptyArray(t *testing.T) {
	w := newWorld(t, 5*time.Second)
	for _, data := range []string{"", "null", "[]"} {
		j := job(t, data, fields{"url": w.sink.URL()})
		if _, err := do(t.Context(), t, w.action, j, 1); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range w.sink.Requests() {
		if string(r.Body) != "[]" || r.Header.Get("Webhook-Signature") != "" || r.Path != "/" {
			t.Errorf("got %s %q", r.Path, r.Body)
		}
	}
	if w.vault.opens != 0 {
		t.Errorf("%d secrets opened", w.vault.opens)
	}
}

func TestSignatures(t *testing.T) {
	// The example of the specification of Standard Webhooks.
	got, err := sign(redact.New(key), "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; err != nil || got["Webhook-Signature"] != want {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
	body, now := []byte(`[{"a":"ü"}]`), time.Now()
	other := keyPrefix + base64.StdEncoding.EncodeToString([]byte("another-key-of-24-bytes!"))
	got, err = sign(redact.New(key+"\n  "+other+" raw-text-key"), "order.1:a", now, body)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	for name, value := range got {
		header.Set(name, value)
	}
	if n := len(strings.Fields(got["Webhook-Signature"])); n != 3 {
		t.Errorf("%d signatures, want 3", n)
	}
	verifiers := map[string]func() (*standardwebhooks.Webhook, error){
		"first": func() (*standardwebhooks.Webhook, error) { return standardwebhooks.NewWebhook(key) },
		"other": func() (*standardwebhooks.Webhook, error) { return standardwebhooks.NewWebhook(other) },
		"raw": func() (*standardwebhooks.Webhook, error) {
			return standardwebhooks.NewWebhookRaw([]byte("raw-text-key"))
		},
	}
	for name, open := range verifiers {
		verifier, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(body, header); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{" ", keyPrefix, keyPrefix + "canary!!", key + " " + keyPrefix + "canary!!"} {
		if _, err := sign(redact.New(bad), "a", now, body); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestEveryAttemptIsSignedAnew(t *testing.T) {
	w := newWorld(t, 5*time.Second)
	now := time.Now()
	w.action.now = func() time.Time { now = now.Add(time.Hour); return now }
	j := job(t, "", fields{"url": w.sink.URL(), "signing_secret": "HOOK_KEY"})
	for attempt := range 2 {
		if _, err := do(t.Context(), t, w.action, j, attempt+1); err != nil {
			t.Fatal(err)
		}
	}
	r := w.sink.Requests()
	a, b := r[0].Header, r[1].Header
	if a.Get("Webhook-Timestamp") == b.Get("Webhook-Timestamp") || a.Get("Webhook-Signature") == b.Get("Webhook-Signature") || a.Get("Webhook-Id") != b.Get("Webhook-Id") {
		t.Errorf("first %v, second %v", a, b)
	}
}

func TestSecretsThatCannotBeUsed(t *testing.T) {
	w := newWorld(t, 5*time.Second)
	w.vault.put("LINES", "canary-one\r\nX-Evil: 1").put("NUL", "canary\x00two").put("BAD_KEY", "whsec_canary!!").put("LOGIN", "{}")
	w.vault.types["LOGIN"] = secrets.TypeSMTP
	header := func(ref string) fields { return fields{"header_secrets": fields{"X-Key": ref}} }
	for _, tt := range []struct {
		name          string
		f             fields
		outcome, rule string
		want          string // in the error
	}{
		{"line ends in a header", header("LINES"), "dead", "secret-unusable", `header "X-Key" has a control character`},
		{"a NUL in a header", header("NUL"), "dead", "secret-unusable", `header "X-Key" has a NUL`},
		{"a key that is no base64", fields{"signing_secret": "BAD_KEY"}, "dead", "secret-unusable", "not base64"},
		{"a secret that is not there", header("NOTHING"), "dead", "secret-missing", "NOTHING"},
		{"a login for mail", header("LOGIN"), "dead", "secret-type", "type text"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.f["url"] = w.sink.URL()
			reply, err := do(t.Context(), t, w.action, job(t, "", tt.f), 1)
			if outcome(err) != tt.outcome || reply.Rule != tt.rule || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %s, %q, %v", outcome(err), reply.Rule, err)
			}
			if strings.Contains(everything(reply, err), "canary") {
				t.Errorf("the value shows: %s", everything(reply, err))
			}
		})
	}
	if n := w.sink.Count(); n != 0 {
		t.Errorf("%d requests came", n)
	}
}

func TestWhatBecomesOfAnAnswer(t *testing.T) {
	w := newWorld(t, 5*time.Second)
	bare := fields{"url": w.sink.URL() + "/x"}
	login := fields{"url": w.sink.URL() + "/x", "header_secrets": fields{"X-Z": "HOOK_KEY", "Authorization": "HOOK_TOKEN"}}
	signed := fields{"url": w.sink.URL() + "/x", "signing_secret": "HOOK_KEY"}
	for _, tt := range []struct {
		name      string
		f         fields
		status    int
		after     string
		outcome   string
		reason    actions.Reason
		certainty queue.Certainty
		secret    string
	}{
		{"209 is success", bare, 209, "", "done", "", queue.Accepted, ""},
		{"210 is not", bare, 210, "", "dead", actions.Payload, queue.Rejected, ""},
		{"401 without a secret", bare, 401, "", "dead", actions.Config, queue.Rejected, ""},
		{"401 with header secrets parks on the first", login, 401, "", "parked", actions.Credential, queue.Rejected, "id-of-HOOK_TOKEN"},
		{"403 with a key for signing", signed, 403, "", "parked", actions.Credential, queue.Rejected, "id-of-HOOK_KEY"},
		{"429", bare, 429, "7", "throttled", actions.Throttled, queue.Rejected, ""},
		{"503 with a time", bare, 503, "120", "retry after 2m0s", actions.Transient, queue.Rejected, ""},
		{"500", bare, 500, "", "retry", actions.Transient, queue.Rejected, ""},
		{"504", bare, 504, "", "retry", actions.Ambiguous, queue.Unknown, ""},
		{"a redirect", bare, 302, "", "dead", actions.Config, queue.Rejected, ""},
		{"gone", bare, 410, "", "dead", actions.Config, queue.Rejected, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.sink.SetAnswer(func(sink.HTTPRequest) sink.HTTPAnswer {
				return sink.HTTPAnswer{Status: tt.status, Header: map[string]string{"Retry-After": tt.after, "Location": w.sink.URL() + "/elsewhere"}, Body: "ask bob@example.test"}
			})
			before := w.sink.Count()
			reply, err := do(t.Context(), t, w.action, job(t, "", tt.f), 1)
			if outcome(err) != tt.outcome || reply.Reason != string(tt.reason) || reply.Certainty != tt.certainty || tt.secret != "" && reply.Secret != tt.secret {
				t.Errorf("got %s, %+v", outcome(err), reply)
			}
			if parked, ok := errors.AsType[*queue.ParkedError](err); ok && (parked.Secret != tt.secret || parked.Version != 3) {
				t.Errorf("parked on %+v", parked)
			}
			if parked, ok := errors.AsType[*queue.ParkedError](err); ok && tt.name == "401 with header secrets parks on the first" &&
				!slices.Equal(parked.Beside, []queue.Credential{{Secret: "id-of-HOOK_KEY", Version: 3}}) {
				t.Errorf("parked beside %+v, want the secret of the other header: a new version of it may be what is needed", parked.Beside)
			}
			if throttled, ok := errors.AsType[*queue.ThrottledError](err); ok && throttled.After != 7*time.Second {
				t.Errorf("throttled for %v", throttled.After)
			}
			if reply.Text != "ask (address)" || w.sink.Count() != before+1 {
				t.Errorf("text %q, %d requests", reply.Text, w.sink.Count()-before)
			}
		})
	}
}

func TestNoAnswerInTimeIsUnknown(t *testing.T) {
	w := newWorld(t, 300*time.Millisecond)
	w.sink.SetAnswer(func(sink.HTTPRequest) sink.HTTPAnswer { return sink.HTTPAnswer{Hang: true} })
	reply, err := do(t.Context(), t, w.action, job(t, "", fields{"url": w.sink.URL()}), 1)
	if reply.Certainty != queue.Unknown || reply.Reason != string(actions.Ambiguous) || reply.Stage != "reply" || outcome(err) != "retry" {
		t.Errorf("got %v, %+v", err, reply)
	}
	gone := newWorld(t, time.Second)
	_ = gone.sink.Close()
	reply, err = do(t.Context(), t, gone.action, job(t, "", fields{"url": gone.sink.URL()}), 1)
	if reply.Certainty != queue.Rejected || reply.Reason != string(actions.Transient) || reply.Stage != "dial" || outcome(err) != "retry" {
		t.Errorf("nobody listens: got %v, %+v", err, reply)
	}
}

func TestBlockedAddressesAreAPolicy(t *testing.T) {
	a := New(Config{Vault: newVault()})
	defer a.Close()
	reply, err := do(t.Context(), t, a, job(t, "", fields{"url": "https://127.0.0.1/canary-path"}), 1)
	if outcome(err) != "dead" || reply.Reason != string(actions.Policy) || !errors.Is(err, netguard.ErrBlocked) || !strings.Contains(err.Error(), "SEALPOST_ALLOW_NET=127.0.0.1:443") {
		t.Errorf("got %v, %+v", err, reply)
	}
	if strings.Contains(everything(reply, err), "canary") {
		t.Errorf("the path shows: %v", err)
	}
}

func TestReachAndLane(t *testing.T) {
	w := newWorld(t, time.Second)
	work, err := w.action.Prepare(job(t, datum, fields{
		"url": "HTTPS://Bücher.Test:443/$VALUE$", "signing_secret": "HOOK_KEY", "header_secrets": fields{"b": "SECOND", "A": "FIRST"},
		"http_post_fallback_enabled": true, "fallback_action": "0123456789abcdef01234567",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got := work.Lane(); got != "post/https://xn--bcher-kva.test" {
		t.Errorf("lane %q", got)
	}
	reach := work.(actions.Reach)
	if diff := cmp.Diff(reach.SecretRefs(), []string{"FIRST", "SECOND", "HOOK_KEY"}); diff != "" {
		t.Errorf("secrets -got +want:\n%s", diff)
	}
	if diff := cmp.Diff(reach.Actions(), []string{"0123456789abcdef01234567"}); diff != "" || reach.Recipients() != nil {
		t.Errorf("actions -got +want:\n%s", diff)
	}
	if got := work.(queue.Limited).MaxAttempts(); got != 10 {
		t.Errorf("%d attempts", got)
	}
}

const fallbackAction = "0123456789abcdef01234567"

func TestFallback(t *testing.T) {
	w := newWorld(t, 5*time.Second)
	w.sink.SetAnswer(func(sink.HTTPRequest) sink.HTTPAnswer { return sink.HTTPAnswer{Status: 500, Body: "canary"} })
	on := func() fields {
		return fields{"url": w.sink.URL() + "/canary?canary=1", "http_post_fallback_enabled": true, "fallback_action": fallbackAction}
	}
	attempt := func(data string, f fields) queue.Reply {
		t.Helper()
		j := job(t, data, f)
		j.Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		reply, err := do(t.Context(), t, w.action, j, 7)
		if err == nil {
			t.Fatal("the receiver refused and the job is done")
		}
		return reply
	}
	got := attempt(datum, on())
	var job struct {
		ID          string           `json:"id"`
		ActionID    string           `json:"action_id"`
		Data        []map[string]any `json:"data"`
		Traceparent string           `json:"traceparent"`
	}
	if err := json.Unmarshal(got.OnDead, &job); err != nil {
		t.Fatalf("%s: %v", got.OnDead, err)
	}
	meta := map[string]any{"_http_error": "HTTP 500, server-error", "_http_url": w.sink.URL(), "_http_attempts": 7.0}
	first := map[string]any{"x": 1.0}
	for k, v := range meta {
		first[k] = v
	}
	if job.ID != "order-1-fallback" || job.ActionID != fallbackAction || job.Traceparent == "" || len(job.Data) != 2 {
		t.Errorf("got %+v", job)
	}
	if diff := cmp.Diff([]any{job.Data[0]["metadata"], job.Data[1]["metadata"]}, []any{first, meta}); diff != "" || job.Data[1]["value"] != "a b/c?d&e#f%g" {
		t.Errorf("-got +want:\n%s", diff)
	}
	if strings.Contains(string(got.OnDead), "canary") {
		t.Errorf("the job shows the URL or the receiver's words: %s", got.OnDead)
	}
	if again := attempt(string(mustJSON(t, job.Data)), on()); again.OnDead != nil || !strings.HasPrefix(again.Text, "no fallback: the data comes from one") {
		t.Errorf("a fallback of a fallback: %+v", again)
	}
}

func TestWhenThereIsNoFallback(t *testing.T) {
	w := newWorld(t, 5*time.Second)
	w.sink.SetAnswer(func(sink.HTTPRequest) sink.HTTPAnswer { return sink.HTTPAnswer{Status: 500} })
	attempt := func(data string, f fields) queue.Reply {
		t.Helper()
		f["url"] = w.sink.URL()
		reply, err := do(t.Context(), t, w.action, job(t, data, f), 7)
		if err == nil {
			t.Fatal("the receiver refused and the job is done")
		}
		return reply
	}
	on := func() fields { return fields{"http_post_fallback_enabled": true, "fallback_action": fallbackAction} }
	large := `[{"value":"` + strings.Repeat("x", queue.MaxJobBytes-100) + `"}]`
	if reply := attempt(large, on()); reply.OnDead != nil || !strings.HasPrefix(reply.Text, "no fallback: its job would be over 256 KiB") {
		t.Errorf("a large one: %s", reply.Text)
	}
	for name, f := range map[string]fields{
		"not enabled": {"fallback_action": fallbackAction}, "no action": {"http_post_fallback_enabled": true, "fallback_token": "x"},
	} {
		if reply := attempt(datum, f); reply.OnDead != nil {
			t.Errorf("%s: %s", name, reply.OnDead)
		}
	}
	missing := on()
	missing["signing_secret"] = "NOTHING"
	if reply := attempt(`[{"value":1,"metadata":"text"},2]`, missing); !strings.Contains(string(reply.OnDead), `"_http_error":"secret-missing"`) || !strings.Contains(string(reply.OnDead), `"_metadata":"text"`) {
		t.Errorf("a missing secret: %s", reply.OnDead)
	}
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFallbackIDs(t *testing.T) {
	long, other := strings.Repeat("a", 127)+"1", strings.Repeat("a", 127)+"2"
	if got := fallbackID("x"); got != "x-fallback" {
		t.Errorf("got %q", got)
	}
	a, b := fallbackID(long), fallbackID(other)
	if len(a) != queue.MaxIDLength || a == b || !strings.HasSuffix(a, fallbackSuffix) || a != fallbackID(long) {
		t.Errorf("got %q and %q", a, b)
	}
}

func TestALostClaimIsGivenUpWithoutAFallback(t *testing.T) {
	w := newWorld(t, time.Second)
	j := job(t, "", fields{"url": w.sink.URL()})
	work, err := w.action.Prepare(j)
	if err != nil {
		t.Fatal(err)
	}
	_, err = work.Do(t.Context(), queue.NewClaim(j, 1, func(context.Context) error { return queue.ErrLeaseLost }))
	if !errors.Is(err, queue.ErrLeaseLost) || w.sink.Count() != 0 {
		t.Errorf("got %v, %d requests", err, w.sink.Count())
	}
}
