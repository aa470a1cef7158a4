package script

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/sealpost/sealpost/access/child"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Errors of [Analyses]. Those of the secret store may come too; every other
// one counts as a failure that passes.
var (
	// ErrNoAnalysis says that no analysis has this id.
	ErrNoAnalysis = errors.New("script: no such analysis")
	// ErrInactive says that the analysis is switched off.
	ErrInactive = errors.New("script: the analysis is not active")
	// ErrNobodyListens says that no listener of the analysis took the run.
	ErrNobodyListens = errors.New("script: nobody listens to this analysis")
	// ErrPerhapsTaken says that a listener may have taken the run.
	ErrPerhapsTaken = errors.New("script: a listener may have taken the run")
)

// Analyses is what the action needs to know of analyses.
type Analyses interface {
	// Here reports whether a worker starts the analysis; else it listens
	// somewhere. Errors: ErrNoAnalysis, ErrInactive.
	Here(ctx context.Context, id string) (bool, error)
	// Tell starts an analysis that listens, and returns when it has the run.
	Tell(ctx context.Context, use secrets.Use, id string, run Run) error
	// Open returns what the analysis may see, after the audit entry for it.
	Open(ctx context.Context, use secrets.Use, id string) (Environment, error)
}

// Console keeps what an analysis prints.
type Console interface {
	// WriteConsole keeps a line.
	WriteConsole(ctx context.Context, id string, at time.Time, line string) error
}

// Stored is the store of actions.
type Stored interface {
	// Peek returns an action as it was last read, without I/O.
	Peek(id string) (actions.Definition, bool)
}

// Run is what an analysis is started with.
type Run struct {
	Facts []Fact          // beside its environment; they win over its keys
	Data  json.RawMessage // the job's; nil is none
}

// Fact is an entry of an environment that is no secret.
type Fact struct{ Key, Value string }

// Environment is what an analysis may see.
type Environment struct {
	Entries []child.Entry
	Token   redact.String   // of the analysis, for the API
	Hidden  []redact.String // what must not be seen in its output
}
