package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Status is all that is known of a job. Its JSON is part of the public
// contract.
type Status struct {
	ID         string    `json:"id"`
	Ref        string    `json:"ref"` // an id of ours that always works
	State      State     `json:"state"`
	Kind       string    `json:"kind"`
	Attempts   []Attempt `json:"attempts,omitzero"` // oldest first, the last maxShown; lists leave them out
	Used       int       `json:"attempt_count"`     // attempts used up
	Handbacks  int       `json:"handback_count"`    // times it waited without using one
	Crashes    int       `json:"crash_count"`       // times a worker lost it
	EnqueuedAt time.Time `json:"enqueued_at"`
	DueAt      time.Time `json:"due_at,omitzero"`      // of a delayed job
	DiedAt     time.Time `json:"died_at,omitzero"`     // of a dead one
	FinishedAt time.Time `json:"finished_at,omitzero"` // of one that has ended
	Parked     *ParkedOn `json:"parked,omitempty"`     // what a parked job waits for
	Reason     string    `json:"reason,omitempty"`     // of the last failure
	Text       string    `json:"text,omitempty"`       // of the last failure
	Parts      []Part    `json:"parts,omitempty"`      // what ended for good, of a job that has not ended
}

// ParkedOn names the version of a secret that a job cannot be done with.
type ParkedOn struct {
	Secret  string `json:"secret"`
	Version int64  `json:"version"`
}

// Attempt is one try. What the other side said is scrubbed and cut.
type Attempt struct {
	At            time.Time `json:"at"`
	Number        int       `json:"attempt"` // the same twice if the first did not count
	Worker        string    `json:"worker"`
	Lane          string    `json:"lane,omitempty"` // the destination: kind, slash, and the secret as the job names it, or an origin
	Secret        string    `json:"secret,omitempty"`
	SecretVersion int64     `json:"secret_version,omitempty"`
	Stage         string    `json:"stage,omitempty"`
	Code          string    `json:"code,omitempty"`
	Text          string    `json:"text,omitempty"`
	Rule          string    `json:"rule,omitempty"`
	Reason        string    `json:"reason,omitempty"`
	Certainty     Certainty `json:"certainty,omitempty"`
	DurationMS    int64     `json:"duration_ms"`
	State         State     `json:"state"` // where the job went
}

// Show returns what is known of a job: where it is and what was tried.
// ErrNotFound if there is no such job, or it ended longer ago than the log is
// kept.
func (c *Client) Show(ctx context.Context, id string) (Status, error) {
	at, err := c.resolve(ctx, id)
	if err != nil {
		return Status{}, err
	}
	s, err := c.status(ctx, at)
	if err != nil {
		return Status{}, err
	}
	if _, _, ours := splitPublicID(id); !ours {
		s.ID = id // also when the job is in no place that could tell
	}
	return s, nil
}

func (c *Client) status(ctx context.Context, at place) (Status, error) {
	s, err := c.where(ctx, at)
	if err != nil {
		return Status{}, err
	}
	records, states, err := c.records(ctx, at)
	if err != nil {
		return Status{}, err
	}
	last := lastRecord(states, s.State == "")
	if s.State == "" && last < 0 {
		return Status{}, ErrNotFound // never was, or ended long ago, or is a dead letter that was removed
	}
	for i := range records {
		if records[i].Number > 0 {
			s.Attempts = append(s.Attempts, records[i].attempt(states[i]))
		}
	}
	if last >= 0 {
		s.fill(&records[last], states[last])
	}
	return s, nil
}

// lastRecord returns the index of the record that says what became of the job,
// -1 if none does. For a job that is in no place it is the last one that ended
// it: a worker that lost its lease may end a job and write an earlier number
// than its successor did.
func lastRecord(states []State, ended bool) int {
	for i := len(states) - 1; i >= 0; i-- {
		if !ended || isEnd(states[i]) {
			return i
		}
	}
	return -1
}

func isEnd(s State) bool { return s == Done || s == Cancelled || s == Expired }

// fill takes from the last record what the job's place did not say.
func (s *Status) fill(last *record, state State) {
	if s.Kind == "" {
		s.Kind = last.Kind
	}
	if s.State != "" {
		return
	}
	s.State = state
	s.Used, s.Handbacks, s.Crashes = last.Used, last.Handbacks, last.Crashes
	s.Reason = last.Reason
	s.FinishedAt = time.UnixMilli(last.At + last.Millis).UTC()
	if state != Done {
		s.Text = last.Text
	}
}

