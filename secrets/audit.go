package secrets

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets/redact"
)

// AuditMax is how many entries the audit stream keeps, about: Redis trims it
// by whole nodes. At 200 bytes an entry it takes some 20 MB.
const AuditMax = 100_000

// maxAuditPage bounds one read of the audit stream.
const maxAuditPage = 1000

// AuditEntry says who did what to which record. It never holds a value.
type AuditEntry struct {
	At      time.Time `json:"at"`                // set by Redis when the entry is written
	Actor   string    `json:"actor"`             // "worker w1", "admin <token id>", "operator"
	Op      string    `json:"op"`                // "open", "create", "update", "stage", "test", "promote", "discard", "rollback", "tag", "delete", "init", "token create", "token revoke", "repair"
	Kind    string    `json:"kind,omitempty"`    // the secret's type or the token's kind
	ID      string    `json:"id,omitempty"`      // of the secret or token
	Key     string    `json:"key,omitempty"`     // the secret's key or the token's name
	Version int64     `json:"version,omitempty"` // of the secret; 0 for tokens
	Why     string    `json:"why,omitempty"`     // "job <id>", "test"

	// Of an environment: the secrets opened and those denied, "KEY@version".
	Granted []string `json:"granted,omitempty"`
	Denied  []string `json:"denied,omitempty"`
}

// Fields returns the entry as arguments of XADD, in a fixed order. Texts are
// made printable and cut to 200 runes. At is not among them.
func (e AuditEntry) Fields() []any {
	text := func(s string) string { return redact.Scrub(s) }
	fields := []any{
		"actor", text(e.Actor), "op", text(e.Op), "kind", text(e.Kind), "id", text(e.ID),
		"key", text(e.Key), "version", strconv.FormatInt(e.Version, 10), "why", text(e.Why),
	}
	if len(e.Granted) > 0 {
		fields = append(fields, "granted", nameList(e.Granted))
	}
	if len(e.Denied) > 0 {
		fields = append(fields, "denied", nameList(e.Denied))
	}
	return fields
}

// maxNames bounds the bytes of a list of secrets in one entry.
const maxNames = 8 << 10

// nameList joins names by spaces. What does not fit is counted: "+12".
func nameList(names []string) string {
	var b strings.Builder
	for i, n := range names {
		if b.Len()+len(n) > maxNames {
			return fmt.Sprintf("%s+%d", b.String(), len(names)-i)
		}
		b.WriteString(n + " ")
	}
	return strings.TrimSuffix(b.String(), " ")
}

// Audit returns the newest entries of the audit stream, newest first: at most
// limit, which is taken as 1 if lower and as 1000 if higher.
func (s *Store) Audit(ctx context.Context, limit int) ([]AuditEntry, error) {
	n := int64(min(max(limit, 1), maxAuditPage))
	msgs, err := s.rdb.XRevRangeN(ctx, s.keys.audit(), "+", "-", n).Result()
	if err != nil {
		return nil, fmt.Errorf("read audit stream: %w", err)
	}
	entries := make([]AuditEntry, 0, len(msgs))
	for _, m := range msgs {
		entries = append(entries, auditEntry(m))
	}
	return entries, nil
}

func auditEntry(m redis.XMessage) AuditEntry {
	text := func(name string) string { s, _ := m.Values[name].(string); return s }
	stamp, _, _ := strings.Cut(m.ID, "-")
	ms, _ := strconv.ParseInt(stamp, 10, 64) // Redis made it
	version, _ := strconv.ParseInt(text("version"), 10, 64)
	return AuditEntry{
		At: time.UnixMilli(ms).UTC(), Actor: text("actor"), Op: text("op"), Kind: text("kind"),
		ID: text("id"), Key: text("key"), Version: version, Why: text("why"),
		Granted: names(text("granted")), Denied: names(text("denied")),
	}
}

// names is the list in a text of nameList, nil for "".
func names(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, " ")
}
