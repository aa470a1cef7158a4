package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

func TestParams(t *testing.T) {
	w := newWorld(t)
	many := make([]string, 11)
	for i := range many {
		many[i] = fmt.Sprintf("%024d", i)
	}
	for name, ids := range map[string][]string{"none": {}, "too many": many, "no id": {"report"}, "upper case": {strings.ToUpper(idA)}, "a path": {"../../../../../../bin/sh"}} {
		_, err := w.action.Prepare(job("j", ids...))
		if _, dead := errors.AsType[*queue.PermanentError](err); !dead || !strings.Contains(err.Error(), `"script"`) {
			t.Errorf("%s: got %v, want it refused with the field", name, err)
		}
	}
	got, err := w.action.Prepare(job("j", idA, idB, idA))
	if err != nil || got.Lane() != "script/"+idA+"+"+idB {
		t.Errorf("twice the same: got %v, %v, want each once", got, err)
	}
}

func TestEnvironmentOfAScript(t *testing.T) {
	w := newWorld(t)
	w.nodes.env = map[string]string{"API_KEY": "the-value", "PATH": "/evil", "OWN_MODE": "daily", "_job_id": "forged"}
	w.nodes.stored = map[string]actions.Definition{"5f5a8f3351d4db99c40dea9e": {Type: "schedule"}}
	out := filepath.Join(t.TempDir(), "out")
	w.script(idA, "env > "+out+"; pwd >> "+out+"; ulimit -c >> "+out)
	j := job("job-7", idA)
	j.ActionID, j.Locked, j.Data = "5f5a8f3351d4db99c40dea9e", true, json.RawMessage(`[{"device":"dev-1","value":1}]`)
	if _, err := w.do(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for _, want := range []string{"API_KEY=the-value", "OWN_MODE=daily", "PATH=" + os.Getenv("PATH"), "HOME=/h", "T_ANALYSIS_CONTEXT=sealpost",
		"T_ANALYSIS_ID=" + idA, "T_ANALYSIS_TOKEN=" + token, `T_ANALYSIS_DATA=[{"device":"dev-1","value":1}]`,
		"TAGOIO_API=http://127.0.0.1:8080", "TAGOIO_SSE=http://127.0.0.1:8080", "_job_id=job-7", "_action_id=5f5a8f3351d4db99c40dea9e",
		"_action_type=schedule", "_action_state=locked", "_device_id=dev-1", w.dir} {
		if !slices.Contains(lines, want) {
			t.Errorf("the script has no %q in:\n%s", want, text)
		}
	}
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "T_ANALYSIS_ENV=") })
	var entries []struct{ Key, Value string }
	if i < 0 || json.Unmarshal([]byte(strings.TrimPrefix(lines[i], "T_ANALYSIS_ENV=")), &entries) != nil {
		t.Fatalf("no T_ANALYSIS_ENV in %s", text)
	}
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.Key
	}
	if want := []string{"API_KEY", "OWN_MODE", "PATH", "_action_id", "_action_state", "_action_type", "_device_id", "_job_id"}; !slices.Equal(keys, want) {
		t.Errorf("T_ANALYSIS_ENV: got %q, want %q", keys, want)
	}
	for _, never := range []string{"SEALPOST", "canary-master", "canary-other", "AWS_", "forged"} {
		if strings.Contains(string(text), never) {
			t.Errorf("the script sees %q:\n%s", never, text)
		}
	}
	if want := []string{idA + " by worker w1 for job job-7"}; !slices.Equal(w.nodes.opened, want) {
		t.Errorf("opened: got %q, want %q", w.nodes.opened, want)
	}
}

