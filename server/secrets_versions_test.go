package server

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets"
)

// mailValue is a value of type smtp in a JSON body.
func mailValue(password string) string {
	return fmt.Sprintf(`"value":"{\"smtp_server\":\"mail.test\",\"username\":\"u\",\"password\":\"%s\"}"`, password)
}

// asks sends a request of an admin and compares status and message.
func (s *site) asks(method, path, body string, status int, message string) answer {
	s.t.Helper()
	got := s.do(access.Admin, method, path, body)
	if got.status != status || !strings.Contains(got.message, message) || message == "" && got.message != "" {
		s.t.Errorf("%s %s: got %d %q, want %d %q", method, path, got.status, got.message, status, message)
	}
	if strings.Contains(got.body, "canary") {
		s.t.Errorf("%s %s shows a value: %s", method, path, got.body)
	}
	return got
}

func TestVersionsOverTheAPI(t *testing.T) {
	s := newSite(t)
	s.store.OnChange(func(ctx context.Context, ref secrets.Ref) { Released(ctx, int(ref.Version)-2) })
	s.asks("POST", "/secrets", `{"key":"MAIL",`+mailValue("canary-one")+`}`, 200, "")
	s.asks("PUT", "/secrets/MAIL", `{`+mailValue("canary-two")+`}`, 200, "")
	s.asks("PUT", "/secrets/MAIL", `{`+mailValue("canary-three")+`}`, 200, "1 parked job goes on")
	s.asks("POST", "/secrets/MAIL/promote", "", 404, "no such version: MAIL has no staged version")
	s.asks("POST", "/secrets/MAIL/test?staged=true", "", 404, "no staged version")
	s.asks("PUT", "/secrets/MAIL", `{"stage":true,`+mailValue("canary-four")+`}`, 200, "Version 4 is staged; test it, then promote it")
	s.asks("POST", "/secrets/MAIL/promote", "", 409, "never tested; test it first")
	got := s.asks("POST", "/secrets/MAIL/test?version=4", "", 200, "")
	if !strings.Contains(string(got.result), `"ok":false`) {
		t.Errorf("test of the staged version: got %s", got.result)
	}
	s.asks("POST", "/secrets/MAIL/promote", "", 409, "the last test of version 4 of MAIL failed at auth")
	s.asks("POST", "/secrets/MAIL/test?version=9", "", 404, "No version 9 of MAIL to test")
	s.asks("POST", "/secrets/MAIL/test?version=x", "", 400, "version must be a number")
	s.asks("POST", "/secrets/MAIL/test", "", 200, "")
	var list []versionView
	s.mustDo("GET", "/secrets/MAIL/versions", "", &list)
	if len(list) != 3 || list[0].State != "staged" || list[0].Verdict == nil || list[0].Verdict.Step != "auth" || list[0].Destination["server"] != "mail.test" ||
		!strings.HasPrefix(list[0].CreatedBy, "admin ") || list[1].Version != 3 || list[1].Verdict == nil || list[2].State != "previous" {
		t.Errorf("versions: got %+v", list)
	}
	// Staged again, by the key, and found good.
	s.asks("POST", "/secrets", `{"key":"mail","stage":true,`+mailValue("canary-five")+`}`, 200, "Version 5 is staged")
	ref, err := s.store.Staged(t.Context(), "MAIL")
	if err == nil {
		err = s.store.NoteVerdict(t.Context(), "a", ref, secrets.Verdict{OK: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	s.asks("POST", "/secrets/MAIL/promote", "", 200, "3 parked jobs go on")
	got = s.asks("POST", "/secrets/MAIL/rollback", "", 200, "4 parked jobs go on")
	if !strings.Contains(string(got.result), `"version":6`) {
		t.Errorf("rollback: got %s", got.result)
	}
	s.asks("POST", "/secrets", `{"key":"MAIL","stage":true,`+mailValue("canary-six")+`}`, 200, "Version 7 is staged")
	s.asks("POST", "/secrets/MAIL/promote?force=true", "", 200, "5 parked jobs go on")
	s.asks("PUT", "/secrets/MAIL", `{"stage":true,`+mailValue("canary-six")+`}`, 200, "Version 8 is staged")
	s.asks("POST", "/secrets/MAIL/discard", "", 200, "")
	s.asks("POST", "/secrets/MAIL/discard", "", 404, "no staged version")
}

func TestWhatIsNotStaged(t *testing.T) {
	s := newSite(t)
	s.asks("POST", "/secrets", `{"key":"KEY","value":"canary-text"}`, 200, "")
	s.asks("POST", "/secrets", `{"key":"NONE","stage":true,"value":"canary-text"}`, 404, "store the first one without stage")
	s.asks("PUT", "/secrets/KEY", `{"stage":true}`, 400, "value is required")
	s.asks("PUT", "/secrets/KEY", `{"stage":true,"value":"canary-text","tags":[]}`, 400, "tags are not staged")
	s.asks("PUT", "/secrets/KEY", `{"stage":true,`+mailValue("canary-mail")+`}`, 409, "store it without stage to change the type")
	s.asks("POST", "/secrets/KEY/test", "", 409, "does not say whose key it is")
	s.asks("POST", "/secrets/KEY/test?kind=sms-twilio", "", 409, "cannot be tested without sending")
	s.asks("POST", "/secrets/KEY/test?kind=nothing", "", 400, "kind names none of")
	s.asks("POST", "/secrets/KEY/rollback", "", 404, "no version before 1 of KEY is kept")

	// An analysis without a policy, and a reader, change nothing.
	for kind, status := range map[access.Kind]int{analysisKind: 403, access.Reader: 403} {
		for _, path := range []string{"/secrets", "/secrets/KEY"} {
			method := map[bool]string{true: "POST", false: "PUT"}[path == "/secrets"]
			if got := s.do(kind, method, path, `{"key":"KEY","stage":true,"value":"canary-other"}`); got.status != status {
				t.Errorf("%s %s as %s: got %d %s", method, path, kind, got.status, got.body)
			}
		}
	}
	if list, err := s.store.Versions(t.Context(), "KEY"); err != nil || len(list) != 1 {
		t.Errorf("versions: got %+v, %v, want the current one alone", list, err)
	}
}
