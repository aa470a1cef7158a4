package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// What a destination bears is learnt in seconds and minutes: these tests are in
// a bubble of fake time, so that what they count is what the queue decides and not
// how busy the machine is.

// paceWorld is a bubble with a backlog for one destination.
func paceWorld(t *testing.T, jobs int, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		redis.SetLogger(silent{})
		w := &world{t: t, mini: miniredis.NewMiniRedis()}
		t.Cleanup(w.mini.Close)
		w.line = w.newLine()
		t.Cleanup(func() { _ = w.line.rdb.Close() })
		w.client = backlog(t, w.line.rdb, "", jobs)
		test(w)
	})
}

// send starts a process that sends to b.
func (w *world) send(b *bearing, took time.Duration) (stop func()) {
	line := w.newLine()
	w.t.Cleanup(func() { _ = line.rdb.Close() })
	return b.worker(w.t, paceConfig(line.rdb, ""), took)
}

// window waits, and returns what was done and refused while it did.
func (w *world) window(b *bearing, d time.Duration) (done, refused int) {
	d0, r0 := b.total()
	time.Sleep(d)
	d1, r1 := b.total()
	return d1 - d0, r1 - r0
}

func (w *world) lane() queue.LaneState {
	w.t.Helper()
	list := lanesOf(w.t, w.client)
	if len(list) != 1 {
		w.t.Fatalf("Lanes: got %+v, want one", list)
	}
	return list[0]
}

func TestTwoPoolsLearnOneRateAndARestartKeepsIt(t *testing.T) {
	const rate, jobs = 100, 3000
	paceWorld(t, jobs, func(w *world) {
		t := w.t
		b := &bearing{rate: rate}
		stops := []func(){w.send(b, time.Millisecond), w.send(b, time.Millisecond)}
		w.window(b, 3*time.Second)
		l := w.lane()
		if l.Rate < rate/2 || l.Rate > 2*rate || l.Code != "450 4.7.1" || l.Rule != "rate" {
			t.Errorf("after 3 s the lane is shown as %+v", l)
		}
		// It goes to 0.95 of what the destination bears. A refusal then costs the second
		// of its hold, and a quarter of the rate for a while.
		done, refused := w.window(b, 12*time.Second)
		t.Logf("of %d a second: %d done and %d refused in 12 s; lane %+v", rate, done, refused, w.lane())
		if done < 12*rate*6/10 || refused > done/20 {
			t.Errorf("once the rate of %d was learnt: got %d done and %d refused in 12 s", rate, done, refused)
		}
		for _, stop := range stops {
			stop()
		}
		w.send(b, time.Millisecond)
		done, refused = w.window(b, 8*time.Second)
		t.Logf("after a restart: %d done, %d refused in 8 s", done, refused)
		if done < 8*rate/2 || refused > done/50 {
			t.Errorf("after a restart: got %d done and %d refused in 8 s", done, refused)
		}
	})
}

func TestALimitThatIsLiftedIsForgotten(t *testing.T) {
	paceWorld(t, 100, func(w *world) {
		t := w.t
		b := &bearing{rate: 50}
		for range 2 {
			line := w.newLine()
			t.Cleanup(func() { _ = line.rdb.Close() })
			b.worker(t, queue.Recovering(paceConfig(line.rdb, ""), 200*time.Millisecond), time.Millisecond)
		}
		time.Sleep(500 * time.Millisecond)
		if l := w.lane(); l.Rate <= 0 {
			t.Fatalf("no rate is learnt: %+v", l)
		}
		b.allow(0)
		for range 150 { // a limit that limits nobody is kept for 60 times the scale: 12 s
			backlog(t, w.line.rdb, "", 20)
			time.Sleep(100 * time.Millisecond)
		}
		if list := lanesOf(t, w.client); len(list) > 0 {
			t.Errorf("the limit is not forgotten: %+v", list)
		}
	})
}

func TestTwoPoolsLearnTheConnections(t *testing.T) {
	const most, jobs = 5, 3000
	const took = 20 * time.Millisecond
	paceWorld(t, jobs, func(w *world) {
		t := w.t
		b := &bearing{most: most}
		w.send(b, took)
		w.send(b, took)
		w.window(b, 3*time.Second)
		done, refused := w.window(b, 6*time.Second)
		t.Logf("%d done and %d refused in 6 s; lane %+v", done, refused, w.lane())
		// A guess grows by one connection, is refused, and holds the lane for a second.
		if can := most * int(6*time.Second/took); done < can*6/10 || refused > 5 {
			t.Errorf("with %d connections at most: got %d of %d done and %d refused in 6 s, want 60 %% and next to none refused", most, done, can, refused)
		}
		if n := w.lane().Connections; n < most-1 || n > most+1 {
			t.Errorf("got %d connections, want about %d", n, most)
		}
	})
}

