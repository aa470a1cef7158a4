package model

// part is what the queue has written of one recipient of a job.
type part uint8

const (
	open part = iota
	accepted
	refused
)

// meta is what travels with a job.
type meta struct {
	tries, losses uint8
	parts         [2]part
}

// mask is a bit for each part in state p.
func (m *meta) mask(p part) (bits uint8) {
	for i, x := range m.parts {
		if x == p {
			bits |= 1 << i
		}
	}
	return bits
}

// Places of an entry: which of stream and pending list have it. The states of
// pending and left are followed by one for each worker and one for workers that
// are gone.
const (
	none    uint8 = iota
	fresh         // in the stream, not delivered
	orphan        // in the stream, delivered, in no pending list: nobody will ever get it
	pending       // in both: 3, 4, and 5 for a worker that is gone
	left    = 6   // deleted from the stream, still in the pending list: 6, 7, 8
	gone    = workers
)

// entry is an entry of the stream. serial is its id, counted for each life; 1
// is the entry whose id is the jid.
type entry struct {
	state, serial, runs uint8
	meta                meta
}

// holder is who has the entry in its pending list, -1 if nobody.
func (e *entry) holder() int {
	switch {
	case e.state >= left:
		return int(e.state - left)
	case e.state >= pending:
		return int(e.state - pending)
	}
	return -1
}

// inStream reports whether XRANGE would find the entry.
func (e *entry) inStream() bool { return e.state != none && e.state < left }

// life is one jid in Redis: its entries and its other places. A job has a
// second life if it was enqueued twice.
type life struct {
	entries           [3]entry
	body              bool
	meta              meta // in the body
	due, dead, cancel bool
	parked            bool // on version 1
	moved             uint8
}

// redis is all that Redis has, and that a failover takes back.
type redis struct {
	lives   [lives]life
	dedup   [maxJobs]uint8 // 1 + copy
	group   bool
	version bool  // it was told of version 2
	guard   uint8 // what all processes know of the credential or the lane; see guard.go
	wide    bool  // some process had two partitions
}

// Phases of a claim.
const (
	idle uint8 = iota
	claimed
	begun
	ended // the attempt is over, its outcome is not written
)

// Outcomes that are to be written.
const (
	toDone uint8 = iota
	toCancelled
	toDelay
	toDead
	toPark
	toRelease
)

// claim is what a worker has in its memory.
type claim struct {
	phase, life, serial uint8
	young               bool // below a third of the lease: Begin asks nobody
	meta                meta // with this attempt's changes once it has ended
	out                 uint8
	sent                uint8 // parts that this attempt got accepted

	probe   bool  // the one job that may try
	untried bool  // it is parked by a refusal that this process knew
	old     bool  // which was taken back since
	tell    uint8 // what a probe that worked has still to do
}

// What a producer knows of its job.
const (
	unsent   uint8 = iota
	unsure         // sent, no answer: it sends again
	told           // accepted
	silenced       // the producer died without an answer
)

// job is what the world knows: the ledgers of the producer and of the far side.
type job struct {
	knows   uint8
	sends   [2]uint8 // how often the far side accepted each part
	excuses uint8    // events that each explain one more send
	twice   bool     // a second life has a named cause
	over    bool     // sent and recorded, or ended by an operator
}

// trace is what the checks remember of a life, apart from Redis.
type trace struct {
	next     uint8 // serial of the next entry; 0: the life is unused
	known    uint8 // parts whose acceptance was written
	reported bool  // a success was written
	torn     bool  // a script on it stopped half-way
	lost     uint8 // workers that lost it; only with suspects
	failed   uint8 // attempts that failed; only with lanes
}

// state is everything.
type state struct {
	now    redis
	was    redis // what the replica has, while lag is lagging
	lag    uint8
	claims [workers]claim
	jobs   [maxJobs]job
	traces [lives]trace
	faults uint8
	newer  bool // the secret has version 2
	procs  [workers]proc
	sender proc // the process of all producers
	slow   bool // a probe was under way for longer than its time, or forgotten

	// Not part of the code:
	wrong  string // what a step did that must not be
	beyond bool   // it needs more entries or copies than the machine has
}

// Stages of the one failover.
const (
	inStep  uint8 = iota
	lagging       // nothing more reaches the replica
	failed        // the replica is the primary
)

func jobOf(l int) int { return l / copies }

// exists reports whether Redis has anything of the life.
func (l *life) exists() bool { return *l != life{} }

// find returns the entry with this serial, nil if there is none.
func (l *life) find(serial uint8) *entry {
	for i := range l.entries {
		if e := &l.entries[i]; e.state != none && e.serial == serial {
			return e
		}
	}
	return nil
}

// places counts where the job is so that something will come of it.
func (l *life) places() (n int) {
	for i := range l.entries {
		if s := l.entries[i].state; s == fresh || s >= pending && s < left {
			n++
		}
	}
	for _, in := range [...]bool{l.due, l.dead, l.parked} {
		if in && l.body {
			n++
		}
	}
	return n
}

// stream reports whether the stream has a living entry of the job.
func (l *life) stream() bool {
	for i := range l.entries {
		if s := l.entries[i].state; s == fresh || s >= pending && s < left {
			return true
		}
	}
	return false
}
