package sqs

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/sink"
)

// reply is one answer of testdata/replies.json. AWS gives nobody its errors on
// demand: most are quoted from public reports of users of SQS, some from AWS'
// documentation, whose words need not be those of the service. Where a source
// quotes an SDK or the XML that SQS spoke before, the JSON around the code and
// the words is made here. What stands in front of services was run.
type reply struct {
	Name   string            `json:"name"`
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Body   string            `json:"body"`
	Reason actions.Reason    `json:"reason"`
	Rule   string            `json:"rule"`
	Source string            `json:"source"` // who answered so; constructed if nobody was seen to
}

// constructed is the source of an answer that is only likely.
const constructed = "constructed"

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

func TestMostRepliesHaveASource(t *testing.T) {
	list, real, seen := corpus(t), 0, map[string]bool{}
	for _, r := range list {
		if r.Source == "" {
			t.Errorf("%s: no source", r.Name)
		}
		if seen[r.Body] {
			t.Errorf("%s: its text is in the corpus twice", r.Name)
		}
		seen[r.Body] = true
		if r.Source != constructed {
			real++
		}
	}
	if real < 40 {
		t.Errorf("got %d replies with a source, want 40", real)
	}
	t.Logf("%d replies: %d with a source, %d constructed", len(list), real, len(list)-real)
}

// Every reply goes through the SDK's own parser, so that a new version of it
// that names codes differently is noticed.
func TestRepliesAreJudgedAsTheCorpusSays(t *testing.T) {
	w := start(t, "orders")
	c, err := newClient(w.vault.secret, w.action.config.Guard)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, r := range corpus(t) {
		t.Run(r.Name, func(t *testing.T) {
			w.sink.SetFault(func(sink.SQSCall) *sink.SQSFault {
				return &sink.SQSFault{Status: r.Status, Header: r.Header, Body: r.Body}
			})
			results, _ := c.send(t.Context(), deliver(false, nil, "x").entries)
			f := results[0].failed
			if f == nil {
				t.Fatal("send: got accepted")
			}
			if f.verdict.Reason != r.Reason || f.verdict.Rule != r.Rule {
				t.Errorf("send: got %s by rule %s (%+v), want %s by %s", f.verdict.Reason, f.verdict.Rule, f.answer, r.Reason, r.Rule)
			}
			if f.refused() && f.verdict.Advice == "" {
				t.Errorf("rule %s parks jobs and has no advice", f.verdict.Rule)
			}
		})
	}
}

// A row that no reply needs is a guess, and a row behind one that matches all
// of its cases is dead.
func TestEveryRowOfTheTableIsReached(t *testing.T) {
	statuses := []string{ // what has no reply of its own in the corpus, and cannot or need not
		"endpoint", "net.blocked", "net.plain", "tls.name", "local.claim", "local.ended", "net.nohost", "net.unknown", "net.failed",
		"RequestLimitExceeded", "LimitExceededException", "SlowDown", "PriorRequestNotComplete", "AuthFailure", "TokenRefreshRequired",
		"UnauthorizedOperation", "NotAuthorized", "QueueDeletedRecently", "RequestEntityTooLarge",
		"ValidationError", "ServiceFailure", "RequestExpired",
	}
	answers := []actions.Answer{{Code: http.StatusRequestTimeout}, {Code: http.StatusUnauthorized}, {Code: http.StatusMethodNotAllowed}, {Code: 599}, {}}
	for _, s := range statuses {
		answers = append(answers, actions.Answer{Status: s})
	}
	for _, r := range corpus(t) {
		var body struct {
			Type    string `json:"__type"`
			Message string
			Failed  []struct {
				Code        string
				SenderFault bool
			}
		}
		_ = json.Unmarshal([]byte(r.Body), &body) // some are no JSON
		query, _, _ := strings.Cut(r.Header["X-Amzn-Query-Error"], ";")
		for _, code := range []string{body.Type, query} {
			answers = append(answers, actions.Answer{Code: r.Status, Status: normal(code), Text: body.Message})
		}
		for _, f := range body.Failed {
			answers = append(answers, actions.Answer{Code: 400, Status: normal(f.Code)}, actions.Answer{Code: 500, Status: normal(f.Code)})
		}
	}
	answers = append(answers, actions.Answer{Code: 200, Status: "answer.unreadable"})
	for i := range replies {
		row := actions.Table{replies[i]}
		if !slices.ContainsFunc(answers, func(a actions.Answer) bool {
			_, first := replies[:i].Classify(a)
			_, ok := row.Classify(a)
			return ok && !first
		}) {
			t.Errorf("row %d (%s, %s %d): no answer reaches it", i, replies[i].Name, replies[i].Status, replies[i].Min)
		}
	}
	if _, ok := replies.Classify(actions.Answer{}); !ok {
		t.Error("the last row does not match everything")
	}
}

func TestNormalKeepsCodesOnly(t *testing.T) {
	for got, want := range map[string]string{
		normal("com.amazonaws.sqs#QueueDoesNotExist"):          "QueueDoesNotExist",
		normal("AWS.SimpleQueueService.NonExistentQueue"):      "NonExistentQueue",
		normal("KMS.ThrottlingException"):                      "KMS.ThrottlingException",
		normal("Throttling:http://internal.amazon.com/coral/"): "Throttling",
		normal("a code/with other things"):                     "",
		normal("UnknownError"):                                 "",
		normal(strings.Repeat("A", 65)):                        "",
	} {
		if got != want {
			t.Errorf("normal: got %q, want %q", got, want)
		}
	}
}
