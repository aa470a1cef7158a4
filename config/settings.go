package config

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/sealpost/sealpost/secrets/redact"
)

// Setting is one thing that an operator can set.
type Setting struct {
	Name    string // of the environment variable
	Default string // as it would be written; "" when there is none
	Doc     string // one or two sentences: what, unit, range
	// Secret settings are redacted when printed, can be given as NAME_FILE, and
	// have only the _FILE form as a flag, since arguments can be read by others.
	Secret bool

	set func(c *Config, value string) error // a rule as error, never with the value
	get func(c *Config) string              // for `config print`; not called for unset secrets
}

// Settings returns the table of all settings, in the order of the docs.
func Settings() []Setting {
	return append(storageSettings(), append(workerSettings(), accessSettings()...)...)
}

func storageSettings() []Setting {
	return []Setting{
		{
			Name: "SEALPOST_REDIS_URL", Default: "redis://127.0.0.1:6379/0", Secret: true,
			Doc: "Where Redis is: `redis://[user:password@]host[:6379][/db]`, `rediss://` for TLS, `redis+sentinel://h1,h2/master[/db]`, `redis+cluster://h1,h2`, and `rediss+sentinel://`, `rediss+cluster://`. Sentinels with a login of their own: `?sentinel_username=..&sentinel_password=..`. Special characters of a password are percent-escaped.",
			set: func(c *Config, v string) (err error) { c.Redis, err = parseRedis(v); return err },
			get: func(c *Config) string { return c.Redis.String() },
		},
		{
			Name: "SEALPOST_MASTER_KEY", Secret: true,
			Doc: "The key that wraps the keyring: base64 of 32 bytes, or a Tink keyset as JSON.",
			set: func(c *Config, v string) error { c.MasterKey = redact.New(v); return nil },
			get: func(c *Config) string { return secretText(c.MasterKey) },
		},
		{
			Name: "SEALPOST_KEK",
			Doc:  "URI of a key in a KMS, instead of the master key. Not in this release.",
			set: func(*Config, string) error {
				return rule("KMS keys are not supported yet; use SEALPOST_MASTER_KEY_FILE")
			},
			get: func(*Config) string { return "" },
		},
		textSetting("SEALPOST_DURABILITY", "memory",
			"What an enqueue waits for: `memory`, the answer of Redis; `replica`, the acknowledgement of one replica too; `disk`, the disk of Redis (`appendfsync always`, or Redis 7.2).",
			oneOf("memory", "replica", "disk"), func(c *Config) *string { return &c.Durability }),
		intSetting("SEALPOST_PARTITIONS", "1", 1, 256,
			"Queue partitions, each one slot of a Redis Cluster; 1 is right for a single Redis. All processes must agree; it is changed by a rolling restart.",
			func(c *Config) *int { return &c.Partitions }),
		int64Setting("SEALPOST_QUEUE_MAX", "10000000", 1_000_000_000,
			"Jobs that may wait in one partition; over it, an enqueue is refused with `full`. 1 to 1000000000.",
			func(c *Config) *int64 { return &c.QueueMax }),
		int64Setting("SEALPOST_DEAD_MAX", "1000000", 1_000_000_000,
			"Dead letters that one partition keeps. They are never thrown away unseen: from then on an enqueue is refused. 1 to 1000000000.",
			func(c *Config) *int64 { return &c.DeadMax }),
		durationSetting("SEALPOST_LOG_RETENTION", "24h", time.Minute, 720*time.Hour,
			"How long the attempts of a finished job can be looked up. 1m to 720h.",
			func(c *Config) *time.Duration { return &c.LogRetention }),
		int64Setting("SEALPOST_LOG_MAX", "2000000", 1_000_000_000,
			"Attempts that the log keeps; a million takes some 230 MB of Redis. When there are more, those of the oldest jobs go first, a minute of jobs at a time. 1 to 1000000000.",
			func(c *Config) *int64 { return &c.LogMax }),
	}
}

