package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/access"
)

// listening is a client of /events.
type listening struct {
	t      *testing.T
	header http.Header
	cancel context.CancelFunc
	blocks chan string // what comes, without comments
	ended  chan struct{}
}

// listen opens a stream; the token is in the query, as EventSource clients do.
func (s *site) listen(kind access.Kind, query string) *listening {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+"/events?"+query+"&token="+s.token[kind], nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	l := &listening{t: s.t, header: resp.Header, cancel: cancel, blocks: make(chan string, 1000), ended: make(chan struct{})}
	s.t.Cleanup(func() { cancel(); <-l.ended })
	if resp.StatusCode != 200 {
		s.t.Fatalf("events: got %d", resp.StatusCode)
	}
	go func() {
		defer close(l.ended)
		defer resp.Body.Close()
		lines := bufio.NewReader(resp.Body)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if line != "\n" && !strings.HasPrefix(line, ":") {
				l.blocks <- line
			}
		}
	}()
	return l
}

// next is the payload of the next event, as clients decode it.
func (l *listening) next() (channel string, payload map[string]any) {
	l.t.Helper()
	select {
	case line := <-l.blocks:
		text, ok := strings.CutPrefix(line, "data: ")
		var ev struct {
			Channel string
			Payload map[string]any
		}
		if err := json.Unmarshal([]byte(text), &ev); !ok || err != nil || ev.Payload == nil {
			l.t.Fatalf("event %q: %v, want one data line with a payload", line, err)
		}
		return ev.Channel, ev.Payload
	case <-l.ended:
		l.t.Fatal("the stream has ended")
	case <-time.After(10 * time.Second):
		l.t.Fatal("no event within 10 s")
	}
	return "", nil
}

func TestARunReachesListenersOfTwoProcessesWithItsEnvironment(t *testing.T) {
	s := newSite(t)
	other := s.process()
	s.grantSecret("DB_URL", "canary-secret-value")
	s.grantSecret("SHADOWED", "canary-overridden")
	s.setVariables("SHADOWED", "own wins")
	id := s.tokenID[analysisKind]
	published := s.rdb.Subscribe(t.Context(), "sealpost:{control}:events")
	defer published.Close()
	if _, err := published.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	streams := []*listening{s.listen(analysisKind, "channels=analysis_trigger"), s.listen(analysisKind, "channel=analysis_trigger"),
		other.listen(analysisKind, "channels=,analysis_trigger,analysis_trigger,analysis_console."+id)}
	for _, l := range streams {
		if l.header.Get("Content-Type") != "text/event-stream" || l.header.Get("Content-Length") != "" {
			t.Errorf("headers: %v, want an event stream without length", l.header)
		}
	}
	var run map[string]string
	s.mustDo("POST", "/analysis/"+id+"/run", `{"scope":[{"variable":"t","value":1}]}`, &run)
	if _, ok := run["analysis_token"]; !ok {
		t.Errorf("answer: got %v, want the field analysis_token", run)
	}
	want := map[string]any{
		"environment": []any{map[string]any{"key": "DB_URL", "value": "canary-secret-value"}, map[string]any{"key": "SHADOWED", "value": "own wins"}},
		"data":        []any{map[string]any{"variable": "t", "value": 1.0}}, "analysis_id": id, "token": s.token[analysisKind],
	}
	for i, l := range streams {
		if channel, payload := l.next(); channel != channelTrigger || cmp.Diff(payload, want) != "" {
			t.Errorf("stream %d: %s (-got +want):\n%s", i, channel, cmp.Diff(payload, want))
		}
	}
	message, err := published.ReceiveMessage(t.Context())
	if err != nil || strings.Contains(message.Payload, "canary") || strings.Contains(message.Payload, "own wins") || strings.Contains(message.Payload, "a-") {
		t.Errorf("published: %v, %v, want neither value nor token", message, err)
	}
	var info struct {
		LastRun string `json:"last_run"`
	}
	s.mustDo("GET", "/analysis/"+id, "", &info)
	if info.LastRun == never {
		t.Error("last_run: got never after a run")
	}
}

func TestARunSeesWhatWasGrantedBeforeIt(t *testing.T) {
	s := newSite(t)
	other := s.process()
	l := other.listen(analysisKind, "channels=analysis_trigger")
	for i := range 5 {
		s.setVariables("N", fmt.Sprint(i))
		s.mustDo("POST", "/analysis/"+s.tokenID[analysisKind]+"/run", "", nil)
		_, payload := l.next()
		env := payload["environment"].([]any)
		if got := env[0].(map[string]any)["value"]; len(env) != 1 || got != fmt.Sprint(i) || len(payload["data"].([]any)) != 0 {
			t.Errorf("run %d: got %v, want the variable of that moment and no data", i, payload)
		}
	}
}

