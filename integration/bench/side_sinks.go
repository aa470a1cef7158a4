package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
)

// arrivals notes when the first and the last of so many things came.
type arrivals struct {
	mu          sync.Mutex
	want, n     int
	first, last time.Time
	all         chan struct{}
}

// came counts n more things.
func (a *arrivals) came(n int) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == 0 {
		a.first = now
	}
	before := a.n
	a.n, a.last = a.n+n, now
	if before < a.want && a.n >= a.want {
		close(a.all)
	}
}

// expect forgets what came, and waits for so many from now on.
func (a *arrivals) expect(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n, a.want, a.all = 0, n, make(chan struct{})
}

// await waits for all that are expected. Span is from the first to the last.
func (a *arrivals) await(ctx context.Context, _ request) (answer, error) {
	a.mu.Lock()
	all := a.all
	a.mu.Unlock()
	select {
	case <-all:
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return answer{Span: a.last.Sub(a.first).Seconds(), Count: a.n}, nil
}

// mailSink is the mail server of the scenarios with mails.
type mailSink struct {
	arrivals
	smtp *sink.SMTP
}

func (s *mailSink) ops() map[string]op {
	return map[string]op{"start": s.start, "expect": s.reset, "await": s.await, "used": used}
}

// start starts the server, which lives as long as this process.
func (s *mailSink) start(context.Context, request) (answer, error) {
	var err error
	s.smtp, err = sink.StartSMTP(sink.SMTPConfig{Keep: 1, OnMessage: func(sink.Message) { s.came(1) }})
	if err != nil {
		return answer{}, err
	}
	host, port, err := net.SplitHostPort(s.smtp.Addr())
	if err != nil {
		return answer{}, fmt.Errorf("read the address of the sink: %w", err)
	}
	number, err := strconv.Atoi(port)
	return answer{Mail: &mailbox{Host: host, Port: number, User: "sink", Password: "sink-password", CA: s.smtp.CAPEM()}}, err
}

func (s *mailSink) reset(_ context.Context, r request) (answer, error) {
	s.smtp.Clear()
	s.expect(r.Jobs)
	return answer{}, nil
}

// used does nothing: every answer says how much the process has used.
func used(context.Context, request) (answer, error) { return answer{}, nil }

// sqsSink is the SQS of the scenarios with messages.
type sqsSink struct {
	arrivals
	sqs *sink.SQS
}

func (s *sqsSink) ops() map[string]op {
	return map[string]op{"start": s.start, "expect": s.reset, "await": s.await, "used": used}
}

func (s *sqsSink) start(context.Context, request) (answer, error) {
	var err error
	if s.sqs, err = sink.StartSQS(sink.SQSConfig{Keep: 1000}); err != nil {
		return answer{}, err
	}
	s.sqs.SetFault(func(c sink.SQSCall) *sink.SQSFault {
		s.came(bytes.Count(c.Body, []byte(`"MessageBody"`)))
		return nil
	})
	id, key := s.sqs.Keys()
	return answer{SQS: &sqsQueue{
		URL: s.sqs.CreateQueue("bench"), Endpoint: s.sqs.URL(), Region: s.sqs.Region(), ID: id, Key: key,
	}}, nil
}

func (s *sqsSink) reset(_ context.Context, r request) (answer, error) {
	s.expect(r.Jobs)
	return answer{}, nil
}

// farLine is a TCP line on which everything takes its time.
type farLine struct{}

func (l farLine) ops() map[string]op { return map[string]op{"start": l.start} }

// start opens a line to the sink on which a round trip takes 10 ms, and says
// where it begins.
func (l farLine) start(_ context.Context, r request) (answer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return answer{}, fmt.Errorf("open a line: %w", err)
	}
	target := net.JoinHostPort(r.Mail.Host, strconv.Itoa(r.Mail.Port))
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				_ = near.Close()
				continue
			}
			go carry(near, far)
			go carry(far, near)
		}
	}()
	a := *r.Mail
	a.Port = listener.Addr().(*net.TCPAddr).Port
	return answer{Mail: &a}, nil
}

// half is the time of one way.
const half = 5 * time.Millisecond

// carry brings what comes from one end to the other, each piece half later.
func carry(to, from net.Conn) {
	type piece struct {
		data []byte
		due  time.Time
	}
	late := make(chan piece, 1024)
	go func() {
		for p := range late {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.data); err != nil {
				break // the other way sees it too
			}
		}
		_ = to.Close()
		for range late { // until the reader ends
		}
	}()
	defer close(late)
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			late <- piece{bytes.Clone(buf[:n]), time.Now().Add(half)}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				_ = from.Close()
			}
			return
		}
	}
}
