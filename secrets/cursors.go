package secrets

import (
	"context"
	_ "embed" // the script
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/records_advance.lua
var recordsAdvanceLua string

var recordsAdvance = redis.NewScript(recordsAdvanceLua)

// maxCursorSteps is how many cursors one script moves, so that it holds up Redis
// for about a millisecond.
const maxCursorSteps = 1000

// Cursor says how far something has been carried out for a record. It means
// nothing to who counts from another base.
type Cursor struct {
	Base time.Time // in milliseconds
	At   time.Time // in whole seconds
}

// CursorStep moves the cursor of one record.
type CursorStep struct {
	Field string
	To    Cursor
	Run   time.Time // noted as by MarkRun if the cursor moves; zero notes nothing
}

func (s *RecordSet) cursorKey() string { return s.base + s.name + ":cursor" }

// Cursors returns the time of Redis and the cursors beside records, zero for
// those that never moved, in the order of the fields, in one round trip. A cursor
// is under no MAC: who writes to Redis could as well enqueue jobs.
func (s *RecordSet) Cursors(ctx context.Context, fields ...string) (now time.Time, cursors []Cursor, err error) {
	pipe := s.rdb.Pipeline()
	var parts []*redis.SliceCmd
	for some := range slices.Chunk(fields, maxCursorSteps) {
		parts = append(parts, pipe.HMGet(ctx, s.cursorKey(), some...))
	}
	clock := pipe.Time(ctx)
	if _, err := pipe.Exec(ctx); err != nil {
		return time.Time{}, nil, fmt.Errorf("read cursors of %s: %w", s.things, err)
	}
	for _, part := range parts {
		for _, v := range part.Val() {
			text, _ := v.(string)
			cursors = append(cursors, cursorOf(text))
		}
	}
	return clock.Val().UTC(), cursors, nil
}

// cursorOf reads a cursor; what is none is as if it never moved.
func cursorOf(text string) Cursor {
	first, second, _ := strings.Cut(text, " ")
	base, err := strconv.ParseInt(first, 10, 64)
	at, failed := strconv.ParseInt(second, 10, 64)
	if err != nil || failed != nil {
		return Cursor{}
	}
	return Cursor{Base: time.UnixMilli(base).UTC(), At: time.Unix(at, 0).UTC()}
}

// Advance moves cursors forward, never back but for a later base, and returns for each step if it
// moved. A record that is gone has no cursor. After an error some may have moved;
// the same steps can be sent again.
func (s *RecordSet) Advance(ctx context.Context, steps ...CursorStep) ([]bool, error) {
	moved := make([]bool, 0, len(steps))
	keys := []string{s.base + s.name, s.cursorKey(), s.base + s.name + ":lastrun"}
	for some := range slices.Chunk(steps, maxCursorSteps) {
		args := make([]any, 0, 4*len(some))
		for _, step := range some {
			run := int64(0)
			if !step.Run.IsZero() {
				run = step.Run.UnixMilli()
			}
			args = append(args, step.Field, step.To.Base.UnixMilli(), step.To.At.Unix(), run)
		}
		out, err := recordsAdvance.Run(ctx, s.rdb, keys, args...).Int64Slice()
		if err != nil {
			return nil, fmt.Errorf("move cursors of %s: %w", s.things, err)
		}
		for _, n := range out {
			moved = append(moved, n == 1)
		}
	}
	return moved, nil
}
