package access

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// CreateAnalysis stores a new analysis and returns its token. Errors:
// *InvalidError, ErrLimit.
func (d *Directory) CreateAnalysis(ctx context.Context, actor string, c AnalysisChange) (Analysis, redact.String, error) {
	var f faults
	if c.Name == nil {
		f.add("name", "Required")
	}
	c.check(&f)
	if err := f.err(); err != nil {
		return Analysis{}, redact.String{}, err
	}
	token := newAnalysisToken()
	var made Analysis
	err := d.write(ctx, func() (secrets.Draft, error) {
		if len(d.analyses) >= maxRecords {
			return secrets.Draft{}, fmt.Errorf("%w: %d analyses", ErrLimit, maxRecords)
		}
		now := d.stamp()
		made = c.apply(Analysis{
			ID: newRecordID(), Version: 1, Active: true, RunOn: RunOnTago, Runtime: DefaultRuntime,
			Variables: []Variable{}, Tags: []secrets.Tag{}, Created: now, Updated: now,
		})
		if c.Runtime != nil {
			made.Runtime = *c.Runtime
		}
		return d.analysisDraft(made, token, actor, "analysis create")
	})
	if err != nil {
		return Analysis{}, redact.String{}, err
	}
	return made, token, nil
}

// EditAnalysis changes the analysis with this id. Another RunOn makes a new
// token. Errors: ErrAnalysisNotFound, *InvalidError.
func (d *Directory) EditAnalysis(ctx context.Context, actor, id string, c AnalysisChange) (Analysis, error) {
	var f faults
	c.check(&f)
	if err := f.err(); err != nil {
		return Analysis{}, err
	}
	return d.editAnalysis(ctx, actor, id, "analysis edit", func(a Analysis) (Analysis, bool) {
		next := c.apply(a)
		return next, next.RunOn != a.RunOn
	})
}

// RotateToken gives the analysis a new token; the one before ends with it.
// Error ErrAnalysisNotFound.
func (d *Directory) RotateToken(ctx context.Context, actor, id string) (redact.String, error) {
	_, err := d.editAnalysis(ctx, actor, id, "analysis token", func(a Analysis) (Analysis, bool) { return a, true })
	if err != nil {
		return redact.String{}, err
	}
	return d.Token(ctx, id)
}

// editAnalysis writes what edit makes of the analysis, and a new token if edit
// says so.
func (d *Directory) editAnalysis(ctx context.Context, actor, id, op string, edit func(Analysis) (Analysis, bool)) (Analysis, error) {
	var made Analysis
	err := d.write(ctx, func() (secrets.Draft, error) {
		b, ok := d.analyses[id]
		if !ok {
			return secrets.Draft{}, ErrAnalysisNotFound
		}
		token, variables, err := b.open(d.keyring)
		if err != nil {
			return secrets.Draft{}, err
		}
		was := b.shown()
		was.Variables = variables
		var rotate bool
		if made, rotate = edit(was); rotate {
			token = newAnalysisToken()
		}
		made.Version, made.Updated = was.Version+1, d.stamp()
		return d.analysisDraft(made, token, actor, op)
	})
	return made, err
}

// DeleteAnalysis removes the analysis with this id and with it its token.
// Errors: ErrAnalysisNotFound, ErrProtected.
func (d *Directory) DeleteAnalysis(ctx context.Context, actor, id string) error {
	return d.write(ctx, func() (secrets.Draft, error) {
		b, ok := d.analyses[id]
		if !ok {
			return secrets.Draft{}, ErrAnalysisNotFound
		}
		if err := protected(b.Tags); err != nil {
			return secrets.Draft{}, err
		}
		return secrets.Draft{Field: fieldAnalysis + id, Entry: analysisEntry(b.shown(), actor, "analysis delete")}, nil
	})
}

// Analysis returns the analysis with this id and its variables. Error
// ErrAnalysisNotFound.
func (d *Directory) Analysis(ctx context.Context, id string) (Analysis, error) {
	a, _, err := d.opened(ctx, id)
	return a, err
}