func TestAJobOfNoStoredActionAddsItsIDOnly(t *testing.T) {
	w := newWorld(t)
	out := filepath.Join(t.TempDir(), "out")
	w.script(idA, "env | grep ^_ > "+out+"; echo data $T_ANALYSIS_DATA >> "+out)
	if _, err := w.do(t.Context(), job("j", idA)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil || strings.Contains(string(text), "_action") || !strings.Contains(string(text), "_job_id=j\n") || !strings.Contains(string(text), "data []\n") {
		t.Errorf("got %s, %v", text, err)
	}
	gone := job("j", idB)
	gone.ActionID = "5f5a8f3351d4db99c40dea9e"
	w.nodes.elsewhere[idB] = nil
	if _, err := w.do(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	want := []Fact{{"_job_id", "j"}, {"_action_id", gone.ActionID}, {"_action_type", ""}, {"_action_state", "unlocked"}, {"_device_id", ""}}
	if diff := cmp.Diff(w.nodes.told, []Run{{Facts: want}}); diff != "" {
		t.Errorf("of an action that is gone, -got +want:\n%s", diff)
	}
}

// row is one analysis that does not succeed.
type row struct {
	name    string
	prepare func(w *world)
	rule    string
	code    string
	reason  actions.Reason
	text    string
	certain queue.Certainty
}

func exits(text string) func(*world) { return func(w *world) { w.script(idA, text) } }

func TestOutcomes(t *testing.T) {
	rows := []row{
		{"a failure", exits("echo first; echo last words >&2; exit 3"), "failed", "exit 3", actions.Transient, "last words", queue.Rejected},
		{"killed", exits("kill -9 $$"), "killed", "signal 9", actions.Transient, "", queue.Unknown},
		{"out of time", exits("echo at work; sleep 60"), "out-of-time", "timeout", actions.Transient, "its last line: at work", queue.Unknown},
		{"missing", func(w *world) { w.nodes.missing[idA] = ErrNoAnalysis }, "analysis-missing", "analysis.missing", actions.Config, "no analysis", queue.Rejected},
		{"inactive", func(w *world) { w.nodes.missing[idA] = ErrInactive }, "analysis-inactive", "analysis.inactive", actions.Config, "not active", queue.Rejected},
		{"switched off meanwhile", func(w *world) { w.script(idA, ""); w.nodes.openErr = ErrInactive }, "analysis-inactive", "analysis.inactive", actions.Config, "not active", queue.Rejected},
		{"broken seal", func(w *world) { w.nodes.missing[idA] = fmt.Errorf("x: %w", secrets.ErrSealBroken) }, "seal-broken", "store.broken", actions.Config, "seal", queue.Rejected},
		{"sealed", func(w *world) { w.nodes.missing[idA] = secrets.ErrSealed }, "store", "store.away", actions.Transient, "master key", queue.Rejected},
		{"Redis away", func(w *world) { w.nodes.missing[idA] = errors.New("dial canary-address") }, "store", "store.away", actions.Transient, "did not answer", queue.Rejected},
		{"nobody listens", func(w *world) { w.nodes.elsewhere[idA] = ErrNobodyListens }, "nobody-listens", "listen.nobody", actions.Transient, "nobody listens", queue.Rejected},
		{"perhaps taken", func(w *world) { w.nodes.elsewhere[idA] = ErrPerhapsTaken }, "no-answer", "listen.unknown", actions.Ambiguous, "may have", queue.Unknown},
		{"gone before it was told", func(w *world) { w.nodes.elsewhere[idA] = ErrNoAnalysis }, "analysis-missing", "analysis.missing", actions.Config, "no analysis", queue.Rejected},
		{"no directory", func(w *world) { w.action.config.Dir = "" }, "scripts-off", "file.off", actions.Config, "starts no scripts", queue.Rejected},
		{"no file", func(*world) {}, "script-file", "file.missing", actions.Config, "no file " + idA, queue.Rejected},
		{"no interpreter", func(w *world) {
			if err := os.WriteFile(filepath.Join(w.dir, idA), []byte("#!/no/such/thing\n"), 0o700); err != nil {
				w.t.Fatal(err)
			}
		}, "not-started", "start.interpreter", actions.Config, "first line", queue.Rejected},
		{"no program", func(w *world) {
			if err := os.WriteFile(filepath.Join(w.dir, idA), []byte("\x00\x01\x02"), 0o700); err != nil {
				w.t.Fatal(err)
			}
		}, "not-started", "start.format", actions.Config, "no program", queue.Rejected},
		{"too large", func(w *world) { w.script(idA, ""); w.nodes.env["OWN_BIG"] = strings.Repeat("x", 200<<10) }, "too-large", "start.large", actions.Config, "larger", queue.Rejected},
		{"being written", func(w *world) {
			w.script(idA, "")
			f, err := os.OpenFile(filepath.Join(w.dir, idA), os.O_WRONLY, 0)
			if err != nil {
				w.t.Fatal(err)
			}
			w.t.Cleanup(func() { _ = f.Close() })
		}, "machine-full", "start.busy", actions.Transient, "being written", queue.Rejected},
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(c *Config) { c.Timeout = 400 * time.Millisecond })
			tt.prepare(w)
			reply, err := w.do(t.Context(), job("j", idA))
			if err == nil {
				t.Fatal("the job is done")
			}
			if reply.Rule != tt.rule || reply.Code != tt.code || reply.Reason != string(tt.reason) || reply.Certainty != tt.certain || !strings.Contains(reply.Text, tt.text) {
				t.Errorf("reply %+v, want rule %s, code %s, reason %s, %s, text with %q", reply, tt.rule, tt.code, tt.reason, tt.certain, tt.text)
			}
			_, dead := errors.AsType[*queue.PermanentError](err)
			if want := tt.reason == actions.Config; dead != want || (len(reply.Parts) == 1) != want || want && reply.Parts[0].State != queue.PartRefused {
				t.Errorf("got %T %v with parts %+v, want dead: %v, with a refused part", err, err, reply.Parts, want)
			}
			if dead && !strings.Contains(err.Error(), idA) {
				t.Errorf("the error names no analysis: %v", err)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error repeats what it was told: %v", err)
			}
		})
	}
}

