package spool_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
	"github.com/sealpost/sealpost/queue/spool"
)

// The test binary runs itself as a producer when these are set.
const (
	childDir   = "SPOOL_CHILD_DIR"
	childRedis = "SPOOL_CHILD_REDIS"
	childFirst = "SPOOL_CHILD_FIRST" // number of its first job; "": only send what is there
)

// child spools jobs until it is killed, and says which it may rely on.
func child(dir string) {
	opts := queuetest.Options(os.Getenv(childRedis))
	opts.DialTimeout, opts.DialerRetries = 200*time.Millisecond, 1
	client := queue.NewClient(redis.NewClient(opts), queue.ClientOptions{})
	s, err := spool.Open(dir, client, spool.Options{SegmentBytes: 4096, Logger: quiet})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	first, err := strconv.Atoi(os.Getenv(childFirst))
	if err != nil {
		if err := s.Flush(context.Background()); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	for i := first; ; i++ {
		ids, err := s.Enqueue(job(i))
		if errors.Is(err, spool.ErrFull) {
			continue
		}
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("took", ids[0])
	}
}

// producer is a running child and what it said.
type producer struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu   sync.Mutex
	took map[string]bool
	errs []string
}

func startProducer(t *testing.T, dir, addr, first string) *producer {
	t.Helper()
	p := &producer{cmd: exec.Command(os.Args[0]), done: make(chan struct{}), took: map[string]bool{}}
	p.cmd.Env = append(os.Environ(), childDir+"="+dir, childRedis+"="+addr, childFirst+"="+first)
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatalf("start a producer: %v", err)
	}
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.mu.Lock()
			var id string
			if n, _ := fmt.Sscanf(lines.Text(), "took %s", &id); n == 1 {
				p.took[id] = true
			} else {
				p.errs = append(p.errs, lines.Text())
			}
			p.mu.Unlock()
		}
	}()
	return p
}

func (p *producer) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.took)
}

// kill ends it as kill -9 does, when it has taken n jobs.
func (p *producer) kill(t *testing.T, n int) {
	t.Helper()
	queuetest.Eventually(t, "the producer takes jobs", func() bool { return p.count() >= n })
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatalf("kill: %v", err)
	}
	<-p.done
	_ = p.cmd.Wait() // it was killed
	if len(p.errs) > 0 {
		t.Fatalf("the producer said: %v", p.errs)
	}
}

// A producer is killed with -9 again and again while Redis comes and goes. What it
// was told is taken must be in Redis in the end, once.
func TestNothingIsLostByKillsOfTheProducerAndOfRedis(t *testing.T) {
	server := queuetest.NewServer(t)
	dir := t.TempDir()
	took := map[string]bool{}
	const rounds = 8
	for round := range rounds {
		down := round%2 == 1
		if down {
			server.Kill()
		}
		p := startProducer(t, dir, server.Addr(), strconv.Itoa(round*1_000_000))
		p.kill(t, 20+rand.IntN(200))
		for id := range p.took {
			took[id] = true
		}
		if down {
			if err := server.Start(); err != nil {
				t.Fatalf("start Redis: %v", err)
			}
		}
	}
	last := startProducer(t, dir, server.Addr(), "")
	<-last.done
	if err := last.cmd.Wait(); err != nil {
		t.Fatalf("the last producer: %v: %v", err, last.errs)
	}
	rdb := redis.NewClient(queuetest.Options(server.Addr()))
	defer rdb.Close()
	entries, err := rdb.XRange(t.Context(), queue.StreamKey("", 0), "-", "+").Result()
	if err != nil {
		t.Fatalf("XRANGE: %v", err)
	}
	there := map[string]int{}
	for _, e := range entries {
		named, id, err := queue.Identify([]byte(e.Values["job"].(string)))
		if err != nil {
			t.Fatalf("%s: %v", named, err)
		}
		there[id]++
	}
	lost, doubled := 0, 0
	for id := range took {
		if there[id] == 0 {
			lost++
		}
	}
	for _, n := range there {
		doubled += n - 1
	}
	t.Logf("%d kills of the producer, %d of Redis: %d jobs taken, %d in Redis, %d lost, %d doubled", rounds, rounds/2, len(took), len(there), lost, doubled)
	if lost > 0 || doubled > 0 || len(took) < rounds*20 {
		t.Errorf("%d lost, %d doubled of %d", lost, doubled, len(took))
	}
}
