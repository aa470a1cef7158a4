// Package config reads what an operator sets: environment variables, an
// optional YAML file and flags, by one table ([Settings]) from which the flags,
// `config print` and docs/configuration.md come too.
//
// Flags win over the environment, the environment over the file. An empty
// value counts as not set. Mistakes are reported all at once, each by the name
// of the setting and the rule that it breaks, and never by the value, which may
// be a password that was put in the wrong place.
package config

import (
	"log/slog"
	"time"

	"github.com/sealpost/sealpost/secrets/redact"
)

// Config is what a process runs with. [Load] fills every field; the zero
// Config is of no use. Nothing in it changes later.
type Config struct {
	// Redis says where Redis is. Default: 127.0.0.1:6379, database 0.
	Redis Redis // SEALPOST_REDIS_URL (_FILE)

	// MasterKey is the key that wraps the keyring: base64 of 32 bytes or a Tink
	// keyset. No default; zero: this process cannot open secrets.
	MasterKey redact.String // SEALPOST_MASTER_KEY (_FILE)

	// APIAddr is where the API listens, host:port. Default 127.0.0.1:8080.
	APIAddr string // SEALPOST_API_ADDR
	// APITLSCert and APITLSKey are paths of PEM files. Default "": plain HTTP,
	// which belongs on a loopback address or behind a proxy that speaks TLS.
	APITLSCert string // SEALPOST_API_TLS_CERT
	APITLSKey  string // SEALPOST_API_TLS_KEY
	// OpsAddr is where metrics and health are served, host:port. Default
	// 127.0.0.1:9464. "": not at all, which is written "off".
	OpsAddr string // SEALPOST_OPS_ADDR
	// Roles is what this process does. Default: all.
	Roles Roles // SEALPOST_ROLES

	// Slots is how many jobs run at once in this process, from 1 to 10,000.
	// Default 256.
	Slots int // SEALPOST_SLOTS
	// LaneSlots is how many of them one destination may take, from 1. Default
	// 32. At Slots or more, lanes are not limited.
	LaneSlots int // SEALPOST_LANE_SLOTS
	// Lease is how long a claim lasts that is not renewed, from 5s to 1h.
	// Default 60s. Shorter: jobs of a killed worker come back sooner.
	Lease time.Duration // SEALPOST_LEASE
	// Grace is how long running jobs may go on after SIGTERM, up to 1h. Default
	// 25s: below the 30s after which Kubernetes kills the pod. 0 cancels them at
	// once; nothing is lost by that.
	Grace time.Duration // SEALPOST_GRACE
	// MaxAttempts is after how many tries a job is dead, from 1 to 1,000, unless
	// the job says otherwise. Default 12.
	MaxAttempts int // SEALPOST_MAX_ATTEMPTS
	// Partitions is into how many parts the queue is cut, each in one slot of a
	// Redis Cluster, from 1 to 256. Default 1: right for a single Redis. All
	// processes must agree.
	Partitions int // SEALPOST_PARTITIONS
	// Durability is what an enqueue waits for: "memory" (default), "replica" or
	// "disk"; see queue.Durability.
	Durability string // SEALPOST_DURABILITY
	// QueueMax is how many jobs may wait in one partition, from 1. Default
	// 10,000,000; then an enqueue is refused with "full".
	QueueMax int64 // SEALPOST_QUEUE_MAX
	// DeadMax is how many dead letters one partition keeps, from 1. Default
	// 1,000,000; then an enqueue is refused.
	DeadMax int64 // SEALPOST_DEAD_MAX
	// LogRetention is how long the attempts of a finished job can be looked up,
	// from 1m to 720h. Default 24h.
	LogRetention time.Duration // SEALPOST_LOG_RETENTION
	// LogMax is how many attempts the log keeps, from 1. Default 2,000,000.
	LogMax int64 // SEALPOST_LOG_MAX

	// AllowNet lists addresses that senders may reach although they are private,
	// comma separated: CIDRs, addresses, host:port. Default "": none.
	AllowNet string // SEALPOST_ALLOW_NET
	// SendgridURL and TwilioURL are the base URLs of the providers' APIs, without a
	// slash at the end. Defaults: their own. Plain http only with AllowNet, which
	// must name the address.
	SendgridURL string // SEALPOST_SENDGRID_URL
	TwilioURL   string // SEALPOST_TWILIO_URL

	// ScriptDir holds the programs of analyses that a worker starts. Default "":
	// this process starts none.
	ScriptDir string // SEALPOST_SCRIPT_DIR
	// ScriptTimeout is how long such a program may run, from 1s to 1h. Default
	// 60s, as on the public server.
	ScriptTimeout time.Duration // SEALPOST_SCRIPT_TIMEOUT

	// LogLevel is the lowest level that is logged. Default info.
	LogLevel slog.Level // SEALPOST_LOG_LEVEL
	// LogFormat is "json" (default) or "text".
	LogFormat string // SEALPOST_LOG_FORMAT

	// URL and Token are for the commands that are clients of the API. Defaults:
	// http://127.0.0.1:8080, and no token.
	URL   string        // SEALPOST_URL
	Token redact.String // SEALPOST_TOKEN (_FILE)

	origins map[string]string // setting's name -> where its value came from
}

// Roles says what a process does. At least one is true.
type Roles struct {
	Worker bool // takes jobs and does them
	API    bool // answers HTTP
}

// Given reports whether somebody has set the setting of this name.
func (c Config) Given(name string) bool {
	origin := c.origins[name]
	return origin != "" && origin != fromDefault
}

// Warnings returns what is allowed but wants a second look, one sentence each:
// what is sent in the clear over a network. Never a value of a secret.
func (c Config) Warnings() []string {
	var list []string
	if !c.Redis.TLS && !c.Redis.loopback() {
		list = append(list, "SEALPOST_REDIS_URL: not TLS (rediss://), and Redis is not on this machine: jobs and the Redis password cross the network in the clear")
	}
	if c.Roles.API && c.APITLSCert == "" && !loopbackAddr(c.APIAddr) {
		list = append(list, "SEALPOST_API_ADDR: not loopback and without TLS: set SEALPOST_API_TLS_CERT and SEALPOST_API_TLS_KEY, or have a proxy in front that speaks TLS")
	}
	return list
}
