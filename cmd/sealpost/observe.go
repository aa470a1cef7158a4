package main

import (
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/email"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/server"
)

// observe connects what the queue tells to the metrics.
func observe(m *server.Metrics) queue.Observer {
	return queue.Observer{
		Enqueued: m.JobsEnqueued,
		Attempted: func(at queue.Attempted) {
			m.AttemptDone(at.Kind, at.Reason, at.Duration)
			if at.Outcome == queue.Done {
				m.JobDone(at.Kind, at.Age)
			}
		},
		Finished:   func(kind string, outcome queue.State) { m.JobFinished(kind, string(outcome)) },
		Recovered:  m.LeasesRecovered,
		RedisError: m.RedisFailed,
	}
}

// mailer is an action that keeps SMTP connections.
type mailer interface {
	Stats() email.Stats
}

// gauges reads what is counted at each scrape.
func (p *process) gauges(list []actions.Action) server.Gauges {
	g := server.Gauges{Queue: p.jobs.Stats, Audit: p.jobs.LastAudit, Lanes: func() (running, waiting, free int) {
		if pool := p.pool.Load(); pool != nil {
			return pool.Slots()
		}
		return 0, 0, p.cfg.Slots
	}}
	for _, action := range list {
		if m, ok := action.(mailer); ok {
			g.SMTP = func() (idle, busy, dialing int) { s := m.Stats(); return s.Idle, s.Busy, s.Dialing }
		}
	}
	return g
}
