package server

import (
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sealpost/sealpost/secrets"
)

// Shape of the native histograms: each bucket is at most a tenth wider than
// the one before, 160 buckets at most. Both are the values that the
// documentation of client_golang advises.
const (
	bucketFactor = 1.1
	maxBuckets   = 160
	bucketReset  = time.Hour // at the earliest, when there are too many buckets
)

// otherKind is the label of jobs whose kind is not one of ours, so that a
// producer's mistake cannot make label values without end.
const otherKind = "other"

// Metrics are all the metrics of a process, in a registry of their own. No
// label ever holds the id of a job, an address, or the key of a secret.
type Metrics struct {
	registry *prometheus.Registry
	kinds    []string

	jobsEnqueued *prometheus.CounterVec
	jobsFinished *prometheus.CounterVec
	attempts     *prometheus.CounterVec
	attemptTime  *prometheus.HistogramVec
	jobAge       *prometheus.HistogramVec
	recovered    prometheus.Counter
	opens        *prometheus.CounterVec
	redisErrors  *prometheus.CounterVec
	timeTriggers *prometheus.CounterVec

	gauges atomic.Pointer[Gauges]
}

// NewMetrics returns the metrics of a process of this version that knows
// these kinds of actions.
func NewMetrics(version string, kinds []string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), kinds: slices.Clone(kinds)}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(vec)
		return vec
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help,
			NativeHistogramBucketFactor: bucketFactor, NativeHistogramMaxBucketNumber: maxBuckets,
			NativeHistogramMinResetDuration: bucketReset}, []string{"kind"})
		m.registry.MustRegister(vec)
		return vec
	}
	m.jobsEnqueued = counter("sealpost_jobs_enqueued_total", "Jobs that this process accepted; those that came straight to Redis are not counted, nor duplicates.", "kind")
	m.jobsFinished = counter("sealpost_jobs_finished_total", "Jobs that came to their end: done, dead, cancelled or expired.", "kind", "outcome")
	m.attempts = counter("sealpost_attempts_total", "Attempts by reason; accepted when the other side took it.", "kind", "reason")
	m.attemptTime = histogram("sealpost_attempt_duration_seconds", "Time of one attempt, from its start to the answer.")
	m.jobAge = histogram("sealpost_job_age_seconds", "Time from enqueue to done.")
	m.opens = counter("sealpost_secret_opens_total", "Secrets opened, by type and result.", "type", "result")
	m.redisErrors = counter("sealpost_redis_errors_total", "Calls to Redis that failed, by what they were for.", "op")
	m.timeTriggers = counter("sealpost_time_triggers_total", "Due times of intervals and schedules: fired, each by the process that enqueued its job, or skipped because they were missed.", "result")
	m.recovered = prometheus.NewCounter(prometheus.CounterOpts{Name: "sealpost_leases_recovered_total",
		Help: "Jobs taken over from a worker that had stopped renewing its claim."})
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sealpost_build_info",
		Help: "Always 1; the label says which version runs."}, []string{"version"})
	info.WithLabelValues(version).Set(1)
	m.registry.MustRegister(m.recovered, info, newGaugeCollector(&m.gauges),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler answers scrapes.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Timeout: 2 * gaugeTimeout})
}

// Observe sets where the gauges come from, once they are there.
func (m *Metrics) Observe(g Gauges) { m.gauges.Store(&g) }

// AttemptDone notes one attempt of a worker. reason is "" when it was accepted.
func (m *Metrics) AttemptDone(kind, reason string, took time.Duration) {
	if reason == "" {
		reason = "accepted"
	}
	kind = m.kind(kind)
	m.attempts.WithLabelValues(kind, reason).Inc()
	m.attemptTime.WithLabelValues(kind).Observe(took.Seconds())
}

// JobFinished notes that a job came to its end: done, dead, cancelled, expired.
func (m *Metrics) JobFinished(kind, outcome string) {
	m.jobsFinished.WithLabelValues(m.kind(kind), outcome).Inc()
}

// JobDone notes how old a job was when it was done.
func (m *Metrics) JobDone(kind string, age time.Duration) {
	m.jobAge.WithLabelValues(m.kind(kind)).Observe(age.Seconds())
}

// TimeTriggers notes due times of stored actions that got their job, and those
// that were skipped.
func (m *Metrics) TimeTriggers(fired, skipped int) {
	m.timeTriggers.WithLabelValues("fired").Add(float64(fired))
	m.timeTriggers.WithLabelValues("skipped").Add(float64(skipped))
}

// LeasesRecovered notes jobs taken over from another worker.
func (m *Metrics) LeasesRecovered(n int) { m.recovered.Add(float64(n)) }

// RedisFailed notes a failed call to Redis. op is one of a fixed set of words.
func (m *Metrics) RedisFailed(op string) { m.redisErrors.WithLabelValues(op).Inc() }

// SecretOpened notes that so many secrets were opened, or why not.
func (m *Metrics) SecretOpened(t secrets.Type, result string, n int) {
	m.opens.WithLabelValues(string(t), result).Add(float64(n))
}

// JobsEnqueued notes accepted jobs. kind is as the producer wrote it.
func (m *Metrics) JobsEnqueued(kind string, n int) {
	m.jobsEnqueued.WithLabelValues(m.kind(kind)).Add(float64(n))
}

// kind is the label for a kind that a producer may have made up.
func (m *Metrics) kind(name string) string {
	if slices.Contains(m.kinds, name) {
		return name
	}
	return otherKind
}
