package integration_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sealpost/sealpost/crashpoint"
	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/queue"
)

// TestKilledAtEachPlace does the same work once for each place of crashpoint:
// one process is armed and kills itself there, another finishes. Nothing may be
// lost, a kill repeats one job at most on average and two at worst, the queue knows
// of them, and no key is left but those that are kept for a time.
func TestKilledAtEachPlace(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("SEALPOST_TEST_CRASH_ROUNDS"))
	if err != nil {
		rounds = 1
	}
	if testing.Short() {
		t.Skip("takes a minute: not with -short")
	}
	w := newCrashWorld(t)
	for round := range rounds {
		random := rand.New(rand.NewPCG(uint64(round), 0))
		t.Run(fmt.Sprintf("seed %d", round), func(t *testing.T) {
			// Most of a run is the wait for a lease, so more of them than cores go on
			// at once, whatever -parallel says of tests that compute.
			var runs errgroup.Group
			runs.SetLimit(crashRuns)
			for i, place := range crashpoint.Names() {
				pass := 1
				if round > 0 {
					pass = 1 + random.IntN(3)
				}
				runs.Go(func() error {
					t.Run(fmt.Sprintf("%s %d", place, pass), func(t *testing.T) {
						r := w.run(t, i+1, round, place, pass)
						r.first()
						r.second()
						r.verify()
					})
					return nil
				})
			}
			_ = runs.Wait() // each run tells its own test
		})
	}
	kills, twice := w.kills.Load(), w.twice.Load()
	t.Logf("%d kills, %d jobs twice", kills, twice)
	if twice > kills {
		t.Errorf("%d kills made %d duplicates, want no more", kills, twice)
	}
}

// crashRuns is how many runs go on at once: with 12, two cores that others use
// too were late by more than a lease.
const crashRuns = 8

// crashRun is one run: an armed process, and one that finishes.
type crashRun struct {
	*site
	world *crashWorld
	queue *queue.Client
	place string
	pass  int
	tag   string // begins the ids of its jobs
	died  bool   // the armed one killed itself

	action string // id of the stored action that fires each second
}

// timed, leaving and slow say what a place needs to be passed.
func (r *crashRun) timed() bool {
	return strings.HasPrefix(r.place, "fire-") || strings.HasPrefix(r.place, "cursor-")
}

func (r *crashRun) leaving() bool {
	return strings.HasPrefix(r.place, "release-") || strings.HasPrefix(r.place, "reap-")
}

func (r *crashRun) slow() bool { return r.leaving() || strings.HasPrefix(r.place, "renew-") }

// first runs the armed process until it has killed itself, or has done it all.
func (r *crashRun) first() {
	r.t.Helper()
	r.ghost()
	srv, err := r.Launch(r.world.env, lease, "SEALPOST_SLOTS=1", "SEALPOST_GRACE=0s",
		crashpoint.Variable+"="+r.place+":"+strconv.Itoa(r.pass))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = srv.Kill() })
	r.API = srv.API
	gone := func() bool { return !srv.Running() }
	if r.until(gone, srv.Ready) {
		r.load(gone)
	}
	if r.leaving() && !gone() {
		r.until(gone, r.slowBegan)
		if err := srv.Signal(syscall.SIGTERM); err != nil {
			r.t.Fatal(err)
		}
		r.until(gone, func() error { return fmt.Errorf("it is stopping") })
	}
	if !gone() {
		r.until(gone, r.waiting)
		_ = r.mend() // it may die of it
		r.until(gone, r.over)
	}
	if gone() {
		exit, _ := srv.Err().(*exec.ExitError)
		status, ok := syscall.WaitStatus(0), false
		if exit != nil {
			status, ok = exit.Sys().(syscall.WaitStatus)
		}
		r.died = ok && status.Signaled() && status.Signal() == syscall.SIGKILL
	}
	if !r.died && r.pass == 1 {
		r.t.Errorf("the armed process never came to %s:\n%s", r.place, srv.LogTail())
	}
	if err := srv.Kill(); err != nil {
		r.t.Fatal(err)
	}
}

