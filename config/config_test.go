package config

import (
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sealpost/sealpost/secrets/redact"
)

var update = flag.Bool("update", false, "rewrite docs/configuration.md")

var compare = cmp.Options{
	cmpopts.IgnoreUnexported(Config{}),
	cmp.Comparer(func(a, b redact.String) bool { return a.Equal(b) }),
}

func defaults() Config {
	return Config{
		Redis: Redis{Addrs: []string{"127.0.0.1:6379"}}, APIAddr: "127.0.0.1:8080", OpsAddr: "127.0.0.1:9464",
		Roles: Roles{Worker: true, API: true}, Slots: 256, LaneSlots: 32, Lease: time.Minute,
		Grace: 25 * time.Second, MaxAttempts: 12, Partitions: 1, Durability: "memory", QueueMax: 10_000_000, DeadMax: 1_000_000, LogMax: 2_000_000,
		LogRetention: 24 * time.Hour, LogLevel: slog.LevelInfo, LogFormat: "json", URL: "http://127.0.0.1:8080",
		ScriptTimeout: time.Minute,
		SendgridURL:   "https://api.sendgrid.com", TwilioURL: "https://api.twilio.com",
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadTakesTheStrongestSource(t *testing.T) {
	key := write(t, "key", "  c2VjcmV0\n")
	tests := []struct {
		name string
		from func(t *testing.T) Sources
		want func(*Config)
	}{
		{"nothing given: the defaults of the contract", func(*testing.T) Sources { return Sources{} }, func(*Config) {}},
		{"environment over default", func(*testing.T) Sources {
			return Sources{Environ: []string{"SEALPOST_SLOTS=8", "PATH=/bin", "SEALPOST_GRACE=0", "SEALPOST_OPS_ADDR=off"}}
		}, func(c *Config) { c.Slots, c.Grace, c.OpsAddr = 8, 0, "" }},
		{"environment over file, flag over both", func(t *testing.T) Sources {
			return Sources{
				File:    write(t, "c.yaml", "sealpost_slots: 1\nlane_slots: 2\nmax_attempts: 3\n"),
				Environ: []string{"SEALPOST_LANE_SLOTS=20", "SEALPOST_MAX_ATTEMPTS=30"},
				Flags:   map[string]string{"max-attempts": "300"},
			}
		}, func(c *Config) { c.Slots, c.LaneSlots, c.MaxAttempts = 1, 20, 300 }},
		{"an empty value counts as not set", func(*testing.T) Sources {
			return Sources{Environ: []string{"SEALPOST_SLOTS=", "SEALPOST_MASTER_KEY=", "SEALPOST_MASTER_KEY_FILE=" + key}}
		}, func(c *Config) { c.MasterKey = redact.New("c2VjcmV0") }},
		{"a secret in the environment beats a secret's file in the config file", func(t *testing.T) Sources {
			return Sources{File: write(t, "c.yaml", "token_file: /nowhere"), Environ: []string{"SEALPOST_TOKEN=spad_x"}}
		}, func(c *Config) { c.Token = redact.New("spad_x") }},
		{"lists in the file", func(t *testing.T) Sources {
			return Sources{File: write(t, "c.yaml", "roles: [api]\nallow_net:\n  - 10.0.0.0/8\n  - mail.lan:25\nlog_level: debug\n")}
		}, func(c *Config) {
			c.Roles, c.AllowNet, c.LogLevel = Roles{API: true}, "10.0.0.0/8,mail.lan:25", slog.LevelDebug
		}},
		{"an empty file", func(t *testing.T) Sources { return Sources{File: write(t, "c.yaml", "# nothing\n")} }, func(*Config) {}},
		{"what Kubernetes sets for a Service called sealpost", func(*testing.T) Sources {
			return Sources{Environ: []string{
				"SEALPOST_SERVICE_HOST=10.0.0.1", "SEALPOST_SERVICE_PORT=80", "SEALPOST_SERVICE_PORT_API=80", "SEALPOST_PORT=tcp://10.0.0.1:80",
				"SEALPOST_PORT_80_TCP=tcp://10.0.0.1:80", "SEALPOST_PORT_80_TCP_ADDR=10.0.0.1", "SEALPOST_REDIS_PORT_6379_TCP_PROTO=tcp", "SEALPOST_TEST_REDIS=x",
			}}
		}, func(*Config) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Load(tt.from(t))
			if err != nil {
				t.Fatalf("Load: %v", err)
			}
			want := defaults()
			tt.want(&want)
			if diff := cmp.Diff(got, want, compare); diff != "" {
				t.Errorf("Load: got - want +\n%s", diff)
			}
			if got.Given("SEALPOST_URL") || got.Given("SEALPOST_NO_SETTING") {
				t.Error("Given: got true for what nobody has set")
			}
			if got.Slots != defaults().Slots && !got.Given("SEALPOST_SLOTS") {
				t.Error("Given: got false for what was set")
			}
		})
	}
}

func TestLoadNamesTheRule(t *testing.T) {
	tests := []struct{ name, setting, value, want string }{
		{"words for a number", "SLOTS", "many", "SEALPOST_SLOTS (environment): want a whole number from 1 to 10000"},
		{"number too large", "PARTITIONS", "257", "from 1 to 256"},
		{"duration without unit", "LEASE", "60", "want a duration with its unit from 5s to 1h"},
		{"lease too short", "LEASE", "4s", "from 5s"},
		{"grace below zero", "GRACE", "-1s", "from 0s to 1h"},
		{"retention too long", "LOG_RETENTION", "721h", "from 1m to 720h"},
		{"unknown role", "ROLES", "worker,web", "want worker, api, or both"},
		{"no role", "ROLES", ",", "want worker, api, or both"},
		{"durability unknown", "DURABILITY", "paper", "want memory or replica or disk"},
		{"KMS", "KEK", "aws-kms://arn", "not supported yet; use SEALPOST_MASTER_KEY_FILE"},
		{"address without port", "API_ADDR", "localhost", "want host:port"},
		{"port too large", "API_ADDR", "localhost:70000", "want host:port"},
		{"ops address", "OPS_ADDR", "none", "or off"},
		{"both listeners on one address", "OPS_ADDR", "127.0.0.1:8080", "want another address than SEALPOST_API_ADDR"},
		{"certificate without key", "API_TLS_CERT", "/c.pem", "set it and SEALPOST_API_TLS_KEY"},
		{"a key where its path belongs", "API_TLS_KEY", "-----BEGIN\nx", "want the path of a PEM file, not its content"},
		{"level", "LOG_LEVEL", "loud", "want debug, info, warn or error"},
		{"format", "LOG_FORMAT", "xml", "want json or text"},
		{"url without scheme", "URL", "localhost:8080", "want http://host:port"},
		{"url with login", "URL", "http://u:p@h", "without login"},
		{"base url with a slash", "SENDGRID_URL", "https://x.test/", "SEALPOST_SENDGRID_URL (environment): want a URL without a slash"},
		{"base url with login", "TWILIO_URL", "https://u:p@x.test", "without login"},
		{"plain base url", "TWILIO_URL", "http://x.test", "SEALPOST_TWILIO_URL: want https"},
		{"token with a space", "TOKEN", "a b", "want one token"},
		{"a relative directory", "SCRIPT_DIR", "scripts", "absolute path"},
		{"allow list", "ALLOW_NET", "10.0.0.0/8, 10.1.2.3/8", "entry 2: want a CIDR"},
		{"secret's file is missing", "MASTER_KEY_FILE", "/does/not/exist", "SEALPOST_MASTER_KEY_FILE (environment): there is no such file"},
		{"secret's file is a directory", "TOKEN_FILE", "/", "want a file, not a directory"},
		{"secret's file is endless", "TOKEN_FILE", "/dev/zero", "more than 65536 bytes"},
		{"secret's file is empty", "TOKEN_FILE", os.DevNull, "the file is empty"},
		{"unknown name close to a known one", "SLOT", "1", "SEALPOST_SLOT (environment): is no setting; did you mean SEALPOST_SLOTS?"},
		{"a _FILE of what is no secret", "SLOTS_FILE", "1", "is no setting"},
		{"the end of a name is missing", "REDIS", "x", "did you mean SEALPOST_REDIS_URL?"},
		{"a short name that is close to nothing", "FOO", "1", "docs/configuration.md lists them"},
		{"unknown name close to nothing", "FROBNICATION_LEVEL", "1", "docs/configuration.md lists them"},
		{"a port that is not of Kubernetes", "API_PORT", "8080", "is no setting"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(Sources{Environ: []string{"SEALPOST_" + tt.setting + "=" + tt.value}})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Load: got %v, want %q", err, tt.want)
			}
			if !errors.As(err, new(*Mistake)) {
				t.Errorf("Load: got %T, want a *Mistake inside", err)
			}
		})
	}
}

