package queue

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// mintedPrefix begins the ids that are made for jobs without one.
const mintedPrefix = "auto-"

// MintID returns an id that no other job has: "auto-" and 26 random letters and
// digits (130 bits).
func MintID() string { return mintedPrefix + strings.ToLower(rand.Text()) }

// mintFor returns a new id that belongs to this partition, so that the jobs of a
// batch stay together. It takes as many tries as there are partitions, on average.
func mintFor(partition, partitions int) string {
	for {
		if id := MintID(); partitionOf(id, partitions) == partition {
			return id
		}
	}
}

// WithID returns the job, which must have no id, with this one. It fails if that
// makes it longer than MaxJobBytes.
func WithID(job json.RawMessage, id string) (json.RawMessage, error) {
	open := bytes.IndexByte(job, '{')
	if open < 0 {
		return nil, errors.New("want a JSON object")
	}
	named := make([]byte, 0, len(job)+len(id)+len(`"id":"",`))
	named = append(named, `{"id":"`...)
	named = append(named, id...)
	named = append(named, `",`...)
	named = append(named, job[open+1:]...) // a job is never empty: it has an action
	if len(named) > MaxJobBytes {
		return nil, fmt.Errorf("job of %d bytes with its new id, want at most %d", len(named), MaxJobBytes)
	}
	return named, nil
}

// Identify checks a job as Enqueue does and returns it with an id: its own, or a
// new one of [MintID].
func Identify(job json.RawMessage) (named json.RawMessage, id string, err error) {
	j := &Job{}
	if err := decodeJob(j, job); err != nil {
		return nil, "", &InvalidJobError{Err: err}
	}
	if j.ID != "" {
		return job, j.ID, nil
	}
	id = MintID()
	if named, err = WithID(job, id); err != nil {
		return nil, "", &InvalidJobError{Err: err}
	}
	return named, id, nil
}