// until waits until check is nil, and returns false if gone was true before.
func (r *crashRun) until(gone func() bool, check func() error) bool {
	r.t.Helper()
	ended := false
	err := peers.Wait(soon, "the armed process", func() error {
		if ended = gone(); ended {
			return nil
		}
		return check()
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return !ended
}

// second lets a process without any place finish the work.
func (r *crashRun) second() {
	r.t.Helper()
	srv, err := r.Launch(r.world.env, lease)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = srv.Kill() })
	r.API = srv.API
	r.must("a ready process", srv.Ready)
	r.load(func() bool { return false })
	r.must("jobs that wait for the password", r.waiting)
	if err := r.mend(); err != nil {
		r.t.Fatal(err)
	}
	if r.timed() {
		r.must("the mails of three seconds", func() error {
			if n := len(r.world.seconds(r.tag)); n < 3 {
				return fmt.Errorf("%d so far", n)
			}
			// The job that the dead process held comes when its lease is over; if the
			// action was stopped before, it would rightly not be sent.
			return r.gap()
		})
		if a := r.wire(wire{method: "PUT", path: "/action/" + r.action, body: `{"active":false}`}); !a.Status {
			r.t.Fatalf("stop the action: %s", a.Message)
		}
	}
	r.must("all jobs to end", r.over)
	if err := srv.Stop(soon); err != nil {
		r.t.Errorf("the second process did not stop well: %v", err)
	}
}

// must waits until check is nil.
func (r *crashRun) must(what string, check func() error) {
	r.t.Helper()
	peers.Eventually(r.t, soon, what, check)
}

// load sends the jobs, by ids: those that were accepted before are not again. A
// process that dies of it answers nothing.
func (r *crashRun) load(gone func() bool) {
	r.t.Helper()
	if r.timed() && r.action == "" {
		a, err := r.exchange(wire{method: "POST", path: "/action", body: r.tick()})
		if err == nil && a.Status {
			r.action = idIn(r.t, a.Result)
		}
	}
	a, err := r.exchange(wire{method: "POST", path: "/jobs", body: "[" + strings.Join(r.jobs(), ",") + "]"})
	if err == nil && !a.Status {
		r.t.Fatalf("send jobs: %d %s", a.Code, a.Message)
	}
	if err != nil {
		r.must("the armed process to end, or answer", func() error {
			if !gone() {
				return err
			}
			return nil
		})
	}
}

// mend stores the right password of the jobs that wait for it.
func (r *crashRun) mend() error {
	a, err := r.exchange(wire{method: "PUT", path: "/secrets/PARK?force=true", body: `{"value":` + strconv.Quote(r.world.right) + `}`})
	if err == nil && !a.Status {
		r.t.Fatalf("store the password: %d %s", a.Code, a.Message)
	}
	return err
}

// waiting is nil when nothing is left to do but what waits for the password.
func (r *crashRun) waiting() error { return r.left(queue.Ready, queue.Running, queue.Delayed) }

// over is nil when nothing is left to do.
func (r *crashRun) over() error {
	if r.timed() && !r.stopped() {
		return fmt.Errorf("the action fires on")
	}
	return r.left(queue.Ready, queue.Running, queue.Delayed, queue.Parked)
}

func (r *crashRun) stopped() bool {
	a, err := r.exchange(wire{path: "/action/" + r.action})
	return err == nil && a.Status && strings.Contains(strings.ReplaceAll(string(a.Result), " ", ""), `"active":false`)
}

func (r *crashRun) left(states ...queue.State) error {
	s, err := r.queue.Stats(r.t.Context())
	if err != nil {
		return err
	}
	for _, state := range states {
		// A job of each second comes and goes.
		if s.Jobs[state] > 0 && !(r.timed() && !r.stopped() && state != queue.Delayed) {
			return fmt.Errorf("got %v", s.Jobs)
		}
	}
	return nil
}

// slowBegan is nil when the sink has the text of the slow mail.
func (r *crashRun) slowBegan() error {
	if _, ok := r.world.stalled.Load(r.tag); !ok {
		return fmt.Errorf("the slow mail has not begun")
	}
	return nil
}

const longest = 3 * time.Second // of the slow mail: longer than two renewals