func TestEventsAreRefused(t *testing.T) {
	s := newSite(t)
	tests := []struct {
		name, query string
		kind        access.Kind
		status      int
		want        string
	}{
		{"without a channel", "", analysisKind, 400, "channels"},
		{"on an unknown channel", "channels=bucket", analysisKind, 400, "Unknown channel"},
		{"on too many", "channels=" + manyConsoles(), access.Admin, 400, "1 to 20"},
		{"of another analysis", "channels=analysis_console.0123456789abcdef01234567", analysisKind, 403, denied},
		{"of an analysis that is not there", "channels=analysis_console.0123456789abcdef01234567", access.Admin, 404, "Analysis Not Found"},
		{"to run, for an admin", "channels=analysis_trigger", access.Admin, 403, "token of an analysis"},
		{"to a reader", "channels=analysis_console.x", access.Reader, 403, denied},
		{"to nobody", "channels=analysis_trigger&token=wrong", "", 401, denied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.do(tt.kind, "GET", "/events?"+tt.query, "")
			if got.status != tt.status || !strings.Contains(got.message, tt.want) {
				t.Errorf("got %d %q, want %d with %q", got.status, got.message, tt.status, tt.want)
			}
		})
	}
	if got := s.do("", "GET", "/info?token="+s.token[access.Admin], ""); got.status != 401 {
		t.Errorf("a token in the query of another route: got %d, want 401", got.status)
	}
	if strings.Contains(s.log.String(), "token") {
		t.Errorf("log: %s, want no token in it", s.log)
	}
}

func manyConsoles() string {
	var names []string
	for i := range maxChannels + 1 {
		names = append(names, fmt.Sprint("analysis_console.", i))
	}
	return strings.Join(names, ",")
}

func TestAStreamEndsWithItsToken(t *testing.T) {
	s := newSite(t)
	l := s.listen(analysisKind, "channels=analysis_trigger")
	if _, err := s.directory.RotateToken(t.Context(), "test", s.tokenID[analysisKind]); err != nil {
		t.Fatal(err)
	}
	s.mustDo("POST", "/analysis/"+s.tokenID[analysisKind]+"/run", "", nil)
	select {
	case <-l.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the stream goes on with a token that is good no more")
	}
	if len(l.blocks) != 0 {
		t.Errorf("got %q, want nothing delivered", <-l.blocks)
	}
}

func TestASlowClientDoesNotHoldUpAnother(t *testing.T) {
	s := newSite(t)
	id := s.tokenID[analysisKind]
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	// It asks and never reads.
	if _, err := fmt.Fprintf(conn, "GET /events?channels=analysis_trigger&token=%s HTTP/1.1\r\nHost: x\r\n\r\n", s.token[analysisKind]); err != nil {
		t.Fatal(err)
	}
	channel := "sealpost:{control}:events"
	eventually(t, "the slow client listens", func() bool { return s.redis.PubSubNumSub(channel)[channel] == 1 })
	quick := s.listen(analysisKind, "channels=analysis_trigger")
	big := `{"scope":[{"variable":"` + strings.Repeat("x", 200<<10) + `"}]}`
	for i := range 120 { // more than buffers of the kernel and of the listener hold
		s.mustDo("POST", "/analysis/"+id+"/run", big, nil)
		if channel, _ := quick.next(); channel != channelTrigger {
			t.Fatalf("run %d: got %s", i, channel)
		}
	}
}

func TestStreamsEndWhenTheServerStops(t *testing.T) {
	s := newSite(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := New(Config{Queue: s.jobs, Actions: s.registry(), Vault: s.vault, Log: s.logger()})
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, ln, h, time.Minute) }()
	twin := &site{t: t, url: "http://" + ln.Addr().String(), token: s.token}
	l := twin.listen(analysisKind, "channels=analysis_trigger")
	start := time.Now()
	stop()
	select {
	case err := <-served:
		if err != nil || time.Since(start) > 20*time.Second {
			t.Errorf("Serve: got %v after %s, want an end in no time", err, time.Since(start))
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not stop while somebody listens")
	}
	<-l.ended
}

func TestTheConsoleIsMaskedAndReachesAnAdmin(t *testing.T) {
	s := newSite(t)
	s.grantSecret("DB_URL", "canary-secret-value")
	id := s.tokenID[analysisKind]
	l := s.process().listen(access.Admin, "channel=analysis_console."+id)
	for _, tt := range []struct{ name, body, stamp, message string }{
		{"JavaScript", `{"message":"got canary-secret-value\nend","timestamp":1767323045678}`, "2026-01-02T03:04:05.678Z", "got [redacted]\nend"},
		{"Python", `{"message":"hello","timestamp":"2026-01-02 03:04:05.678901"}`, "2026-01-02T03:04:05.678Z", "hello"},
		{"an object", `{"message":{"a":1},"timestamp":"2026-01-02T03:04:05Z"}`, "2026-01-02T03:04:05.000Z", `{"a":1}`},
	} {
		got := s.do(analysisKind, "POST", "/analysis/services/console/send", tt.body)
		if got.status != 200 {
			t.Fatalf("%s: got %d %s", tt.name, got.status, got.body)
		}
		want := map[string]any{"timestamp": tt.stamp, "message": tt.message}
		if channel, payload := l.next(); channel != channelConsole+id || cmp.Diff(payload, want) != "" {
			t.Errorf("%s: got %s %v, want %v", tt.name, channel, payload, want)
		}
	}
	var info struct{ Console []string }
	s.mustDo("GET", "/analysis/"+id, "", &info)
	if len(info.Console) != 3 || info.Console[0] != "2026-01-02T03:04:05.678Z got [redacted]\nend" {
		t.Errorf("console: got %q, want the three lines", info.Console)
	}
	if got := s.do(analysisKind, "POST", "/analysis/services/console/send", `{}`); got.status != 400 {
		t.Errorf("without a message: got %d, want 400", got.status)
	}
	if dump := s.redis.Dump(); strings.Contains(dump, "canary-secret-value") {
		t.Error("Redis holds the value")
	}
}
