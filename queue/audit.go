package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// The pools check the queue by themselves, one of them at a time, slowly, and
// change nothing: what they find was lost by somebody, and a person should know
// before its producer does. One key beside the partitions says whose turn it is,
// and what the last pass found.
const (
	auditEach  = 10 * time.Minute // between two passes
	auditLook  = time.Minute      // between two questions whether one is due
	auditLease = 2 * time.Minute  // of the one that checks
	auditRenew = 20 * time.Second
	auditRest  = 20               // a page's time, then so many times that of rest: 5 % of one Redis
	auditLeast = time.Millisecond // of rest
)

// errNotOurs ends a pass whose lease went to another process.
var errNotOurs = errors.New("another process took the check over")

// Audit is what the last check in the background has found.
type Audit struct {
	At     time.Time        `json:"at"` // of its end; zero: there was none yet
	Took   float64          `json:"took_seconds"`
	Looked int64            `json:"looked"` // entries, members and fields
	Found  map[string]int64 `json:"found"`  // by Finding.Word; only those that were found
}

// Left is how much was found.
func (a *Audit) Left() (n int64) {
	for _, found := range a.Found {
		n += found
	}
	return n
}

// String is for /readyz?verbose and `sealpost doctor`.
func (a *Audit) String() string {
	if a.At.IsZero() {
		return "no check in the background has ended yet"
	}
	text := fmt.Sprintf("last check %s ago, %d entries in %.1f s, ", max(time.Since(a.At), 0).Round(time.Second), a.Looked, a.Took)
	if len(a.Found) == 0 {
		return text + "nothing found"
	}
	return text + "found " + words(a.Found)
}

// LastAudit returns what the last check in the background has found, of any process.
func (c *Client) LastAudit(ctx context.Context) (Audit, error) {
	values, err := c.rdb.HMGet(ctx, newShared(c.opts.Prefix).audit(), "at", "found").Result()
	if err != nil {
		return Audit{}, fmt.Errorf("read last check: %w", err)
	}
	var a Audit
	at, _ := values[0].(string)
	text, _ := values[1].(string)
	ms, err := strconv.ParseInt(at, 10, 64)
	if err != nil || json.Unmarshal([]byte(text), &a) != nil {
		return Audit{}, nil
	}
	a.At = time.UnixMilli(ms).UTC()
	return a, nil
}

// audit checks the queue when it is this process' turn.
func (p *Pool) audit(ctx context.Context) {
	for ctx.Err() == nil {
		wait(ctx, jittered(p.each(p.cfg.auditLook)))
		if err := p.auditOnce(ctx); err != nil && ctx.Err() == nil {
			p.trouble("audit", err)
		}
	}
}

// auditOnce makes one pass if it is due, and nobody else makes it.
func (p *Pool) auditOnce(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	ours, err := p.auditTurn(ctx, "begin", auditLease.Milliseconds(), p.each(p.cfg.auditEach).Milliseconds())
	if err != nil || !ours {
		return err
	}
	start, page := p.elapsed(), p.elapsed()
	renewed := start
	report, err := Check(ctx, p.rdb, CheckOptions{
		Prefix: p.cfg.Prefix, Partitions: p.cfg.Partitions, LogRetention: p.cfg.LogRetention,
		Looked: func(int64) error {
			wait(ctx, max(time.Duration(p.cfg.auditRest)*(p.elapsed()-page), auditLeast))
			if page = p.elapsed(); page-renewed > auditRenew {
				ours, err := p.auditTurn(ctx, "renew", auditLease.Milliseconds())
				if err != nil || !ours {
					return errors.Join(errNotOurs, err)
				}
				renewed = page
			}
			return ctx.Err()
		},
	})
	if errors.Is(err, errNotOurs) {
		return nil
	}
	if err != nil {
		free, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, freeing := p.auditTurn(free, "free")
		return errors.Join(err, freeing)
	}
	return p.audited(ctx, report, p.elapsed()-start)
}

// audited keeps what was found, for all processes, and says it in the log of this one.
func (p *Pool) audited(ctx context.Context, report Report, took time.Duration) error {
	a := Audit{Took: took.Seconds(), Looked: report.Looked, Found: map[string]int64{}}
	for word, n := range report.Found {
		a.Found[word] = n.Found
	}
	if left := a.Left(); left > 0 {
		p.log.Warn("the check in the background found what no step of the queue leaves; run `sealpost fsck`", "findings", left, "found", report.String())
	} else {
		p.log.Debug("the check in the background found nothing", "looked", report.Looked)
	}
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = p.auditTurn(ctx, "end", text)
	return err
}

func (p *Pool) auditTurn(ctx context.Context, op string, args ...any) (bool, error) {
	key := newShared(p.cfg.Prefix).audit()
	return scriptAudit.Run(ctx, p.rdb, []string{key}, append([]any{op, p.consumer}, args...)...).Bool()
}
