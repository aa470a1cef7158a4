package queue

import (
	"errors"
	"testing"
	"time"
)

// dead makes a lane of 4 slots whose attempts do not end in an answer, with 96
// jobs that wait.
func deadLane(t *testing.T, now time.Time) (*lanes, []*claim) {
	t.Helper()
	ls := newLanes(4)
	running, waiting, _, _ := admits(ls, "a", 100, 0, now)
	if len(running) != 4 || waiting != 96 {
		t.Fatalf("got %d running, %d waiting", len(running), waiting)
	}
	for range breakerAfter - 1 {
		next, back, how := ls.done(running[0], endSilent, time.Millisecond, now)
		if next == nil || len(back) != 0 || how != stays {
			t.Fatalf("broke before %d attempts were silent", breakerAfter)
		}
		running = append(running[1:], next)
	}
	next, back, how := ls.done(running[0], endSilent, time.Millisecond, now)
	if next != nil || len(back) != 92 || how != broke {
		t.Fatalf("after %d silent attempts: next %v, %d handed back, change %d; want none, 92, broke", breakerAfter, next, len(back), how)
	}
	return ls, running[1:]
}

func TestASilentDestinationGetsOneProbeAtATime(t *testing.T) {
	now := time.Now()
	ls, late := deadLane(t, now)
	for _, c := range late { // were under way: nothing new
		if _, _, how := ls.done(c, endSilent, time.Millisecond, now); how != stays {
			t.Errorf("an attempt that was under way: change %d", how)
		}
	}
	pause := breakerBase
	for range 10 {
		if started, waiting, full, _ := admits(ls, "a", 50, 0, now.Add(pause-time.Millisecond)); len(started)+waiting != 0 || full != 50 {
			t.Fatalf("within the pause: %d started, %d wait", len(started), waiting)
		}
		now = now.Add(pause + time.Millisecond)
		started, waiting, full, _ := admits(ls, "a", 50, 0, now)
		if len(started) != 1 || waiting != 0 || full != 49 {
			t.Fatalf("after a pause of %v: %d started, %d wait, %d handed back; want 1, 0, 49", pause, len(started), waiting, full)
		}
		ls.done(started[0], endSilent, time.Millisecond, now)
		pause = min(2*pause, breakerMost)
	}
}

func TestAnyAnswerMendsALane(t *testing.T) {
	for name, end := range map[string]ending{"done": endOK, "refused": endAnswered} {
		now := time.Now()
		ls, _ := deadLane(t, now)
		now = now.Add(breakerBase + time.Millisecond)
		probe, _, _, _ := admits(ls, "a", 1, 0, now)
		if _, _, how := ls.done(probe[0], end, time.Millisecond, now); how != mended {
			t.Errorf("%s: change %d, want mended", name, how)
		}
		if started, _, _, _ := admits(ls, "a", 3, 0, now); len(started) == 0 {
			t.Errorf("%s: nothing starts", name)
		}
	}
}

func TestAnExpiredProbeLeavesTheLaneForAnother(t *testing.T) {
	now := time.Now()
	ls, _ := deadLane(t, now)
	now = now.Add(breakerBase + time.Millisecond)
	probe, _, _, _ := admits(ls, "a", 1, 0, now)
	ls.done(probe[0], endUntried, 0, now)
	if started, _, _, _ := admits(ls, "a", 2, 0, now); len(started) != 1 {
		t.Errorf("got %d probes, want another one", len(started))
	}
}

func TestOtherLanesDoNotBreak(t *testing.T) {
	now := time.Now()
	ls, _ := deadLane(t, now)
	if started, waiting, _, _ := admits(ls, "b", 100, 0, now); len(started) != 4 || waiting != 96 {
		t.Errorf("the lane beside it: %d started, %d wait; want 4, 96", len(started), waiting)
	}
}

func TestWhatIsAnAnswer(t *testing.T) {
	plain := errors.New("connection refused")
	for _, tt := range []struct {
		name  string
		reply Reply
		err   error
		want  ending
	}{
		{"done", Reply{Code: "250"}, nil, endOK},
		{"no connection", Reply{Stage: "dial"}, plain, endSilent},
		{"no answer in time, later at the earliest", Reply{Stage: "mail"}, &RetryAfterError{Err: plain}, endSilent},
		{"perhaps sent", Reply{Stage: "dot", Certainty: Unknown}, plain, endSilent},
		{"refused for now", Reply{Stage: "rcpt", Code: "450"}, plain, endAnswered},
		{"refused for good", Reply{}, Permanent(plain), endAnswered},
		{"wrong password", Reply{}, &ParkedError{Err: plain}, endAnswered},
		{"too fast", Reply{}, &ThrottledError{Err: plain}, endAnswered},
		{"given back", Reply{}, &HandbackError{Err: plain}, endAnswered},
		{"the store does not answer", Reply{Stage: "secret"}, plain, endAnswered},
		{"lease lost", Reply{}, ErrLeaseLost, endUntried},
		{"panic", Reply{}, errPanic, endUntried},
	} {
		if got := endingOf(&tt.reply, tt.err); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}
