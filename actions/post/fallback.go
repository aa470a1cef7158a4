package post

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Metadata of each datum that goes to the fallback.
const (
	metaError    = "_http_error"    // the code and fixed words
	metaURL      = "_http_url"      // origin only: the rest may hold tokens
	metaAttempts = "_http_attempts" // of the job that failed
)

// fallbackSuffix makes the id of the job that follows.
const fallbackSuffix = "-fallback"

// addFallback gives the queue the job that becomes ready if this attempt is the
// last one. Data that comes from a fallback has none again: two actions that
// name each other would run for ever.
func (p *plan) addFallback(reply *queue.Reply, c *queue.Claim) {
	if p.fallback == "" {
		return
	}
	job, err := p.fallbackJob(reply, c)
	if err != nil {
		reply.Text = clip(fmt.Sprintf("%v; %s", err, reply.Text))
		return
	}
	reply.OnDead = job
}

// fallbackJob returns the job for the stored action.
func (p *plan) fallbackJob(reply *queue.Reply, c *queue.Claim) (json.RawMessage, error) {
	var data []json.RawMessage
	if err := json.Unmarshal(p.body, &data); err != nil {
		return nil, fmt.Errorf("no fallback: the data is no array")
	}
	added := map[string]any{metaError: errorWords(reply), metaURL: p.origin, metaAttempts: c.Attempt}
	for i, raw := range data {
		datum, again := withMetadata(raw, added)
		if again {
			return nil, fmt.Errorf("no fallback: the data comes from one")
		}
		data[i] = datum
	}
	job, err := json.Marshal(struct {
		ID          string            `json:"id"`
		ActionID    string            `json:"action_id"`
		Data        []json.RawMessage `json:"data"`
		Traceparent string            `json:"traceparent,omitempty"`
	}{fallbackID(c.Job.ID), p.fallback, data, c.Job.Traceparent})
	if err != nil || len(job) > queue.MaxJobBytes {
		return nil, fmt.Errorf("no fallback: its job would be over %d KiB", queue.MaxJobBytes>>10)
	}
	return job, nil
}

// withMetadata adds to the metadata of a datum and keeps what it has. again says
// that the datum has been through a fallback. What is no object stays as it is.
func withMetadata(raw json.RawMessage, added map[string]any) (out json.RawMessage, again bool) {
	var datum map[string]json.RawMessage
	if json.Unmarshal(raw, &datum) != nil || datum == nil {
		return raw, false
	}
	var metadata map[string]json.RawMessage
	if old := datum["metadata"]; len(old) > 0 && json.Unmarshal(old, &metadata) != nil {
		metadata = map[string]json.RawMessage{"_metadata": old} // no object; it is kept all the same
	}
	if _, again := metadata[metaAttempts]; again {
		return nil, true
	}
	if metadata == nil {
		metadata = map[string]json.RawMessage{}
	}
	for name, value := range added {
		metadata[name], _ = json.Marshal(value) // texts and a number always encode
	}
	datum["metadata"], _ = json.Marshal(metadata) // raw JSON encodes
	out, err := json.Marshal(datum)
	if err != nil {
		return raw, false
	}
	return out, false
}

// errorWords names what happened, by code and rule: the receiver's own words
// stay with the attempt.
func errorWords(reply *queue.Reply) string {
	if reply.Code == "" {
		return reply.Rule
	}
	return "HTTP " + reply.Code + ", " + reply.Rule
}

// fallbackID is the id of the job that follows, the same for the same job. A
// long id is cut and told apart by a hash.
func fallbackID(id string) string {
	if len(id)+len(fallbackSuffix) <= queue.MaxIDLength {
		return id + fallbackSuffix
	}
	sum := sha256.Sum256([]byte(id))
	mark := "-" + hex.EncodeToString(sum[:8]) + fallbackSuffix
	return id[:queue.MaxIDLength-len(mark)] + mark
}

// clip keeps a text within what an attempt records.
func clip(text string) string {
	if utf8.RuneCountInString(text) <= redact.MaxText {
		return text
	}
	return string([]rune(text)[:redact.MaxText])
}