func TestTokensComeAtTheRateOfAllTogether(t *testing.T) {
	const rate, each = 100, 5 * time.Millisecond
	paceWorld(t, 0, func(w *world) {
		t := w.t
		rdb := w.line.rdb
		if err := rdb.HSet(t.Context(), queue.PaceKey(""), "l", `{"w":100,"r":100,"rs":32000,"rt":1}`).Err(); err != nil {
			t.Fatal(err)
		}
		got, turns := 0, int(2*time.Second/each)
		for i := range turns {
			n := 0
			_, _ = fmt.Sscan(pace(t, rdb, "", "share", fmt.Sprint("w", i%5), 60000, 200, 3000, "l", 50, 0, 0, 0, 0)[1], &n)
			got += n
			time.Sleep(each)
		}
		if least, most := 2*rate, 2*rate+rate/5+1; got < least || got > most { // and those of the batch of 200 ms
			t.Errorf("got %d tokens in 2 s at %d a second, want %d to %d", got, rate, least, most)
		}
	})
}

func TestFourPoolsSendOneProbe(t *testing.T) {
	paceWorld(t, 200, func(w *world) {
		t := w.t
		far := &deadServer{}
		start := func() {
			line := w.newLine()
			t.Cleanup(func() { _ = line.rdb.Close() })
			cfg := paceConfig(line.rdb, "")
			cfg.LaneSlots, cfg.MaxAttempts = 1, 1000
			queuetest.Run(t, cfg, &queuetest.Handler{Do: far.do})
		}
		start()
		time.Sleep(500 * time.Millisecond)
		if l := w.lane(); l.BrokenSince.IsZero() || l.Text != "connection refused" || l.NextProbe.IsZero() {
			t.Errorf("the lane is shown as %+v", l)
		}
		before := far.count()
		for range 3 { // restarted processes
			start()
		}
		time.Sleep(6 * time.Second)
		// The pauses are 1, 2, 4 s: probes after 1, 3 and 7, and the last may be early by the half second before.
		if n := far.count() - before; n < 2 || n > 3 {
			t.Errorf("got %d attempts by four processes in 6 s, want one for each pause: 2 or 3", n)
		}
		far.mend()
		time.Sleep(10 * time.Second) // the pause of 4 s, or the one of 8 s that came after it
		if list := lanesOf(t, w.client); len(list) > 0 {
			t.Errorf("no probe has mended the lane for all: %+v", list)
		}
		time.Sleep(1500 * time.Millisecond) // a process learns of it within a second
		for range 20 {
			r, err := w.client.Enqueue(t.Context(), json.RawMessage(`{"action":{"type":"test"}}`))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
			if s, err := w.client.Show(t.Context(), r[0].ID); err != nil || s.State != queue.Done || s.Handbacks > 0 {
				t.Fatalf("a process still holds the lane back: %+v, %v", s, err)
			}
		}
	})
}

// hangs starts a process whose attempts begin and do not end after the first n,
// which are not answered. It tells when one hangs.
func (w *world) hangs(n int) (line *simLine, begun chan time.Time) {
	line, begun = w.newLine(), make(chan time.Time, 100)
	forever := make(chan struct{})
	w.t.Cleanup(func() { _ = line.rdb.Close() })
	cfg := paceConfig(line.rdb, "")
	cfg.LaneSlots = 1
	queuetest.Run(w.t, cfg, &queuetest.Handler{Do: func(context.Context, *queue.Claim) (queue.Reply, error) {
		if n--; n < 0 {
			begun <- time.Now()
			<-forever
		}
		return queue.Reply{Stage: "dial"}, errors.New("connection refused")
	}})
	w.t.Cleanup(func() { close(forever) })
	return line, begun
}

func TestAProbeIsFreeWhenItsProcessDies(t *testing.T) {
	paceWorld(t, 200, func(w *world) {
		t := w.t
		line, begun := w.hangs(5) // which break the lane
		<-begun
		_, next := w.hangs(0)
		time.Sleep(20 * time.Second)
		if len(next) > 0 {
			t.Fatal("a second process probes while the first, which lives, still does")
		}
		line.cut() // as a process does that is killed, it says nothing
		cut := time.Now()
		if took := (<-next).Sub(cut); took > queue.MinLease {
			t.Errorf("another process probes %v after the first has died, want within %v", took, queue.MinLease)
		}
		time.Sleep(50 * time.Second)
		if len(next)+len(begun) > 0 {
			t.Error("one probe is not the only one")
		}
		line.mend() // what still dials would outlive the bubble
		time.Sleep(5 * time.Second)
	})
}

func TestAProbeThatGoesOnForeverIsNotTheOnlyOne(t *testing.T) {
	paceWorld(t, 200, func(w *world) {
		_, begun := w.hangs(5)
		first := <-begun
		_, next := w.hangs(0)
		if took := (<-next).Sub(first); took < time.Minute || took > time.Minute+queue.MinLease {
			w.t.Errorf("another process probes after %v, want a minute", took)
		}
	})
}
