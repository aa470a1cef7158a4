package server

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// declared are the metrics of the contract with their labels.
func declared() map[string]string {
	return map[string]string{
		"sealpost_build_info":               "version",
		"sealpost_jobs_enqueued_total":      "kind",
		"sealpost_jobs_finished_total":      "kind outcome",
		"sealpost_attempts_total":           "kind reason",
		"sealpost_attempt_duration_seconds": "kind",
		"sealpost_job_age_seconds":          "kind",
		"sealpost_queue_jobs":               "state",
		"sealpost_queue_oldest_seconds":     "state",
		"sealpost_leases_recovered_total":   "",
		"sealpost_lane_slots":               "state",
		"sealpost_smtp_connections":         "state",
		"sealpost_lanes":                    "state",
		"sealpost_secret_opens_total":       "result type",
		"sealpost_redis_errors_total":       "op",
		"sealpost_time_triggers_total":      "result",
		"sealpost_audit_findings":           "finding",

		"sealpost_audit_last_pass_timestamp_seconds": "",
	}
}

// touched returns metrics after one of everything has happened.
func touched(queueStats func(context.Context) (queue.Stats, error)) *Metrics {
	m := NewMetrics("v1", []string{"note"})
	m.JobsEnqueued("note", 2)
	m.JobsEnqueued("made up by a producer", 1)
	m.AttemptDone("note", "", time.Second)
	m.AttemptDone("note", "credential", time.Second)
	m.JobFinished("note", "done")
	m.JobDone("note", time.Second)
	m.TimeTriggers(5, 2)
	m.LeasesRecovered(3)
	m.RedisFailed("read")
	m.SecretOpened(secrets.TypeSMTP, "ok", 1)
	m.Observe(Gauges{
		Queue: queueStats,
		Lanes: func() (int, int, int) { return 1, 2, 3 },
		SMTP:  func() (int, int, int) { return 4, 5, 6 },
		Audit: func(context.Context) (queue.Audit, error) {
			return queue.Audit{At: time.Unix(1700000000, 0), Found: map[string]int64{"no-place": 3}}, nil
		},
	})
	return m
}

func someStats(context.Context) (queue.Stats, error) {
	return queue.Stats{Jobs: map[queue.State]int64{queue.Ready: 7}, Oldest: map[queue.State]float64{queue.Ready: 1.5},
		Lanes: []queue.LaneState{{Lane: "a", Rate: 2}, {Lane: "b", Rate: 3, HeldUntil: time.Now()}, {Lane: "c", BrokenSince: time.Now()}}}, nil
}

func TestEveryDeclaredMetricIsCollected(t *testing.T) {
	families, err := touched(someStats).registry.Gather()
	if err != nil {
		t.Fatalf("Gather: %v", err)
	}
	got := map[string]*dto.MetricFamily{}
	for _, f := range families {
		got[f.GetName()] = f
		if _, ok := declared()[f.GetName()]; !ok && strings.HasPrefix(f.GetName(), "sealpost_") {
			t.Errorf("%s is collected but not declared", f.GetName())
		}
	}
	for name, labels := range declared() {
		f := got[name]
		if f == nil {
			t.Errorf("%s is not collected", name)
			continue
		}
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		for _, metric := range f.GetMetric() {
			var names []string
			for _, l := range metric.GetLabel() {
				names = append(names, l.GetName())
			}
			if got := strings.Join(names, " "); got != labels {
				t.Errorf("%s: labels: got %q, want %q", name, got, labels)
			}
			if h := metric.GetHistogram(); strings.HasSuffix(name, "_seconds") && h != nil && len(h.GetPositiveSpan()) == 0 {
				t.Errorf("%s is no native histogram", name)
			}
		}
	}
}

func TestKindsOfProducersAreNoLabels(t *testing.T) {
	text := scrape(t, touched(someStats))
	if strings.Contains(text, "made up") {
		t.Error("a producer's text is a label")
	}
	for _, want := range []string{
		`sealpost_jobs_enqueued_total{kind="note"} 2`, `sealpost_jobs_enqueued_total{kind="other"} 1`,
		`sealpost_attempts_total{kind="note",reason="accepted"} 1`, `sealpost_queue_jobs{state="ready"} 7`,
		`sealpost_queue_oldest_seconds{state="ready"} 1.5`, `sealpost_lane_slots{state="free"} 3`,
		`sealpost_smtp_connections{state="idle"} 4`,
		`sealpost_lanes{state="limited"} 2`, `sealpost_lanes{state="held"} 1`, `sealpost_lanes{state="broken"} 1`, `sealpost_leases_recovered_total 3`,
		`sealpost_time_triggers_total{result="fired"} 5`, `sealpost_time_triggers_total{result="skipped"} 2`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("not scraped: %s", want)
		}
	}
}

func TestScrapeWithoutRedisHasTheOtherMetrics(t *testing.T) {
	text := scrape(t, touched(func(ctx context.Context) (queue.Stats, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the read of a scrape has no deadline")
		}
		return queue.Stats{}, errors.New("no Redis")
	}))
	if strings.Contains(text, "sealpost_queue_jobs{") || !strings.Contains(text, "sealpost_lane_slots{") {
		t.Errorf("want lane slots and no queue gauges, got:\n%s", text)
	}
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text, err := io.ReadAll(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("scrape: %d %v", w.Code, err)
	}
	return string(text)
}
