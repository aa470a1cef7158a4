package drill

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How a soak is judged. A worker's memory moves up and down with its load and its
// collector, so single samples say nothing: the time after the warm-up is cut into
// blocks, each block counts with its median, and a line is fitted to these. A
// growth counts as far as it exceeds twice the standard error of the line.
const (
	sampleEach = 10 * time.Second
	warmUp     = 0.25 // of the soak
	blocks     = 10
	errorsOff  = 2.0
	rssMost    = 1.0  // MiB an hour
	growthMost = 0.05 // of descriptors and goroutines over the soak, and at least
	growthFew  = 2.0  // so many
	mib        = 1 << 20
)

// sample is what all workers held at a moment.
type sample struct {
	at                         time.Time
	rss, heap, fds, goroutines float64 // bytes, bytes, number, number
}

// Trend is how something moved over a soak.
type Trend struct {
	First   float64 `json:"first"`    // median of the first block
	Last    float64 `json:"last"`     // median of the last one
	Most    float64 `json:"most"`     // of all samples
	PerHour float64 `json:"per_hour"` // slope
	Error   float64 `json:"error"`    // standard error of the slope, per hour
}

// Soak is how the workers' use of the machine moved, all of them summed up.
type Soak struct {
	Samples    int     `json:"samples"`
	Hours      float64 `json:"hours"` // after the warm-up
	RSS        Trend   `json:"rss_mib"`
	Heap       Trend   `json:"heap_mib"` // at which the collector starts, twice what lives: no noise, no judgement
	FDs        Trend   `json:"descriptors"`
	Goroutines Trend   `json:"goroutines"`
}

// String is the soak in a few words.
func (s Soak) String() string {
	return fmt.Sprintf("soak of %.2f h after the warm-up, %d samples: RSS %.1f to %.1f MiB, %+.2f ± %.2f MiB/h; heap %+.2f ± %.2f MiB/h; descriptors %.0f to %.0f, %+.1f ± %.1f/h; goroutines %.0f to %.0f, %+.1f ± %.1f/h",
		s.Hours, s.Samples, s.RSS.First, s.RSS.Last, s.RSS.PerHour, s.RSS.Error,
		s.Heap.PerHour, s.Heap.Error, s.FDs.First, s.FDs.Last, s.FDs.PerHour, s.FDs.Error,
		s.Goroutines.First, s.Goroutines.Last, s.Goroutines.PerHour, s.Goroutines.Error)
}

// missed names what was not flat.
func (s Soak) missed() []string {
	if s.Samples < 2*blocks {
		return []string{fmt.Sprintf("%d samples after the warm-up, want at least %d: soak longer", s.Samples, 2*blocks)}
	}
	var found []string
	if grown := s.RSS.PerHour - errorsOff*s.RSS.Error; grown > rssMost {
		found = append(found, fmt.Sprintf("the memory of the workers grows by at least %.2f MiB an hour", grown))
	}
	for _, t := range []struct {
		name string
		of   Trend
	}{{"descriptors", s.FDs}, {"goroutines", s.Goroutines}} {
		grown := (t.of.PerHour - errorsOff*t.of.Error) * s.Hours
		if grown > max(growthMost*t.of.First, growthFew) {
			found = append(found, fmt.Sprintf("the %s of the workers grow: %.0f more over the soak", t.name, grown))
		}
	}
	return found
}

// measure samples the workers until the load ends.
func (r *run) measure(ctx context.Context) error {
	each := min(sampleEach, r.For/(4*blocks)) // a short soak is for tests
	for _, w := range r.workers {
		if err := await(redisStart, func() error { _, err := w.sample(ctx); return err }); err != nil {
			return fmt.Errorf("measure a worker: %w", err)
		}
	}
	for time.Since(r.began) < r.For && pause(ctx, each) == nil {
		sum := sample{at: time.Now()}
		for _, w := range r.workers {
			if !w.running() {
				return fmt.Errorf("a worker ended by itself:\n%s", w.tail())
			}
			s, err := w.sample(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return fmt.Errorf("measure a worker: %w", err)
			}
			sum.rss, sum.heap, sum.fds, sum.goroutines = sum.rss+s.rss, sum.heap+s.heap, sum.fds+s.fds, sum.goroutines+s.goroutines
		}
		r.samples = append(r.samples, sum)
	}
	return nil
}

// sample asks the kernel and the process itself.
func (p *process) sample(ctx context.Context) (sample, error) {
	dir := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid))
	text, err := os.ReadFile(filepath.Join(dir, "statm"))
	if err != nil {
		return sample{}, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return sample{}, errors.New("statm has no second number")
	}
	pages, err := strconv.ParseFloat(fields[1], 64)
	if err != nil {
		return sample{}, fmt.Errorf("statm: %w", err)
	}
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return sample{}, err
	}
	s := sample{rss: pages * float64(os.Getpagesize()), fds: float64(len(fds))}
	if s.goroutines, err = p.metric(ctx, "go_goroutines"); err != nil {
		return s, err
	}
	s.heap, err = p.metric(ctx, "go_memstats_next_gc_bytes")
	return s, err
}

// metric reads one gauge of a worker.
func (p *process) metric(ctx context.Context, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.ops+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	req.Close = true // no connection of ours is among its descriptors
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// soakOf fits the lines. The samples of the warm-up do not count.
func soakOf(all []sample, length time.Duration) *Soak {
	if len(all) == 0 {
		return &Soak{}
	}
	start := all[0].at.Add(time.Duration(warmUp * float64(length)))
	all = slices.DeleteFunc(slices.Clone(all), func(s sample) bool { return s.at.Before(start) })
	if len(all) < 2*blocks {
		return &Soak{Samples: len(all)}
	}
	return &Soak{
		Samples: len(all), Hours: all[len(all)-1].at.Sub(all[0].at).Hours(),
		RSS:        trendOf(all, func(s sample) float64 { return s.rss / mib }),
		Heap:       trendOf(all, func(s sample) float64 { return s.heap / mib }),
		FDs:        trendOf(all, func(s sample) float64 { return s.fds }),
		Goroutines: trendOf(all, func(s sample) float64 { return s.goroutines }),
	}
}

// trendOf fits a line through the medians of the blocks by least squares.
func trendOf(all []sample, of func(sample) float64) Trend {
	var x, y []float64
	var t Trend
	for b := range blocks {
		part := all[b*len(all)/blocks : (b+1)*len(all)/blocks]
		var values []float64
		for _, s := range part {
			values = append(values, of(s))
		}
		slices.Sort(values)
		t.Most = max(t.Most, values[len(values)-1])
		x = append(x, part[len(part)/2].at.Sub(all[0].at).Hours())
		y = append(y, values[len(values)/2])
	}
	t.First, t.Last = y[0], y[blocks-1]
	meanX, meanY := mean(x), mean(y)
	var sxx, sxy, rest float64
	for i := range x {
		sxx += (x[i] - meanX) * (x[i] - meanX)
		sxy += (x[i] - meanX) * (y[i] - meanY)
	}
	t.PerHour = sxy / sxx
	for i := range x {
		off := y[i] - meanY - t.PerHour*(x[i]-meanX)
		rest += off * off
	}
	t.Error = math.Sqrt(rest / (blocks - 2) / sxx)
	return t
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
