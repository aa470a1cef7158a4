package secrets

import (
	"context"
	"fmt"

	"github.com/sealpost/sealpost/secrets/redact"
)

// ParseSMTP reads the value of an smtp secret that a request carries instead of
// naming a stored one, by the rules for stored ones. Its Ref is zero. The error
// is ErrInvalid and quotes nothing.
func ParseSMTP(value redact.String) (SMTP, error) { return parseSMTP(value.Reveal()) }

// ParseSQS is as ParseSMTP for the value of an sqs secret.
func ParseSQS(value redact.String) (SQS, error) { return parseSQS(value.Reveal()) }

// Note writes an audit entry for what somebody did without changing a record.
// If the error is nil, the entry is in Redis.
func (r *Revision) Note(ctx context.Context, entry AuditEntry) error {
	if _, err := r.record(ctx, entry); err != nil {
		return fmt.Errorf("note %s: %w", entry.Op, err)
	}
	return nil
}

// OpenNoted opens the values for a use that an audit entry of the caller covers
// already, such as one that goes on for a while. Error ErrSealBroken.
func (c *Catalog) OpenNoted(list []Sealed) ([]redact.String, error) {
	out := make([]redact.String, 0, len(list))
	for _, s := range list {
		plain, err := c.store.keyring.open(s.rec)
		c.store.opts.Observer(s.Type, resultOf(err), 1)
		if err != nil {
			return nil, err
		}
		out = append(out, redact.New(string(plain)))
		clear(plain)
	}
	return out, nil
}

// CountOpened tells the observer that the values were opened once more, for who
// keeps them sealed together.
func (c *Catalog) CountOpened(list []Sealed) {
	for n := 1; len(list) > 0; list, n = list[n:], 1 {
		for n < len(list) && list[n].Type == list[0].Type {
			n++
		}
		c.store.opts.Observer(list[0].Type, resultOf(nil), n)
	}
}