func TestADrainEndsAScriptAtOnce(t *testing.T) {
	w := newWorld(t)
	ready := filepath.Join(t.TempDir(), "ready")
	w.script(idA, "trap '' TERM; touch "+ready+"; echo started; while :; do sleep 1; done")
	w.script(idB, "exit 0")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(ready); err == nil {
				cancel(queue.ErrDrainTimeout)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	reply, err := w.do(ctx, job("j", idA))
	if err == nil || reply.Code != statusStopped || reply.Certainty != queue.Unknown {
		t.Errorf("got %+v, %v, want it stopped, unknown", reply, err)
	}
	start := time.Now()
	reply, err = w.do(ctx, job("j", idA)) // when it has ended already
	if err == nil || time.Since(start) > 2*time.Second {
		t.Errorf("got %+v, %v after %v", reply, err, time.Since(start))
	}
}

func TestPartsThatAreDoneAreNotRunAgain(t *testing.T) {
	w := newWorld(t)
	runs := filepath.Join(t.TempDir(), "runs")
	w.script(idA, "echo A >> "+runs)
	w.script(idB, "echo B >> "+runs+"; [ $(grep -c B "+runs+") -gt 1 ] || exit 5")
	w.nodes.missing[idC] = ErrInactive
	j := job("j", idA, idB, idC)
	reply, err := w.do(t.Context(), j)
	if _, dead := errors.AsType[*queue.PermanentError](err); err == nil || dead || reply.Code != "exit 5" {
		t.Fatalf("first attempt: got %+v, %v, want a retry for the one that failed", reply, err)
	}
	want := []queue.Part{{ID: idA, State: queue.PartAccepted, Code: "exit 0"},
		{ID: idC, State: queue.PartRefused, Code: "analysis.inactive", Text: "the analysis is not active"}}
	if diff := cmp.Diff(reply.Parts, want); diff != "" {
		t.Errorf("parts, -got +want:\n%s", diff)
	}
	reply, err = w.do(t.Context(), j, reply.Parts...)
	if _, dead := errors.AsType[*queue.PermanentError](err); !dead || reply.Reason != string(actions.Config) || !strings.Contains(err.Error(), idC) {
		t.Errorf("second attempt: got %+v, %v, want dead for the one that was refused before", reply, err)
	}
	if diff := cmp.Diff(reply.Parts, []queue.Part{{ID: idB, State: queue.PartAccepted, Code: "exit 0"}}); diff != "" {
		t.Errorf("parts, -got +want:\n%s", diff)
	}
	// A retry of the dead letter forgets the refused one.
	w.nodes.missing[idC] = nil
	w.script(idC, "echo C >> "+runs)
	reply, err = w.do(t.Context(), j, want[0], queue.Part{ID: idB, State: queue.PartAccepted})
	if err != nil || reply.Certainty != queue.Accepted {
		t.Errorf("retry: got %+v, %v", reply, err)
	}
	text, err := os.ReadFile(runs)
	if got := strings.Fields(string(text)); err != nil || !slices.Equal(slices.Sorted(slices.Values(got)), []string{"A", "B", "B", "C"}) {
		t.Errorf("runs: got %q, %v", got, err)
	}
	if reply, err := w.do(t.Context(), job("j", idA), want[0]); err != nil || reply.Certainty != queue.Accepted {
		t.Errorf("everything was done before: got %+v, %v", reply, err)
	}
}

func TestAnalysesOfAJobRunSideBySide(t *testing.T) {
	w := newWorld(t)
	meet := t.TempDir()
	ids := make([]string, maxScripts)
	for i := range ids {
		ids[i] = fmt.Sprintf("%024d", i)
		// Each waits until all are there.
		w.script(ids[i], fmt.Sprintf("touch %s/%d; while [ $(ls %s | wc -l) -lt %d ]; do sleep 0.01; done", meet, i, meet, maxScripts))
	}
	if reply, err := w.do(t.Context(), job("j", ids...)); err != nil || len(reply.Parts) != maxScripts {
		t.Errorf("got %+v, %v", reply, err)
	}
}

func TestNoMoreThanSoManyScriptsRunAtOnce(t *testing.T) {
	w := newWorld(t)
	w.action.free = make(chan struct{}, 2)
	log := filepath.Join(t.TempDir(), "log")
	w.script(idA, "echo + >> "+log+"; sleep 0.05; echo - >> "+log)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if _, err := w.do(t.Context(), job(fmt.Sprint("j", i), idA)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	running, most := 0, 0
	for _, c := range string(text) {
		switch c {
		case '+':
			running++
		case '-':
			running--
		}
		most = max(most, running)
	}
	if most > 2 || len(text) != 32 {
		t.Errorf("%d ran at once, want 2 at most, in:\n%s", most, text)
	}
}

func TestTheClaimIsConfirmedBeforeEachStart(t *testing.T) {
	w := newWorld(t)
	out := filepath.Join(t.TempDir(), "out")
	w.script(idA, "touch "+out)
	w.nodes.elsewhere[idB] = nil
	var begun atomic.Int32
	work, err := w.action.Prepare(job("j", idA, idB))
	if err != nil {
		t.Fatal(err)
	}
	_, err = work.Do(t.Context(), queue.NewClaim(job("j", idA, idB), 1, func(context.Context) error {
		begun.Add(1)
		return &queue.HandbackError{Err: errors.New("renew lease")}
	}))
	if _, ok := errors.AsType[*queue.HandbackError](err); !ok || begun.Load() != 2 {
		t.Errorf("got %T %v after %d, want a hand-back after 2", err, err, begun.Load())
	}
	if _, err := os.Stat(out); err == nil || len(w.nodes.told)+len(w.nodes.opened) != 0 {
		t.Errorf("something was started: %q, %v", w.nodes.opened, w.nodes.told)
	}
}
