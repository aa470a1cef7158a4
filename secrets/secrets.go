// Package secrets keeps credentials sealed and opens the one that is needed.
//
// Values are encrypted with XAES-256-GCM under a keyring that itself is
// wrapped by the master key, which never reaches Redis. Everything that
// decides where a value goes (its id, type, version, server, queue, tags) is
// bound into the seal, so that whoever can write to Redis can neither read a
// value nor send it elsewhere. The [Store] writes an audit entry before it
// opens anything.
package secrets

import (
	"errors"
	"time"

	"github.com/sealpost/sealpost/secrets/redact"
)

// Type says what a secret's value holds and so which senders can use it.
type Type string

// The types of secrets.
const (
	TypeText Type = "text"
	TypeSMTP Type = "smtp"
	TypeSQS  Type = "sqs"
)

// Errors of the store. Each is the answer to something a user can act on.
var (
	// ErrNotFound says that no secret has this id or key.
	ErrNotFound = errors.New("secrets: no such secret")
	// ErrExists says that another secret has this key.
	ErrExists = errors.New("secrets: a secret with this key exists")
	// ErrWrongType says that the secret is of another type than was asked for.
	ErrWrongType = errors.New("secrets: the secret is of another type")
	// ErrOtherType says that the new value would make the secret one of another
	// type, which the change forbids.
	ErrOtherType = errors.New("secrets: the new value is of another type")
	// ErrConflict says that somebody else changed the secret in between.
	ErrConflict = errors.New("secrets: changed by somebody else in between")
	// ErrSealed says that the store is closed: no keyring, or one that does not
	// open under this master key.
	ErrSealed = errors.New("secrets: sealed")
	// ErrSealBroken says that a stored record does not verify: it was changed in
	// Redis or belongs to another keyring. It is never retried.
	ErrSealBroken = errors.New("secrets: seal broken")
	// ErrInvalid says that a key, tag or value breaks a rule; the text around it
	// says which, never with the value.
	ErrInvalid = errors.New("secrets: invalid")
	// ErrNoVersion says that the secret has no staged version, or none before the
	// current one.
	ErrNoVersion = errors.New("secrets: no such version")
	// ErrNotReady says why a staged version is not promoted unless forced.
	ErrNotReady = errors.New("secrets: not promoted")
)

// Ref names one version of one secret. It holds nothing secret.
type Ref struct {
	ID      string // 24 lower-case hex
	Key     string // the name, such as "MAIL_PROD"
	Type    Type
	Version int64 // from 1

	// Staged says that it is the version that waits to be promoted. Only
	// Store.Staged and Store.Versions give such a Ref, for tests; it opens that
	// version and no other.
	Staged bool
}

// Tag is a pair that policies match on.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Secret is what may be shown of a secret: never its value.
type Secret struct {
	Ref
	Tags    []Tag
	Length  int               // UTF-16 units of the value, as JavaScript counts
	Meta    map[string]string // where the credential goes: server, port, tls, queue_url, region, endpoint...
	Created time.Time
	Updated time.Time
}

// Use says who opens a secret and for what; it goes to the audit stream.
type Use struct {
	Actor string // "worker <name>", "admin <token id>", "analysis <id>"
	Why   string // "job <id>", "test", "environment"
}

// SMTP is an opened secret of type smtp.
type SMTP struct {
	Ref               Ref
	Server            string
	Port              int // 587 unless given
	Username          string
	Password          redact.String
	TLS               string  // "starttls" (default) or "implicit"
	Auth              string  // "auto" (default), "plain", "login", "cram-md5", "scram-sha-256", "xoauth2"
	CAPEM             string  // further roots, PEM, or ""
	ServerName        string  // name in the certificate, "" means Server
	From              string  // default sender, "" means Username
	MaxConnections    int     // 4 unless given
	MessagesPerSecond float64 // 0: unlimited
}

// SQS is an opened secret of type sqs.
type SQS struct {
	Ref             Ref
	Region          string
	QueueURL        string
	AccessKeyID     redact.String
	SecretAccessKey redact.String
	SessionToken    redact.String // zero when absent
	Endpoint        string        // "" means the region's
}

// Text is an opened secret as its text, of any type.
type Text struct {
	Ref   Ref
	Value redact.String
}
