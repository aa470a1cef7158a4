package sqs

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

const (
	hostileTimeout = time.Second // of a request
	hostileGrace   = time.Second // what a verdict may take longer, on a busy machine
	hostileHeap    = 150 << 20   // bytes, for all endpoints together, their own buffers included
	hostileCalls   = 6           // requests that one attempt may make of three messages
)

// The credential for hostile endpoints. It has characters that URLs, JSON and
// base64 write in other ways.
const (
	hostileKey    = "AKIAHOSTILE7CANARY77"
	hostileSecret = `h0stile/Secret+key="C4nary&#Pa55wordTail77`
	hostileToken  = "H0stileToken/With+Many==/c4nary-bytes-of-it"
)

// behaviour is what an endpoint does with each connection.
type behaviour struct {
	name   string
	tls    *tls.Config // nil: without TLS
	bare   bool        // the script gets the connection before any TLS and request
	script func(*call)

	outcome   string          // of a job of three messages
	certainty queue.Certainty // of that attempt
	rule      string
	parts     string // such as "1 accepted, 3 refused"
}

// call is one request to a hostile endpoint.
type call struct {
	net.Conn
	header http.Header
	body   []byte
	stop   <-chan struct{} // closed when the test is over
}

// put writes and reports whether anybody still reads.
func (c *call) put(texts ...string) bool {
	for _, text := range texts {
		if _, err := io.WriteString(c, text); err != nil {
			return false
		}
	}
	return true
}

// hold waits until the client goes away.
func (c *call) hold() { _, _ = io.Copy(io.Discard, c) }

// trickle writes a text byte by byte, slower than any client waits.
func (c *call) trickle(text string) {
	tick := time.NewTicker(time.Second / 20) // twenty bytes before the time is over: progress, and too little
	defer tick.Stop()
	for i := range len(text) {
		select {
		case <-tick.C:
		case <-c.stop:
			return
		}
		if !c.put(text[i : i+1]) {
			return
		}
	}
}

// answer writes a whole answer. Each of headers is a line.
func (c *call) answer(status int, body string, headers ...string) bool {
	head := fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\nConnection: close\r\n", status, len(body))
	for _, h := range headers {
		head += h + "\r\n"
	}
	return c.put(head+"\r\n", body)
}

// endpoint is a hostile server.
type endpoint struct {
	ln    net.Listener
	b     behaviour
	calls atomic.Int64
	stop  chan struct{}
	wait  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

func startEndpoint(t *testing.T, b behaviour) *endpoint {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &endpoint{ln: ln, b: b, stop: make(chan struct{})}
	e.wait.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			e.mu.Lock()
			e.conns = append(e.conns, conn)
			e.mu.Unlock()
			e.wait.Go(func() { e.serve(conn) })
		}
	})
	t.Cleanup(func() {
		close(e.stop)
		_ = ln.Close()
		e.mu.Lock()
		for _, c := range e.conns {
			_ = c.Close()
		}
		e.mu.Unlock()
		e.wait.Wait()
	})
	return e
}

func (e *endpoint) serve(conn net.Conn) {
	defer conn.Close()
	if e.b.bare {
		e.b.script(&call{Conn: conn, stop: e.stop})
		return
	}
	if e.b.tls != nil {
		conn = tls.Server(conn, e.b.tls)
	}
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), "SendMessageBatch") {
		e.calls.Add(1)
	}
	e.b.script(&call{Conn: conn, header: r.Header, body: body, stop: e.stop})
}

// url is where the action finds the endpoint.
func (e *endpoint) url() string {
	scheme := "http"
	if e.b.tls != nil || strings.Contains(e.b.name, "TLS") {
		scheme = "https"
	}
	return scheme + "://" + e.ln.Addr().String()
}

// vaults are secrets by id.
type vaults map[string]secrets.SQS

func (v vaults) Lookup(_ context.Context, ref string) (secrets.Ref, error) {
	s, ok := v[ref]
	if !ok {
		return secrets.Ref{}, secrets.ErrNotFound
	}
	return s.Ref, nil
}

func (v vaults) OpenSQS(_ context.Context, ref secrets.Ref, _ secrets.Use) (secrets.SQS, error) {
	return v[ref.ID], nil
}

const (
	badID  = "0000000000000000000000ba"
	goodID = "00000000000000000000900d"
)

// TestHostileEndpoints runs jobs against endpoints that break every rule, while
// jobs for another queue go on in the same action.
func TestHostileEndpoints(t *testing.T) {
	good, err := sink.StartSQS(sink.SQSConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = good.Close() })
	grown := watchHeap(t)
	t.Run("endpoint", func(t *testing.T) {
		for i, b := range allBehaviours(t) {
			t.Run(b.name, func(t *testing.T) {
				t.Parallel()
				attack(t, b, good, fmt.Sprintf("good-%d", i))
			})
		}
	})
	if n := grown(); n > hostileHeap {
		t.Errorf("the heap grew by %d MiB, want at most %d", n>>20, hostileHeap>>20)
	}
}