func TestLoadReportsAllMistakesAtOnce(t *testing.T) {
	_, err := Load(Sources{
		Environ: []string{"SEALPOST_SLOTS=x", "SEALPOST_TOKEN=a", "SEALPOST_TOKEN_FILE=/b", "SEALPOST_LEESE=1s"},
		Flags:   map[string]string{"log-format": "xml", "redis-url": "redis://u:p@h"},
		File:    write(t, "c.yaml", "slots: 1\nSLOTS: 2\nslots: 3\nurl: {a: b}\ncolour: red\n"),
	})
	var got []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		name, _, _ := strings.Cut(line, ":")
		got = append(got, name)
	}
	want := []string{
		"SEALPOST_LEESE (environment)", "--config (file)", "SEALPOST_SLOTS (file)", "SEALPOST_URL (file)", "SEALPOST_COLOUR (file)",
		"SEALPOST_REDIS_URL (flag)", "SEALPOST_SLOTS (environment)", "SEALPOST_LOG_FORMAT (flag)", "SEALPOST_TOKEN (environment)",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("mistakes: got - want +\n%s\n%v", diff, err)
	}
}

func TestLoadRefusesBadFiles(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"not YAML", "a: [", "not valid YAML"},
		{"a list", "- a\n", "want a YAML mapping"},
		{"two documents", "slots: 1\n---\nslots: 2\n", "want one YAML document"},
		{"an unknown alias, whose name YAML would quote", "master_key: *hunter2\n", "not valid YAML"},
		{"a list of mappings", "roles: [{a: hunter2}]\n", "want one value, or a list"},
		{"a value where a name belongs", "hunter2-: 1\n", "line 1: want the name of a setting in lower case"},
		{"too large", strings.Repeat("#", maxFile+1), "more than 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(Sources{File: write(t, "c.yaml", tt.text)})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Load: got %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Load: the error quotes the file: %v", err)
			}
		})
	}
}

