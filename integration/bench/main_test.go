package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMedianIsTakenOfEachFigure(t *testing.T) {
	got := median([]figures{{rate: 10, client: 3}, {rate: 30, client: 1}, {rate: 20, client: 2}})
	if diff := cmp.Diff(figures{rate: 20, client: 2}, got); diff != "" {
		t.Errorf("median (-want +got):\n%s", diff)
	}
}

func TestRowsAreJudged(t *testing.T) {
	r := results{
		of: map[string]figures{
			"ours": {rate: 100, server: 5}, "peer at 10": {rate: 10, server: 50}, "peer at 50": {rate: 20, server: 40},
		},
		skipped: map[string]string{"absent": "no npm on this machine"},
	}
	tests := []struct {
		name, figure, peer string
		goal               goal
		ratio              float64
		met                bool
		shows              string
	}{
		{"the best of a peer counts", rate, "peer", goal{is: 4}, 5, true, "20.0 peer at 50"},
		{"too slow", rate, "peer", goal{is: 6}, 5, false, "6.00, missed"},
		{"at most, and it is less", server, "peer", goal{0.2, true}, 0.125, true, "at most 0.200 |"},
		{"at most, and it is more", server, "peer", goal{0.1, true}, 0.125, false, "at most 0.100, missed"},
		{"one size of a peer", rate, "peer at 10", goal{is: 10}, 10, true, "10.0 peer at 10"},
		{"a peer that is not there", rate, "absent", goal{is: 2}, 0, false, "no absent: no npm on this machine"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := r.compare("work", tt.figure, "ours", tt.peer, tt.goal)
			if got.Ratio != tt.ratio || got.Met != tt.met || !strings.Contains(got.line(), tt.shows) {
				t.Errorf("ratio %v, met %v, want %v, %v and %q in %s", got.Ratio, got.Met, tt.ratio, tt.met, tt.shows, got.line())
			}
			if got.Ratio > 0 && got.LessCPU != r.of[got.Peer][server]/5 {
				t.Errorf("the ratio of processor time is %v, want that of %s over ours, 5", got.LessCPU, got.Peer)
			}
			if strings.Count(got.line(), "|") != 11 {
				t.Errorf("the row has not ten columns: %s", got.line())
			}
		})
	}
}

func TestNumbersHaveThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{0: "-", 0.0123: "0.0123", 1.5: "1.50", 99.44: "99.4", 105_550: "105550"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestBusyDoesEachOnce(t *testing.T) {
	seen := make(chan int, 100)
	err := busy(t.Context(), 7, 100, func(_ context.Context, _, job int) error {
		seen <- job
		return nil
	})
	close(seen)
	sum := 0
	for n := range seen {
		sum += n
	}
	if err != nil || sum != 5050 {
		t.Errorf("busy: %v, the sum is %d, want that of 1 to 100", err, sum)
	}
	want := errors.New("no")
	if err := busy(t.Context(), 2, 10, func(context.Context, int, int) error { return want }); !errors.Is(err, want) {
		t.Errorf("busy: %v, want the error of the work", err)
	}
}
