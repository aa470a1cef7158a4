package drill

import (
	"context"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sealpost/sealpost/faultline"
)

// Names of the lines between the parties of a run.
const (
	workerRedis   = "worker to Redis"
	producerRedis = "producer to Redis"
	workerMail    = "worker to mail server"
)

// lineEach is about how often a connection of a line is spoilt.
const lineEach = 600 * time.Millisecond

// faulty reports whether all faults are wanted: those of the mail server, of the
// lines and of Redis.
func (r *run) faulty() bool { return !r.Quiet && r.Rolling == 0 && !r.Outages && !r.Soak }

// through opens a line to addr, if lines are to fail, and returns where to connect.
func (r *run) through(name, addr string) (string, error) {
	if !r.faulty() {
		return addr, nil
	}
	line, err := faultline.Open(addr)
	if err != nil {
		return "", err
	}
	r.lines[name] = line
	return line.Addr(), nil
}

// redisThrough is through for the URL of Redis.
func (r *run) redisThrough(name, from string) (string, error) {
	u, err := url.Parse(from)
	if err != nil {
		return "", errURL
	}
	u.Host, err = r.through(name, u.Host)
	return u.String(), err
}

// disturb spoils connections of all lines while it is sent and killed. What is
// left is done over good lines.
func (r *run) disturb(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	for i, name := range []string{workerRedis, producerRedis, workerMail} {
		line := r.lines[name]
		group.Go(func() error { line.Disturb(ctx, lineEach, r.Seed+uint64(i)); return nil })
	}
	group.Go(func() error {
		for !r.past(killShare) && pause(ctx, look) == nil {
		}
		stop()
		return nil
	})
	return group.Wait()
}

// lineFaults says how often each fault of each line happened.
func (r *run) lineFaults() map[string]int {
	all := map[string]int{}
	for name, line := range r.lines {
		for kind, n := range line.Counts() {
			all[name+": "+kind] = n
		}
	}
	return all
}