// Every setting is given the canary in every source, as itself and inside a
// Redis URL: no error and no print may show it.
func TestNoErrorShowsAValue(t *testing.T) {
	const canary = "Kanarienvogel/7"
	for _, s := range Settings() {
		for _, value := range []string{canary, "redis://u:" + canary + "@h:bad/x", "redis://u:%zz" + canary + "@h", "redis+sentinel://h/m?sentinel_passwort=" + canary} {
			for _, name := range []string{s.Name, s.Name + "_FILE"} {
				for _, from := range []Sources{
					{Environ: []string{name + "=" + value}},
					{Flags: map[string]string{name: value}},
					{File: write(t, "c.yaml", strings.ToLower(name)+": '"+value+"'\n")},
				} {
					c, err := Load(from)
					if err != nil && strings.Contains(err.Error(), "Kanarien") {
						t.Errorf("%s: the error shows the value: %v", name, err)
					}
					if text := printed(t, c); s.Secret && err == nil && strings.Contains(text, "Kanarien") {
						t.Errorf("%s: the print shows the value:\n%s", name, text)
					}
				}
			}
		}
	}
}

func printed(t *testing.T, c Config) string {
	t.Helper()
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		t.Fatalf("Print: %v", err)
	}
	return b.String()
}

func TestPrintSaysWhereValuesCameFrom(t *testing.T) {
	c, err := Load(Sources{
		Environ: []string{"SEALPOST_MASTER_KEY=hunter2", "SEALPOST_REDIS_URL=redis://bob:hunter2@r:1/2"},
		Flags:   map[string]string{"slots": "9"},
	})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	got := map[string]Value{}
	for _, v := range c.Values() {
		got[v.Name] = v
	}
	for _, want := range []Value{
		{"SEALPOST_MASTER_KEY", "[redacted]", "environment"},
		{"SEALPOST_REDIS_URL", "redis://bob:[redacted]@r:1/2", "environment"},
		{"SEALPOST_SLOTS", "9", "flag"},
		{"SEALPOST_GRACE", "25s", "default"},
		{"SEALPOST_TOKEN", "", "default"},
	} {
		if diff := cmp.Diff(got[want.Name], want); diff != "" {
			t.Errorf("%s: got - want +\n%s", want.Name, diff)
		}
	}
	if text := printed(t, c); strings.Contains(text, "hunter2") || !strings.Contains(text, "SEALPOST_SLOTS") {
		t.Errorf("Print: got\n%s", text)
	}
}

