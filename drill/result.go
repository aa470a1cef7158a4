package drill

import (
	"errors"
	"fmt"
)

// Result is what a run has found. Its JSON is part of the public contract.
type Result struct {
	Accepted    int `json:"accepted"`    // jobs that the queue has taken
	Delivered   int `json:"delivered"`   // jobs whose mail arrived at least once
	Dead        int `json:"dead"`        // did not arrive, but are kept as dead letters with a reason
	Left        int `json:"left"`        // did not arrive and are still in the queue: the run was too short
	Lost        int `json:"lost"`        // did not arrive and are in no place
	Duplicated  int `json:"duplicated"`  // arrivals after the first of a job
	Unexplained int `json:"unexplained"` // of these, without evidence of a cause; and mails of no job

	Causes map[string]int `json:"causes"` // duplicates by cause
	Faults map[string]int `json:"faults"` // what the mail server did wrong
	// LineFaults are those of the connections between the parties.
	LineFaults map[string]int `json:"line_faults,omitempty"`

	Kills      int     `json:"kills"` // of workers
	RedisKills int     `json:"redis_kills"`
	Restarts   int     `json:"restarts,omitempty"` // by SIGTERM
	Refused    int64   `json:"refused_logins"`     // while the password was wrong, and by faults
	Parked     int64   `json:"parked"`             // most jobs seen waiting for the password
	Seconds    float64 `json:"seconds"`
	Seed       uint64  `json:"seed"`

	Delay    *Times `json:"delay,omitempty"`     // from a job's sending to its mail, under a steady load
	Drain    *Times `json:"drain,omitempty"`     // from SIGTERM to the end of a worker
	FirstJob *Times `json:"first_job,omitempty"` // from redis-server's first answer after a kill to the first mail of a new attempt
	TakeOver *Times `json:"take_over,omitempty"` // from the kill of a worker to the mails of the jobs it held
	Soak     *Soak  `json:"soak,omitempty"`
	// Unknown has what is known of each duplicate without a cause.
	Unknown []string `json:"unknown,omitempty"`
	// Missed names each figure that was not reached.
	Missed []string `json:"missed,omitempty"`
}

// Err is nil if nothing was lost and each duplicate has a cause.
func (r Result) Err() error {
	var errs []error
	if r.Lost > 0 {
		errs = append(errs, fmt.Errorf("%d of %d accepted jobs are lost", r.Lost, r.Accepted))
	}
	if r.Unexplained > 0 {
		errs = append(errs, fmt.Errorf("%d duplicates have no cause", r.Unexplained))
	}
	for _, text := range r.Missed {
		errs = append(errs, errors.New(text))
	}
	return errors.Join(errs...)
}

// String is the result in one line.
func (r Result) String() string {
	line := fmt.Sprintf("accepted %d, delivered %d, dead %d, left %d, lost %d, duplicated %d, unexplained %d, kills %d, redis kills %d, %.1f s",
		r.Accepted, r.Delivered, r.Dead, r.Left, r.Lost, r.Duplicated, r.Unexplained, r.Kills, r.RedisKills, r.Seconds)
	if r.Restarts > 0 {
		line += fmt.Sprintf(", restarts %d", r.Restarts)
	}
	if len(r.LineFaults) > 0 {
		sum := 0
		for _, n := range r.LineFaults {
			sum += n
		}
		line += fmt.Sprintf(", line faults %d", sum)
	}
	for _, t := range []struct {
		name string
		of   *Times
	}{{"delay", r.Delay}, {"drain", r.Drain}, {"first job", r.FirstJob}, {"take-over", r.TakeOver}} {
		if t.of != nil {
			line += fmt.Sprintf("; %s %v", t.name, *t.of)
		}
	}
	if r.Soak != nil {
		line += "; " + r.Soak.String()
	}
	return line
}
