package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue/queuetest"
	"github.com/sealpost/sealpost/secrets"
)

var update = flag.Bool("update", false, "rewrite testdata/golden")

func TestMain(m *testing.M) {
	// The scripts run this test binary as the program, in processes of their own.
	testscript.Main(m, map[string]func(){"sealpost": main})
}

// waitLimit is for a process to start or a job to end on a busy machine.
const waitLimit = 30 * time.Second

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("NO_COLOR", "1")
			env.Values[mailKey{}] = &mailHolder{}
			// Scripts run in directories of their own.
			dir, err := filepath.Abs(filepath.Join("testdata", "golden"))
			if err != nil {
				return err
			}
			env.Setenv("GOLDEN", dir)
			env.Setenv("EXAMPLES", filepath.Join(dir, "..", "..", "..", "..", "examples"))
			return ports(env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"redis": startRedis, "replica": startReplica, "masterkey": masterKey, "ready": ready, "setenv": setenv,
			"golden": golden, "mailsink": mailSink, "mails": mails, "holds": holds, "stall": stall, "tlscert": tlsCert, "devtoken": devToken, "setref": setref, "setline": setLine, "settled": settled, "running": running, "addjob": addJob, "exits": exits,
		},
	})
}

// ports gives the script's processes addresses of their own.
func ports(env *testscript.Env) error {
	for _, name := range []string{"SEALPOST_API_ADDR", "SEALPOST_OPS_ADDR"} {
		port, err := queuetest.FreePort()
		if err != nil {
			return err
		}
		env.Setenv(name, "127.0.0.1:"+strconv.Itoa(port))
	}
	env.Setenv("SEALPOST_URL", "http://"+env.Getenv("SEALPOST_API_ADDR"))
	env.Setenv("SEALPOST_ALLOW_NET", "127.0.0.0/8")
	return nil
}

// startRedis starts a redis-server for the script: redis [option value]...
func startRedis(ts *testscript.TestScript, _ bool, args []string) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		ts.Fatalf("redis-server is not installed")
	}
	port, err := queuetest.FreePort()
	ts.Check(err)
	dir := ts.MkAbs("redis")
	ts.Check(os.MkdirAll(dir, 0o700))
	options := []string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "yes"}
	cmd := exec.Command(binary, append(options, args...)...)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	ts.Setenv("SEALPOST_REDIS_URL", "redis://"+addr+"/0")
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	poll(ts, "redis-server", func() bool { return rdb.Ping(context.Background()).Err() == nil })
}

// poll waits until done, or fails the script.
func poll(ts *testscript.TestScript, what string, done func() bool) {
	for deadline := time.Now().Add(waitLimit); ; {
		if done() {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s: not within %v", what, waitLimit)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// masterKey writes a new master key: masterkey FILE
func masterKey(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(path, []byte(secrets.GenerateMasterKey().Reveal()+"\n"), 0o600))
	ts.Setenv("SEALPOST_MASTER_KEY_FILE", path)
}

// ready waits until /readyz answers this status: ready [503 TEXT]
func ready(ts *testscript.TestScript, _ bool, args []string) {
	want, text := "200", ""
	if len(args) == 2 {
		want, text = args[0], args[1]
	}
	poll(ts, "ready", func() bool {
		resp, err := http.Get("http://" + ts.Getenv("SEALPOST_OPS_ADDR") + "/readyz?verbose")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body := make([]byte, 64<<10)
		n, _ := resp.Body.Read(body)
		return strconv.Itoa(resp.StatusCode) == want && strings.Contains(string(body[:n]), text)
	})
}

// setenv keeps what the last command printed: setenv NAME
func setenv(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// setLine keeps one line of what the last command printed: setline NAME N
func setLine(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	lines := strings.Split(ts.ReadFile("stdout"), "\n")
	if n < 1 || n > len(lines) {
		ts.Fatalf("stdout has no line %d", n)
	}
	ts.Setenv(args[0], lines[n-1])
}

// setref keeps the ref of the first job of the list that was printed: setref NAME
func setref(ts *testscript.TestScript, _ bool, args []string) {
	var list []jobStatus
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &list))
	if len(list) == 0 {
		ts.Fatalf("the list is empty")
	}
	ts.Setenv(args[0], list[0].Ref)
}

// exits says with which code the program ends: exits CODE ARGS...
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("sealpost", args[1:]...)
	code := 0
	if exit, ok := err.(*exec.ExitError); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code: got %d, want %s", code, args[0])
	}
}

