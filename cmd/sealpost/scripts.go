package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/access/child"
	"github.com/sealpost/sealpost/actions/script"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
	"github.com/sealpost/sealpost/server"
)

// scripts is what the action that starts analyses is made of.
func (p *process) scripts() script.Config {
	late := (*lateAnalyses)(p)
	return script.Config{
		Analyses: late, Console: late, Stored: (*lateVault)(p), Base: p.apiURL,
		Dir: p.cfg.ScriptDir, Timeout: p.cfg.ScriptTimeout,
	}
}

// apiURL is where scripts that this process starts find the API: what the
// operator says, else this process itself if it answers the API.
func (p *process) apiURL() string {
	if p.api == nil || p.cfg.Given("SEALPOST_URL") {
		return p.cfg.URL
	}
	host, port, err := net.SplitHostPort(p.api.Addr().String())
	if err != nil {
		return p.cfg.URL
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http://"
	if secured(p.cfg) {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port)
}

// lateAnalyses is the directory of analyses as the senders see it; see
// lateVault.
type lateAnalyses process

func (l *lateAnalyses) vault() (*server.Vault, error) { return (*process)(l).vault() }

// analysisError gives the errors of the directory the names that the action
// knows.
func analysisError(err error) error {
	for _, row := range []struct{ from, to error }{
		{access.ErrAnalysisNotFound, script.ErrNoAnalysis}, {access.ErrInactive, script.ErrInactive},
		{access.ErrNobodyListens, script.ErrNobodyListens}, {access.ErrPerhapsTaken, script.ErrPerhapsTaken},
	} {
		if errors.Is(err, row.from) {
			return fmt.Errorf("%w: %w", row.to, err)
		}
	}
	return err
}

// Here is as of script.Analyses.
func (l *lateAnalyses) Here(ctx context.Context, id string) (bool, error) {
	v, err := l.vault()
	if err != nil {
		return false, err
	}
	r, err := v.Directory.Resolve(ctx, id)
	if err != nil {
		return false, analysisError(err)
	}
	if !r.Analysis.Active {
		return false, script.ErrInactive
	}
	return r.Analysis.RunOn == access.RunOnTago, nil
}

// Tell is as of script.Analyses.
func (l *lateAnalyses) Tell(ctx context.Context, use secrets.Use, id string, run script.Run) error {
	v, err := l.vault()
	if err != nil {
		return err
	}
	start := access.Start{Data: run.Data}
	for _, f := range run.Facts {
		start.Facts = append(start.Facts, access.Fact{Key: f.Key, Value: f.Value})
	}
	return analysisError(v.Directory.Trigger(ctx, use, id, start))
}

// Open is as of script.Analyses. The values of secrets are hidden in the
// output, those of the analysis' own variables are not, as in consoles.
func (l *lateAnalyses) Open(ctx context.Context, use secrets.Use, id string) (script.Environment, error) {
	v, err := l.vault()
	if err != nil {
		return script.Environment{}, err
	}
	entries, _, err := v.Directory.Environment(ctx, id, use)
	if err != nil {
		return script.Environment{}, analysisError(err)
	}
	env := script.Environment{}
	if env.Token, err = v.Directory.Token(ctx, id); err != nil {
		return script.Environment{}, analysisError(err)
	}
	env.Hidden = []redact.String{env.Token}
	for _, e := range entries {
		env.Entries = append(env.Entries, child.Entry{Key: e.Key, Value: e.Value})
		if !e.Origin.Own {
			env.Hidden = append(env.Hidden, e.Value)
		}
	}
	return env, v.Directory.MarkRun(ctx, id, time.Now())
}

// WriteConsole is as of script.Console.
func (l *lateAnalyses) WriteConsole(ctx context.Context, id string, at time.Time, line string) error {
	v, err := l.vault()
	if err != nil {
		return err
	}
	return v.Directory.WriteConsole(ctx, id, access.ConsoleLine{At: at, Message: line})
}
