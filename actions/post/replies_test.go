package post

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/webclient"
)

// recorded is one answer of a receiver, or an exchange without one (net). White
// space is drawn together and links are taken out. Source is the program that
// gave it in a run, the public text that shows it, or "constructed".
type recorded struct {
	From, Body, Reason, Source string
	Status                     int
	RetryAfter                 string `json:"retry_after"`
	Stage, Net                 string
}

func corpus(t testing.TB) []recorded {
	t.Helper()
	raw, err := os.ReadFile("testdata/replies.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []recorded
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// verdict judges a recorded answer as an attempt does.
func (r recorded) verdict() verdict {
	if r.Net != "" {
		return verdict{Verdict: classify(actions.Answer{Stage: r.Stage, Status: r.Net})}
	}
	return judge(&webclient.Response{Status: r.Status, Header: http.Header{}, Body: []byte(r.Body)}, nil)
}

func TestEveryRecordedReplyHasItsVerdict(t *testing.T) {
	list, run, hit, seen := corpus(t), 0, map[string]bool{}, map[recorded]bool{}
	for _, r := range list {
		if r.Source == "" || seen[r] {
			t.Errorf("%+v: no source, or twice", r)
		}
		seen[r] = true
		if strings.HasSuffix(r.Source, ", run") {
			run++
		}
		v := r.verdict()
		hit[v.Rule] = true
		if v.accepted || string(v.Reason) != r.Reason {
			t.Errorf("%s %d %s%s %q: got %q (%s), want %q", r.From, r.Status, r.Stage, r.Net, r.Body, v.Reason, v.Rule, r.Reason)
		}
	}
	if len(list) < 100 || run < 30 {
		t.Errorf("%d replies, %d of them from a run", len(list), run)
	}
	names := map[string]bool{}
	for _, rule := range replies {
		if names[rule.Name] {
			t.Errorf("two rules are called %s", rule.Name)
		}
		names[rule.Name] = true
		if !hit[rule.Name] {
			t.Errorf("no recorded reply is judged by the rule %s", rule.Name)
		}
	}
}

func TestSuccessIs200To209(t *testing.T) {
	for status := 100; status < 1000; status++ {
		v := judge(&webclient.Response{Status: status, Header: http.Header{}}, nil)
		if want := status >= 200 && status < 210; v.accepted != want || !want && v.Reason == "" {
			t.Errorf("%d: got %+v", status, v)
		}
	}
}

func TestRetryAfterIsNeverShortened(t *testing.T) {
	for _, tt := range []struct {
		status      int
		after, want time.Duration
	}{{429, time.Hour, time.Hour}, {503, 2 * time.Minute, 2 * time.Minute}, {503, 0, 0}, {403, time.Second, 0}} {
		if v := judge(&webclient.Response{Status: tt.status, Header: http.Header{}, RetryAfter: tt.after}, nil); v.After != tt.want && v.Reason != actions.Credential {
			t.Errorf("%d after %v: got %v", tt.status, tt.after, v.After)
		}
	}
}
