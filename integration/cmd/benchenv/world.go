package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/integration/program"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// What the analysis sees: so many secrets, granted by so many policies, and so
// many variables of its own.
const (
	granted   = 10
	policies  = 5
	variables = 10
)

const startLimit = 30 * time.Second

// world is everything that runs for the benchmark.
type world struct {
	small *store // what the analysis sees and nothing else
	large *store // many more secrets and policies; nil: none is wanted
	bare  *peers.Process

	bareURL string // of the bare handler
	bytes   int    // of the answer
	stop    []func() error
}

func (w *world) close() {
	for _, stop := range w.stop {
		_ = stop() // the processes are killed; there is nothing to save
	}
}

// newWorld builds the program, starts and fills the stores, and starts the bare
// handler with the same answer. The world is not nil if anything was started.
func newWorld(ctx context.Context, dir string, s settings) (*world, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	binary, err := program.Build(root, dir)
	if err != nil {
		return nil, err
	}
	w := &world{}
	if w.small, err = w.startStore(ctx, binary, dir, "small", 0, 0); err != nil {
		return w, err
	}
	if s.secrets > 0 {
		if w.large, err = w.startStore(ctx, binary, dir, "large", s.secrets, (s.secrets+9)/10); err != nil {
			return w, err
		}
	}
	return w, w.startBare(ctx, dir)
}

// moduleRoot is the directory of the module that the program is built from.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sealpost/sealpost").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return string(bytes.TrimSpace(out)), nil
}

// fillOwn makes the analysis and what it may see.
func (s *store) fillOwn(ctx context.Context) error {
	vars := make([]map[string]string, variables)
	for i := range vars {
		vars[i] = map[string]string{"key": fmt.Sprintf("OWN_%02d", i), "value": fmt.Sprintf("setting number %d", i)}
	}
	var made struct{ ID, Token string }
	err := s.call(ctx, "/analysis", map[string]any{"name": "bench", "run_on": "external", "variables": vars}, &made)
	if err != nil {
		return err
	}
	s.token = made.Token
	for i := range granted {
		if err := s.secret(ctx, fmt.Sprintf("GRANTED_%02d", i), strconv.Itoa(i%policies)); err != nil {
			return err
		}
	}
	for i := range policies {
		if err := s.policy(ctx, made.ID, strconv.Itoa(i)); err != nil {
			return err
		}
	}
	header, answer, err := s.environment(ctx)
	if err != nil {
		return err
	}
	var env struct{ Result []struct{ Key, Value string } }
	if err := json.Unmarshal(answer, &env); err != nil || len(env.Result) != granted+variables {
		return fmt.Errorf("the environment has %d keys, want %d: %w", len(env.Result), granted+variables, err)
	}
	s.etag = header.Get("ETag")
	return nil
}

// environment asks for the answer that is measured.
func (s *store) environment(ctx context.Context) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.API+environmentPath, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("make a request: %w", err)
	}
	req.Header.Set("token", s.token)
	return send(req)
}

func (s *store) secret(ctx context.Context, key, group string) error {
	return s.call(ctx, "/secrets", map[string]any{
		"key": key, "value": "the value of " + key, "tags": []map[string]string{{"key": "group", "value": group}},
	}, nil)
}

func (s *store) policy(ctx context.Context, analysis, group string) error {
	return s.call(ctx, "/am", map[string]any{
		"name": "group " + group, "targets": [][]string{{"analysis", "id", analysis}},
		"permissions": []map[string]any{{
			"effect": "allow", "action": []string{"access"}, "resource": []string{"secrets", "tag.key", "group", "tag.value", group},
		}},
	}, nil)
}

// call posts to the API and decodes the result into v unless that is nil.
func (s *store) call(ctx context.Context, path string, body, v any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.server.API+path, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	req.Header.Set("token", s.admin)
	req.Header.Set("Content-Type", "application/json")
	_, answer, err := send(req)
	if err != nil {
		return err
	}
	var envelope struct{ Result json.RawMessage }
	if err := json.Unmarshal(answer, &envelope); err != nil || v == nil {
		return err
	}
	return json.Unmarshal(envelope.Result, v)
}

// send returns a 200 with its body; anything else is an error.
func send(req *http.Request) (http.Header, []byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: status %d: %s", req.Method, req.URL.Path, resp.StatusCode, text)
	}
	return resp.Header, text, err
}

// startBare gives the bare handler the answer of the real one, and starts it.
func (w *world) startBare(ctx context.Context, dir string) error {
	header, answer, err := w.small.environment(ctx)
	if err != nil {
		return err
	}
	header.Del("Date") // net/http makes them
	header.Del("Content-Length")
	headers, err := json.Marshal(header)
	if err != nil {
		return fmt.Errorf("encode the headers: %w", err)
	}
	w.bytes = len(answer)
	c := w.small.redis.Client()
	defer c.Close()
	if err := c.Set(ctx, bareKey, answer, 0).Err(); err != nil {
		return fmt.Errorf("store the answer: %w", err)
	}
	if err := c.Set(ctx, headerKey, headers, 0).Err(); err != nil {
		return fmt.Errorf("store the headers: %w", err)
	}
	port, err := queuetest.FreePort()
	if err != nil {
		return err
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	w.bare, err = peers.StartProcess(exec.Command(self, "-bare", addr, "-redis", w.small.redis.Addr), filepath.Join(dir, "bare.log"))
	if err != nil {
		return err
	}
	w.stop = append(w.stop, w.bare.Kill)
	w.bareURL = "http://" + addr
	return peers.Wait(startLimit, "the bare handler", func() error {
		resp, err := http.Get(w.bareURL + environmentPath)
		if err != nil {
			return err
		}
		return errors.Join(resp.Body.Close(), statusError(resp.StatusCode, http.StatusOK))
	})
}

func statusError(got, want int) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("status %d, want %d", got, want)
}