// attack does one job against the endpoint and judges what came of it.
func attack(t *testing.T, b behaviour, good *sink.SQS, queueName string) {
	e := startEndpoint(t, b)
	id, key := good.Keys()
	guard, err := netguard.Parse("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	ref := func(id string) secrets.Ref { return secrets.Ref{ID: id, Type: secrets.TypeSQS, Version: 1} }
	a := New(Config{Guard: guard, Worker: "w1", Timeout: hostileTimeout, Vault: vaults{
		badID: {
			Ref: ref(badID), Region: "eu-west-1", QueueURL: e.url() + "/1/orders", Endpoint: e.url(),
			AccessKeyID: redact.New(hostileKey), SecretAccessKey: redact.New(hostileSecret), SessionToken: redact.New(hostileToken),
		},
		goodID: {
			Ref: ref(goodID), Region: good.Region(), QueueURL: good.CreateQueue(queueName), Endpoint: good.URL(),
			AccessKeyID: redact.New(id), SecretAccessKey: redact.New(key),
		},
	}})
	t.Cleanup(func() { _ = a.Close() })

	var others sync.WaitGroup
	others.Go(func() { keepsItsPace(t, a, good, queueName) })
	others.Go(func() {
		begin := time.Now()
		steps := a.Test(t.Context(), ref(badID))
		inTime(t, "Test", begin)
		showsNothing(t, "Test", fmt.Sprintf("%+v", steps))
	})
	j := job("bad", `{"type":"queue-sqs","sqs_secret":"`+badID+`"}`, `{"n":0}`, `{"n":1}`, `{"n":2}`)
	work, err := a.Prepare(j)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	reply, err := work.Do(t.Context(), queue.NewClaim(j, 1, nil))
	inTime(t, "Do", begin)
	others.Wait()

	if got := outcomeOf(err); got != b.outcome || reply.Certainty != b.certainty || reply.Rule != b.rule {
		t.Errorf("Do: got %s, %v by %q (%v; %+v), want %s, %v by %q", got, reply.Certainty, reply.Rule, err, reply, b.outcome, b.certainty, b.rule)
	}
	if diff := cmp.Diff(partsOf(reply), b.parts); diff != "" {
		t.Errorf("parts: got - want +\n%s", diff)
	}
	if n := e.calls.Load(); n > hostileCalls {
		t.Errorf("%d requests in one attempt, want at most %d", n, hostileCalls)
	}
	text, err2 := json.Marshal(reply)
	if err2 != nil {
		t.Error(err2)
	}
	showsNothing(t, "Do", fmt.Sprintf("%s %+v %#v %v %+v", text, reply, reply, err, a))
	for _, text := range []string{reply.Text, reply.Code, fmt.Sprint(err)} {
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7F }) || len([]rune(text)) > 600 {
			t.Errorf("%d characters, or control characters, in %.300q", len([]rune(text)), text)
		}
	}
}

// keepsItsPace does jobs for another queue one after the other.
func keepsItsPace(t *testing.T, a *Action, good *sink.SQS, queueName string) {
	const jobs = 5
	begin := time.Now()
	for i := range jobs {
		j := job(fmt.Sprintf("good-%d", i), `{"type":"queue-sqs","sqs_secret":"`+goodID+`"}`, `{}`)
		work, err := a.Prepare(j)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := work.Do(t.Context(), queue.NewClaim(j, 1, nil)); err != nil {
			t.Errorf("a job for another queue: %v", err)
		}
	}
	if took := time.Since(begin); took > hostileTimeout+hostileGrace {
		t.Errorf("%d jobs for another queue took %v", jobs, took)
	}
	if n := len(good.Messages(queueName)); n != jobs {
		t.Errorf("the other queue has %d messages, want %d", n, jobs)
	}
}

func inTime(t *testing.T, what string, begin time.Time) {
	if took := time.Since(begin); took > hostileTimeout+hostileGrace {
		t.Errorf("%s took %v, want at most %v", what, took, hostileTimeout+hostileGrace)
	}
}

// partsOf is the parts of a reply in words.
func partsOf(reply queue.Reply) string {
	var list []string
	for _, p := range reply.Parts {
		list = append(list, p.ID+" "+p.State)
	}
	return strings.Join(list, ", ")
}

// encodings are the spellings of a value in which an endpoint can give it back.
func encodings(value string) []string {
	quoted, err := json.Marshal(value)
	if err != nil {
		panic(err) // of a string
	}
	list := []string{value, url.QueryEscape(value), url.PathEscape(value), string(quoted[1 : len(quoted)-1]),
		hex.EncodeToString([]byte(value)), strings.ToUpper(hex.EncodeToString([]byte(value)))}
	for shift := range 3 {
		text := strings.Repeat("x", shift) + value
		list = append(list, base64.StdEncoding.EncodeToString([]byte(text)), base64.URLEncoding.EncodeToString([]byte(text)))
	}
	return list
}

// showsNothing fails when a text holds a value of the credential in any
// spelling, or a piece of one.
func showsNothing(t *testing.T, what, text string) {
	for _, value := range []string{hostileKey, hostileSecret, hostileToken} {
		for _, spelling := range encodings(value) {
			for _, piece := range []string{spelling, spelling[4:16], spelling[len(spelling)/2:][:8], spelling[len(spelling)-8:]} {
				if strings.Contains(text, piece) {
					t.Errorf("%s: %q is shown in %.500s", what, piece, text)
				}
			}
		}
	}
}

// watchHeap measures the heap until the returned function is called, which
// says by how much it grew at most.
func watchHeap(t *testing.T) func() uint64 {
	t.Helper()
	read := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	first, most := read(), uint64(0)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				most = max(most, read())
			case <-stop:
				return
			}
		}
	}()
	return sync.OnceValue(func() uint64 {
		close(stop)
		<-done
		return most - min(first, most)
	})
}
