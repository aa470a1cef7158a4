package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/queue"
)

const goodJob = `{"action":{"type":"note","text":"hello"}}`

func TestEveryRouteIsForItsScopeOnly(t *testing.T) {
	s := newSite(t)
	for _, row := range routes() {
		path := strings.ReplaceAll(row.pattern, "{id}", "NOTHING")
		for _, kind := range []access.Kind{access.Admin, access.Producer, access.Reader, analysisKind} {
			t.Run(fmt.Sprintf("%s %s as %s", row.method, row.pattern, kind), func(t *testing.T) {
				got := s.do(kind, row.method, path, "").status == http.StatusForbidden
				if kind == analysisKind && row.scope.allows(kind) {
					return // a policy decides, see the tests of the resources
				}
				if want := !row.scope.allows(kind); got != want {
					t.Errorf("forbidden: got %v, want %v", got, want)
				}
			})
		}
		t.Run(fmt.Sprintf("%s %s without a token", row.method, row.pattern), func(t *testing.T) {
			if got := s.do("", row.method, path, ""); got.status != 401 && got.status != 429 {
				t.Errorf("status: got %d, want 401 or, by now, 429", got.status)
			}
		})
	}
}

func TestScopesOfTheContract(t *testing.T) {
	table := map[string]string{ // route -> kinds that may
		"POST /jobs":              "admin producer",
		"DELETE /jobs/{id}":       "admin producer",
		"POST /secrets":           "admin",
		"PUT /secrets/{id}":       "admin",
		"DELETE /secrets/{id}":    "admin",
		"POST /secrets/{id}/test": "admin",
		"POST /parked/release":    "admin",
		"POST /dead/retry":        "admin",
		"DELETE /dead":            "admin",
		"GET /tokens":             "admin",
		"GET /parked":             "admin reader",
		"GET /dead":               "admin reader",
		"GET /queue":              "admin reader",
		"GET /jobs/{id}":          "admin producer reader",
	}
	found := 0
	for _, row := range routes() {
		want, ok := table[row.method+" "+row.pattern]
		if !ok {
			continue
		}
		found++
		var got []string
		for _, kind := range []access.Kind{access.Admin, access.Producer, access.Reader} {
			if row.scope.allows(kind) {
				got = append(got, string(kind))
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s %s: got %q, want %q", row.method, row.pattern, strings.Join(got, " "), want)
		}
		if row.scope.allows("nothing") || scope(0).allows(access.Admin) {
			t.Errorf("%s %s: an unknown kind, or a row without scope, is let in", row.method, row.pattern)
		}
	}
	if found != len(table) {
		t.Errorf("routes found: got %d, want %d", found, len(table))
	}
}

func TestRefusals(t *testing.T) {
	s := newSite(t)
	plain := func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }
	latin := func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=latin1") }
	deep := strings.Repeat("[", 1_000_000)
	many := "[" + strings.Repeat(goodJob+",", queue.MaxBatch) + goodJob + "]"
	tests := []struct {
		name, method, path, body string
		change                   func(*http.Request)
		status                   int
		message                  string
	}{
		{"unknown route", "GET", "/nothing", "", nil, 404, "Route Not Found"},
		{"root", "GET", "/", "", nil, 404, "Route Not Found"},
		{"double slash is not redirected", "GET", "//jobs", "", nil, 404, "Route Not Found"},
		{"dots are not redirected", "GET", "/x/../jobs", "", nil, 404, "Route Not Found"},
		{"method that the path has not", "PATCH", "/jobs", "", nil, 405, "GET, POST"},
		{"body that is not JSON", "POST", "/jobs", "nonsense", nil, 400, "JSON"},
		{"body cut off", "POST", "/jobs", `{"action":`, nil, 400, "JSON"},
		{"empty body", "POST", "/jobs", "", nil, 400, "required"},
		{"body of another type", "POST", "/jobs", goodJob, plain, 415, "application/json"},
		{"body of another charset", "POST", "/jobs", goodJob, latin, 415, "UTF-8"},
		{"a million levels", "POST", "/jobs", deep, nil, 400, ""},
		{"a million levels inside a job", "POST", "/jobs", `{"data":` + deep, nil, 400, ""},
		{"job over its limit", "POST", "/jobs", `{"action":{"type":"note","text":"` + strings.Repeat("x", queue.MaxJobBytes) + `"}}`, nil, 400, "at most"},
		{"body over the limit of the route", "POST", "/secrets", `{"value":"` + strings.Repeat("x", smallBody) + `"}`, nil, 413, "limit"},
		{"more jobs than a batch", "POST", "/jobs", many, nil, 400, "1000"},
		{"unknown kind", "POST", "/jobs", `{"action":{"type":"nothing"}}`, nil, 400, "nothing"},
		{"unknown field of an action", "POST", "/jobs", `{"action":{"type":"note","colour":1}}`, nil, 400, "unknown field"},
		{"secret that is not there", "POST", "/jobs", `{"action":{"type":"note","smtp_secret":"NOTHING"}}`, nil, 400, "no such secret"},
		{"secret of another type", "POST", "/jobs", `{"action":{"type":"note","smtp_secret":"TEXT"}}`, nil, 400, "of type text"},
		{"unknown field of a job", "POST", "/jobs", `{"action":{"type":"note"},"colour":1}`, nil, 400, "colour"},
		{"neither action nor id", "POST", "/jobs", `{}`, nil, 400, "action"},
		{"bad job in a batch", "POST", "/jobs", "[" + goodJob + `,{}]`, nil, 400, "job 1"},
		{"unknown job", "GET", "/jobs/nothing", "", nil, 404, "Job Not Found"},
		{"wait that is no duration", "GET", "/jobs/nothing?wait=soon", "", nil, 400, "30s"},
		{"unknown state", "GET", "/jobs?state=lost", "", nil, 400, "ready"},
		{"limit out of range", "GET", "/jobs?limit=0", "", nil, 400, "limit"},
		{"cancel of an unknown job", "DELETE", "/jobs/nothing", "", nil, 404, "Job Not Found"},
		{"unknown secret", "GET", "/secrets/NOTHING", "", nil, 404, "Secret Not Found"},
		{"secret without a value", "POST", "/secrets", `{"key":"A"}`, nil, 400, "required"},
		{"secret with an unknown field", "POST", "/secrets", `{"key":"A","value":"123456","colour":1}`, nil, 400, "colour"},
		{"secret with a value of another type", "POST", "/secrets", `{"key":"A","value":123456}`, nil, 400, ""},
		{"secret with a bad key", "POST", "/secrets", `{"key":"a b","value":"123456"}`, nil, 400, "key"},
		{"secret that is too short", "POST", "/secrets", `{"key":"A","value":"12345"}`, nil, 400, ""},
		{"order by another field", "GET", "/secrets?orderBy=value,asc", "", nil, 400, "orderBy"},
		{"amount out of range", "GET", "/secrets?amount=10001", "", nil, 400, "amount"},
		{"release without a secret", "POST", "/parked/release", `{}`, nil, 400, "secret"},
		{"retry of nothing", "POST", "/dead/retry", `{"ids":[]}`, nil, 400, "ids"},
	}
	s.mustDo("POST", "/secrets", `{"key":"TEXT","value":"123456"}`, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			change := tt.change
			if change == nil {
				change = func(*http.Request) {}
			}
			got := s.do(access.Admin, tt.method, tt.path, tt.body, change)
			if got.status != tt.status || got.ok || !strings.Contains(got.message, tt.message) || got.message == "" {
				t.Errorf("got %d %q, want %d and %q in it", got.status, got.message, tt.status, tt.message)
			}
			if strings.Contains(got.body, "123456") {
				t.Errorf("the answer quotes a value: %s", got.body)
			}
		})
	}
	if log := s.log.String(); log != "" {
		t.Errorf("mistakes of clients are logged: %s", log)
	}
}

