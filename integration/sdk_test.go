package integration_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/integration/peers"
)

// sdk returns the public JavaScript client from the cache of the checkout, with
// the scripts of ./sdk.
func sdk(t *testing.T) *peers.SDK {
	t.Helper()
	cache, err := filepath.Abs("../.cache/sdk")
	if err != nil {
		t.Fatal(err)
	}
	return peers.NewSDK(t, cache, "sdk")
}

// tapLine is a result of one test in the Test Anything Protocol, which Node
// prints.
var tapLine = regexp.MustCompile(`(?m)^(not )?ok \d+ - (.+)$`)

// script runs a file of tests of Node and reports each as a test of its own.
func script(t *testing.T, s *site, client *peers.SDK, name string, env ...string) {
	t.Helper()
	out, err := client.Command(s.API, env, "--test-reporter=tap", name).CombinedOutput()
	results := tapLine.FindAllStringSubmatch(string(out), -1)
	failed := false
	for _, r := range results {
		t.Run(r[2], func(t *testing.T) {
			if r[1] != "" {
				failed = true
				t.Fail()
			}
		})
	}
	if err != nil || failed || len(results) == 0 {
		t.Errorf("%s: %v with %d results, want exit 0:\n%s", name, err, len(results), out)
	}
}

func TestSDKManagesResources(t *testing.T) {
	client := sdk(t)
	s := newSite(t)
	s.serve()
	script(t, s, client, "resources.test.mjs", "ADMIN_TOKEN="+s.Token)
	if log := s.logs(); strings.Contains(log, "very-secret") {
		t.Errorf("a value is in the log of the server:\n%s", log)
	}
}

func TestSDKSendsByServices(t *testing.T) {
	client := sdk(t)
	postfix := peers.NewPostfix(t, password, peers.PostfixOptions{})
	emulator := fauxqs(t)
	s := newSite(t)
	_, messages := s.providers()
	queue, err := emulator.CreateQueue(t.Context(), "by-service")
	if err != nil {
		t.Fatal(err)
	}
	_, token := s.analysis("sender")
	script(t, s, client, "services.test.mjs", "ANALYSIS_TOKEN="+token,
		"SMTP_SECRET="+asJSON(t, smtpSecret(postfix.Submission, peers.MailUser, password, string(postfix.CA), "starttls")),
		"SQS_SECRET="+asJSON(t, sqsSecret(emulator.Endpoint, queue, password)),
		"SENDGRID_KEY="+sendgridKey, "TWILIO_SID="+twilioSID, "TWILIO_TOKEN="+twilioToken)
	if got := messages.Messages(); len(got) != 3 || got[2].Variables != `{"1":"by the service"}` {
		t.Errorf("Twilio has %+v, want three messages", got)
	}
	wantMails(t, postfix, map[string]int{"by the service": 2, "with HTML": 1})
	if got := receive(t, emulator, queue, 12); len(got) != 12 {
		t.Errorf("the queue has %d messages, want 12: %v", len(got), got)
	}
}

// reportWorld makes what the script analysis.mjs reports on: an analysis, a
// secret that a policy grants it, one that a variable of its own overrides, and
// one that nothing grants.
func reportWorld(s *site, flags ...string) (id, token string) {
	s.t.Helper()
	id, token = s.analysis("report", append(flags, "--tag", "team=ops", "--var", "SHARED=of-the-analysis")...)
	for key, tag := range map[string]string{"GRANTED": "team=ops", "SHARED": "team=ops", "HIDDEN": "team=dev"} {
		if err := s.Run("value-of-"+key, "secret", "put", key, "--tag", tag).Err(); err != nil {
			s.t.Fatal(err)
		}
	}
	err := s.Run("", "policy", "create", "--name", "ops", "--analysis-tag", "team=ops",
		"--allow", "secrets:access", "--secret-tag", "team=ops").Err()
	if err != nil {
		s.t.Fatal(err)
	}
	return id, token
}

