package queuetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sealpost/sealpost/queue"
)

var partRules = []rule{
	{"parts that ended are not lost by a retry, and not done again", rulePartsRetry},
	{"a dead letter shows its parts, and its retry does only the refused ones", rulePartsDead},
	{"parts survive a hand-back, a parking and a drain", rulePartsElsewhere},
	{"a job of its own follows a dead letter, once", ruleFollow},
	{"nothing follows an attempt that is tried again", ruleFollowRetry},
	{"work may have a limit of attempts of its own", ruleOwnLimit},
}

// recipients is a handler of jobs that have three parts, each of which answers
// in its own way.
func recipients(answers map[string]func(try int) string) (Func, func(id string) int) {
	var mu sync.Mutex // attempts come one after the other, on any goroutine
	accepted, tries := map[string]int{}, 0
	return func(_ context.Context, c *queue.Claim) (queue.Reply, error) {
		mu.Lock()
		defer mu.Unlock()
		var reply queue.Reply
		tries++
		wait := false
		refused := false
		for _, id := range []string{"1-a", "2-b", "3-c"} {
			if i := slices.IndexFunc(c.Parts, func(p queue.Part) bool { return p.ID == id }); i >= 0 {
				if c.Parts[i].State == queue.PartRefused {
					refused = true
				}
				continue
			}
			switch state := answers[id](tries); state {
			case queue.PartAccepted:
				accepted[id]++
				reply.Parts = append(reply.Parts, queue.Part{ID: id, State: state})
			case queue.PartRefused:
				refused = true
				reply.Parts = append(reply.Parts, queue.Part{ID: id, State: state, Code: "550", Text: "no such user"})
			default:
				wait = true
			}
		}
		switch {
		case wait:
			return reply, errors.New("450 later")
		case refused:
			return reply, queue.Permanent(errors.New("550 refused"))
		}
		return reply, nil
	}, func(id string) int { mu.Lock(); defer mu.Unlock(); return accepted[id] }
}

func always(state string) func(int) string { return func(int) string { return state } }

// from answers state from the n-th try on, and later before.
func from(n int, state string) func(int) string {
	return func(try int) string {
		if try < n {
			return ""
		}
		return state
	}
}

func rulePartsRetry(t *testing.T, r *rig) {
	do, accepted := recipients(map[string]func(int) string{
		"1-a": always(queue.PartAccepted), "2-b": from(2, queue.PartAccepted), "3-c": from(3, queue.PartAccepted)})
	_, stop := r.run(do)
	s := r.becomes(r.enqueue(), queue.Done)
	stop()
	if s.Used != 3 {
		t.Errorf("got %d attempts, want 3", s.Used)
	}
	for _, id := range []string{"1-a", "2-b", "3-c"} {
		if accepted(id) != 1 {
			t.Errorf("part %s was done %d times", id, accepted(id))
		}
	}
	r.nothingLeft()
}

func rulePartsDead(t *testing.T, r *rig) {
	do, accepted := recipients(map[string]func(int) string{
		"1-a": always(queue.PartAccepted), "3-c": always(queue.PartAccepted),
		"2-b": func(try int) string {
			if try == 1 {
				return queue.PartRefused
			}
			return queue.PartAccepted
		}})
	_, stop := r.run(do)
	id := r.enqueue()
	s := r.becomes(id, queue.Dead)
	want := []queue.Part{{ID: "1-a", State: "accepted"}, {ID: "2-b", State: "refused", Code: "550", Text: "no such user"}, {ID: "3-c", State: "accepted"}}
	if !slices.Equal(s.Parts, want) {
		t.Errorf("got parts %+v, want %+v", s.Parts, want)
	}
	if n, err := r.client.RetryDead(r.ctx, id); n != 1 || err != nil {
		t.Fatalf("RetryDead: %d, %v", n, err)
	}
	r.becomes(id, queue.Done)
	stop()
	for _, part := range []string{"1-a", "2-b", "3-c"} {
		if accepted(part) != 1 {
			t.Errorf("part %s was done %d times", part, accepted(part))
		}
	}
	r.nothingLeft()
}

func rulePartsElsewhere(t *testing.T, r *rig) {
	steps := make(chan error, 3)
	steps <- &queue.HandbackError{Err: errors.New("busy")}
	steps <- &queue.ThrottledError{Err: errors.New("slow")}
	steps <- &queue.ParkedError{Secret: "0123456789abcdef01234567", Version: 1, Err: errors.New("535")}
	var n atomic.Int64
	seen := make(chan []queue.Part, 10)
	r.run(func(_ context.Context, c *queue.Claim) (queue.Reply, error) {
		seen <- c.Parts
		part := []queue.Part{{ID: fmt.Sprint(n.Add(1)), State: queue.PartAccepted}}
		select {
		case err := <-steps:
			return queue.Reply{Parts: part}, err
		default:
			return queue.Reply{Parts: part}, nil
		}
	})
	id := r.enqueue()
	if s := r.becomes(id, queue.Parked); len(s.Parts) != 3 {
		t.Errorf("parked with parts %+v, want 3", s.Parts)
	}
	if _, err := r.client.CredentialChanged(r.ctx, "0123456789abcdef01234567", 2); err != nil {
		t.Fatal(err)
	}
	r.becomes(id, queue.Done)
	for want := range 4 {
		if got := <-seen; len(got) != want {
			t.Errorf("attempt %d saw parts %+v, want %d", want+1, got, want)
		}
	}
	r.nothingLeft()
}

// followed counts the jobs by their id and makes a first job dead that names
// another to follow.
func followed(first string, err error) Func {
	return func(_ context.Context, c *queue.Claim) (queue.Reply, error) {
		if c.Job.ID != first {
			return queue.Reply{}, nil
		}
		return queue.Reply{Reason: "payload", OnDead: json.RawMessage(`{"id":"fallback","action":{"type":"test"}}`)}, err
	}
}

func ruleFollow(t *testing.T, r *rig) {
	h, _ := r.run(followed("first", queue.Permanent(errors.New("404"))))
	r.enqueue(`"id":"first"`)
	r.becomes("first", queue.Dead)
	r.becomes("fallback", queue.Done)
	if n, err := r.client.RetryDead(r.ctx, "first"); n != 1 || err != nil {
		t.Fatalf("RetryDead: %d, %v", n, err)
	}
	Eventually(t, "the job is tried again", func() bool { return h.Count("first") == 2 })
	r.becomes("first", queue.Dead)
	r.enqueue(`"id":"last"`)
	r.becomes("last", queue.Done)
	if n := h.Count("fallback"); n != 1 {
		t.Errorf("the job that follows was done %d times", n)
	}
}

func ruleFollowRetry(t *testing.T, r *rig) {
	h, _ := r.run(followed("first", errors.New("503")))
	r.enqueue(`"id":"first"`, `"max_attempts":3`)
	r.becomes("first", queue.Dead)
	r.becomes("fallback", queue.Done)
	order := h.Order()
	if want := []string{"first", "first", "first", "fallback"}; !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
}

func ruleOwnLimit(t *testing.T, r *rig) {
	h := &Handler{Limit: 2, Do: failTimes(99, errors.New("refused"))}
	Run(t, r.config(), h)
	id := r.enqueue()
	if s := r.becomes(id, queue.Dead); s.Used != 2 {
		t.Errorf("got %d attempts, want the 2 of the work", s.Used)
	}
	id = r.enqueue(`"max_attempts":3`)
	if s := r.becomes(id, queue.Dead); s.Used != 3 {
		t.Errorf("got %d attempts, want the 3 of the job", s.Used)
	}
}
