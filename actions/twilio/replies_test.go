package twilio

import (
	"encoding/json"
	"os"
	"regexp"
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

// reply is one answer of testdata/replies.json. Twilio could not be asked: codes
// and words are from its documentation, whose words need not be those of the
// service, and from public reports of users, with the numbers of people replaced.
// Where only the words are quoted, the JSON around them is made here, as the
// source says.
type reply struct {
	Name   string            `json:"name"`
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Body   string            `json:"body"`
	Reason actions.Reason    `json:"reason"`
	Rule   string            `json:"rule"`
	Source string            `json:"source"` // "constructed" if nobody was seen to answer so
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
		if r.Source != "constructed" {
			real++
		}
	}
	if len(list) < 60 || real < 45 {
		t.Errorf("got %d replies, %d with a source, want 60 and 45", len(list), real)
	}
	t.Logf("%d replies: %d with a source, %d constructed", len(list), real, len(list)-real)
}

// personal is what no record may show.
var personal = regexp.MustCompile(`AC[0-9a-f]{8}|\+?[0-9]{9,}|555`)

// Each goes over the wire and through the whole sender.
func TestRepliesAreJudgedAsTheCorpusSays(t *testing.T) {
	w := newWorld(t, 10*time.Second)
	for i, r := range corpus(t) {
		t.Run(r.Name, func(t *testing.T) {
			w.vault.values["TOKEN"] = authToken + strconv.Itoa(i) // each is refused for itself
			w.sink.SetFault(func(sink.HTTPRequest) *sink.HTTPAnswer {
				return &sink.HTTPAnswer{Status: r.Status, Header: r.Header, Body: r.Body}
			})
			got, err := do(t.Context(), t, w.sms, job(t, KindSMS, "", nil), 1)
			if err == nil {
				t.Fatal("got accepted")
			}
			if got.Reason != string(r.Reason) || got.Rule != r.Rule || !strings.HasPrefix(got.Code, strconv.Itoa(r.Status)) {
				t.Errorf("got %+v, want %s by %s", got, r.Reason, r.Rule)
			}
			if shown := got.Text + err.Error(); personal.MatchString(shown) {
				t.Errorf("the record shows a number or an account: %s", shown)
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
	answers := []actions.Answer{{Status: statusSecret}, {Status: statusBefore}, {Code: 100}}
	for _, r := range corpus(t) {
		var body answer
		_ = json.Unmarshal([]byte(r.Body), &body) // some are no JSON
		a := actions.Answer{Stage: webclient.StageSend, Code: r.Status, Text: r.Body}
		if body.Code > 0 {
			a.Status = strconv.Itoa(body.Code)
		}
		answers = append(answers, a)
	}
	for i := len(webclient.Network); i < len(replies); i++ {
		if !slices.ContainsFunc(answers, func(a actions.Answer) bool {
			_, before := replies[:i].Classify(a)
			_, ok := replies[i : i+1].Classify(a)
			return ok && !before
		}) {
			t.Errorf("row %d (%s, %s): no answer reaches it", i, replies[i].Name, replies[i].Status)
		}
	}
	if _, ok := replies.Classify(actions.Answer{}); !ok {
		t.Error("the last row does not match everything")
	}
}
