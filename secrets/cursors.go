package secrets

import (
	"context"
	_ "embed" // the script
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/records_advance.lua
var recordsAdvanceLua string

var recordsAdvance = redis.NewScript(recordsAdvanceLua)

// maxCursorSteps is how many cursors one script moves, so that it holds up Redis
// for about a millisecond.
const maxCursorSteps = 1000

// CursorStep moves the cursor of one record.
type CursorStep struct {
	Field string
	To    time.Time // in whole seconds
	Run   time.Time // noted as by MarkRun if the cursor moves; zero notes nothing
}

func (s *RecordSet) cursorKey() string { return s.base + s.name + ":cursor" }

// Cursors returns the time of Redis and the cursors beside records, zero for
// those that never moved, in the order of the fields, in one round trip. A cursor
// is under no MAC: who writes to Redis could as well enqueue jobs.
func (s *RecordSet) Cursors(ctx context.Context, fields ...string) (now time.Time, cursors []time.Time, err error) {
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
			var at time.Time
			if sec, err := strconv.ParseInt(text, 10, 64); err == nil {
				at = time.Unix(sec, 0).UTC()
			}
			cursors = append(cursors, at)
		}
	}
	return clock.Val().UTC(), cursors, nil
}

// Advance moves cursors forward, never back, and returns for each step if it
// moved. A record that is gone has no cursor. After an error some may have moved;
// the same steps can be sent again.
func (s *RecordSet) Advance(ctx context.Context, steps ...CursorStep) ([]bool, error) {
	moved := make([]bool, 0, len(steps))
	keys := []string{s.base + s.name, s.cursorKey(), s.base + s.name + ":lastrun"}
	for some := range slices.Chunk(steps, maxCursorSteps) {
		args := make([]any, 0, 3*len(some))
		for _, step := range some {
			run := int64(0)
			if !step.Run.IsZero() {
				run = step.Run.UnixMilli()
			}
			args = append(args, step.Field, step.To.Unix(), run)
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