func TestTrailingSlashIsServed(t *testing.T) {
	s := newSite(t)
	if got := s.do(access.Admin, "GET", "/secrets/", ""); got.status != http.StatusOK {
		t.Errorf("GET /secrets/: got %d %s, want 200", got.status, got.body)
	}
}

func TestJobsAreEnqueuedAndShown(t *testing.T) {
	s := newSite(t)
	var one receiptView
	s.mustDo("POST", "/jobs", `{"id":"order-1","action":{"type":"note"}}`, &one)
	if want := (receiptView{ID: "order-1"}); one != want {
		t.Errorf("receipt: got %+v, want %+v", one, want)
	}
	var list []receiptView
	s.mustDo("POST", "/jobs", `[{"id":"order-1","action":{"type":"note"}},`+goodJob+`]`, &list)
	if len(list) != 2 || list[0] != (receiptView{ID: "order-1", Duplicate: true}) || list[1].Duplicate || list[1].ID == "" {
		t.Errorf("receipts: got %+v, want a duplicate and a new one", list)
	}
	var page struct {
		Jobs   []queue.Status `json:"jobs"`
		Cursor string         `json:"cursor"`
	}
	s.mustDo("GET", "/jobs?state=ready", "", &page)
	if len(page.Jobs) != 2 || page.Jobs[0].Kind != "note" {
		t.Errorf("ready jobs: got %+v, want two of kind note", page.Jobs)
	}
	s.mustDo("DELETE", "/jobs/order-1", "", nil)
	var status struct {
		ID    string `json:"id"`
		State string `json:"state"`
	}
	s.mustDo("GET", "/jobs/order-1?wait=5s", "", &status)
	if status.State != "cancelled" {
		t.Errorf("state: got %q, want cancelled", status.State)
	}
	var stats queue.Stats
	s.mustDo("GET", "/queue", "", &stats)
	if got := stats.Jobs[queue.Ready]; got != 1 {
		t.Errorf("ready: got %d, want 1", got)
	}
}