func workerSettings() []Setting {
	return []Setting{
		{
			Name: "SEALPOST_ROLES", Default: "worker,api",
			Doc: "What this process does: `worker`, `api`, or both.",
			set: func(c *Config, v string) (err error) { c.Roles, err = parseRoles(v); return err },
			get: func(c *Config) string { return c.Roles.String() },
		},
		intSetting("SEALPOST_SLOTS", "256", 1, 10_000,
			"Jobs at once in this process. 1 to 10000.", func(c *Config) *int { return &c.Slots }),
		intSetting("SEALPOST_LANE_SLOTS", "32", 1, 10_000,
			"Jobs at once for one destination, so that a slow server cannot hold more than its share. From SEALPOST_SLOTS on, no limit.",
			func(c *Config) *int { return &c.LaneSlots }),
		durationSetting("SEALPOST_LEASE", "60s", 5*time.Second, time.Hour,
			"How long a claim lasts that is not renewed: when the jobs of a killed worker come back. 5s to 1h.",
			func(c *Config) *time.Duration { return &c.Lease }),
		durationSetting("SEALPOST_GRACE", "25s", 0, time.Hour,
			"How long running jobs may go on after SIGTERM. Up to 1h; 0 cancels them at once, and nothing is lost. Below the 30s after which Kubernetes kills a pod.",
			func(c *Config) *time.Duration { return &c.Grace }),
		intSetting("SEALPOST_MAX_ATTEMPTS", "12", 1, 1000,
			"Tries before a job is dead, unless the job says otherwise. 1 to 1000.",
			func(c *Config) *int { return &c.MaxAttempts }),
		{
			Name: "SEALPOST_ALLOW_NET",
			Doc:  "What senders may reach although it is private, comma separated: CIDRs (`10.1.0.0/16`), addresses, `host:port` (a mail relay in the LAN, an emulator).",
			set:  func(c *Config, v string) (err error) { c.AllowNet, err = parseAllowNet(v); return err },
			get:  func(c *Config) string { return c.AllowNet },
		},
		textSetting("SEALPOST_SCRIPT_DIR", "",
			"Directory with the programs of analyses whose `run_on` is `tago`, which jobs of type `script` start: `<id of the analysis>`, or that with `.sh`, `.py`, `.js` or `.mjs`, executable. Whoever can write there has the secrets of this worker. Not set: this process starts none.",
			checkDir, func(c *Config) *string { return &c.ScriptDir }),
		durationSetting("SEALPOST_SCRIPT_TIMEOUT", "60s", time.Second, time.Hour,
			"How long such a program may run before it gets SIGTERM, and SIGKILL 5s later. 1s to 1h.",
			func(c *Config) *time.Duration { return &c.ScriptTimeout }),
		textSetting("SEALPOST_SENDGRID_URL", "https://api.sendgrid.com", "Base URL of SendGrid's API; `https://api.eu.sendgrid.com` for accounts of the EU. `http://` only for an address that SEALPOST_ALLOW_NET names.",
			checkBase, func(c *Config) *string { return &c.SendgridURL }),
		textSetting("SEALPOST_TWILIO_URL", "https://api.twilio.com", "Base URL of Twilio's API, as above.",
			checkBase, func(c *Config) *string { return &c.TwilioURL }),
	}
}

func accessSettings() []Setting {
	return []Setting{
		textSetting("SEALPOST_API_ADDR", "127.0.0.1:8080", "Where the API listens, `host:port`.",
			checkAddr, func(c *Config) *string { return &c.APIAddr }),
		textSetting("SEALPOST_API_TLS_CERT", "", "PEM file with the API's certificate chain. Needs SEALPOST_API_TLS_KEY.",
			checkPath, func(c *Config) *string { return &c.APITLSCert }),
		textSetting("SEALPOST_API_TLS_KEY", "", "PEM file with its private key.",
			checkPath, func(c *Config) *string { return &c.APITLSKey }),
		{
			Name: "SEALPOST_OPS_ADDR", Default: "127.0.0.1:9464",
			Doc: "Where `/metrics`, `/livez` and `/readyz` are, `host:port`; `off` for nowhere.",
			set: func(c *Config, v string) error { return setOps(&c.OpsAddr, v) },
			get: func(c *Config) string { return orOff(c.OpsAddr) },
		},
		{
			Name: "SEALPOST_LOG_LEVEL", Default: "info",
			Doc: "The lowest level that is logged: `debug`, `info`, `warn`, `error`. Debug has a line for each job.",
			set: func(c *Config, v string) error { return setLevel(&c.LogLevel, v) },
			get: func(c *Config) string { return levelName(c.LogLevel) },
		},
		textSetting("SEALPOST_LOG_FORMAT", "json", "`json` or `text`.",
			oneOf("json", "text"), func(c *Config) *string { return &c.LogFormat }),
		textSetting("SEALPOST_URL", "http://127.0.0.1:8080", "For client commands: where the API is. Scripts that a worker starts find it here too, if it is set.",
			checkURL, func(c *Config) *string { return &c.URL }),
		{
			Name: "SEALPOST_TOKEN", Secret: true,
			Doc: "For client commands: who asks, a token of `sealpost token create`.",
			set: func(c *Config, v string) error { return setToken(&c.Token, v) },
			get: func(c *Config) string { return secretText(c.Token) },
		},
	}
}

func intSetting(name, def string, low, high int, doc string, field func(*Config) *int) Setting {
	return Setting{
		Name: name, Default: def, Doc: doc,
		set: func(c *Config, v string) (err error) { *field(c), err = parseInt(v, low, high); return err },
		get: func(c *Config) string { return strconv.Itoa(*field(c)) },
	}
}

func int64Setting(name, def string, high int, doc string, field func(*Config) *int64) Setting {
	return Setting{
		Name: name, Default: def, Doc: doc,
		set: func(c *Config, v string) error {
			n, err := parseInt(v, 1, high)
			*field(c) = int64(n)
			return err
		},
		get: func(c *Config) string { return strconv.FormatInt(*field(c), 10) },
	}
}

func durationSetting(name, def string, low, high time.Duration, doc string, field func(*Config) *time.Duration) Setting {
	return Setting{
		Name: name, Default: def, Doc: doc,
		set: func(c *Config, v string) (err error) { *field(c), err = parseDuration(v, low, high); return err },
		get: func(c *Config) string { return field(c).String() },
	}
}

func textSetting(name, def, doc string, check func(string) error, field func(*Config) *string) Setting {
	return Setting{
		Name: name, Default: def, Doc: doc,
		set: func(c *Config, v string) error { *field(c) = v; return check(v) },
		get: func(c *Config) string { return *field(c) },
	}
}

// levelName is how a level is written in the settings.
func levelName(l slog.Level) string {
	for name, level := range levels() {
		if level == l {
			return name
		}
	}
	return l.String()
}

func levels() map[string]slog.Level {
	return map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
}
