package sendgrid

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/provider"
	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/actions/webclient"
)

// reply is one answer of testdata/replies.json. SendGrid could not be asked: the
// sources are its documentation, whose words need not be those of the service,
// and public reports of users. What has "constructed" in its source is only
// likely, as a whole or as it says.
type reply struct {
	Name   string            `json:"name"`
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Body   string            `json:"body"`
	Reason actions.Reason    `json:"reason"`
	Rule   string            `json:"rule"`
	Source string            `json:"source"`
}

func corpus(t *testing.T) []reply {
	t.Helper()
	b, err := os.ReadFile("testdata/replies.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []reply
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRepliesHaveASource(t *testing.T) {
	list, real, seen := corpus(t), 0, map[string]bool{}
	for _, r := range list {
		if seen[r.Name] || r.Source == "" {
			t.Errorf("%s: no source, or the name is there twice", r.Name)
		}
		seen[r.Name] = true
		if !strings.Contains(r.Source, "constructed") {
			real++
		}
	}
	if len(list) < 40 || real < 30 {
		t.Errorf("got %d replies, %d with a source, want 40 and 30", len(list), real)
	}
	t.Logf("%d replies: %d with a source, %d constructed", len(list), real, len(list)-real)
}

// Each goes over the wire and through the whole sender.
func TestRepliesAreJudgedAsTheCorpusSays(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	for i, r := range corpus(t) {
		t.Run(r.Name, func(t *testing.T) {
			w.vault.values["SENDGRID"] = apiKey + strconv.Itoa(i) // each is refused for itself
			w.sink.SetFault(func(sink.HTTPRequest) *sink.HTTPAnswer {
				return &sink.HTTPAnswer{Status: r.Status, Header: r.Header, Body: r.Body}
			})
			got, err := do(t.Context(), t, w.action, job(t, "", nil))
			if err == nil {
				t.Fatal("got accepted")
			}
			if got.Reason != string(r.Reason) || got.Rule != r.Rule || got.Code != strconv.Itoa(r.Status) {
				t.Errorf("got %+v, want %s by %s", got, r.Reason, r.Rule)
			}
			if strings.Contains(everything(got, err), "receiver.test") {
				t.Errorf("the record shows an address: %+v, %v", got, err)
			}
			if v, ok := provider.Refused(err); ok && v.Advice == "" {
				t.Errorf("rule %s parks jobs and has no advice", got.Rule)
			}
		})
	}
}

// A row that no reply needs is a guess, and a row behind one that matches all
// of its cases is dead.
func TestEveryRowOfTheTableIsReached(t *testing.T) {
	answers := []actions.Answer{{Status: statusSecret}, {Status: statusMail}, {Code: 100}}
	for _, r := range corpus(t) {
		answers = append(answers, actions.Answer{Stage: webclient.StageSend, Code: r.Status, Text: r.Body})
	}
	for i := len(webclient.Network); i < len(replies); i++ {
		if !slices.ContainsFunc(answers, func(a actions.Answer) bool {
			_, before := replies[:i].Classify(a)
			_, ok := replies[i : i+1].Classify(a)
			return ok && !before
		}) {
			t.Errorf("row %d (%s): no answer reaches it", i, replies[i].Name)
		}
	}
	if _, ok := replies.Classify(actions.Answer{}); !ok {
		t.Error("the last row does not match everything")
	}
}

func TestALimitSaysWhenItEnds(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	now := time.Unix(1_800_000_000, 0)
	w.action.now = func() time.Time { return now }
	for _, tt := range []struct {
		name   string
		header map[string]string
		want   string
	}{
		{"by the reset", map[string]string{"X-RateLimit-Reset": "1800000042"}, "throttled 42s"},
		{"by Retry-After", map[string]string{"Retry-After": "7"}, "throttled 7s"},
		{"by the later of both", map[string]string{"Retry-After": "7", "X-RateLimit-Reset": "1800000042"}, "throttled 42s"},
		{"not at all", nil, "throttled 0s"},
		{"in the past", map[string]string{"X-RateLimit-Reset": "1700000000"}, "throttled 0s"},
		{"by a clock that is wrong", map[string]string{"X-RateLimit-Reset": "9999999999"}, "throttled 0s"},
		{"by no number", map[string]string{"X-RateLimit-Reset": "soon"}, "throttled 0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.sink.SetFault(func(sink.HTTPRequest) *sink.HTTPAnswer {
				return &sink.HTTPAnswer{Status: http.StatusTooManyRequests, Header: tt.header}
			})
			if _, err := do(t.Context(), t, w.action, job(t, "", nil)); outcome(err) != tt.want {
				t.Errorf("got %s, want %s", outcome(err), tt.want)
			}
		})
	}
}
