package main

import (
	"context"
	"fmt"
	"time"

	"github.com/sealpost/sealpost/integration/peers"
)

// fauxqsSink is fauxqs, an SQS by others that stores what it gets, as the SQS of
// the scenarios with messages. It does not tell of arrivals, so it is asked.
type fauxqsSink struct {
	arrivals
	server *peers.Fauxqs
	queue  string
}

// fauxqsLook is the time between two questions: a turn takes about a second.
const fauxqsLook = 10 * time.Millisecond

func (s *fauxqsSink) ops() map[string]op {
	return map[string]op{"start": s.start, "expect": s.reset, "await": s.settled, "used": s.used}
}

func (s *fauxqsSink) start(ctx context.Context, r request) (answer, error) {
	var err error
	if s.server, err = peers.StartFauxqs(r.Cache, r.Dir); err != nil {
		return answer{}, err
	}
	if s.queue, err = s.server.CreateQueue(ctx, "bench"); err != nil {
		return answer{}, err
	}
	return answer{SQS: &sqsQueue{URL: s.queue, Endpoint: s.server.Endpoint, Region: "eu-west-1", ID: "test", Key: "test-secret-key"}}, nil
}

// reset empties the queue and watches it from then on.
func (s *fauxqsSink) reset(ctx context.Context, r request) (answer, error) {
	if err := s.server.Purge(ctx, s.queue); err != nil {
		return answer{}, err
	}
	s.expect(r.Jobs)
	go s.watch(ctx, r.Jobs)
	return s.used(ctx, r)
}

// watch tells arrivals of what is new until all have come.
func (s *fauxqsSink) watch(ctx context.Context, jobs int) {
	tick := time.NewTicker(fauxqsLook)
	defer tick.Stop()
	for had := 0; had < jobs; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n, err := s.server.Count(ctx, s.queue); err == nil && n > had { // else the next look tells
			s.came(n - had)
			had = n
		}
	}
}

func (s *fauxqsSink) settled(ctx context.Context, r request) (answer, error) {
	a, err := s.await(ctx, r)
	if err != nil {
		return a, err
	}
	child, err := s.used(ctx, r)
	a.Total = child.Total
	return a, err
}

// used says what the emulator has used.
func (s *fauxqsSink) used(context.Context, request) (answer, error) {
	cpu, err := s.server.CPU()
	if err != nil {
		return answer{}, fmt.Errorf("read the processor time of fauxqs: %w", err)
	}
	return answer{Total: cpu.Seconds()}, nil
}
