package config

import (
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets/redact"
)

func TestParseRedis(t *testing.T) {
	tests := []struct {
		name, url string
		want      Redis
		print     string
	}{
		{"host only", "redis://cache", Redis{Addrs: []string{"cache:6379"}}, "redis://cache:6379/0"},
		{
			"login, port, database", "redis://bob:p%40ss%2Fw@cache:7000/3",
			Redis{Addrs: []string{"cache:7000"}, DB: 3, Username: "bob", Password: redact.New("p@ss/w")}, "redis://bob:[redacted]@cache:7000/3",
		},
		{
			"password without user, with raw special characters", "redis://:a@b/c?d#e@cache",
			Redis{Addrs: []string{"cache:6379"}, Password: redact.New("a@b/c?d#e")}, "redis://:[redacted]@cache:6379/0",
		},
		{"TLS and IPv6", "rediss://[fd00::1]/0", Redis{Addrs: []string{"[fd00::1]:6379"}, TLS: true}, "rediss://[fd00::1]:6379/0"},
		{
			"sentinels", "redis+sentinel://:pw@s1,s2:5000/mymaster/2?sentinel_username=w&sentinel_password=x%20y",
			Redis{
				Addrs: []string{"s1:26379", "s2:5000"}, Master: "mymaster", DB: 2, Password: redact.New("pw"),
				SentinelUsername: "w", SentinelPassword: redact.New("x y"),
			}, "redis+sentinel://:[redacted]@s1:26379,s2:5000/mymaster/2?sentinel_password=[redacted]",
		},
		{"cluster", "redis+cluster://a,b:1", Redis{Addrs: []string{"a:6379", "b:1"}, Cluster: true}, "redis+cluster://a:6379,b:1"},
		{"cluster of one, TLS", "rediss+cluster://a/0", Redis{Addrs: []string{"a:6379"}, Cluster: true, TLS: true}, "rediss+cluster://a:6379"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseRedis(tt.url)
			if err != nil {
				t.Fatalf("parse: %v", err)
			}
			if diff := cmp.Diff(got, tt.want, compare); diff != "" {
				t.Errorf("got - want +\n%s", diff)
			}
			if got.String() != tt.print {
				t.Errorf("String: got %s, want %s", got, tt.print)
			}
		})
	}
}

func TestParseRedisNamesTheRule(t *testing.T) {
	tests := []struct{ name, url, want string }{
		{"empty scheme", "cache:6379", "want redis://"},
		{"other scheme", "http://cache", "want redis://"},
		{"unknown kind", "redis+ring://cache", "want redis://"},
		{"kind left out", "redis+://cache", "want redis://"},
		{"no host", "redis://", "want host or host:port"},
		{"bad port", "redis://u:hunter2@cache:70000", "want host or host:port"},
		{"space in host", "redis://u:hunter2@ca che", "want host or host:port"},
		{"IPv6 without brackets", "redis://fd00::1", "want host or host:port"},
		{"several hosts", "redis://a,b", "need redis+sentinel:// or redis+cluster://"},
		{"bad escape", "redis://u:hunter2%zz@cache", "must be written %25"},
		{"database", "redis://u:hunter2@cache/one", "want a database number"},
		{"database in a cluster", "redis+cluster://a/1", "only database 0"},
		{"no master", "redis+sentinel://a", "want the master's name"},
		{"unknown option", "redis://cache?db=hunter2", "after the ? only"},
		{"option twice", "redis+sentinel://a/m?sentinel_password=hunter2&sentinel_password=b", "after the ? only"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseRedis(tt.url)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("parse: got %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
				t.Errorf("parse: %q shows the password or has two lines", err)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	r, err := parseRedis("rediss+sentinel://bob:pw@s1,s2/m/1?sentinel_password=sp")
	if err != nil {
		t.Fatal(err)
	}
	o := r.Options()
	if o.Username != "bob" || o.Password != "pw" || o.SentinelPassword != "sp" || o.MasterName != "m" || o.DB != 1 || len(o.Addrs) != 2 {
		t.Errorf("Options: a field of the URL is missing")
	}
	if o.MaxRetries != -1 || !o.DisableIdentity || !o.ContextTimeoutEnabled || o.TLSConfig == nil {
		t.Errorf("Options: got retries %d, identity off %v, context %v, TLS %v", o.MaxRetries, o.DisableIdentity, o.ContextTimeoutEnabled, o.TLSConfig)
	}
}

func TestPipelinesShareTheConnections(t *testing.T) {
	r, err := parseRedis("redis://" + miniredis.RunT(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewUniversalClient(r.Options())
	t.Cleanup(func() { _ = rdb.Close() })
	pipe := rdb.Pipeline()
	pipe.Set(t.Context(), "a", 1, 0)
	pipe.Get(t.Context(), "a")
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatalf("pipeline: %v", err)
	}
	if s := rdb.PoolStats(); s.TotalConns != 1 || s.PipelineStats != nil {
		t.Errorf("got %d connections and %+v for pipelines, want 1 and none", s.TotalConns, s.PipelineStats)
	}
}
