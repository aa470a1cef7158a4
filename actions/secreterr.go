package actions

import (
	"context"
	"errors"
	"fmt"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// SecretError turns an error of the secret store into the outcome of a job and
// the reply that records it. ref is the id or key that the job named. want is
// the type that the sender needs.
//
// What no retry can mend is dead at once: a secret that is not there, of
// another type, or whose seal is broken. Everything else (the store is sealed,
// Redis is away) is retried.
func SecretError(ref string, want secrets.Type, err error) (queue.Reply, error) {
	v := secretVerdict(ref, want, err)
	reply := queue.Reply{Stage: "secret", Rule: v.Rule, Reason: string(v.Reason), Certainty: queue.Rejected}
	return reply, Outcome(v, "", 0, fmt.Errorf("open secret %s: %w", quoteName(ref), plain(err)))
}

// secretVerdict is the table of the store's errors; the first match wins.
func secretVerdict(ref string, want secrets.Type, err error) Verdict {
	for _, row := range []struct {
		is     error
		reason Reason
		rule   string
		advice string
	}{
		{secrets.ErrNotFound, Config, "secret-missing", fmt.Sprintf("create it with \"sealpost secret put %s\" and retry the job", ref)},
		{secrets.ErrWrongType, Config, "secret-type", fmt.Sprintf("this action needs a secret of type %s", want)},
		{secrets.ErrSealBroken, Config, "secret-seal-broken", "its record was changed in Redis or belongs to another keyring; run \"sealpost fsck\" and store the value again"},
		{secrets.ErrSealed, Transient, "secret-sealed", "give the process the right master key"},
	} {
		if errors.Is(err, row.is) {
			return Verdict{Reason: row.reason, Rule: row.rule, Advice: row.advice}
		}
	}
	return Verdict{Reason: Transient, Rule: "secret-store"}
}

// plain reduces an error to what the store promises to be free of values: its
// sentinels, the end of a context, or else only the fact.
func plain(err error) error {
	for _, known := range []error{
		secrets.ErrNotFound, secrets.ErrWrongType, secrets.ErrSealBroken, secrets.ErrSealed,
		secrets.ErrInvalid, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errStore
}

var errStore = errors.New("the secret store did not answer")