// Token returns the token of the analysis with this id. Clients ask for it, so
// it is kept sealed; whoever may ask is an admin. Error ErrAnalysisNotFound.
func (d *Directory) Token(ctx context.Context, id string) (redact.String, error) {
	_, token, err := d.opened(ctx, id)
	return token, err
}

func (d *Directory) opened(ctx context.Context, id string) (Analysis, redact.String, error) {
	var b *analysisBody
	if _, err := d.view(ctx, func() { b = d.analyses[id] }); err != nil {
		return Analysis{}, redact.String{}, err
	}
	if b == nil {
		return Analysis{}, redact.String{}, ErrAnalysisNotFound
	}
	token, variables, err := b.open(d.keyring)
	if err != nil {
		return Analysis{}, redact.String{}, err
	}
	a := b.shown()
	a.Tags, a.Variables = slices.Clone(a.Tags), variables
	return a, token, nil
}

// Analyses returns all analyses, by name and id, without their variables.
func (d *Directory) Analyses(ctx context.Context) ([]Analysis, error) {
	var list []Analysis
	_, err := d.view(ctx, func() {
		list = make([]Analysis, 0, len(d.analyses))
		for _, b := range d.analyses {
			a := b.shown()
			a.Tags = slices.Clone(a.Tags)
			list = append(list, a)
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b Analysis) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return list, nil
}

// VerifyToken returns the analysis that the token belongs to, active or not. A
// token of no analysis, whatever is wrong with it, is ErrNoAnalysisToken; that
// takes as long for a known beginning as for an unknown one.
func (d *Directory) VerifyToken(ctx context.Context, token redact.String) (Analysis, error) {
	text := token.Reveal()
	hint := tokenHint(text)
	if hint == "" {
		return Analysis{}, ErrNoAnalysisToken
	}
	var candidates []*analysisBody
	if _, err := d.view(ctx, func() { candidates = d.hinted(hint) }); err != nil {
		return Analysis{}, err
	}
	found := d.match(candidates, text)
	if found == nil {
		return Analysis{}, ErrNoAnalysisToken
	}
	a := found.shown()
	a.Tags = slices.Clone(a.Tags)
	return a, nil
}

// hinted returns the analyses whose token begins so.
func (d *Directory) hinted(hint string) []*analysisBody {
	list := d.byHint[hint]
	if len(list) == 0 {
		return nil
	}
	out := make([]*analysisBody, 0, len(list))
	for _, b := range list {
		out = append(out, b)
	}
	return out
}

// match returns the candidate whose token this is, nil if it is none's. It takes
// as long without candidates as with one.
func (d *Directory) match(candidates []*analysisBody, token string) (found *analysisBody) {
	for _, b := range candidates {
		if d.keyring.VerifyMAC(b.TokenMAC, tokenPurpose, b.ID, token) {
			found = b
		}
	}
	if len(candidates) == 0 {
		d.keyring.VerifyMAC(make([]byte, macSize), tokenPurpose, newRecordID(), token)
	}
	return found
}

// MarkRun notes that the analysis was started at a time. It is no change of the
// analysis: nothing is read anew because of it.
func (d *Directory) MarkRun(ctx context.Context, id string, at time.Time) error {
	return d.set.MarkRun(ctx, fieldAnalysis+id, at)
}

// LastRuns returns when each of the analyses was started last, zero for never,
// in the order of the ids.
func (d *Directory) LastRuns(ctx context.Context, ids ...string) ([]time.Time, error) {
	fields := make([]string, len(ids))
	for i, id := range ids {
		fields[i] = fieldAnalysis + id
	}
	return d.set.LastRuns(ctx, fields...)
}

func (d *Directory) analysisDraft(a Analysis, token redact.String, actor, op string) (secrets.Draft, error) {
	text, err := analysisRecord(d.keyring, a, token)
	return secrets.Draft{Field: fieldAnalysis + a.ID, Body: text, Entry: analysisEntry(a, actor, op)}, err
}

func analysisEntry(a Analysis, actor, op string) secrets.AuditEntry {
	return secrets.AuditEntry{Actor: actor, Op: op, Kind: "analysis", ID: a.ID, Key: a.Name, Version: a.Version}
}
