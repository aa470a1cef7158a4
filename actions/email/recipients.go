package email

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// recipient is one address of the envelope. People see its place in it, from 1,
// and never the address.
type recipient struct {
	n       int
	address string
}

// hash is what a part is found by in a later attempt: a stored action may have
// changed in between, and with it the places.
func (r recipient) hash() string {
	sum := sha256.Sum256([]byte(r.address))
	return hex.EncodeToString(sum[:5])
}

// part says how the mail ended for the recipient. f is why it was refused, nil
// if it was not.
func (r recipient) part(f *failure) queue.Part {
	p := queue.Part{ID: fmt.Sprintf("%d-%s", r.n, r.hash()), State: queue.PartAccepted, Code: "250"}
	if f != nil {
		p.State, p.Code, p.Text = queue.PartRefused, f.code(), f.text
	}
	return p
}

// ended returns the part of an earlier attempt that is about the recipient.
func (r recipient) ended(parts []queue.Part) (queue.Part, bool) {
	i := slices.IndexFunc(parts, func(p queue.Part) bool {
		_, hash, _ := strings.Cut(p.ID, "-")
		return hash == r.hash()
	})
	if i < 0 {
		return queue.Part{}, false
	}
	return parts[i], true
}

// recipients returns to, cc and bcc, each address once.
func (pl *plan) recipients() []recipient {
	var all []recipient
	for i, address := range pl.envelope() {
		all = append(all, recipient{i + 1, address})
	}
	return all
}

// pending returns the recipients for whom the mail has not ended.
func pending(all []recipient, parts []queue.Part) []recipient {
	return slices.DeleteFunc(slices.Clone(all), func(r recipient) bool {
		_, ok := r.ended(parts)
		return ok
	})
}

// refusal is a recipient that the server did not take.
type refusal struct {
	recipient
	why *failure
}

// delivery is what the server made of the recipients of a mail.
type delivery struct {
	taken   []recipient
	refused []refusal   // for good
	later   []refusal   // not now
	rest    []recipient // not named, for the server takes no more in one mail
	text    string      // its words when it took the mail
}

// empty reports whether the server said nothing of single recipients: what went
// wrong went wrong for all.
func (d *delivery) empty() bool { return len(d.taken)+len(d.refused)+len(d.later) == 0 }

// ruleTooMany is the row for servers that take no more recipients in one mail.
const ruleTooMany = "too-many-recipients"

// worst returns the refusal that decides about a mail that nobody gets, nil if
// there was none. What may be taken later decides before what never will: the
// job is not over. Of a whole mail it is over.
func (d *delivery) worst(whole bool) *failure {
	if len(d.refused) > 0 && (whole || len(d.later) == 0) {
		return d.refused[0].why
	}
	var worst *failure
	for _, r := range d.later {
		if worst == nil || r.why.wait() > worst.wait() {
			worst = r.why
		}
	}
	return worst
}

// wait is how long the verdict makes a job wait at least.
func (f *failure) wait() time.Duration {
	if f.verdict.Reason == actions.Greylisted {
		return max(f.verdict.After, time.Minute)
	}
	return f.verdict.After
}

// parts are the recipients for whom the mail ended in this attempt.
func (d *delivery) parts(sent bool) []queue.Part {
	var parts []queue.Part
	if sent {
		for _, r := range d.taken {
			parts = append(parts, r.part(nil))
		}
	}
	for _, r := range d.refused {
		parts = append(parts, r.part(r.why))
	}
	return parts
}

// concluded turns what became of the recipients, in this attempt and before,
// into the outcome of the job.
func (w *work) concluded(ref secrets.Ref, earlier []queue.Part, d *delivery) (queue.Reply, error) {
	all := w.plan.recipients()
	if len(d.taken) == len(all) { // in this attempt, so there are no earlier parts
		return accepted(ref, d.text), nil
	}
	ended := d.parts(len(d.taken) > 0)
	have, refused := tally(all, slices.Concat(ended, earlier))
	var reply queue.Reply
	var err error
	switch {
	case len(d.rest) > 0:
		text := fmt.Sprintf("%d of %d recipients have the mail; the server takes no more at once", have, len(all))
		reply = queue.Reply{Secret: ref.ID, SecretVersion: ref.Version, Stage: stageRcpt, Text: text,
			Rule: ruleTooMany, Reason: string(actions.Throttled), Certainty: queue.Rejected}
		err = &queue.HandbackError{After: busyDelay, Err: fmt.Errorf("send mail: %s", text)}
	case len(d.later) > 0:
		f := *d.worst(false)
		if len(all) > 1 {
			f.text = redact.Scrub(fmt.Sprintf("%d of %d recipients have the mail, %d wait: %s", have, len(all), len(d.later), f.text))
		}
		reply, err = w.refused(ref, &f)
	case len(refused) > 0:
		reply, err = w.refused(ref, partly(have, len(all), refused, d))
	default:
		return accepted(ref, d.text), nil
	}
	reply.Parts = ended
	return reply, err
}

// tally counts who has the mail and lists who will never have it. Of two parts
// of one recipient the first counts.
func tally(all []recipient, parts []queue.Part) (have int, refused []queue.Part) {
	for _, r := range all {
		switch p, ok := r.ended(parts); {
		case ok && p.State == queue.PartAccepted:
			have++
		case ok:
			p.ID = fmt.Sprint(r.n)
			refused = append(refused, p)
		}
	}
	return have, refused
}

// partly is the failure of a mail that some recipients will never have. If the
// server refused all of them at once, it is that of the first; else it is about
// recipients, since it takes mail of this sender.
func partly(have, all int, refused []queue.Part, d *delivery) *failure {
	if len(d.refused) == all {
		f := *d.refused[0].why
		if all > 1 {
			f.text = redact.Scrub(fmt.Sprintf("%d of %d recipients refused: %s", all, all, f.text))
		}
		return &f
	}
	f := &failure{answer: actions.Answer{Stage: stageRcpt}, verdict: actions.Verdict{Reason: actions.Recipient, Rule: "recipient"}}
	if len(d.refused) > 0 {
		f.verdict.Rule = d.refused[0].why.verdict.Rule
	}
	_, _ = fmt.Sscanf(refused[0].Code, "%d %s", &f.answer.Code, &f.answer.Status) // what is missing stays zero
	text := fmt.Sprintf("%d of %d recipients have the mail", have, all)
	for _, p := range refused {
		text += fmt.Sprintf("; recipient %s: code %s %s", p.ID, p.Code, p.Text)
	}
	f.text = redact.Scrub(text)
	return f
}
