package integration_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/integration/peers"
)

// scripts makes a directory of scripts for a worker.
func scripts(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(peers.Dir(t), "scripts")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// onTago makes an analysis that workers start.
var onTago = []string{"--run-on", "tago"}

// place writes the script of an analysis.
func place(t *testing.T, dir, id, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, id+".sh"), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func scriptJob(ids ...string) string {
	return job(map[string]any{"type": "script", "script": ids}, map[string]any{"data": []map[string]any{{"variable": "v", "device": "dev-1"}}})
}

func TestAWorkerStartsAScript(t *testing.T) {
	s := newSite(t)
	dir := scripts(t)
	s.serve("SEALPOST_SCRIPT_DIR=" + dir)
	id, token := reportWorld(s, onTago...)
	seen := filepath.Join(s.Dir, "seen")
	place(t, dir, id, "env > "+seen+"; ulimit -c >> "+seen+`
echo "granted is $GRANTED, shared is $SHARED, data is $T_ANALYSIS_DATA"
printf %s "$GRANTED" | base64; echo token $T_ANALYSIS_TOKEN >&2
echo done`)
	st := s.becomes(s.send(scriptJob(id))[0], "done")
	if got := st.Last(); got.Code != "exit 0" || got.Text != "done" || got.Certainty != "accepted" {
		t.Errorf("attempt: got %+v, want exit 0 and the last line", got)
	}
	s.consoleSays(id, "granted is [redacted], shared is of-the-analysis", "value-of-GRANTED")
	s.consoleSays(id, "token [redacted]", token)
	text, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"GRANTED=value-of-GRANTED\n", "T_ANALYSIS_ID=" + id + "\n", "T_ANALYSIS_TOKEN=" + token + "\n",
		"TAGOIO_API=" + s.API + "\n", "_job_id=" + st.ID + "\n", "\n0\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the script lacks %q in:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "SEALPOST_") || strings.Contains(string(text), "value-of-HIDDEN") {
		t.Errorf("the script sees what is the worker's:\n%s", text)
	}
	if log := s.logs(); strings.Contains(log, "value-of-") {
		t.Errorf("a value is in the log:\n%s", log)
	}
	audit := s.wire(wire{path: "/audit?limit=20"})
	if want := `"why":"job ` + st.ID + `"`; !strings.Contains(strings.ReplaceAll(string(audit.Result), " ", ""), strings.ReplaceAll(want, " ", "")) {
		t.Errorf("audit: got %s, want the opening for the job", audit.Result)
	}
}

func TestAScriptOfAStoredAction(t *testing.T) {
	s := newSite(t)
	dir := scripts(t)
	s.serve("SEALPOST_SCRIPT_DIR=" + dir)
	good, _ := s.analysis("good", onTago...)
	bad, _ := s.analysis("bad", onTago...)
	runs := filepath.Join(s.Dir, "runs")
	place(t, dir, good, `echo "$_action_id $_action_type $_action_state $_device_id" >> `+runs)
	var made struct {
		Action string `json:"action"`
	}
	create := wire{method: http.MethodPost, path: "/action",
		body: `{"name":"both","type":"condition","trigger":[],"action":{"type":"script","script":["` + good + `","` + bad + `"]}}`}
	if err := s.wire(create).into(&made); err != nil {
		t.Fatal(err)
	}
	var sent struct {
		ID string `json:"id"`
	}
	trigger := wire{method: http.MethodPost, path: "/action/" + made.Action + "/trigger", body: `{"data":[{"variable":"v","device":"dev-1"}]}`}
	if err := s.wire(trigger).into(&sent); err != nil {
		t.Fatal(err)
	}
	st := s.becomes(sent.ID, "dead")
	if got := st.Last(); got.Code != "file.missing" || got.Reason != "config" {
		t.Errorf("attempt: got %+v, want the missing file", got)
	}
	place(t, dir, bad, "exit 0")
	if err := s.Run("", "dead", "retry", sent.ID).Err(); err != nil {
		t.Fatal(err)
	}
	s.becomes(sent.ID, "done")
	text, err := os.ReadFile(runs)
	if want := made.Action + " condition unlocked dev-1\n"; err != nil || string(text) != want {
		t.Errorf("the good one ran as %q, %v, want once as %q", text, err, want)
	}
}

func TestSIGTERMEndsAScript(t *testing.T) {
	s := newSite(t)
	dir := scripts(t)
	s.serve("SEALPOST_ROLES=api")
	worker := s.serve("SEALPOST_ROLES=worker", lease, "SEALPOST_GRACE=1s", "SEALPOST_SCRIPT_DIR="+dir)
	id, _ := s.analysis("slow", onTago...)
	pid := filepath.Join(s.Dir, "pid")
	place(t, dir, id, "trap '' TERM; [ -e "+pid+" ] && exit 0; echo $$ > "+pid+".new; mv "+pid+".new "+pid+"; while :; do sleep 1; done")
	sent := s.send(scriptJob(id))[0]
	peers.Eventually(t, soon, "the script to run", func() error { _, err := os.Stat(pid); return err })
	began := time.Now()
	if err := worker.Stop(soon); err != nil {
		t.Errorf("the worker ended with %v, want exit code 0", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the worker took %v to end, want about the grace of 1s", took)
	}
	number, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%s/cmdline", strings.TrimSpace(string(number)))); err == nil && len(text) > 0 {
		t.Errorf("the script still runs: %q", text)
	}
	s.serve("SEALPOST_ROLES=worker", lease, "SEALPOST_SCRIPT_DIR="+dir)
	if st := s.becomes(sent, "done"); st.AttemptCount > 2 {
		t.Errorf("got %d attempts", st.AttemptCount)
	}
}

func TestAnAnalysisThatNobodyRunsIsNotLost(t *testing.T) {
	s := newSite(t)
	s.serve()
	id, token := s.analysis("away")
	sent := s.send(scriptJob(id))[0]
	st := s.becomes(sent, "delayed")
	if got := st.Last(); got.Code != "listen.nobody" || got.Reason != "transient" {
		t.Errorf("attempt: got %+v, want that nobody listens", got)
	}
	resp, err := s.open(wire{path: "/events?channels=analysis_trigger", token: token})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s.becomes(sent, "done")
}

func TestSDKAnalysisIsStartedByAWorker(t *testing.T) {
	client := sdk(t)
	s := newSite(t)
	dir := scripts(t)
	s.serve("SEALPOST_SCRIPT_DIR=" + dir)
	id, _ := reportWorld(s, onTago...)
	place(t, dir, id, "exec "+client.Node+" "+client.Script("analysis.mjs"))
	s.becomes(s.send(scriptJob(id))[0], "done")
	s.consoleSays(id, "granted=[redacted] shared=of-the-analysis hidden=undefined", "value-of-GRANTED")
	s.consoleSays(id, "keys=GRANTED,SHARED,_job_id scope=", "value-of-GRANTED")
	s.consoleSays(id, "id="+id+" sees=GRANTED,SHARED", "value-of-GRANTED")
}
