package actions

import (
	"strconv"
	"strings"
	"time"
)

// Interval is a step of time. Seconds to weeks are lengths; months, quarters and
// years are steps of the calendar in UTC.
type Interval struct {
	seconds int64 // 0 for a step of the calendar
	months  int
}

// ParseInterval reads a text such as "3 minutes". Its error does not quote it.
func ParseInterval(text string) (Interval, error) {
	if !intervalText.MatchString(text) {
		return Interval{}, errInterval
	}
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return Interval{}, errInterval
	}
	switch strings.TrimSuffix(unit, "s") {
	case "second":
		return Interval{seconds: n}, nil
	case "minute":
		return Interval{seconds: n * 60}, nil
	case "hour":
		return Interval{seconds: n * 60 * 60}, nil
	case "day":
		return Interval{seconds: n * 24 * 60 * 60}, nil
	case "week":
		return Interval{seconds: n * 7 * 24 * 60 * 60}, nil
	case "month":
		return Interval{months: int(n)}, nil
	case "quarter":
		return Interval{months: int(n) * 3}, nil
	default: // the pattern knows one unit more
		return Interval{months: int(n) * 12}, nil
	}
}

// Next returns the first due time after a time, in UTC and in whole seconds. The
// steps are counted from the anchor and the first one is due a step after it. A
// step of the calendar that lands on a day which its month lacks is due on the
// month's last day; the next one is counted from the anchor again, so from 31
// January on by months: 28 February, 31 March.
func (v Interval) Next(anchor, after time.Time) time.Time {
	if v.months > 0 {
		return v.nextMonth(anchor.UTC().Truncate(time.Second), after.UTC())
	}
	start, past := anchor.Unix(), after.Unix()
	steps := int64(1)
	if past >= start {
		steps = (past-start)/v.seconds + 1
	}
	return time.Unix(start+steps*v.seconds, 0).UTC()
}

func (v Interval) nextMonth(anchor, after time.Time) time.Time {
	passed := (after.Year()-anchor.Year())*12 + int(after.Month()) - int(anchor.Month())
	for steps := max(1, passed/v.months); ; steps++ {
		if due := addMonths(anchor, steps*v.months); due.After(after) {
			return due
		}
	}
}

// addMonths is t some months later, on the month's last day if it lacks t's.
func addMonths(t time.Time, months int) time.Time {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	last := time.Date(year, month+time.Month(months)+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return time.Date(year, month+time.Month(months), min(day, last), hour, minute, second, 0, time.UTC)
}
