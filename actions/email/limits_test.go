package email

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
	"github.com/sealpost/sealpost/secrets"
)

func TestRepliesTeachTheirLimit(t *testing.T) {
	taught := map[queue.Lesson]int{}
	want := map[string]queue.Lesson{
		"421 4.7.0 mx.example.test Error: too many connections from 127.0.0.1":                                                              queue.ConnectionLimit,
		"421 Too many concurrent SMTP connections; please try again later.":                                                                 queue.ConnectionLimit,
		"432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information":                     queue.ConnectionLimit,
		"421 4.3.2 The maximum number of concurrent server connections has exceeded a limit, closing transmission channel":                  queue.ConnectionLimit,
		"421 too many messages in this connection":                                                                                          queue.SessionLimit,
		"452 4.5.3 Too many recipients: Too many messages sent":                                                                             queue.SessionLimit,
		"421 4.7.0 Try again later, closing connection.":                                                                                    queue.RateLimit,
		"450 4.7.1 Error: too much mail from 127.0.0.1":                                                                                     queue.RateLimit,
		"421 4.7.0 mx.example.test Error: too many new TLS sessions from 192.0.2.1":                                                         queue.RateLimit,
		"452 4.3.2 Connection rate limit exceeded.":                                                                                         queue.RateLimit,
		"450 4.7.1 Error: too many AUTH commands from 127.0.0.1":                                                                            queue.NoLesson,
		"535 5.7.8 Error: authentication failed: authentication failure":                                                                    queue.NoLesson,
		"550 Connection frequency limited [ Blocked IP 192.0.2.1]. http://service.mail.qq.com/cgi-bin/help?subtype=1&&id=20022&&no=1000722": queue.RateLimit,
	}
	for _, r := range corpus(t) {
		f := newFailure(t.Context(), secrets.Ref{}, r.Stage, r.asError(t), nil)
		taught[f.verdict.Lesson]++
		if lesson, ok := want[r.Reply]; ok {
			delete(want, r.Reply)
			if f.verdict.Lesson != lesson {
				t.Errorf("%q: got lesson %d by %s, want %d", r.Reply, f.verdict.Lesson, f.verdict.Rule, lesson)
			}
		}
		if f.verdict.Lesson != queue.NoLesson && r.Reason != "throttled" {
			t.Errorf("%q teaches and is %s", r.Reply, r.Reason)
		}
	}
	for reply := range want {
		t.Errorf("not in the corpus: %q", reply)
	}
	t.Logf("lessons of the corpus: %v", taught)
}

func TestAConnectionThatTakesNoMoreTeaches(t *testing.T) {
	s, v := startSink(t, func(c *sink.SMTPConfig) { c.PerConn = 3 })
	a := action(t, v, 0)
	send := func(i int, l queue.Limit) error {
		j := job(t, fmt.Sprint(i), nil)
		w, err := a.Prepare(j)
		if err != nil {
			t.Fatal(err)
		}
		c := queue.NewClaim(j, 1, nil)
		c.Limit = l
		_, err = w.Do(t.Context(), c)
		return err
	}
	for i := range 3 {
		if err := send(i, queue.Limit{}); err != nil {
			t.Fatal(err)
		}
	}
	err := send(3, queue.Limit{})
	throttled, ok := errors.AsType[*queue.ThrottledError](err)
	if !ok || throttled.Lesson != queue.SessionLimit || throttled.Count != 3 {
		t.Fatalf("got %T %+v, want the lesson of 3 mails", err, throttled)
	}
	for i := range 20 {
		if err := send(10+i, queue.Limit{PerConnection: 3}); err != nil {
			t.Fatalf("mail %d of those that obey: %v", i, err)
		}
	}
	if c := s.Counts(); c.Connections != 1+7 || c.Messages != 23 {
		t.Errorf("%+v, want 7 more connections for 20 mails", c)
	}
}

// slowed counts the attempts that were told to slow down.
type slowed struct {
	mu        sync.Mutex
	jobs      int // to be done
	done      int
	throttled int
	ended     chan struct{} // closed when they are
}

func (c *slowed) attempted(a queue.Attempted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case a.Outcome == queue.Done:
		if c.done++; c.done == c.jobs {
			close(c.ended)
		}
	case a.Reason == "throttled":
		c.throttled++
	}
}

// limitedServer sends mail by two processes to a server with limits, and returns
// what is known of it after the first refusal, and how many there were until all
// was sent. That takes ten seconds, most of them holds, and longer on a busy
// machine, so it is refusals that count and not time.
func limitedServer(t *testing.T, jobs int, change func(*sink.SMTPConfig)) (lane queue.LaneState, refused int) {
	t.Helper()
	rdb, prefix := queuetest.Redis(t)
	s, v := startSink(t, change)
	v.login.MaxConnections = 50
	all := slowed{jobs: jobs, ended: make(chan struct{})}
	for range 2 {
		queuetest.Run(t, queue.PoolConfig{Redis: rdb, Prefix: prefix, Logger: slog.New(slog.DiscardHandler),
			Observer: queue.Observer{Attempted: all.attempted}}, action(t, v, 0))
	}
	c := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	for i := range jobs {
		raw := fmt.Sprintf(`{"action":{"type":"email-smtp","smtp_secret":"MAIL","to":"b@receiver.test","subject":"%d","message":"x"}}`, i)
		if _, err := c.Enqueue(context.Background(), json.RawMessage(raw)); err != nil {
			t.Fatal(err)
		}
	}
	queuetest.Eventually(t, "the limit is learnt", func() bool {
		list, err := c.Lanes(t.Context())
		if err != nil || len(list) != 1 || list[0].Connections+list[0].PerConnection == 0 {
			return false
		}
		lane = list[0]
		return true
	})
	select {
	case <-all.ended:
	case <-time.After(2 * time.Minute):
		t.Error("not all is sent within 2 minutes")
	}
	if got := s.Counts(); got.Distinct != int64(jobs) {
		t.Errorf("the server has %+v", got)
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	return lane, all.throttled
}

func TestTwoProcessesLearnTheConnectionsOfAServer(t *testing.T) {
	lane, refused := limitedServer(t, 1500, func(c *sink.SMTPConfig) { c.Most = 4 })
	t.Logf("%+v, %d refusals", lane, refused)
	if lane.Connections < 1 || lane.Connections > 5 || lane.Rule != "connections" || refused > 150 {
		t.Errorf("got %+v and %d refusals", lane, refused)
	}
}

func TestTwoProcessesLearnTheMailsOfAConnection(t *testing.T) {
	const jobs, most = 1500, 7
	lane, refused := limitedServer(t, jobs, func(c *sink.SMTPConfig) { c.PerConn = most })
	t.Logf("%+v, %d refusals", lane, refused)
	// One for each connection that was open when the first was refused; without
	// the lesson it is each of the 214 that so many mails need.
	if lane.PerConnection < 1 || lane.PerConnection > most || lane.Rule != "session-limit" || refused > jobs/most/3 {
		t.Errorf("got %+v and %d refusals", lane, refused)
	}
}