func TestABadJobRefusesTheWholeBatch(t *testing.T) {
	s := newSite(t)
	if got := s.do(access.Producer, "POST", "/jobs", "["+goodJob+`,{"action":{"type":"note"},"x":1}]`); got.status != 400 {
		t.Fatalf("status: got %d, want 400", got.status)
	}
	var stats queue.Stats
	s.mustDo("GET", "/queue", "", &stats)
	if got := stats.Jobs[queue.Ready]; got != 0 {
		t.Errorf("ready: got %d, want 0", got)
	}
}

func TestIDsOfDueTimesAreNotForProducers(t *testing.T) {
	s := newSite(t)
	for _, kind := range []access.Kind{access.Producer, access.Admin} {
		got := s.do(kind, "POST", "/jobs", `{"id":"at:5f5a8f3351d4db99c40dea9e:1800000000","action":{"type":"note"}}`)
		if got.status != 400 || !strings.Contains(got.body, "must not begin with at:") {
			t.Errorf("as %s: got %d %s, want 400: whoever takes the id first suppresses the job of the due time", kind, got.status, got.body)
		}
	}
	s.mustDo("POST", "/jobs", `{"id":"at-noon","action":{"type":"note"}}`, nil)
}

func TestSecretsNeverComeBack(t *testing.T) {
	s := newSite(t)
	const value = "canary-value-4711"
	var made struct {
		ID string `json:"id"`
	}
	s.mustDo("POST", "/secrets", `{"key":"mail_a","value":"`+value+`","tags":[{"key":"team","value":"ops"}]}`, &made)
	var view secretView
	s.mustDo("GET", "/secrets/"+made.ID, "", &view)
	view.CreatedAt, view.UpdatedAt = "", ""
	want := secretView{ID: made.ID, Key: "MAIL_A", Type: "text", Version: 1, ValueLength: len(value)}
	want.Tags = view.Tags
	if diff := cmp.Diff(want, view); diff != "" {
		t.Errorf("secret (-want +got):\n%s", diff)
	}
	var text string
	s.mustDo("PUT", "/secrets/MAIL_A", `{"value":"`+value+`-2","key":"ignored"}`, &text)
	if text != "Successfully Updated" {
		t.Errorf("update: got %q, want the text that clients know", text)
	}
	for _, kind := range []access.Kind{access.Admin, access.Reader} {
		for _, path := range []string{"/secrets", "/secrets/" + made.ID, "/secrets/MAIL_A", "/audit", "/queue"} {
			if got := s.do(kind, "GET", path, ""); strings.Contains(got.body, value) && got.status < 500 {
				t.Errorf("GET %s as %s shows the value: %s", path, kind, got.body)
			}
		}
	}
	if got := s.do(access.Admin, "POST", "/secrets", `{"key":"MAIL_A","value":"`+value+`"}`); got.status != 409 || strings.Contains(got.body, value) {
		t.Errorf("second create: got %d %s, want 409 without the value", got.status, got.body)
	}
	s.mustDo("DELETE", "/secrets/MAIL_A", "", &text)
	if text != "Successfully Removed" {
		t.Errorf("delete: got %q, want the text that clients know", text)
	}
}

