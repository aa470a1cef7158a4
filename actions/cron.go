package actions

import (
	"errors"
	"math/bits"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Errors of times in triggers. They hold no value, so that they can be shown.
var (
	errCron      = errors.New("want 5 fields, or 6 with the seconds first")
	errCronNever = errors.New("it names a day that never comes")
	errZone      = errors.New("want the name of an IANA time zone, such as Europe/Berlin")
	errInterval  = errors.New("want a number and a unit, such as 3 minutes")
)

// starBit is set by the parser in a field that is "*" or "?" (v3.0.1, spec.go).
const starBit = 1 << 63

// maxWallDays bounds the search for a due day. The 29th of February is the
// rarest day that an expression can name: it is 8 years away when a century has
// none, as 2100.
const maxWallDays = 9 * 366

// Cron is a cron expression in a time zone. Fields: minute, hour, day of the
// month, month, day of the week; with six fields the second comes first, as in
// the parser that clients' servers use. If both days are restricted, one of them
// is enough. Only the parsing is the library's: its Next skips times that a clock
// change leaves out and fires twice those that exist twice.
type Cron struct {
	second, minute, hour, dom, month, dow uint64 // bit sets, with starBit
	loc                                   *time.Location
}

// ParseCron reads an expression and the name of its zone; "" is UTC. Its errors
// quote neither.
func ParseCron(text, zone string) (Cron, error) {
	loc, err := parseZone(zone)
	if err != nil {
		return Cron{}, err
	}
	c, err := parseFields(text)
	c.loc = loc
	return c, err
}

// parseZone finds a zone. "Local" is refused: it is another one on each machine.
func parseZone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil || loc == time.Local || !zoneText.MatchString(name) {
		return nil, errZone
	}
	return loc, nil
}

// parseFields reads the expression, in UTC.
func parseFields(text string) (Cron, error) {
	if !cronText.MatchString(text) {
		return Cron{}, errCron
	}
	fields := strings.Fields(text)
	last := len(fields) - 1
	fields[last] = sundays(fields[last])
	parser := cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	parsed, err := parser.Parse(strings.Join(fields, " "))
	if err != nil {
		return Cron{}, errCron // the library's text quotes the expression
	}
	s, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Cron{}, errCron
	}
	c := Cron{second: s.Second, minute: s.Minute, hour: s.Hour, dom: s.Dom, month: s.Month, dow: s.Dow, loc: time.UTC}
	// From a year that has a 29th of February.
	if c.nextWall(time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Cron{}, errCronNever
	}
	return c, nil
}

// sundays turns the 7 that most crons take for Sunday into the parser's 0.
func sundays(days string) string {
	parts := strings.Split(days, ",")
	for i, part := range parts {
		if part == "7" {
			parts[i] = "0"
		} else if from, ok := strings.CutSuffix(part, "-7"); ok {
			parts[i] = from + "-6,0"
		}
	}
	return strings.Join(parts, ",")
}

// Next returns the first due time after a time, in UTC and in whole seconds. The
// clock changes of the zone count as follows:
//   - a time that does not exist is due at the first instant after the gap;
//   - a time that exists twice is due the first time only;
//   - but an expression for every hour goes on in the repeated hour too: it is a
//     rhythm, and nobody wants "every minute" to be silent for an hour.
func (c Cron) Next(after time.Time) time.Time {
	at := after.In(c.loc).Truncate(time.Second).Add(time.Second)
	for {
		start, end := at.ZoneBounds() // of the time with one offset around at
		_, offset := at.Zone()
		from := wall(at, offset)
		if !start.IsZero() {
			_, before := start.Add(-time.Second).Zone()
			shown := wall(start, before) // what clocks would show had they not been changed
			skipped := shown.Before(from) && at.Equal(start)
			repeated := shown.After(from) && !c.everyHour()
			if skipped || repeated {
				from = shown
			}
		}
		due := c.nextWall(from)
		if due.IsZero() {
			return time.Time{}
		}
		instant := due.Add(-time.Duration(offset) * time.Second)
		if instant.Before(at) { // skipped: due when the gap ends
			instant = at
		}
		if end.IsZero() || instant.Before(end) {
			return instant.UTC()
		}
		at = end
	}
}

// wall is what a clock with this offset shows, as a time in UTC.
func wall(t time.Time, offset int) time.Time {
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

func (c Cron) everyHour() bool { return bits.OnesCount64(c.hour&^starBit) == 24 }

// nextWall returns the first matching time of a clock without changes that is
// not before from; zero if there is none in 9 years.
func (c Cron) nextWall(from time.Time) time.Time {
	year, month, d := from.Date()
	h, m, s := from.Clock()
	day := time.Date(year, month, d, 0, 0, 0, 0, time.UTC)
	for range maxWallDays {
		if c.month&(1<<day.Month()) == 0 {
			day = time.Date(day.Year(), day.Month()+1, 1, 0, 0, 0, 0, time.UTC)
			h, m, s = 0, 0, 0
			continue
		}
		if c.onDay(day) {
			if due, ok := c.inDay(h, m, s); ok {
				return day.Add(due)
			}
		}
		day = day.AddDate(0, 0, 1)
		h, m, s = 0, 0, 0
	}
	return time.Time{}
}

// onDay reports whether the day is one of the expression's; its month is.
func (c Cron) onDay(day time.Time) bool {
	dom, dow := c.dom&(1<<day.Day()) != 0, c.dow&(1<<day.Weekday()) != 0
	if c.dom&starBit != 0 || c.dow&starBit != 0 {
		return dom && dow
	}
	return dom || dow
}

// inDay returns the first matching time of a day that is not before h:m:s, as
// the time since midnight.
func (c Cron) inDay(h, m, s int) (time.Duration, bool) {
	hour := nextBit(c.hour, h)
	if hour != h {
		m, s = 0, 0
	}
	minute := nextBit(c.minute, m)
	if minute != m {
		s = 0
	}
	second := nextBit(c.second, s)
	if second == noBit {
		minute, second = nextBit(c.minute, minute+1), nextBit(c.second, 0)
	}
	if minute == noBit {
		hour, minute, second = nextBit(c.hour, hour+1), nextBit(c.minute, 0), nextBit(c.second, 0)
	}
	if hour == noBit || minute == noBit || second == noBit {
		return 0, false
	}
	return time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second, true
}

// noBit is what nextBit returns if there is none.
const noBit = 64

// nextBit returns the lowest bit of the set from this one on, not starBit.
func nextBit(set uint64, from int) int {
	if from >= noBit {
		return noBit
	}
	return bits.TrailingZeros64(set &^ starBit >> from << from)
}
