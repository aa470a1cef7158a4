package queue

import (
	"context"
	"fmt"
)

// tend lets a probe go. A refusal for which no job is parked and that nothing has
// asked for in a day is forgotten. The jobs are looked at first: no process may have
// run for longer than that.
func (p *Pool) tend(ctx context.Context, name string) error {
	found, err := p.client.probe(ctx, name)
	if err != nil || found {
		return err
	}
	if r, ok := p.gate.find(name); ok && p.now().Sub(r.until()) > gateMemory {
		return p.gate.open(ctx, name)
	}
	return nil
}

// probe lets the oldest job go that is parked for the refusal, in any partition
// that ever had jobs. The gate is closed for all but one of those that several
// processes let go. found is false if there is none.
func (c *Client) probe(ctx context.Context, name string) (found bool, err error) {
	for _, k := range c.all(ctx) {
		n, err := scriptUnpark.Run(ctx, c.rdb, k.with(k.parked(name)), name, 1, 0).Int()
		if err != nil || n > 0 {
			return n > 0, err
		}
	}
	return false, nil
}

// regate closes the gate again for parked sets, by name, although
// their gate is open: it was opened by a process that died before it had let them
// go, or a failover has lost the refusal or the release. Nobody would try them again.
// Refused as for the first time they get a probe after gatePause. The first sweep
// that sees it only remembers it, as the jobs may be on their way out. It returns
// what is to be remembered.
func (p *Pool) regate(ctx context.Context, parked []string, seen map[string]bool) (map[string]bool, error) {
	if len(parked) == 0 {
		return nil, nil
	}
	if err := p.gate.refresh(ctx); err != nil {
		return seen, fmt.Errorf("read refusals: %w", err)
	}
	next := map[string]bool{}
	for _, name := range parked {
		if _, refused := p.gate.find(name); refused {
			continue
		}
		if !seen[name] {
			next[name] = true
			continue
		}
		if err := p.gate.refuse(ctx, name, "", "jobs are parked on it and its refusal is not known any more"); err != nil {
			return next, fmt.Errorf("close gate: %w", err)
		}
		p.log.Warn("jobs were parked on a credential that is not refused: one of them will probe it", "credential", name)
	}
	return next, nil
}

// current reports whether the set waits for versions that there are not yet. One of
// a secret that is not known waits for nothing that a probe could find.
func (o parkedOn) current(newest map[string]int64) bool {
	for _, c := range o {
		if version, known := newest[c.Secret]; !known || version > c.Version {
			return false
		}
	}
	return len(o) > 0
}
