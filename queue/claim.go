package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sealpost/sealpost/crashpoint"
)

// errPerhapsSent is what Begin returns when an earlier claim of a job with
// on_ambiguous=park began the step and did not say how it ended.
var errPerhapsSent = errors.New("queue: an earlier worker began to send this job and was lost; it may have been sent")

// claim is a stream entry that this process holds, and its job.
type claim struct {
	Claim
	job        Job // Claim.Job
	pool       *Pool
	part       *partition
	eid        string
	raw        []byte // the job's JSON; nobody changes it
	meta       meta
	deliveries int
	bad        error // why the JSON is not a job
	mark       bool  // an earlier claim has left its mark
	cancelled  bool  // somebody cancelled it while an earlier claim ran
	work       Work
	kind       string
	lane       *lane
	dest       string   // see destination
	probes     []string // refusals for which it is the one job that may try
	tries      bool     // the one job of this process that may try a broken lane
	change     change   // what it has done to its lane's breaker
	asOf       int64    // of the refusal for which it is parked untried, ms

	renewed   atomic.Int64 // since Pool.epoch
	lost      atomic.Bool
	began     atomic.Bool // Begin was called
	ambiguous atomic.Bool // Begin found an earlier claim's mark

	out        outcome
	slot       bool   // it keeps its slot until it is settled
	prev, next *claim // in partition.held
}

// destination is the lane of the work, "" while there is none. It is asked for
// several times for each job, and made once.
func (c *claim) destination() string {
	if c.dest == "" && c.work != nil {
		c.dest = c.work.Lane()
	}
	return c.dest
}

// newClaim reads entry eid. at is when it was asked for, on the pool's clock:
// the lease runs from there.
func newClaim(part *partition, e entry, at time.Duration) *claim {
	c := &claim{pool: part.pool, part: part, eid: e.id, raw: e.job, deliveries: max(e.deliveries, 1), mark: e.mark != "", cancelled: e.cancelled}
	c.meta = parseMeta(e.id, e.meta)
	c.meta.Crashes += c.deliveries - 1
	c.meta.Next += c.deliveries - 1 // the lost attempts wrote no record, or will
	c.meta.Secret, c.meta.Version, c.meta.Beside, c.meta.Waits = "", 0, "", ""
	c.renewed.Store(int64(at))
	job := &c.job
	if err := decodeJob(job, e.job); err != nil {
		c.bad = err
		if len(e.job) == 0 {
			c.bad = errors.New("the entry has no field \"job\"")
		}
		*job = Job{}
		if len(c.raw) > MaxJobBytes {
			c.raw = c.raw[:keptOversize]
		}
	}
	job.JID = c.meta.JID
	if job.ID == "" {
		job.ID = publicID(part.index, job.JID)
	}
	c.Claim = Claim{
		Job: job, Attempt: c.meta.Attempts + 1, Handbacks: c.meta.Handbacks, Crashes: c.meta.Crashes, Parts: c.meta.shown(), holder: c,
	}
	return c
}

// keptOversize is how many bytes a dead letter keeps of a job over MaxJobBytes.
const keptOversize = 4096

// entry is a stream entry as it was read.
type entry struct {
	id, meta   string
	job        []byte
	mark       string // of an earlier claim, only after a reclaim
	cancelled  bool   // only after a reclaim
	deliveries int    // 0 counts as 1
}

// token names this claim in the mark of a job.
func (c *claim) token() string {
	return c.pool.consumer + "/" + c.eid + "/" + strconv.Itoa(c.deliveries)
}

// beginStep is Claim.Begin: see there.
func (c *claim) beginStep(ctx context.Context) error {
	crashpoint.Point("begin-before")
	if c.lost.Load() {
		return ErrLeaseLost
	}
	marks := c.Job.OnAmbiguous == "park"
	age := c.pool.elapsed() - time.Duration(c.renewed.Load())
	if !marks && age < c.pool.cfg.Lease/3 {
		c.began.Store(true)
		crashpoint.Point("begin-after")
		return nil
	}
	token := ""
	if marks {
		token = c.token()
	}
	at := c.pool.elapsed()
	crashpoint.Point("mark-before")
	codes, err := scriptRenew.Run(ctx, c.pool.rdb, c.part.keys.with(), c.pool.consumer, c.eid, c.Job.JID, token).Int64Slice()
	if err != nil || len(codes) != 1 {
		c.pool.trouble("renew", err)
		return &HandbackError{Err: fmt.Errorf("renew lease: %w", err)}
	}
	crashpoint.Point("mark-after")
	switch codes[0] {
	case renewLost:
		c.lost.Store(true)
		return ErrLeaseLost
	case renewMarked:
		c.ambiguous.Store(true)
		return errPerhapsSent
	}
	c.renewed.Store(int64(at))
	c.began.Store(true)
	return nil
}

// Answers of the script renew.
const (
	renewLost   = 0
	renewMarked = 2
)

// held is the list of claims of one partition that are not settled yet.
type held struct {
	mu   sync.Mutex
	root claim // sentinel
	n    int
}

func (h *held) add(cs []*claim) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.root.next == nil {
		h.root.next, h.root.prev = &h.root, &h.root
	}
	for _, c := range cs {
		c.prev, c.next = h.root.prev, &h.root
		c.prev.next, c.next.prev = c, c
		h.n++
	}
}

// remove takes claims off the list. Claims that are not on it are left alone.
func (h *held) remove(cs []*claim) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range cs {
		if c.prev == nil {
			continue
		}
		c.prev.next, c.next.prev = c.next, c.prev
		c.prev, c.next = nil, nil
		h.n--
	}
}

// all returns the claims for which want is true, the oldest first.
func (h *held) all(want func(*claim) bool) []*claim {
	h.mu.Lock()
	defer h.mu.Unlock()
	var cs []*claim
	for c := h.root.next; c != nil && c != &h.root; c = c.next {
		if want(c) {
			cs = append(cs, c)
		}
	}
	return cs
}
