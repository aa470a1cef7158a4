package integration_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
)

// work is the JSON of each job of a run by its name.
func (r *crashRun) work() map[string]string {
	all := map[string]string{}
	add := func(name string, action, more map[string]any) {
		if more == nil {
			more = map[string]any{}
		}
		more["id"] = r.tag + "." + name
		all[name] = job(action, more)
	}
	mail := func(name, secret string, more map[string]any) {
		add(name, mailAction(map[string]any{"from": r.tag + "." + name + "@crash.test", "smtp_secret": secret}), more)
	}
	for i := range 6 {
		mail(fmt.Sprintf("mail%d", i), "MAIL", nil)
	}
	for i := range 3 {
		n := fmt.Sprint(i)
		mail("again"+n, "MAIL", nil)
		mail("mark"+n, "MAIL", map[string]any{"on_ambiguous": "park"})
		mail("later"+n, "MAIL", map[string]any{"not_before": time.Now().Add(300 * time.Millisecond).UTC().Format(time.RFC3339Nano)})
		add("sqs"+n, map[string]any{"type": "queue-sqs", "sqs_secret": "QUEUE"}, map[string]any{"data": []map[string]any{{"variable": "v", "value": i}}})
		add("post"+n, map[string]any{"type": "post", "url": r.world.hook.URL() + "/" + r.tag}, map[string]any{"data": []map[string]any{{"variable": "v", "value": i}}})
		add("script"+n, map[string]any{"type": "script", "script": []string{r.world.script}}, nil)
	}
	mail("dead", "MAIL", nil)
	mail("park0", "PARK", nil)
	mail("park1", "PARK", nil)
	if r.slow() {
		mail("slow", "MAIL", nil)
	}
	if strings.HasPrefix(r.place, "pace-") {
		mail("many", "LIMIT", nil)
	}
	for i := range 6 {
		if strings.HasPrefix(r.place, "breaker-") { // five in a row break the lane
			mail(fmt.Sprintf("cut%d", i), "CUT", nil)
		}
	}
	mail("ghost", "MAIL", nil)
	return all
}

// jobs is the work but for the job that a worker lost before.
func (r *crashRun) jobs() []string {
	var list []string
	for name, text := range r.work() {
		if name != "ghost" {
			list = append(list, text)
		}
	}
	return list
}

// tick is a stored action that fires each second.
func (r *crashRun) tick() string {
	text, err := json.Marshal(map[string]any{"name": "tick", "type": "interval", "trigger": []map[string]string{{"interval": "1 second"}},
		"action": mailAction(map[string]any{"from": r.tag + ".tick@crash.test", "subject": "$VALUE$"})})
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// ghost puts a job into the hands of a worker that is long gone.
func (r *crashRun) ghost() {
	ctx, stream := r.t.Context(), queue.StreamKey("", 0)
	if _, err := r.queue.Enqueue(ctx, []byte(r.work()["ghost"])); err != nil {
		r.t.Fatal(err)
	}
	if err := r.db.XGroupCreateMkStream(ctx, stream, "w", "0").Err(); err != nil {
		r.t.Fatal(err)
	}
	got, err := r.db.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "w", Consumer: "ghost", Streams: []string{stream, ">"}, Count: 1}).Result()
	if err != nil {
		r.t.Fatal(err)
	}
	err = r.db.Do(ctx, "XCLAIM", stream, "w", "ghost", 0, got[0].Messages[0].ID, "IDLE", time.Hour.Milliseconds(), "JUSTID").Err()
	if err != nil {
		r.t.Fatal(err)
	}
}