// varying is text of the output that differs between runs.
func varying() []struct {
	find    *regexp.Regexp
	replace string
} {
	return []struct {
		find    *regexp.Regexp
		replace string
	}{
		{regexp.MustCompile(`"(duration_ms|idle_seconds|ready|running|delayed|parked|dead)": [0-9.e-]*[1-9][0-9.e-]*`), `"$1": NUMBER`},
		{regexp.MustCompile(`"(enqueue_per_second|enqueue_seconds|drain_per_second|drain_seconds|p50_ms|p99_ms|max_ms|ping_ms|paced_per_second|paced_seconds|client_cpu_us_per_job|redis_cpu_us_per_job|bytes_per_queued_job)": [0-9.e-]*[1-9][0-9.e-]*`), `"$1": NUMBER`},
		{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
		{regexp.MustCompile(`q0-\d{13}-\d+`), "JOB"},
		{regexp.MustCompile(`"[0-9a-f]{24}"`), `"ID"`},
		{regexp.MustCompile(`"a-[0-9a-f-]{36}"`), `"TOKEN"`},
		{regexp.MustCompile(`"id": "[A-Za-z0-9_-]{11}"`), `"id": "TOKEN-ID"`},
		{regexp.MustCompile(`"admin [A-Za-z0-9_-]{11}"`), `"admin TOKEN-ID"`},
		{regexp.MustCompile(`"ca_sha256": "[0-9a-f]{64}"`), `"ca_sha256": "HASH"`},
		{regexp.MustCompile(`"value_length": [1-9]\d*`), `"value_length": NUMBER`},
		{regexp.MustCompile(`"(worker|name)": "[^"]*-\d+-[0-9a-f]{8}[^"]*"`), `"$1": "WORKER"`},
		{regexp.MustCompile(`check value [0-9a-f]{8}`), "check value HASH"},
		{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:PORT"},
		{regexp.MustCompile(`"(smtp_port|server_port|port)": "?\d+"?`), `"$1": PORT`},
	}
}

// golden compares what the last command printed with testdata/golden/NAME, with
// what differs between runs taken out: golden NAME
func golden(ts *testscript.TestScript, _ bool, args []string) {
	got := ts.ReadFile("stdout")
	var any any
	if err := json.Unmarshal([]byte(got), &any); err != nil && strings.HasSuffix(args[0], ".json") {
		ts.Fatalf("stdout is not JSON: %v", err)
	}
	for _, v := range varying() {
		got = v.find.ReplaceAllString(got, v.replace)
	}
	path := filepath.Join(ts.Getenv("GOLDEN"), args[0])
	if *update {
		ts.Check(os.WriteFile(path, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	ts.Check(err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		ts.Fatalf("%s (-want +got, -update rewrites):\n%s", args[0], diff)
	}
}

// mailHolder holds the mail server of one script.
type mailHolder struct{ server *sink.SMTP }

type mailKey struct{}

// mailSink starts a mail server and writes secrets for it: good.json, and
// bad.json with another password.
func mailSink(ts *testscript.TestScript, _ bool, _ []string) {
	s, err := sink.StartSMTP(sink.SMTPConfig{})
	ts.Check(err)
	ts.Defer(func() { _ = s.Close() })
	host, port, err := net.SplitHostPort(s.Addr())
	ts.Check(err)
	number, err := strconv.Atoi(port)
	ts.Check(err)
	for name, password := range map[string]string{"good.json": "sink-password", "bad.json": "canary-wrong-4711"} {
		value, err := json.Marshal(map[string]any{"smtp_server": host, "smtp_port": number, "username": "sink",
			"password": password, "ca_pem": s.CAPEM()})
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(name), value, 0o600))
	}
	ts.Value(mailKey{}).(*mailHolder).server = s
}

// stall lets the mail server keep quiet after each message.
func stall(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Value(mailKey{}).(*mailHolder).server.Inject(sink.Fault{Stage: "dot", Stall: time.Hour})
}

// tlsCert writes a certificate for 127.0.0.1: cert.pem, key.pem, and ca.pem.
func tlsCert(ts *testscript.TestScript, _ bool, _ []string) {
	ca, err := sink.NewCA()
	ts.Check(err)
	cert, err := ca.Issue("127.0.0.1")
	ts.Check(err)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	ts.Check(err)
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: key},
	} {
		ts.Check(os.WriteFile(ts.MkAbs(name), pem.EncodeToMemory(block), 0o600))
	}
	ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), []byte(ca.PEM()), 0o600))
}

// mails waits until the mail server has got so many: mails N [TEXT]
func mails(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(mailKey{}).(*mailHolder).server
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	poll(ts, "mails", func() bool { return len(s.Messages()) == want })
	for _, m := range s.Messages() {
		if len(args) > 1 && !strings.Contains(string(m.Raw), args[1]) {
			ts.Fatalf("a mail does not hold %q:\n%s", args[1], m.Raw)
		}
	}
}

// holds waits until a file holds a text: holds FILE TEXT
func holds(ts *testscript.TestScript, _ bool, args []string) {
	poll(ts, args[0], func() bool {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && strings.Contains(string(text), args[1])
	})
}

// devToken takes the admin token from what `sealpost dev` printed: devtoken FILE
func devToken(ts *testscript.TestScript, _ bool, args []string) {
	_, rest, _ := strings.Cut(ts.ReadFile(args[0]), "SEALPOST_TOKEN=")
	token, _, _ := strings.Cut(rest, " ")
	ts.Setenv("SEALPOST_TOKEN", token)
}

// settled waits until so many jobs are dead and none is on its way: settled N
func settled(ts *testscript.TestScript, _ bool, args []string) {
	poll(ts, "dead jobs", func() bool {
		jobs := stats(ts)
		return strconv.Itoa(jobs["dead"]) == args[0] && jobs["ready"]+jobs["running"] == 0
	})
}

// running waits until a worker has a job.
func running(ts *testscript.TestScript, _ bool, _ []string) {
	poll(ts, "running job", func() bool { return stats(ts)["running"] > 0 })
}

// stats is how many jobs are in which state.
func stats(ts *testscript.TestScript) map[string]int {
	ts.Check(ts.Exec("sealpost", "queue", "stats", "-o", "json"))
	var stats struct {
		Jobs map[string]int `json:"jobs"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &stats))
	return stats.Jobs
}

// addJob puts a job straight into Redis: addjob FILE
func addJob(ts *testscript.TestScript, _ bool, args []string) {
	rdb := redis.NewClient(&redis.Options{Addr: strings.TrimSuffix(strings.TrimPrefix(ts.Getenv("SEALPOST_REDIS_URL"), "redis://"), "/0")})
	defer rdb.Close()
	ts.Check(rdb.XAdd(context.Background(), &redis.XAddArgs{Stream: "sealpost:{q0}:jobs", Values: []any{"job", ts.ReadFile(args[0])}}).Err())
}
