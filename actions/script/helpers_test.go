package script

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sealpost/sealpost/access/child"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines left:", err)
		code = 1
	}
	os.Exit(code)
}

// Ids of analyses.
const (
	idA = "aaaaaaaaaaaaaaaaaaaaaaaa"
	idB = "bbbbbbbbbbbbbbbbbbbbbbbb"
	idC = "cccccccccccccccccccccccc"
)

// directory is a world of analyses. All run here but for the elsewhere ones.
type directory struct {
	mu        sync.Mutex
	env       map[string]string // of all; those whose key begins with OWN are variables
	missing   map[string]error
	elsewhere map[string]error // what Tell returns
	told      []Run
	opened    []string // id, actor, why
	lines     map[string][]string
	stored    map[string]actions.Definition
	openErr   error
}

const token = "a-0aab1d6c-canary-4bf6-token-5d6c7e8f9a0b"

func (d *directory) Here(_ context.Context, id string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, elsewhere := d.elsewhere[id]
	return !elsewhere, d.missing[id]
}

func (d *directory) Tell(_ context.Context, use secrets.Use, id string, run Run) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened = append(d.opened, "told "+id+" by "+use.Actor+" for "+use.Why)
	err := d.elsewhere[id]
	if err == nil {
		d.told = append(d.told, run)
	}
	return err
}

func (d *directory) Open(_ context.Context, use secrets.Use, id string) (Environment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.openErr != nil {
		return Environment{}, d.openErr
	}
	d.opened = append(d.opened, id+" by "+use.Actor+" for "+use.Why)
	env := Environment{Token: redact.New(token), Hidden: []redact.String{redact.New(token)}}
	for key, value := range d.env {
		env.Entries = append(env.Entries, child.Entry{Key: key, Value: redact.New(value)})
		if !strings.HasPrefix(key, "OWN") {
			env.Hidden = append(env.Hidden, redact.New(value))
		}
	}
	return env, nil
}

func (d *directory) WriteConsole(_ context.Context, id string, _ time.Time, line string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lines == nil {
		d.lines = map[string][]string{}
	}
	d.lines[id] = append(d.lines[id], line)
	return nil
}

func (d *directory) Peek(id string) (actions.Definition, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	def, ok := d.stored[id]
	return def, ok
}

// console returns what an analysis has printed.
func (d *directory) console(id string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines[id], "\n")
}

// world is a directory with a place for scripts, and the action.
type world struct {
	t      *testing.T
	dir    string
	nodes  *directory
	action *Action
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), nodes: &directory{env: map[string]string{}, missing: map[string]error{}, elsewhere: map[string]error{}}}
	config := Config{Analyses: w.nodes, Console: w.nodes, Stored: w.nodes, Worker: "w1", Dir: w.dir,
		Base:    func() string { return "http://127.0.0.1:8080" },
		Timeout: time.Minute, Environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=/h", "SEALPOST_MASTER_KEY=canary-master", "AWS_PROFILE=canary-other"}}
	for _, f := range change {
		f(&config)
	}
	w.action = New(config)
	t.Cleanup(func() { _ = w.action.Close() })
	return w
}

// script writes the file of an analysis.
func (w *world) script(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		w.t.Fatal(err)
	}
}

// job returns one that starts the analyses.
func job(id string, ids ...string) *queue.Job {
	action, err := json.Marshal(map[string]any{"type": Kind, "script": ids})
	if err != nil {
		panic(err)
	}
	return &queue.Job{ID: id, JID: "1-0", Action: action}
}

// do makes one attempt.
func (w *world) do(ctx context.Context, j *queue.Job, before ...queue.Part) (queue.Reply, error) {
	w.t.Helper()
	work, err := w.action.Prepare(j)
	if err != nil {
		w.t.Fatalf("Prepare: %v", err)
	}
	claim := queue.NewClaim(j, 1, nil)
	claim.Parts = before
	return work.Do(ctx, claim)
}