// verify compares what was sent with what arrived, and looks at what is left.
func (r *crashRun) verify() {
	r.t.Helper()
	got, extra, dead := r.world.counts(r.t, r.tag), 0, int64(0)
	for name := range r.work() {
		s, err := r.queue.Show(r.t.Context(), r.tag+"."+name)
		if err != nil {
			r.t.Errorf("%s: %v", name, err)
			continue
		}
		if s.State == queue.Dead {
			dead++
		}
		// A job of on_ambiguous=park that was begun when its worker died is for a person.
		held := strings.HasPrefix(name, "mark") && s.State == queue.Dead && s.Reason == "unknown" && r.died
		want := queue.Done
		if name == "dead" || held {
			want = queue.Dead
		}
		if s.State != want {
			r.t.Errorf("%s is %s, want %s: %+v", name, s.State, want, s)
		}
		if n := got[name]; n == 0 && name != "dead" && !held {
			r.t.Errorf("%s is lost", name)
		} else if n > 1 {
			extra += n - 1
			if !r.died || s.Crashes < n-1 {
				r.t.Errorf("%s came %d times, and the queue knows of %d lost claims", name, n, s.Crashes)
			}
		}
	}
	for due, n := range r.world.seconds(r.tag) {
		if extra += n - 1; n > 2 {
			r.t.Errorf("the mail of %s came %d times", due, n)
		}
	}
	// The one mail on its way is one. The slot is free for the next job while Redis
	// has not answered for the last, so on a slow machine there can be another.
	if extra > 2 {
		r.t.Errorf("one kill made %d duplicates, want 2 at most: %v", extra, got)
	}
	r.world.twice.Add(int64(extra))
	if r.died {
		r.world.kills.Add(1)
	}
	if err := r.gap(); err != nil {
		r.t.Error(err)
	}
	r.clean(dead + r.late())
}

// late counts the jobs of the stored action that came to a worker when it had
// been stopped: they are rightly dead letters.
func (r *crashRun) late() int64 {
	if !r.timed() {
		return 0
	}
	letters, _, err := r.queue.DeadList(r.t.Context(), queue.MaxBatch, "")
	if err != nil {
		r.t.Fatal(err)
	}
	n := int64(0)
	for _, letter := range letters {
		if strings.HasPrefix(letter.ID, "at:") {
			n++
		}
	}
	return n
}

// gap is nil if no second between the first and the last is left out.
func (r *crashRun) gap() error {
	var first, last time.Time
	seconds := r.world.seconds(r.tag)
	for due := range seconds {
		t, err := time.Parse(time.RFC3339, due)
		if err != nil {
			return fmt.Errorf("a mail of no due time: %w", err)
		}
		if first.IsZero() || t.Before(first) {
			first = t
		}
		if t.After(last) {
			last = t
		}
	}
	if len(seconds) > 0 && len(seconds) != int(last.Sub(first).Seconds())+1 {
		return fmt.Errorf("%d due times from %v to %v: some are left out", len(seconds), first, last)
	}
	return nil
}

// clean checks that nothing of the jobs is left but dead letters, and what is
// kept for a time: logs and ids.
func (r *crashRun) clean(dead int64) {
	r.t.Helper()
	ctx, base := r.t.Context(), strings.TrimSuffix(queue.StreamKey("", 0), "jobs")
	keys, err := r.db.Keys(ctx, strings.ReplaceAll(base, "{", "\\{")+"*").Result()
	if err != nil || len(keys) == 0 {
		r.t.Fatalf("keys: got %v, %v", keys, err)
	}
	for _, key := range keys {
		n := int64(0)
		switch name := strings.TrimPrefix(key, base); {
		case strings.HasPrefix(name, "log:"), strings.HasPrefix(name, "dedup:"), name == "versions":
			continue
		case name == "jobs":
			n, err = r.db.XLen(ctx, key).Result()
			if pending, e := r.db.XPending(ctx, key, "w").Result(); e != nil || pending.Count != 0 {
				r.t.Errorf("%v pending, %v, want none", pending, e)
			}
		case name == "dead":
			n, err = r.db.ZCard(ctx, key).Result()
			n -= dead
		case name == "body":
			n, err = r.db.HLen(ctx, key).Result()
			n -= dead
		default:
			n = 1
		}
		if err != nil || n != 0 {
			r.t.Errorf("%s has %d too many (%v)", key, n, err)
		}
	}
}
