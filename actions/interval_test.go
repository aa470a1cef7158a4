package actions

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestIntervalIsDue(t *testing.T) {
	const anchor = "2026-01-31T10:20:30.400Z"
	for _, tt := range []struct {
		name, interval, anchor, after string
		want                          []string
	}{
		{"the first step", "3 minutes", anchor, anchor, []string{"2026-01-31T10:23:30Z", "2026-01-31T10:26:30Z"}},
		{"a time before the anchor", "1 hour", anchor, "2020-01-01T00:00:00Z", []string{"2026-01-31T11:20:30Z"}},
		{"long after", "1 day", anchor, "2027-01-31T10:20:30Z", []string{"2027-02-01T10:20:30Z"}},
		{"a second", "1 second", anchor, "2026-01-31T10:20:31.999Z", []string{"2026-01-31T10:20:32Z"}},
		{"weeks", "2 weeks", anchor, anchor, []string{"2026-02-14T10:20:30Z", "2026-02-28T10:20:30Z"}},
		{"months keep their day where there is one", "1 month", anchor, anchor,
			[]string{"2026-02-28T10:20:30Z", "2026-03-31T10:20:30Z", "2026-04-30T10:20:30Z", "2026-05-31T10:20:30Z"}},
		{"months in a leap year", "1 month", "2028-01-30T00:00:00Z", "2028-01-30T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2028-03-30T00:00:00Z"}},
		{"quarters", "1 quarter", "2025-11-30T00:00:00Z", "2025-11-30T00:00:00Z", []string{"2026-02-28T00:00:00Z", "2026-05-30T00:00:00Z"}},
		{"years from a leap day", "1 year", "2028-02-29T00:00:00Z", "2030-06-01T00:00:00Z", []string{"2031-02-28T00:00:00Z", "2032-02-29T00:00:00Z"}},
		{"a very long one", "999999 weeks", anchor, anchor, []string{"21191-06-01T10:20:30Z"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := ParseInterval(tt.interval)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			at := when(t, tt.after)
			for range tt.want {
				at = v.Next(when(t, tt.anchor), at)
				got = append(got, at.Format(time.RFC3339))
			}
			if d := cmp.Diff(got, tt.want); d != "" {
				t.Error(d)
			}
		})
	}
}

// A step may not depend on how often it was asked for: each due time is the
// anchor and a whole number of steps.
func TestIntervalDoesNotDrift(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]string{"second", "minute", "hour", "day", "week", "month", "quarter", "year"}).Draw(t, "unit")
		v, err := ParseInterval(rapid.SampledFrom([]string{"1 ", "2 ", "7 ", "100 "}).Draw(t, "n") + unit)
		if err != nil {
			t.Fatal(err)
		}
		anchor := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "anchor"), 0).UTC()
		due := anchor
		for steps := 1; steps <= 50; steps++ {
			next := v.Next(anchor, due)
			if !next.After(due) {
				t.Fatalf("%v is not after %v", next, due)
			}
			want := anchor.Add(time.Duration(steps) * time.Duration(v.seconds) * time.Second)
			if v.months > 0 {
				want = addMonths(anchor, steps*v.months)
			}
			if !next.Equal(want) {
				t.Fatalf("step %d is %v, want %v", steps, next, want)
			}
			if before := v.Next(anchor, next.Add(-time.Nanosecond)); !before.Equal(next) {
				t.Fatalf("asked right before %v it is %v", next, before)
			}
			due = next
		}
	})
}