func TestWarnings(t *testing.T) {
	tests := []struct {
		name string
		env  []string
		want int
	}{
		{"all on this machine", nil, 0},
		{"Redis elsewhere, in the clear", []string{"SEALPOST_REDIS_URL=redis://r"}, 1},
		{"Redis elsewhere, TLS", []string{"SEALPOST_REDIS_URL=rediss://r"}, 0},
		{"API for all, in the clear", []string{"SEALPOST_API_ADDR=:8080"}, 1},
		{"API for all, TLS", []string{"SEALPOST_API_ADDR=:8080", "SEALPOST_API_TLS_CERT=/c", "SEALPOST_API_TLS_KEY=/k"}, 0},
		{"a worker does not listen", []string{"SEALPOST_API_ADDR=:8080", "SEALPOST_ROLES=worker"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Load(Sources{Environ: tt.env})
			if err != nil {
				t.Fatalf("Load: %v", err)
			}
			if got := c.Warnings(); len(got) != tt.want {
				t.Errorf("Warnings: got %q, want %d", got, tt.want)
			}
		})
	}
}

func TestFlagsCoverEverySetting(t *testing.T) {
	for _, f := range Flags() {
		variable := VariableName(f.Name)
		l := loader{settings: Settings()}
		if !l.known(variable) {
			t.Errorf("flag %s: %s is no setting", f.Name, variable)
		}
		if strings.HasSuffix(f.Name, "token") || strings.HasSuffix(f.Name, "master-key") {
			t.Errorf("flag %s: a secret as an argument", f.Name)
		}
	}
	if got, want := len(Flags()), len(Settings())+1; got != want { // redis-url has both
		t.Errorf("Flags: got %d, want %d", got, want)
	}
}

func TestDocsAreInStep(t *testing.T) {
	path := filepath.Join("..", "docs", "configuration.md")
	if *update {
		if err := os.WriteFile(path, []byte(Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), Markdown()); diff != "" {
		t.Errorf("docs/configuration.md: got - want +, rewrite it by: go test ./config -run TestDocs -update\n%s", diff)
	}
}

func FuzzLoad(f *testing.F) {
	seeds := []string{"redis://h", "rediss+sentinel://u:p@[::1],b:1/m/3?sentinel_username=x", "slots: 1\nroles: [api]", "60s", "a:\n - b", "off", "10.0.0.0/8"}
	for _, seed := range seeds {
		f.Add(seed, "SEALPOST_REDIS_URL="+seed)
	}
	f.Fuzz(func(t *testing.T, file, env string) {
		path := write(t, "c.yaml", file)
		c, err := Load(Sources{File: path, Environ: []string{env}})
		if err != nil {
			return
		}
		if len(c.Redis.Addrs) == 0 || c.Slots < 1 || c.Roles == (Roles{}) {
			t.Errorf("Load: accepted %q and %q, got %+v", file, env, c)
		}
		printed(t, c)
	})
}
