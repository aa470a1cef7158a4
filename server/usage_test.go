package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/access"
)

func TestUsageNamesActionsAnalysesAndJobs(t *testing.T) {
	s := newSite(t)
	id := s.put("MAIL", smtpValue)
	s.put("OTHER", smtpValue)
	action := s.action(`{"name":"warn","action":{"type":"note","text":"x","smtp_secret":"` + id + `"}}`)
	analysis := s.tokenID[analysisKind]
	s.mustDo("POST", "/am", `{"name":"grant","targets":[["analysis"]],"permissions":[{"effect":"allow","action":["access"],"resource":["secrets","id","`+id+`"]}]}`, nil)
	for _, job := range []string{
		`{"action":{"type":"note","text":"a","smtp_secret":"mail"}}`, // keys are of any case
		`{"action":{"type":"note","text":"a","smtp_secret":"OTHER"}}`,
		`{"action":{"type":"note","text":"a"}}`,
		`{"action_id":"` + action + `"}`,
		`{"action_id":"` + action + `","not_before":"2030-01-01T00:00:00Z"}`,
	} {
		s.mustDo("POST", "/jobs", job, nil)
	}
	var got usageView
	s.mustDo("GET", "/secrets/MAIL/usage", "", &got)
	want := usageView{
		Actions: []namedView{{action, "warn"}}, Analyses: []namedView{{analysis, "test-analysis"}},
		Jobs: jobsUse{Ready: 2, Delayed: 1, Complete: true},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
	a := s.do(access.Admin, http.MethodDelete, "/secrets/MAIL?force=false", "")
	says := "MAIL is in the environment of test-analysis and used by the actions warn and named by 3 jobs that are not done; nothing was removed"
	if a.status != http.StatusConflict || !strings.HasPrefix(a.message, says) {
		t.Errorf("got %d %q, want 409 %q", a.status, a.message, says)
	}
	s.mustDo("GET", "/secrets/OTHER/usage", "", &got)
	if got.Jobs.Ready != 1 || len(got.Actions) != 0 {
		t.Errorf("OTHER: got %+v", got)
	}
	if a := s.do(access.Producer, http.MethodGet, "/secrets/MAIL/usage", ""); a.status != http.StatusForbidden {
		t.Errorf("a producer: got %d %s", a.status, a.body)
	}
}

func TestTheTypeOfASecretInUseDoesNotChangeUnasked(t *testing.T) {
	s := newSite(t)
	used, free := s.put("USED", smtpValue), s.put("FREE", smtpValue)
	s.action(`{"name":"warn","action":{"type":"note","text":"x","smtp_secret":"USED"}}`)
	body := asJSON(t, map[string]string{"type": "text", "value": "a-long-text"})
	a := s.do(access.Admin, http.MethodPut, "/secrets/"+used+"?force=false", body)
	if a.status != http.StatusConflict || !strings.Contains(a.message, "USED is of type smtp, the new value of type text, and it is used by the actions warn") ||
		strings.Contains(a.body, "a-long-text") {
		t.Errorf("in use: got %d %s", a.status, a.body)
	}
	for _, tt := range []struct{ name, path string }{
		{"not in use", "/secrets/" + free + "?force=false"},
		{"in use and asked for", "/secrets/" + used + "?force=true"},
		{"as clients send it", "/secrets/" + used},
	} {
		if a := s.do(access.Admin, http.MethodPut, tt.path, body); !a.ok {
			t.Errorf("%s: got %d %s", tt.name, a.status, a.body)
		}
	}
	var view secretView
	s.mustDo("GET", "/secrets/USED", "", &view)
	if view.Type != "text" || view.Version != 3 {
		t.Errorf("got %+v", view)
	}
}

func TestUsageStopsCountingSomewhere(t *testing.T) {
	s := newSite(t)
	s.put("MAIL", smtpValue)
	var jobs []string
	for range 1000 {
		jobs = append(jobs, `{"action":{"type":"note","text":"a","smtp_secret":"MAIL"}}`)
	}
	batch := "[" + strings.Join(jobs, ",") + "]"
	for range maxJobsRead/1000 + 1 {
		s.mustDo("POST", "/jobs", batch, nil)
	}
	var got usageView
	s.mustDo("GET", "/secrets/MAIL/usage", "", &got)
	if got.Jobs.Complete || got.Jobs.Ready < maxJobsRead {
		t.Errorf("got %+v, want at least %d and the word that there are more", got.Jobs, maxJobsRead)
	}
	if says := got.says(); says != fmt.Sprintf("named by %d or more jobs that are not done", got.Jobs.Ready) {
		t.Errorf("got %q", says)
	}
}
