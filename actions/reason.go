package actions

import (
	"errors"
	"time"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// Reason says why an attempt did not succeed. Every sender's table maps what
// it was answered to one of these, and [Outcome] maps each to what happens to
// the job. Reasons are a metric label and part of the public contract.
type Reason string

// The reasons, with what each means for the job.
const (
	Transient   Reason = "transient"        // retry: exponential, full jitter
	Greylisted  Reason = "greylisted"       // retry, the first time after a minute
	Throttled   Reason = "throttled"        // the lane slows down, no attempt used
	Credential  Reason = "credential"       // parked on (secret, version)
	Destination Reason = "destination_down" // delayed without an attempt
	Recipient   Reason = "recipient"        // this recipient is refused for good
	Payload     Reason = "payload"          // dead at once: the job itself is wrong
	Policy      Reason = "policy"           // dead at once: a rule forbids it
	Config      Reason = "config"           // dead at once: what the job names is not there or not usable
	Ambiguous   Reason = "unknown"          // the line broke when it may have been taken
)

// Verdict is what a sender's table says of one answer.
type Verdict struct {
	Reason Reason
	Rule   string        // name of the row that matched
	Lesson queue.Lesson  // for Throttled: which limit it shows
	After  time.Duration // for Throttled and retries: not before this, 0 if the other side named no time
	Advice string        // what a person can do about it; "" when nothing
}

// greylistDelay: RFC 6647, section 2.1, has servers refuse for a minute or more.
const greylistDelay = time.Minute

// Outcome returns the error whose type makes the queue do what the verdict
// means. err is the detail, already scrubbed; ref the secret that was used.
func Outcome(v Verdict, secret string, version int64, err error) error {
	if v.Advice != "" {
		err = &advised{err: err, advice: v.Advice}
	}
	switch v.Reason {
	case Credential:
		return &queue.ParkedError{Secret: secret, Version: version, Err: err}
	case Throttled:
		return &queue.ThrottledError{After: v.After, Lesson: v.Lesson, Count: -1, Err: err}
	case Destination:
		return &queue.HandbackError{After: v.After, Err: err}
	case Recipient, Payload, Policy, Config:
		return queue.Permanent(err)
	case Greylisted:
		return &queue.RetryAfterError{After: max(v.After, greylistDelay), Err: err}
	}
	if v.After > 0 {
		return &queue.RetryAfterError{After: v.After, Err: err}
	}
	return err // Transient, Ambiguous: retry
}

// Beside tells the queue that a refusal may be the fault of another secret that the
// attempt used with the blamed one: a newer version of it lets a parked job go on as
// well. Zero refs are left out. It returns err, changed if it parks the job.
func Beside(err error, refs ...secrets.Ref) error {
	parked, ok := errors.AsType[*queue.ParkedError](err)
	if !ok {
		return err
	}
	for _, ref := range refs {
		if ref.ID != "" && ref.ID != parked.Secret {
			parked.Beside = append(parked.Beside, queue.Credential{Secret: ref.ID, Version: ref.Version})
		}
	}
	return err
}

// advised is an error with a line of advice for the person who reads it.
type advised struct {
	err    error
	advice string
}

// Error is the error and the advice.
func (e *advised) Error() string { return e.err.Error() + ": " + e.advice }

// Unwrap returns the error without the advice.
func (e *advised) Unwrap() error { return e.err }
