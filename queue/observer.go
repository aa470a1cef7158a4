package queue

import "time"

// Observer is told what happens, for metrics. Any func may be nil. They are
// called from many goroutines and must return at once.
type Observer struct {
	// Enqueued: jobs were accepted. kind is what the producer wrote as the
	// action's type, "" for a stored action: check it before it is a label.
	Enqueued func(kind string, jobs int)
	// Attempted: an attempt ended.
	Attempted func(Attempted)
	// Finished: a job is Done, Dead, Cancelled or Expired.
	Finished func(kind string, outcome State)
	// Recovered: jobs of lost workers were taken over.
	Recovered func(jobs int)
	// RedisError: a call failed and will be made again. op is one of a few
	// fixed words: "read", "reclaim", "settle", "renew", "promote", "sweep",
	// "reap", "group", "gate", "pause", "pace", "audit", "log", "enqueue".
	RedisError func(op string)
}

// Attempted is one attempt that ended.
type Attempted struct {
	Kind     string
	Reason   string        // "" when accepted; see [Reply]
	Outcome  State         // where the job goes: Done, Delayed, Parked, Dead...
	Duration time.Duration // of the attempt
	Age      time.Duration // of the job, from its enqueue to the attempt's end
}

func (o *Observer) enqueued(kind string, n int) {
	if o.Enqueued != nil && n > 0 {
		o.Enqueued(kind, n)
	}
}

func (o *Observer) attempted(a Attempted) {
	if o.Attempted != nil {
		o.Attempted(a)
	}
}

func (o *Observer) finished(kind string, outcome State) {
	if o.Finished != nil {
		o.Finished(kind, outcome)
	}
}

func (o *Observer) recovered(n int) {
	if o.Recovered != nil && n > 0 {
		o.Recovered(n)
	}
}

func (o *Observer) redisError(op string) {
	if o.RedisError != nil {
		o.RedisError(op)
	}
}