func TestPlaceholderIsNotTakenForAValue(t *testing.T) {
	s := newSite(t)
	s.mustDo("POST", "/secrets", `{"key":"A","value":"first-value"}`, nil)
	if got := s.do(access.Admin, "PUT", "/secrets/A", `{"value":"[redacted]"}`); got.status != 400 {
		t.Errorf("PUT of the placeholder: got %d, want 400", got.status)
	}
	var view secretView
	s.mustDo("GET", "/secrets/A", "", &view)
	if view.Version != 1 {
		t.Errorf("version: got %d, want 1", view.Version)
	}
}

func TestSecretsArePaged(t *testing.T) {
	s := newSite(t)
	for i := range 5 {
		s.mustDo("POST", "/secrets", fmt.Sprintf(`{"key":"K%d","value":"value-%d"}`, i, i), nil)
	}
	tests := []struct{ name, query, want string }{
		{"all in order", "", "K0 K1 K2 K3 K4"},
		{"first page", "?page=1&amount=2", "K0 K1"},
		{"last page is short", "?page=3&amount=2", "K4"},
		{"beyond the last page", "?page=4&amount=2", ""},
		{"descending", "?page=1&amount=2&orderBy=key%2Cdesc", "K4 K3"},
		{"last descending page", "?page=3&amount=2&orderBy=key,desc", "K0"},
		{"beyond the last descending page", "?page=4&amount=2&orderBy=key,desc", ""},
		{"fields as clients send them", "?fields%5B0%5D=id&fields%5B1%5D=key&orderBy=key%2Casc", "K0 K1 K2 K3 K4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			views := []secretView(nil)
			s.mustDo("GET", "/secrets"+tt.query, "", &views)
			var keys []string
			for _, v := range views {
				keys = append(keys, v.Key)
			}
			if got := strings.Join(keys, " "); got != tt.want || views == nil {
				t.Errorf("got %q (nil: %v), want %q", got, views == nil, tt.want)
			}
		})
	}
}

func TestSecretIsTested(t *testing.T) {
	s := newSite(t)
	s.mustDo("POST", "/secrets", `{"key":"T","value":"only-text"}`, nil)
	if got := s.do(access.Admin, "POST", "/secrets/T/test", ""); got.status != 409 {
		t.Errorf("test of a text: got %d, want 409", got.status)
	}
	value, err := json.Marshal(`{"smtp_server":"mail.test","username":"u","password":"pw-4711"}`)
	if err != nil {
		t.Fatal(err)
	}
	s.mustDo("POST", "/secrets", `{"key":"M","value":`+string(value)+`}`, nil)
	var view testView
	s.mustDo("POST", "/secrets/M/test", "", &view)
	if view.OK || len(view.Steps) != 2 {
		t.Errorf("test: got %+v, want two steps, the last failed", view)
	}
}
