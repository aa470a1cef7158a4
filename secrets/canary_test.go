package secrets_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue/queuetest"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// canaries are the values of the run; none may be seen anywhere.
func canaries() []string {
	list := make([]string, 40)
	for i := range list {
		list[i] = fmt.Sprintf("CANARY-%02d-x%dQ", i, 7919*i)
	}
	return list
}

// TestValuesAreSeenNowhere runs all that a store does while MONITOR listens, then
// looks into what was sent to Redis, what Redis wrote to disk, errors and logs.
func TestValuesAreSeenNowhere(t *testing.T) {
	server := queuetest.NewServer(t)
	rdb := redis.NewClient(queuetest.Options(server.Addr()))
	t.Cleanup(func() { _ = rdb.Close() })
	w := newWorld(t, rdb, secrets.DefaultPrefix)
	check(t, rdb.ConfigSet(t.Context(), "rdbcompression", "no").Err(), "have the dump in clear, to look into it")
	monitor := listen(t, server.Addr())
	var said bytes.Buffer
	for i, c := range canaries() {
		live(t, w, fmt.Sprintf("KEY_%d", i), c, &said)
	}
	check(t, rdb.Set(t.Context(), "end-of-run", 1, 0).Err(), "mark the end")
	seen := map[string][]byte{"MONITOR": monitor(), "errors and logs": said.Bytes()}
	check(t, rdb.Save(t.Context()).Err(), "save")
	dir := rdb.ConfigGet(t.Context(), "dir").Val()["dir"]
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		seen[d.Name()], err = os.ReadFile(path)
		return err
	}), "read what Redis wrote")
	if len(seen) < 4 || !bytes.Contains(seen["MONITOR"], []byte("KEY_39")) || !bytes.Contains(seen["dump.rdb"], []byte("KEY_39")) {
		t.Fatalf("only %d places were looked into, or they hold nothing", len(seen))
	}
	for place, data := range seen {
		for _, c := range canaries() {
			hunt(t, place, data, c)
		}
	}
}

// live takes a value through everything.
func live(t *testing.T, w world, key, value string, said *bytes.Buffer) {
	ctx := t.Context()
	note := func(v any, err error) {
		fmt.Fprintf(said, "%v %+v %#v %v\n", v, v, v, err)
		slog.New(slog.NewJSONHandler(said, nil)).Info("note", "v", v, "err", err)
	}
	smtp := strings.Replace(smtpValue, "hunter2", value, 1)
	sec, _, err := w.Put(ctx, "admin a", put(key, smtp))
	check(t, err, "put")
	login, err := w.OpenSMTP(ctx, sec.Ref, use)
	if err != nil || login.Password.Reveal() != value {
		t.Fatalf("open: %v", err)
	}
	note(login, err)
	text, err := w.OpenText(ctx, sec.Ref, use)
	note(text, err)
	note(w.Update(ctx, "admin a", key, secrets.Change{Tags: []secrets.Tag{{Key: "a", Value: "b"}}}))
	note(w.Update(ctx, "admin a", key, secrets.Change{Value: redact.New(smtp)}))
	note(w.Update(ctx, "admin a", key, secrets.Change{Value: redact.New(value)}))                                       // no JSON
	note(w.Create(ctx, "admin a", put(key+"X", strings.Replace(smtp, "username", "user", 1))))                          // unknown field
	note(w.Create(ctx, "admin a", put(key+"X", `{"smtp_server":"`+value+` x","username":"a","password":"`+value+`"}`))) // bad host
	note(w.Create(ctx, "admin a", put(key, value)))                                                                     // exists
	note(w.OpenSQS(ctx, sec.Ref, use))
	note(w.Info(ctx, key))
	note(w.List(ctx, 0, 0))
	note(w.Audit(ctx, 10))
	note(w.Verify(ctx))
	note(put(key, smtp), nil)
}

// hunt looks for a value in the forms in which it could be written.
func hunt(t *testing.T, place string, data []byte, value string) {
	t.Helper()
	lower := bytes.ToLower(data)
	if bytes.Contains(data, []byte(value)) || bytes.Contains(lower, []byte(hex.EncodeToString([]byte(value)))) {
		t.Errorf("%s holds %q", place, value)
	}
	for shift := range 3 {
		enc := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + value))
		core := enc[(shift*8+5)/6 : len(enc)-1]
		if bytes.Contains(data, []byte(core)) {
			t.Errorf("%s holds %q in base64", place, value)
		}
	}
}

// listen starts MONITOR and returns what was heard until the end of the run.
func listen(t *testing.T, addr string) func() []byte {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	check(t, err, "dial")
	t.Cleanup(func() { _ = conn.Close() })
	_, err = conn.Write([]byte("MONITOR\r\n"))
	check(t, err, "monitor")
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || line != "+OK\r\n" {
		t.Fatalf("MONITOR: %q, %v", line, err)
	}
	return func() []byte {
		var all []byte
		for {
			line, err := in.ReadBytes('\n')
			all = append(all, line...)
			if bytes.Contains(line, []byte("end-of-run")) {
				return all
			}
			if err != nil {
				t.Fatalf("MONITOR ended: %v", err)
			}
		}
	}
}

// TestErrorsOfTheNetworkHoldNoValue breaks the line during a write.
func TestErrorsOfTheNetworkHoldNoValue(t *testing.T) {
	w := miniWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.rdb.AddHook(cutter{cancel})
	_, _, err := w.Put(ctx, "a", put("KEY", "CANARY-network"))
	if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "CANARY") {
		t.Errorf("got %v, want an error without the value", err)
	}
}

// cutter cancels the run when a script is called.
type cutter struct{ cancel context.CancelFunc }

func (cutter) DialHook(next redis.DialHook) redis.DialHook { return next }
func (c cutter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			c.cancel()
			return errors.New("connection reset")
		}
		return next(ctx, cmd)
	}
}
func (cutter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
