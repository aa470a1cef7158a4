package access

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Limits of the console of an analysis. Numbers: ours.
const (
	consoleLines = 100            // that are kept
	consoleTime  = 24 * time.Hour // and for how long after the last one
	maxLine      = 4 << 10        // bytes of a line; the rest of a longer one is cut
	maxMaskNotes = 10_000
	maskTime     = time.Hour // for which one audit entry covers the masking
)

// ConsoleLine is a line that an analysis wrote.
type ConsoleLine struct {
	At      time.Time `json:"at"`
	Message string    `json:"message"` // values of its secrets are masked
}

// WriteConsole keeps a line of the analysis and tells who listens. Values of
// the secrets in its environment are masked before anything is kept; if that
// cannot be done, nothing is. Errors: ErrAnalysisNotFound, ErrInactive.
func (d *Directory) WriteConsole(ctx context.Context, id string, line ConsoleLine) error {
	text, err := d.mask(ctx, id, line.Message)
	if err != nil {
		return fmt.Errorf("mask console of analysis %s: %w", id, err)
	}
	line.Message = text
	kept, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("encode line: %w", err)
	}
	payload, err := d.events.payload(Event{Kind: EventConsole, Analysis: id, Data: kept})
	if err != nil {
		return err
	}
	key := d.consoleKey(id)
	pipe := d.set.rdb.TxPipeline()
	pipe.RPush(ctx, key, kept)
	pipe.LTrim(ctx, key, -consoleLines, -1)
	pipe.Expire(ctx, key, consoleTime)
	pipe.Publish(ctx, d.events.channel, payload)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("write console of analysis %s: %w", id, err)
	}
	return nil
}

// Console returns the last lines of the analysis, oldest first: at most 100,
// none after a day without any.
func (d *Directory) Console(ctx context.Context, id string) ([]ConsoleLine, error) {
	kept, err := d.set.rdb.LRange(ctx, d.consoleKey(id), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read console of analysis %s: %w", id, err)
	}
	lines := make([]ConsoleLine, 0, len(kept))
	for _, text := range kept {
		var line ConsoleLine
		if json.Unmarshal([]byte(text), &line) == nil { // else not ours
			lines = append(lines, line)
		}
	}
	return lines, nil
}

func (d *Directory) consoleKey(id string) string { return d.set.base + "access:console:" + id }

// mask takes the values of the analysis' secrets out of a text, and cuts it.
func (d *Directory) mask(ctx context.Context, id, text string) (string, error) {
	r, err := d.resolve(ctx, id)
	if err != nil {
		return "", err
	}
	if !r.body.Active {
		return "", ErrInactive
	}
	values, err := d.maskValues(ctx, r)
	if err != nil {
		return "", err
	}
	return maskText(text, values), nil
}

// maskValues opens the secrets of the environment. A script may write thousands
// of lines, so one audit entry covers the masking of these versions for an hour.
func (d *Directory) maskValues(ctx context.Context, r *resolved) ([]redact.String, error) {
	if len(r.sealed) == 0 {
		return nil, nil
	}
	if d.noted.covers(r.body.ID, r.shown.Tag, d.now()) {
		return d.catalog.OpenNoted(r.sealed)
	}
	entry := r.entry(secrets.Use{Actor: "analysis " + r.body.ID, Why: "mask console"})
	values, err := d.catalog.OpenAll(ctx, r.sealed, entry)
	if err == nil {
		d.noted.add(r.body.ID, r.shown.Tag, d.now())
	}
	return values, err
}

// maskText masks the values, and the credentials inside structured ones.
func maskText(text string, values []redact.String) string {
	masked := redact.Mask(text, withParts(values)...)
	if len(masked) <= maxLine {
		return masked
	}
	return strings.ToValidUTF8(masked[:maxLine], "") + "..."
}

// withParts adds the texts inside values that are JSON objects: a script that
// prints login.password prints such a part.
func withParts(values []redact.String) []redact.String {
	all := slices.Clone(values)
	for _, v := range values {
		var fields map[string]any
		if json.Unmarshal([]byte(v.Reveal()), &fields) != nil {
			continue
		}
		for name, part := range fields {
			if s, ok := part.(string); ok && isCredential(name) {
				all = append(all, redact.New(s))
			}
		}
	}
	return all
}

// isCredential tells the fields of structured values that are secret from those
// that say where they go.
func isCredential(field string) bool {
	switch field {
	case "password", "access_key_id", "secret_access_key", "session_token":
		return true
	}
	return false
}

// maskNotes remembers which audit entries cover the masking of which versions.
// The zero maskNotes is ready.
type maskNotes struct {
	mu   sync.Mutex
	list map[string]maskNote // by analysis
}

type maskNote struct {
	tag   string
	until time.Time
}

func (m *maskNotes) covers(id, tag string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.list[id]
	return n.tag == tag && now.Before(n.until)
}

func (m *maskNotes) add(id, tag string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.list == nil || len(m.list) >= maxMaskNotes {
		m.list = map[string]maskNote{}
	}
	m.list[id] = maskNote{tag: tag, until: now.Add(maskTime)}
}
