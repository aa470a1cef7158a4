package main

import (
	"strings"
	"testing"

	"github.com/sealpost/sealpost/config"
)

func TestDoctorWeighsWhatRedisSays(t *testing.T) {
	good := redisFacts{version: "7.0.15", policy: "noeviction", used: "1048576", most: "0", aof: "1", fsync: "everysec", role: "master", saved: "ok", aofWrite: "ok"}
	tests := []struct {
		name   string
		change func(*redisFacts)
		check  string
		result string
		says   string
	}{
		{"as it should be", func(*redisFacts) {}, "redis memory", "ok", "1 MiB used, no maxmemory"},
		{"an old version", func(f *redisFacts) { f.version = "6.2.14" }, "redis version", "fail", "6.2.14"},
		{"a new one", func(f *redisFacts) { f.version = "8.2.1" }, "redis version", "ok", "8.2.1"},
		{"a policy that evicts", func(f *redisFacts) { f.policy = "volatile-ttl" }, "redis maxmemory-policy", "fail", "volatile-ttl"},
		{"nearly full", func(f *redisFacts) { f.used, f.most = "94371840", "104857600" }, "redis memory", "warn", "90 of 100 MiB used"},
		{"room", func(f *redisFacts) { f.used, f.most = "52428800", "104857600" }, "redis memory", "ok", "50 of 100 MiB used"},
		{"no file", func(f *redisFacts) { f.aof = "0" }, "redis append-only file", "warn", "off"},
		{"a file that is never flushed", func(f *redisFacts) { f.fsync = "no" }, "redis append-only file", "warn", "appendfsync no"},
		{"a file that cannot be written", func(f *redisFacts) { f.aofWrite = "err" }, "redis append-only file", "fail", "last write failed"},
		{"a snapshot that fails", func(f *redisFacts) { f.save, f.saved = "3600 1", "err" }, "redis snapshots", "fail", "last one failed"},
		{"a replica", func(f *redisFacts) { f.role, f.link = "slave", "up" }, "redis role", "fail", "link to its master up"},
		{"a replica that is silent", func(f *redisFacts) { f.replicas = []replica{{addr: "h:1", state: "online", lag: 11}} }, "redis replicas", "warn", "heard of 11 s ago"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad := good
			tt.change(&bad)
			one := named(worstFindings(config.Config{}, []redisFacts{bad}), tt.check)
			if one.Result != tt.result || !strings.Contains(one.Text, tt.says) || (one.Advice == "") != (tt.result == "ok") {
				t.Errorf("got %+v, want %s with %q, and advice if it is not ok", one, tt.result, tt.says)
			}
			// In a cluster the node that is worst is shown, wherever it stands.
			a, b, c := good, bad, good
			a.node, b.node, c.node = "h:1", "h:2", "h:3"
			all := worstFindings(config.Config{}, []redisFacts{a, b, c})
			if got := named(all, tt.check); got.Result != tt.result || tt.result != "ok" && !strings.HasSuffix(got.Text, "(h:2)") {
				t.Errorf("in a cluster: got %+v, want that of h:2", got)
			}
			if want := len(worstFindings(config.Config{}, []redisFacts{good})); len(all) != want {
				t.Errorf("got %d lines, want %d", len(all), want)
			}
		})
	}
}

func named(list []finding, check string) finding {
	for _, f := range list {
		if f.Check == check {
			return f
		}
	}
	return finding{}
}
