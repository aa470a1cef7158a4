package actions

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"sync"
	"time"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Direct is an Action that can also work with a credential that comes with the
// request and is in no store. Nothing of it is kept when SendWith returns.
type Direct interface {
	// SendWith does the work once. value is the credential as a secret would
	// hold it, request the JSON object with the rest. It goes the same way as a
	// job: the same guard, checks and table of replies, and the type of its
	// error is the outcome. No attempt is repeated.
	SendWith(ctx context.Context, value redact.String, request json.RawMessage) (queue.Reply, error)
}

// Direct returns the action of this kind if it takes credentials with requests.
func (r *Registry) Direct(kind string) (Direct, bool) {
	d, ok := r.byKind[kind].(Direct)
	return d, ok
}

// NewDirectJob returns the job that stands for a direct request: its id is in
// the Message-ID and in deduplication ids, and no other request has it.
func NewDirectJob() *queue.Job {
	id := "direct-" + rand.Text()
	return &queue.Job{JID: id, ID: id}
}

// How long a refused credential is not tried again.
const (
	// DirectRefusal is for credentials of requests: repeated logins lock accounts.
	DirectRefusal = 30 * time.Second
	// JobRefusal is for those of secrets: it covers the jobs that were on their
	// way. The queue's gate keeps further ones back.
	JobRefusal = 2 * time.Second
)

// maxRefusals bounds the refusals that are remembered, since whoever sends
// credentials may send new ones each time.
const maxRefusals = 1000

// Refusals remembers which direct credentials were refused a moment ago, by a
// MAC under a key that only this process has and never writes anywhere. Use
// [NewRefusals]. It is safe for concurrent use.
type Refusals struct {
	key    []byte
	memory time.Duration
	now    func() time.Time

	mu   sync.Mutex
	list map[[sha256.Size]byte]remembered
}

type remembered struct {
	err   error
	until time.Time
}

// NewRefusals returns an empty memory that keeps each refusal for a time.
func NewRefusals(memory time.Duration) *Refusals {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	return &Refusals{key: key, memory: memory, now: time.Now, list: map[[sha256.Size]byte]remembered{}}
}

// Last returns the error with which this credential was refused within the time
// of the memory, or nil.
func (r *Refusals) Last(value redact.String) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.list[r.mac(value)]
	if !ok || r.now().After(m.until) {
		return nil
	}
	return m.err
}

// Note remembers that the credential was refused with err.
func (r *Refusals) Note(value redact.String, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if len(r.list) >= maxRefusals {
		for k, m := range r.list {
			if now.After(m.until) {
				delete(r.list, k)
			}
		}
	}
	if len(r.list) >= maxRefusals {
		clear(r.list) // somebody makes up credentials; their accounts are nobody's
	}
	r.list[r.mac(value)] = remembered{err: err, until: now.Add(r.memory)}
}

func (r *Refusals) mac(value redact.String) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, r.key)
	_, _ = h.Write([]byte(value.Reveal()))
	h.Sum(sum[:0])
	return sum
}
