package program

import (
	"fmt"
	"strings"
)

// Attempt is one entry of a job's record, as "job show" prints it.
type Attempt struct {
	SecretVersion int64  `json:"secret_version"`
	Stage         string `json:"stage"`
	Code          string `json:"code"`
	Text          string `json:"text"`
	Reason        string `json:"reason"`
	Certainty     string `json:"certainty"`
}

// Status is a job as "job show" prints it.
type Status struct {
	ID            string    `json:"id"`
	State         string    `json:"state"`
	Kind          string    `json:"kind"`
	Attempts      []Attempt `json:"attempts"`
	AttemptCount  int       `json:"attempt_count"`
	HandbackCount int       `json:"handback_count"`
	CrashCount    int       `json:"crash_count"`
}

// Last is the newest attempt, the zero Attempt if there is none.
func (s Status) Last() Attempt {
	if len(s.Attempts) == 0 {
		return Attempt{}
	}
	return s.Attempts[len(s.Attempts)-1]
}

// Show asks for one job.
func (s *Site) Show(id string) (Status, error) {
	var st Status
	err := s.JSON(&st, "job", "show", id)
	return st, err
}

// Is returns a check for [peers.Wait]: nil when the job is in the state.
func (s *Site) Is(id, state string) func() error {
	return func() error {
		st, err := s.Show(id)
		if err != nil {
			return err
		}
		if st.State != state {
			return fmt.Errorf("job %s is %s, want %s: %+v", id, st.State, state, st)
		}
		return nil
	}
}

// Send enqueues jobs, one JSON a line, and returns their ids in order.
func (s *Site) Send(jobs ...string) ([]string, error) {
	r := s.Run(strings.Join(jobs, "\n"), "job", "send", "-")
	if err := r.Err(); err != nil {
		return nil, err
	}
	ids := strings.Fields(r.Stdout)
	if len(ids) != len(jobs) {
		return nil, fmt.Errorf("%d jobs sent, %d ids printed: %s", len(jobs), len(ids), r.Stderr)
	}
	return ids, nil
}

// PutSecret stores a value under a key, a new version if the key exists, and
// returns the secret's id.
func (s *Site) PutSecret(key, value string) (string, error) {
	r := s.Run(value, "secret", "put", key)
	return strings.TrimSpace(r.Stdout), r.Err()
}

// States asks how many jobs are in each state.
func (s *Site) States() (map[string]int64, error) {
	var stats struct {
		Jobs map[string]int64 `json:"jobs"`
	}
	err := s.JSON(&stats, "queue", "stats")
	return stats.Jobs, err
}
