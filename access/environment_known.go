package access

import (
	"context"
	"fmt"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Form is a way to write an environment, such as JSON.
type Form struct {
	Name  string // there are few; the texts are kept by it
	Write func([]Entry) (redact.String, error)
}

// Answer is an environment in one form.
type Answer struct {
	Text redact.String
	Tag  string // of the Resolution
}

// ownUse is an analysis that asks for its own environment.
func ownUse(id string) secrets.Use { return secrets.Use{Actor: "analysis " + id, Why: "environment"} }

// Written is Environment in a form. The text is kept sealed, for Known.
func (d *Directory) Written(ctx context.Context, id string, use secrets.Use, form Form) (Answer, error) {
	env, r, err := d.environment(ctx, id, use)
	if err != nil {
		return Answer{}, err
	}
	text, err := form.Write(env)
	if err != nil {
		return Answer{}, fmt.Errorf("write environment of analysis %s: %w", id, err)
	}
	d.memo.keep(r, form.Name, d.seal.Seal(text, r.body.ID, r.shown.Tag, form.Name))
	return Answer{Text: text, Tag: r.shown.Tag}, nil
}

// Known is Written for the analysis whose token this is, in one trip to Redis:
// that checks that the copy is current, and writes the audit entry if it is. It
// is false for whatever the copy does not know, does not allow, or knows no
// longer: then nothing is written, and who asks goes the long way, which also
// says why not. So it never refuses; an error is the network's.
func (d *Directory) Known(ctx context.Context, token redact.String, form string) (Answer, bool, error) {
	body, rev := d.recall(token)
	if body == nil || !body.Active {
		return Answer{}, false, nil
	}
	r, sealed := d.memo.kept(rev, body.ID, form)
	if r == nil {
		return Answer{}, false, nil
	}
	// All of it was decided before the call. It counts because the trip, which
	// begins after the call, finds the store unchanged since.
	now, err := d.rev.NoteAt(ctx, rev, r.own)
	if err != nil || now != rev {
		return Answer{}, false, err
	}
	text, err := d.seal.Open(sealed, body.ID, r.shown.Tag, form)
	if err != nil {
		return Answer{}, false, fmt.Errorf("open environment of analysis %s: %w", body.ID, err)
	}
	d.catalog.CountOpened(r.sealed)
	return Answer{Text: text, Tag: r.shown.Tag}, true, nil
}

// recall returns the analysis whose token this is as the copy has it, and the
// revision of the copy; nil if there is none.
func (d *Directory) recall(token redact.String) (found *analysisBody, rev string) {
	text := token.Reveal()
	hint := tokenHint(text)
	if hint == "" {
		return nil, ""
	}
	var candidates []*analysisBody
	d.mirror.Recall(func(at string) { rev, candidates = at, d.hinted(hint) })
	digest := d.salt.of(text)
	for _, b := range candidates {
		if b.seen.is(&digest) {
			return b, rev
		}
	}
	if found = d.match(candidates, text); found != nil {
		found.seen.keep(&digest)
	}
	return found, rev
}

// keep keeps a sealed text with its resolution, while that is in the memo and
// there is room.
func (m *memo) keep(r *resolved, form string, sealed []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := 1 + len(sealed)/memoUnit
	if m.byID[r.body.ID] != r || m.size+size > maxMemo {
		return
	}
	if r.written[form] == nil {
		m.size += size
	}
	if r.written == nil {
		r.written = map[string][]byte{}
	}
	r.written[form] = sealed
}

// kept returns the resolution of the analysis at this revision and its sealed
// text in the form; nil if either is not there.
func (m *memo) kept(rev, id, form string) (*resolved, []byte) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.rev != rev {
		return nil, nil
	}
	r := m.byID[id]
	if r == nil || r.written[form] == nil {
		return nil, nil
	}
	return r, r.written[form]
}