func TestSDKAnalysisRunsMasked(t *testing.T) {
	client := sdk(t)
	s := newSite(t)
	s.serve()
	id, _ := reportWorld(s)
	got := s.Run("", "run", "--analysis", id, "--", client.Node, client.Script("analysis.mjs"))
	if err := got.Err(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"granted=[redacted] shared=of-the-analysis hidden=undefined",
		"keys=GRANTED,SHARED scope=[]",
		"id=" + id + " sees=GRANTED,SHARED",
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(got.Stdout), "\n")); diff != "" {
		t.Errorf("output of the script (-want +got):\n%s\n%s", diff, got.Stderr)
	}
}

func TestSDKAnalysisListens(t *testing.T) {
	client := sdk(t)
	s := newSite(t)
	s.serve()
	id, token := reportWorld(s)
	script, err := peers.StartProcess(client.Command(s.API, []string{"T_ANALYSIS_TOKEN=" + token}, "analysis.mjs"),
		filepath.Join(client.Dir, "analysis.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = script.Kill() })
	says := func(text string) {
		t.Helper()
		peers.Eventually(t, soon, "the script to say "+text, func() error {
			if !strings.Contains(script.Log(), text) {
				return fmt.Errorf("it said:\n%s", script.LogTail())
			}
			return nil
		})
	}
	says("is ready")

	run := wire{method: http.MethodPost, path: "/analysis/" + id + "/run", body: `{"scope":[{"variable":"by-hand"}]}`}
	if got := s.wire(run); !got.Status {
		t.Fatalf("run: %+v, want status true", got)
	}
	says(`keys=GRANTED,SHARED scope=[{"variable":"by-hand"}]`)
	// The script's own output is its own affair: nothing is between us and it.
	says("granted=value-of-GRANTED shared=of-the-analysis hidden=undefined")
	says("id=" + id + " sees=GRANTED,SHARED")

	create := wire{method: http.MethodPost, path: "/action",
		body: `{"name":"start","type":"condition","trigger":[],"action":{"type":"script","script":["` + id + `"]}}`}
	var made struct {
		Action string `json:"action"`
	}
	if err := s.wire(create).into(&made); err != nil {
		t.Fatal(err)
	}
	trigger := wire{method: http.MethodPost, path: "/action/" + made.Action + "/trigger", body: `{"data":[{"variable":"by-action"}]}`}
	if got := s.wire(trigger); !got.Status {
		t.Fatalf("trigger: %+v, want status true", got)
	}
	says(`scope=[{"variable":"by-action"}]`)

	s.consoleSays(id, "granted=[redacted] shared=of-the-analysis", "value-of-GRANTED")
}

// consoleSays waits for a line in the console of the analysis, and fails if the
// console has the text that must not be there.
func (s *site) consoleSays(id, line, never string) {
	s.t.Helper()
	var all string
	peers.Eventually(s.t, soon, "the console of the analysis", func() error {
		var info struct {
			Console []string `json:"console"`
		}
		if err := s.wire(wire{path: "/analysis/" + id}).into(&info); err != nil {
			return err
		}
		if all = strings.Join(info.Console, "\n"); !strings.Contains(all, line) {
			return fmt.Errorf("want %q in it, got:\n%s", line, all)
		}
		return nil
	})
	if strings.Contains(all, never) {
		s.t.Errorf("the console shows %q:\n%s", never, all)
	}
}

// analysis makes an analysis by the command line.
func (s *site) analysis(name string, flags ...string) (id, token string) {
	s.t.Helper()
	r := s.Run("", append([]string{"analysis", "create", name}, flags...)...)
	if err := r.Err(); err != nil {
		s.t.Fatal(err)
	}
	id, token, ok := strings.Cut(strings.TrimSpace(r.Stdout), "\n")
	if !ok {
		s.t.Fatalf("analysis create printed %q, want an id and a token", r.Stdout)
	}
	return id, token
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// into decodes the result, or says what was answered instead.
func (a answer) into(v any) error {
	if !a.Status {
		return errors.New(a.Message)
	}
	return json.Unmarshal(a.Result, v)
}
