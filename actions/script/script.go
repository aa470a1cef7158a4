// Package script does jobs of kind "script": it starts analyses, each with its
// environment.
//
// An analysis that runs on "external" listens for its events, and the job ends
// when a listener has the run. One that runs on "tago" is a program in a
// directory of the worker (file.go), started as a child with the variables that
// the public SDKs read (run.go). The analyses of a job run side by side, each
// with a limit of time of its own, and each is a part of the job: one that is
// done is not started again when the job is tried again for another.
//
// Delivery is at least once: a script can run twice when its worker dies before
// the end is recorded, and after a failure that it reports itself. The entry
// "_job_id" of its environment is the same in all attempts.
package script

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// Kind is the action's type in jobs.
const Kind = actions.KindScript

// Config is what an [Action] is made of.
type Config struct {
	Analyses Analyses
	Console  Console
	Stored   Stored
	Worker   string        // name of this process, for the audit stream
	Logger   *slog.Logger  // nil: no log
	Base     func() string // URL of the API, for the scripts

	Dir     string        // holds the scripts; "": this process starts none
	Timeout time.Duration // of a script. 0 means [DefaultTimeout]
	Environ []string      // of which scripts get inherited names; nil: os.Environ
}

// DefaultTimeout of a script: the public server ends them after 60 s, too.
const DefaultTimeout = 60 * time.Second

// maxChildren is how many scripts run in a process at a time; the others wait.
// A runtime of a script takes some 50 MB: 32 are what a small machine can hold.
const maxChildren = 32

// Action does jobs of kind "script". Use [New].
type Action struct {
	config Config
	free   chan struct{} // one for each running child
}

// New returns an action.
func New(config Config) *Action {
	if config.Timeout <= 0 {
		config.Timeout = DefaultTimeout
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Base == nil {
		config.Base = func() string { return "" }
	}
	if config.Environ == nil {
		config.Environ = os.Environ()
	}
	return &Action{config: config, free: make(chan struct{}, maxChildren)}
}

// Kind returns "script".
func (a *Action) Kind() string { return Kind }

// Close does nothing: no script outlives its attempt.
func (a *Action) Close() error { return nil }

// Prepare decodes and checks a job; see [Params].
func (a *Action) Prepare(job *queue.Job) (queue.Work, error) {
	ids, err := decode(job)
	if err != nil {
		return nil, err
	}
	w := &work{action: a, ids: ids, job: job}
	if err := w.prepareFacts(); err != nil {
		return nil, err
	}
	return w, nil
}

// work is one checked job.
type work struct {
	action *Action
	ids    []string   // each once
	job    *queue.Job // as it was prepared: that of a stored action has more than the claim's

	state, device string // see facts
}

// Kind returns the action's kind.
func (w *work) Kind() string { return Kind }

// Lane is kind and analyses: a slow script holds its own slots only.
func (w *work) Lane() string { return Kind + "/" + strings.Join(w.ids, "+") }

// SecretRef returns "": the job names no secret. What its analyses may see is
// for policies to say.
func (w *work) SecretRef() string { return "" }

// Recipients returns nil: the job sends no mail.
func (w *work) Recipients() []string { return nil }

// Do starts the analyses that have not ended in an earlier attempt, and waits
// for all of them.
func (w *work) Do(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
	var left []string
	for _, id := range w.ids {
		if !slices.ContainsFunc(c.Parts, func(p queue.Part) bool { return p.ID == id }) {
			left = append(left, id)
		}
	}
	s := &start{
		action: w.action, claim: c, run: Run{Facts: w.facts(c.Job.ID), Data: w.job.Data},
		use: secrets.Use{Actor: "worker " + w.action.config.Worker, Why: "job " + c.Job.ID},
	}
	results := make([]result, len(left))
	var all sync.WaitGroup
	for i, id := range left {
		all.Go(func() { results[i] = s.one(ctx, id) })
	}
	all.Wait()
	return outcome(c.Parts, results)
}

// start is one attempt at a job.
type start struct {
	action *Action
	claim  *queue.Claim
	use    secrets.Use
	run    Run

	begin sync.Mutex // of the claim, which is one goroutine's at a time
}

// one starts one analysis and says what came of it.
func (s *start) one(ctx context.Context, id string) result {
	here, err := s.action.config.Analyses.Here(ctx, id)
	if err != nil {
		return storeFailed(id, err)
	}
	if here {
		return s.child(ctx, id)
	}
	if err := s.begun(ctx); err != nil {
		return notBegun(id, err)
	}
	if err := s.action.config.Analyses.Tell(ctx, s.use, id, s.run); err != nil {
		return notTold(id, err)
	}
	return result{id: id, stage: stageDone, code: "delivered", text: "a listener has the run"}
}

// begun confirms the claim, before what cannot be taken back.
func (s *start) begun(ctx context.Context) error {
	s.begin.Lock()
	defer s.begin.Unlock()
	return s.claim.Begin(ctx)
}
