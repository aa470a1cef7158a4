package actions

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// when reads a time of the tables.
func when(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestCronIsDue(t *testing.T) {
	const utc = ""
	for _, tt := range []struct {
		name, cron, zone, after string
		want                    []string // with the zone's offset, for people
	}{
		{"every quarter", "*/15 * * * *", utc, "2026-01-01T00:00:00Z", []string{"2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z", "2026-01-01T00:45:00Z", "2026-01-01T01:00:00Z"}},
		{"between two seconds", "* * * * *", utc, "2026-01-01T00:00:59.999Z", []string{"2026-01-01T00:01:00Z"}},
		{"seconds first", "30 0 12 * * *", utc, "2026-01-01T00:00:00Z", []string{"2026-01-01T12:00:30Z", "2026-01-02T12:00:30Z"}},
		{"week days by name", "0 9 * * mon-FRI", utc, "2026-01-02T10:00:00Z", []string{"2026-01-05T09:00:00Z"}},
		{"Sunday is 7 too", "0 0 * * 7", utc, "2026-01-01T00:00:00Z", []string{"2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"}},
		{"Saturday to Sunday", "0 0 * * 6-7", utc, "2026-01-01T00:00:00Z", []string{"2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z", "2026-01-10T00:00:00Z"}},
		{"one of two days is enough", "0 0 13 * 5", utc, "2026-01-08T00:00:00Z", []string{"2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z", "2026-01-16T00:00:00Z"}},
		{"leap days", "0 0 29 2 *", utc, "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		{"no leap day in 2100", "0 0 29 2 *", utc, "2096-03-01T00:00:00Z", []string{"2104-02-29T00:00:00Z"}},
		{"the 31st", "0 0 31 * *", utc, "2026-01-31T00:00:00Z", []string{"2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"}},
		{"an offset of 45 minutes", "0 0 * * *", "Asia/Kathmandu", "2026-01-01T00:00:00Z", []string{"2026-01-02T00:00:00+05:45"}},

		{"Berlin: 02:30 does not exist", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"Berlin: many times that do not exist are one", "*/10 2,3 * * *", "Europe/Berlin", "2026-03-29T00:59:59Z", []string{"2026-03-29T03:00:00+02:00", "2026-03-29T03:10:00+02:00"}},
		{"Berlin: 02:30 exists twice", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"Berlin: asked in the repeated hour", "30 2,3 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", []string{"2026-10-25T03:30:00+01:00"}},
		{"Berlin: a rhythm goes on in the repeated hour", "*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:00:00+01:00"}},
		{"New York: 02:30 does not exist", "30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", []string{"2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"}},
		{"New York: 01:30 exists twice", "30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", []string{"2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"}},
		{"Lord Howe: 02:15 does not exist", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", []string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		{"Lord Howe: 02:45 does exist", "45 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", []string{"2026-10-04T02:45:00+11:00"}},
		{"Lord Howe: 01:45 exists twice", "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", []string{"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"}},
		{"Sao Paulo: a midnight does not exist", "0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", []string{"2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"}},
		{"Apia: a day does not exist", "0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", []string{"2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ParseCron(tt.cron, tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			at := when(t, tt.after)
			for range tt.want {
				at = c.Next(at)
				got = append(got, at.In(c.loc).Format(time.RFC3339))
			}
			if d := cmp.Diff(got, tt.want); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestCronIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name, cron, zone string
		want             error
	}{
		{"the 31st of February", "0 0 31 2 *", "", errCronNever},
		{"the 31st of short months", "0 0 31 4,6,9,11 *", "", errCronNever},
		{"no hour at all", "0 , * * *", "", errCronNever},
		{"an hour 24", "0 24 * * *", "", errCron},
		{"a minute 60", "60 0 * * *", "", errCron},
		{"a step of none", "*/0 * * * *", "", errCron},
		{"backwards", "0 5-3 * * *", "", errCron},
		{"four fields", "* * * *", "", errCron},
		{"seven fields", "0 0 0 1 1 * 2030", "", errCron},
		{"a word", "@daily", "", errCron},
		{"the last day of the month", "0 0 L * *", "", errCron},
		{"the second Friday", "0 0 * * 5#2", "", errCron},
		{"a zone in the expression", "TZ=UTC * * * * *", "", errCron},
		{"nothing", "", "", errCron},
		{"an unknown zone", "* * * * *", "Mars/Olympus", errZone},
		{"the machine's own zone", "* * * * *", "Local", errZone},
		{"a path", "* * * * *", "../../etc/passwd", errZone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseCron(tt.cron, tt.zone)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// brute lists the due times of an expression of whole minutes between two
// instants by going through every minute, straight from the rules.
func brute(c Cron, from, to time.Time) []time.Time {
	first := map[time.Time]time.Time{} // what clocks show -> when they first do
	var walls, due []time.Time
	for at := from.Add(-48 * time.Hour); at.Before(to.Add(48 * time.Hour)); at = at.Add(time.Minute) {
		_, offset := at.In(c.loc).Zone()
		shown := wall(at, offset)
		if _, again := first[shown]; !again {
			first[shown] = at
			walls = append(walls, shown)
		} else if c.everyHour() && c.matches(shown) {
			due = append(due, at)
		}
	}
	slices.SortFunc(walls, time.Time.Compare)
	for shown := walls[0]; shown.Before(walls[len(walls)-1]); shown = shown.Add(time.Minute) {
		if c.matches(shown) {
			next, _ := slices.BinarySearchFunc(walls, shown, time.Time.Compare)
			due = append(due, first[walls[next]])
		}
	}
	slices.SortFunc(due, time.Time.Compare)
	due = slices.CompactFunc(due, time.Time.Equal)
	return slices.DeleteFunc(due, func(at time.Time) bool { return !at.After(from) || at.After(to) })
}

func (c Cron) matches(t time.Time) bool {
	return c.month&(1<<t.Month()) != 0 && c.onDay(t) && c.hour&(1<<t.Hour()) != 0 && c.minute&(1<<t.Minute()) != 0
}

// zones are some with odd clock changes, and two moments at which one comes near.
var zones = map[string][]string{
	"Europe/Berlin":       {"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"},
	"America/New_York":    {"2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"},
	"Australia/Lord_Howe": {"2026-10-03T15:30:00Z", "2026-04-04T15:00:00Z"},
	"America/Sao_Paulo":   {"2018-11-04T03:00:00Z", "2018-02-18T02:00:00Z"},
	"Pacific/Apia":        {"2011-12-30T10:00:00Z", "2012-03-31T14:00:00Z"},
	"Africa/Casablanca":   {"2026-02-15T02:00:00Z", "2026-03-22T02:00:00Z"},
	"Asia/Kathmandu":      {"1985-12-31T18:30:00Z", "2026-03-29T01:00:00Z"},
}

func TestCronAgreesWithEveryMinute(t *testing.T) {
	field := func(t *rapid.T, label string, low, high int, every bool) string {
		if every && rapid.Bool().Draw(t, label+" *") {
			return "*"
		}
		one := func() string {
			a, b := rapid.IntRange(low, high).Draw(t, label), rapid.IntRange(low, high).Draw(t, label)
			if a >= b {
				return fmt.Sprint(a)
			}
			return fmt.Sprintf("%d-%d/%d", a, b, rapid.IntRange(1, 7).Draw(t, label+" step"))
		}
		parts := []string{one()}
		if rapid.Bool().Draw(t, label+" more") {
			parts = append(parts, one())
		}
		return strings.Join(parts, ",")
	}
	names := sortedKeys(zones)
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(names).Draw(t, "zone")
		change := rapid.SampledFrom(zones[zone]).Draw(t, "change")
		at, _ := time.Parse(time.RFC3339, change)
		from := at.Add(-time.Duration(rapid.IntRange(-90, 1500).Draw(t, "minutes before")) * time.Minute)
		to := from.Add(72 * time.Hour)
		text := strings.Join([]string{field(t, "minute", 0, 59, true), field(t, "hour", 0, 23, true),
			field(t, "day", 1, 28, true), "*", field(t, "week day", 0, 6, true)}, " ")
		c, err := ParseCron(text, zone)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var got []time.Time
		for due := c.Next(from); !due.After(to); due = c.Next(due) {
			if len(got) > 0 && !due.After(got[len(got)-1]) {
				t.Fatalf("%s in %s: %v after %v", text, zone, due, got[len(got)-1])
			}
			got = append(got, due)
		}
		if d := cmp.Diff(got, brute(c, from, to), cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%s in %s from %v, -Next +every minute:\n%s", text, zone, from, d)
		}
	})
}

func BenchmarkCronNext(b *testing.B) {
	c, err := ParseCron("30 2 29 2 *", "Europe/Berlin")
	if err != nil {
		b.Fatal(err)
	}
	at := when(b, "2026-03-01T00:00:00Z")
	for b.Loop() {
		c.Next(at)
	}
}
