package server

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// benchRedis starts a redis-server that ends with the benchmark.
func benchRedis(b *testing.B) *redis.Client {
	b.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		b.Skip("redis-server is not installed")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
	cmd := exec.Command(path, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", b.TempDir())
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port), PoolSize: 100})
	b.Cleanup(func() { _ = rdb.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if rdb.Ping(b.Context()).Err() == nil {
			return rdb
		}
		<-time.After(10 * time.Millisecond)
	}
	b.Fatal("redis-server does not answer")
	return nil
}

// BenchmarkEnvironment asks for an environment of 20 keys, 10 of them secrets
// behind 5 policies, over 64 connections; and beside it a bare handler that does
// one GET of Redis.
func BenchmarkEnvironment(b *testing.B) {
	rdb := benchRedis(b)
	handler, token := benchSite(b, rdb)
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := rdb.Get(r.Context(), "bare").Bytes()
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = w.Write(text)
	})
	if err := rdb.Set(b.Context(), "bare", make([]byte, 1000), 0).Err(); err != nil {
		b.Fatal(err)
	}
	b.Run("environment", func(b *testing.B) { benchHTTP(b, handler, token, "") })
	b.Run("bare", func(b *testing.B) { benchHTTP(b, bare, token, "") })
	b.Run("unchanged", func(b *testing.B) { benchHTTP(b, handler, token, "*") })
}

func benchSite(b *testing.B, rdb *redis.Client) (http.Handler, string) {
	b.Helper()
	kek, err := secrets.LoadKEK(secrets.GenerateMasterKey())
	if err != nil {
		b.Fatal(err)
	}
	keyring, err := secrets.Init(b.Context(), rdb, kek)
	if err != nil {
		b.Fatal(err)
	}
	store := secrets.NewStore(rdb, keyring, secrets.Options{})
	b.Cleanup(store.Close)
	v := &Vault{Secrets: store, Tokens: access.NewStore(rdb, keyring), Directory: access.NewDirectory(rdb, keyring, store)}
	for i := range 10 {
		_, err := store.Create(b.Context(), "bench", secrets.PutRequest{Key: fmt.Sprint("SECRET_", i), Value: redact.New(fmt.Sprint("value of secret ", i)),
			Tags: []secrets.Tag{{Key: "group", Value: fmt.Sprint(i % 5)}}})
		if err != nil {
			b.Fatal(err)
		}
	}
	for i := range 5 {
		_, err := v.Directory.CreatePolicy(b.Context(), "bench", access.PolicyChange{Name: new(fmt.Sprint("p", i)), Targets: []access.Tuple{{"analysis"}},
			Permissions: []access.Permission{{Effect: access.Allow, Action: []string{"access"}, Resource: access.Tuple{"secrets", "tag.key", "group", "tag.value", fmt.Sprint(i)}}}})
		if err != nil {
			b.Fatal(err)
		}
	}
	change := access.AnalysisChange{Name: new("bench")}
	for i := range 10 {
		change.Variables = append(change.Variables, access.Variable{Key: fmt.Sprint("OWN_", i), Value: redact.New(fmt.Sprint("variable ", i))})
	}
	_, token, err := v.Directory.CreateAnalysis(b.Context(), "bench", change)
	if err != nil {
		b.Fatal(err)
	}
	return New(Config{Queue: queue.NewClient(rdb, queue.ClientOptions{}), Actions: actions.NewRegistry(noteAction{}),
		Vault: func() (*Vault, error) { return v, nil }, Log: slog.New(slog.DiscardHandler)}), token.Reveal()
}

// benchHTTP makes b.N requests over 64 connections and reports the 99th
// percentile.
func benchHTTP(b *testing.B, h http.Handler, token, known string) {
	srv := httptest.NewServer(h)
	defer srv.Close()
	const conns = 64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: conns}}
	defer client.CloseIdleConnections()
	times := make([]time.Duration, b.N)
	next := make(chan int)
	var wait sync.WaitGroup
	for range conns {
		wait.Go(func() {
			for i := range next {
				start := time.Now()
				req, err := http.NewRequestWithContext(b.Context(), "GET", srv.URL+"/environment", nil)
				if err != nil {
					b.Error(err)
					return
				}
				req.Header.Set("token", token)
				if known != "" {
					req.Header.Set("If-None-Match", known)
				}
				resp, err := client.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode >= 400 {
					b.Errorf("got %d", resp.StatusCode)
				}
				times[i] = time.Since(start)
			}
		})
	}
	b.ResetTimer()
	for i := range b.N {
		next <- i
	}
	close(next)
	wait.Wait()
	b.StopTimer()
	slices.Sort(times)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	b.ReportMetric(float64(times[b.N*99/100].Microseconds())/1000, "p99-ms")
}
