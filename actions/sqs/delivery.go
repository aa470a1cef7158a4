package sqs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// Names of the message attributes that say which job a message is of.
const (
	attrJob  = "sealpost-job-id"   // the job's id
	attrPart = "sealpost-job-part" // the message's place in the job, from 1
)

// entry is one message on its way.
type entry struct {
	of    *delivery
	index int
	body  string
	group string // MessageGroupId; "" for none
	dedup string // MessageDeduplicationId, FIFO only
	job   string
	size  int  // bytes that count against the limits
	alone bool // in a request of its own: one with others was refused as a whole
	ended bool // has a result
}

// result is what became of an entry.
type result struct {
	id      string   // MessageId when it was accepted
	changed bool     // accepted, but SQS' checksum differs
	failed  *failure // nil when it was accepted
}

// delivery is the messages of one attempt at a job. Its fields from results on
// belong to the accumulator's lock while the entries are there, and to Do after
// done is closed.
type delivery struct {
	begin   func() error // right before a request
	entries []*entry

	results []result // by index
	open    int      // entries without a result
	done    chan struct{}
	gone    bool // Do has left
}

func newDelivery(ctx context.Context, c *queue.Claim, p *plan, fifo bool) *delivery {
	d := &delivery{begin: func() error { return c.Begin(ctx) }, results: make([]result, len(p.bodies))}
	group := p.group
	if group == "" && fifo {
		group = defaultGroup
	}
	for i, body := range p.bodies {
		if accepted(c.Parts, i) {
			continue // its result stays the zero one, which is an accepted one
		}
		e := &entry{of: d, index: i, body: body, group: group, job: c.Job.ID, alone: p.alone}
		if fifo {
			e.dedup = dedupID(c.Job, i)
		}
		e.size = len(body) + attributeSize(e)
		d.entries = append(d.entries, e)
	}
	d.reset(d.entries)
	return d
}

// accepted reports whether an earlier attempt had the message accepted.
func accepted(parts []queue.Part, index int) bool {
	id := strconv.Itoa(index + 1)
	return slices.ContainsFunc(parts, func(p queue.Part) bool { return p.ID == id && p.State == queue.PartAccepted })
}

// attributeSize counts names, types and values, as SQS does.
func attributeSize(e *entry) int {
	return len(attrJob) + len("String") + len(e.job) + len(attrPart) + len("Number") + len(e.part())
}

// part is the message's place in the job, from 1.
func (e *entry) part() string { return strconv.Itoa(e.index + 1) }

// dedupID is the same for the same message in all attempts. The jid alone would
// not do: it is unique in its partition only. 48 hex digits and an index stay
// far below the 128 characters that SQS takes.
func dedupID(job *queue.Job, index int) string {
	sum := sha256.Sum256([]byte(job.ID + "\x00" + job.JID))
	return hex.EncodeToString(sum[:24]) + "-" + strconv.Itoa(index)
}

// reset makes the delivery wait for new results of these entries.
func (d *delivery) reset(entries []*entry) {
	for _, e := range entries {
		e.ended = false
	}
	d.open = len(entries)
	d.done = make(chan struct{})
}

// settle notes a result, unless the entry has one. The accumulator's lock is
// held.
func (d *delivery) settle(e *entry, r result) {
	if d.gone || e.ended {
		return
	}
	e.ended = true
	d.results[e.index] = r
	if d.open--; d.open == 0 {
		close(d.done)
	}
}

// accepted counts the messages that the queue has.
func (d *delivery) accepted() int {
	n := 0
	for _, r := range d.results {
		if r.failed == nil {
			n++
		}
	}
	return n
}

// again returns the entries that are worth resending within this attempt: some
// were accepted, and these surely were not but could be in a moment.
func (d *delivery) again() []*entry {
	if d.accepted() == 0 {
		return nil
	}
	var list []*entry
	for _, e := range d.entries { // results has places for those of earlier attempts too
		f := d.results[e.index].failed
		if f == nil {
			continue
		}
		switch f.verdict.Reason {
		case actions.Transient, actions.Throttled:
			list = append(list, e)
		case actions.Credential, actions.Ambiguous:
			return nil // resending mends neither
		}
	}
	return list
}

// weight orders failures: the job has one outcome, and while any message can
// still be delivered by waiting or by a new credential, the job must not be
// dead for another's sake.
func weight(r actions.Reason) int {
	switch r {
	case actions.Credential:
		return 5
	case actions.Throttled:
		return 4
	case actions.Ambiguous:
		return 3
	case actions.Transient:
		return 2
	}
	return 1
}

// outcome is what came of all messages together.
func (d *delivery) outcome(ref secrets.Ref) (queue.Reply, error) {
	var worst *failure
	unknown := false
	for _, r := range d.results {
		if r.failed == nil {
			continue
		}
		unknown = unknown || r.failed.verdict.Reason == actions.Ambiguous
		if worst == nil || weight(r.failed.verdict.Reason) > weight(worst.verdict.Reason) {
			worst = r.failed
		}
	}
	if worst == nil {
		return d.success(ref), nil
	}
	n := d.accepted()
	if n > 0 {
		worst = worst.with(fmt.Sprintf("%d of %d messages were accepted; of the others: ", n, len(d.results)))
	}
	reply, err := worst.outcome(ref)
	if unknown {
		reply.Certainty = queue.Unknown
	}
	reply.Parts = d.parts()
	return reply, err
}

// parts says which messages of several have ended for good: a retry sends only
// the others.
func (d *delivery) parts() []queue.Part {
	var parts []queue.Part
	for _, e := range d.entries {
		if len(d.results) == 1 {
			break
		}
		part := queue.Part{ID: e.part(), State: queue.PartAccepted}
		if f := d.results[e.index].failed; f != nil {
			if !f.dead() {
				continue
			}
			part.State, part.Code, part.Text = queue.PartRefused, f.code(), f.text
		}
		parts = append(parts, part)
	}
	return parts
}

// success is the reply of messages that the queue took.
func (d *delivery) success(ref secrets.Ref) queue.Reply {
	first := "accepted before"
	if len(d.entries) > 0 {
		first = d.results[d.entries[0].index].id
	}
	text := "message " + first
	if n := len(d.results); n > 1 {
		text = fmt.Sprintf("%d messages, the first %s", n, first)
	}
	for _, r := range d.results {
		if r.changed {
			text += "; the queue's checksum differs from ours"
			break
		}
	}
	return queue.Reply{
		Secret: ref.ID, SecretVersion: ref.Version, Stage: stageDone, Code: "200",
		Text: cut(text), Certainty: queue.Accepted,
	}
}