// where says in which place a job is; its State is "" if it is in none.
func (c *Client) where(ctx context.Context, at place) (Status, error) {
	reply, err := scriptWhere.Run(ctx, c.rdb, c.all(ctx)[at.partition].with(), at.jid).Slice()
	if err != nil {
		return Status{}, fmt.Errorf("find job: %w", err)
	}
	s := Status{ID: at.ref(), Ref: at.ref(), Attempts: []Attempt{}, EnqueuedAt: time.UnixMilli(jidMillis(at.jid)).UTC()}
	const fields = 5
	if len(reply) < fields {
		return s, nil
	}
	text := func(i int) string { t, _ := reply[i].(string); return t }
	m := parseMeta(at.jid, text(2))
	s.State = State(text(0))
	s.read(&m, text(3))
	if deliveries, _ := reply[4].(int64); deliveries > 1 {
		s.Crashes += int(deliveries) - 1
	}
	score, _ := strconv.ParseFloat(text(1), 64) // ours, always a number
	s.readScore(&m, int64(score))
	return s, nil
}

// read takes what the meta and the JSON of a job say.
func (s *Status) read(m *meta, job string) {
	s.Used, s.Handbacks, s.Crashes = m.Attempts, m.Handbacks, m.Crashes
	s.EnqueuedAt = time.UnixMilli(m.Enqueued).UTC()
	s.Reason, s.Text, s.Parts = m.Reason, m.Text, m.shown()
	j := &Job{}
	if err := decodeJob(j, []byte(job)); err == nil {
		s.Kind = kindOf(j)
		if j.ID != "" {
			s.ID = j.ID
		}
	}
}

// readScore takes the time of the job's place.
func (s *Status) readScore(m *meta, ms int64) {
	switch s.State {
	case Delayed:
		s.DueAt = time.UnixMilli(ms).UTC()
	case Dead:
		s.DiedAt = time.UnixMilli(ms).UTC()
	case Parked:
		s.Parked = &ParkedOn{Secret: m.Secret, Version: m.Version}
	}
}

const (
	recordPage = 64   // records read at once
	maxShown   = 64   // attempts in a Status
	maxPages   = 1024 // 65,536 records; a job that has more is shown without the last
)

// records returns the last records of a job, oldest first. Numbers may be
// missing: a worker that died wrote none.
func (c *Client) records(ctx context.Context, at place) (records []record, states []State, err error) {
	key := c.all(ctx)[at.partition].logOf(at.jid)
	for page := range maxPages {
		names := make([]string, recordPage)
		for i := range names {
			names[i] = at.jid + "/" + strconv.Itoa(page*recordPage+i+1)
		}
		values, err := c.rdb.HMGet(ctx, key, names...).Result()
		if err != nil {
			return nil, nil, fmt.Errorf("read log: %w", err)
		}
		found := false
		for _, v := range values {
			text, _ := v.(string)
			if state, r, ok := parseRecord(text); ok {
				records, states, found = append(records, r), append(states, state), true
			}
		}
		if !found {
			break
		}
		if n := len(records) - maxShown; n > 0 {
			records, states = records[n:], states[n:]
		}
	}
	return records, states, nil
}

// Cancel takes a job back: ready, delayed and parked jobs end as Cancelled.
// ErrRunning if a worker has it: then it is finished or, if it fails, not
// tried again. ErrFinished if it has ended or is a dead letter; ErrNotFound.
func (c *Client) Cancel(ctx context.Context, id string) error {
	s, err := c.Show(ctx, id)
	if err != nil {
		return err
	}
	p, jid, ok := splitPublicID(s.Ref)
	if !ok {
		return ErrNotFound
	}
	k := c.all(ctx)[p]
	now := time.Now().UnixMilli() // of a record only; nothing is decided by it
	r := record{At: now, Kind: s.Kind, Used: s.Used, Handbacks: s.Handbacks, Crashes: s.Crashes, Text: "cancelled"}
	args := []any{jid, k.parkedPrefix(), retentionSeconds(c.opts.LogRetention), r.json()}
	state, err := scriptCancel.Run(ctx, c.rdb, k.with(k.logOf(jid)), args...).Text()
	if err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	switch state {
	case "cancelled":
		c.opts.Observer.finished(s.Kind, Cancelled)
		return nil
	case "running":
		return ErrRunning
	}
	return ErrFinished
}

// retentionSeconds is how long a log key lives, 0 if none is kept.
func retentionSeconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(max(d, time.Minute) / time.Second)
}

// rawJob returns the JSON of a job for an answer; text that is not JSON, which
// only a foreign producer can have written, becomes a JSON string.
func rawJob(job string) json.RawMessage {
	if json.Valid([]byte(job)) {
		return json.RawMessage(job)
	}
	b, err := json.Marshal(clip(job))
	if err != nil {
		return json.RawMessage("null")
	}
	return b
}
