package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// scenario is one kind of work that Sealpost and its peers do side by side.
type scenario interface {
	// name is what -only calls it.
	name() string
	// open starts what the sides need; the world ends it.
	open(ctx context.Context, w *world) ([]side, error)
	// rows compares the medians of the sides.
	rows(r results) []row
}

// side is one contestant. It is skipped if there is a reason.
type side struct {
	name string
	skip string
	turn func(ctx context.Context) (figures, error) // measured once each round
}

// figures are what was measured of one side, by the names below.
type figures map[string]float64

// What is measured.
const (
	rate    = "per_second"
	client  = "client_us"     // processor time of the side for one item
	server  = "server_us"     // of what it talks to: Redis, or the sink of mails
	total   = "cpu_us"        // both
	memory  = "rss_mb"        // of the side at its highest
	waiting = "bytes_per_job" // of Redis for one job that waits
	enqueue = "enqueue_per_second"
	p50     = "p50_ms"
	p99     = "p99_ms"
)

// results are the medians of a scenario.
type results struct {
	of      map[string]figures // by side
	skipped map[string]string  // why
}

// play runs all rounds of a scenario.
func (w *world) play(ctx context.Context, sc scenario) (results, error) {
	mark, began := len(w.ends), time.Now()
	defer w.endFrom(mark)
	sides, err := sc.open(ctx, w)
	if err != nil {
		return results{}, err
	}
	r := results{of: map[string]figures{}, skipped: map[string]string{}}
	rounds := map[string][]figures{}
	for round := range w.rounds {
		for _, s := range sides {
			if s.skip != "" {
				r.skipped[s.name] = s.skip
				continue
			}
			got, err := s.turn(ctx)
			if err != nil {
				return results{}, fmt.Errorf("%s: %w", s.name, err)
			}
			rounds[s.name] = append(rounds[s.name], got)
			fmt.Fprintf(os.Stderr, "%s, round %d: %-28s %s\n", sc.name(), round+1, s.name, got)
		}
	}
	for name, all := range rounds {
		r.of[name] = median(all)
	}
	for name, reason := range r.skipped {
		fmt.Fprintf(os.Stderr, "%s: without %s: %s\n", sc.name(), name, reason)
	}
	fmt.Fprintf(os.Stderr, "%s: %.1f s\n", sc.name(), time.Since(began).Seconds())
	return r, nil
}

// String is for the line of a round.
func (f figures) String() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(f)) {
		fmt.Fprintf(&b, " %s %.4g", key, f[key])
	}
	return strings.TrimSpace(b.String())
}

// median takes the median of each figure by itself.
func median(rounds []figures) figures {
	out := figures{}
	for key := range rounds[0] {
		var all []float64
		for _, f := range rounds {
			all = append(all, f[key])
		}
		slices.Sort(all)
		out[key] = all[len(all)/2]
	}
	return out
}

// best is the side of that name or else, of those whose name begins so, the one that
// has the highest rate; "" if there is none.
func (r results) best(begin string) string {
	if r.of[begin] != nil {
		return begin
	}
	found := ""
	for _, name := range slices.Sorted(maps.Keys(r.of)) {
		if strings.HasPrefix(name, begin) && (found == "" || r.of[name][rate] > r.of[found][rate]) {
			found = name
		}
	}
	return found
}

// why is why there is no such side.
func (r results) why(begin string) string {
	for name, reason := range r.skipped {
		if strings.HasPrefix(name, begin) {
			return reason
		}
	}
	return ""
}

// row is one line of the table: one figure of Sealpost beside one of a peer.
type row struct {
	Scenario string  `json:"scenario"`
	Figure   string  `json:"figure"`
	Ours     string  `json:"sealpost"` // the side of Sealpost
	Value    float64 `json:"sealpost_value"`
	Peer     string  `json:"peer"`
	Theirs   float64 `json:"peer_value,omitempty"`
	Raw      float64 `json:"raw_limit,omitempty"` // of what is below both
	Ratio    float64 `json:"ratio,omitempty"`
	Goal     float64 `json:"goal,omitempty"`
	Less     bool    `json:"goal_is_at_most,omitempty"`
	Met      bool    `json:"met"`
	// Processor time in microseconds for each item: of the side, and of what it
	// talks to. Memory is the resident set of the side at its highest, in MB.
	OurClient   float64 `json:"sealpost_client_us,omitempty"`
	OurServer   float64 `json:"sealpost_server_us,omitempty"`
	TheirClient float64 `json:"peer_client_us,omitempty"`
	TheirServer float64 `json:"peer_server_us,omitempty"`
	// LessCPU is how many times as much processor time an item of the peer takes,
	// both sides together: it holds on a machine that others load too.
	LessCPU     float64 `json:"cpu_ratio,omitempty"`
	OurMemory   float64 `json:"sealpost_rss_mb,omitempty"`
	TheirMemory float64 `json:"peer_rss_mb,omitempty"`
	Skipped     string  `json:"skipped,omitempty"` // why there is no peer
}

// goal is what a ratio should be: at least that, or with less at most.
type goal struct {
	is   float64
	less bool
}

// compare makes the row of our side beside the best one of a peer.
func (r results) compare(what, figure, ours, peer string, g goal) row {
	theirs := r.best(peer)
	mine := r.of[ours]
	out := row{
		Scenario: what, Figure: figure, Ours: ours, Peer: theirs, Value: mine[figure], Goal: g.is, Less: g.less,
		OurClient: mine[client], OurServer: mine[server], OurMemory: mine[memory],
	}
	if theirs == "" {
		out.Peer, out.Skipped = peer, r.why(peer)
		return out
	}
	its := r.of[theirs]
	out.Theirs, out.TheirClient, out.TheirServer, out.TheirMemory = its[figure], its[client], its[server], its[memory]
	if out.Theirs > 0 {
		out.Ratio = out.Value / out.Theirs
	}
	if used := out.OurClient + out.OurServer; used > 0 {
		out.LessCPU = (out.TheirClient + out.TheirServer) / used
	}
	out.Met = out.Ratio >= g.is
	if g.less {
		out.Met = out.Ratio <= g.is
	}
	return out
}
