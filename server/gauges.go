package server

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sealpost/sealpost/queue"
)

// gaugeTimeout bounds the reads of one scrape; scrapers give up after 10 s.
const gaugeTimeout = 2 * time.Second

// Gauges says where the values come from that are read at each scrape. A nil
// function gives no values.
type Gauges struct {
	Queue func(ctx context.Context) (queue.Stats, error)
	Lanes func() (running, waiting, free int) // slots of this process
	SMTP  func() (idle, busy, dialing int)    // kept connections of this process
	Audit func(ctx context.Context) (queue.Audit, error)
}

// gaugeCollector reads the gauges when it is scraped, so that nothing is
// polled when nobody looks.
type gaugeCollector struct {
	source *atomic.Pointer[Gauges]
	jobs   *prometheus.Desc
	oldest *prometheus.Desc
	lanes  *prometheus.Desc
	smtp   *prometheus.Desc
	audit  *prometheus.Desc
	passed *prometheus.Desc
	paced  *prometheus.Desc
}

func newGaugeCollector(source *atomic.Pointer[Gauges]) *gaugeCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"state"}, nil)
	}
	return &gaugeCollector{
		source: source,
		jobs:   desc("sealpost_queue_jobs", "Jobs in the queue by state, over all processes."),
		oldest: desc("sealpost_queue_oldest_seconds", "Age of the oldest job of each state."),
		lanes:  desc("sealpost_lane_slots", "Slots of this process: with a job that runs, with one that waits in its lane, or free."),
		paced:  desc("sealpost_lanes", "Destinations whose lane is limited, held or broken, over all processes."),
		smtp:   desc("sealpost_smtp_connections", "Kept SMTP connections of this process: idle, busy or dialing."),
		audit: prometheus.NewDesc("sealpost_audit_findings",
			"What the last check of the queue in the background has found, of any process.", []string{"finding"}, nil),
		passed: prometheus.NewDesc("sealpost_audit_last_pass_timestamp_seconds",
			"When the last check of the queue in the background ended, of any process.", nil, nil),
	}
}

// Describe names the metrics of the collector.
func (c *gaugeCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.jobs
	out <- c.oldest
	out <- c.lanes
	out <- c.smtp
	out <- c.audit
	out <- c.passed
	out <- c.paced
}

// Collect reads the values. What cannot be read in time is left out.
func (c *gaugeCollector) Collect(out chan<- prometheus.Metric) {
	g := c.source.Load()
	if g == nil {
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, state string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, state)
	}
	if g.Lanes != nil {
		running, waiting, free := g.Lanes()
		gauge(c.lanes, float64(running), "running")
		gauge(c.lanes, float64(waiting), "waiting")
		gauge(c.lanes, float64(free), "free")
	}
	if g.SMTP != nil {
		idle, busy, dialing := g.SMTP()
		gauge(c.smtp, float64(dialing), "dialing")
		gauge(c.smtp, float64(idle), "idle")
		gauge(c.smtp, float64(busy), "busy")
	}
	ctx, cancel := context.WithTimeout(context.Background(), gaugeTimeout)
	defer cancel()
	c.collectAudit(ctx, g, out)
	if g.Queue == nil {
		return
	}
	stats, err := g.Queue(ctx)
	if err != nil {
		return // sealpost_redis_errors_total and /readyz tell
	}
	for state, n := range stats.Jobs {
		gauge(c.jobs, float64(n), string(state))
	}
	for state, seconds := range stats.Oldest {
		gauge(c.oldest, seconds, string(state))
	}
	for state, n := range lanesBy(stats.Lanes) {
		gauge(c.paced, float64(n), state)
	}
}

// collectAudit has a value for each kind of finding once a check has ended, so that an
// alert need not know which there are.
func (c *gaugeCollector) collectAudit(ctx context.Context, g *Gauges, out chan<- prometheus.Metric) {
	if g.Audit == nil {
		return
	}
	a, err := g.Audit(ctx)
	if err != nil || a.At.IsZero() {
		return
	}
	out <- prometheus.MustNewConstMetric(c.passed, prometheus.GaugeValue, float64(a.At.Unix()))
	for _, word := range queue.FindingWords() {
		out <- prometheus.MustNewConstMetric(c.audit, prometheus.GaugeValue, float64(a.Found[word]), word)
	}
}

// lanesBy counts the lanes that are not as they should be; one may be several.
func lanesBy(list []queue.LaneState) map[string]int {
	n := map[string]int{"limited": 0, "held": 0, "broken": 0}
	for _, l := range list {
		if l.Rate > 0 || l.Connections > 0 || l.PerConnection > 0 {
			n["limited"]++
		}
		if !l.HeldUntil.IsZero() {
			n["held"]++
		}
		if !l.BrokenSince.IsZero() {
			n["broken"]++
		}
	}
	return n
}
