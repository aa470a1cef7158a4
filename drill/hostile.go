package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"
)

// hostilePrefix begins the ids of jobs to hostile servers. Nobody expects them to
// arrive: they take up slots, connections and memory of the workers.
const hostilePrefix = "hostile-"

const (
	annoyEach  = 500 * time.Millisecond // between two jobs to hostile servers
	annoyFor   = 40 * time.Second       // after which such a job expires
	dripEach   = time.Second
	floodPiece = 16 << 10 // bytes
)

// hostile is a mail server that means no good.
type hostile struct {
	listener net.Listener
	behave   func(c net.Conn, done <-chan struct{})
	done     chan struct{}
	serving  sync.WaitGroup
}

// behaviours are what hostile servers do with a connection, until it breaks or
// done is closed.
func behaviours() map[string]func(c net.Conn, done <-chan struct{}) {
	return map[string]func(c net.Conn, done <-chan struct{}){
		"SILENT": func(_ net.Conn, done <-chan struct{}) { <-done },
		"CUTS":   func(net.Conn, <-chan struct{}) {},
		"DRIPS":  func(c net.Conn, done <-chan struct{}) { drip(c, done, "220 hostile.test ESMTP at your service\r\n") },
		"FLOODS": func(c net.Conn, _ <-chan struct{}) { flood(c, "x") },
		"LISTS":  func(c net.Conn, _ <-chan struct{}) { flood(c, "220-again\r\n") },
		"HANGS": func(c net.Conn, done <-chan struct{}) {
			_, _ = c.Write([]byte("220 hostile.test ESMTP\r\n"))
			<-done
		},
	}
}

// drip sends text by one byte a second.
func drip(c net.Conn, done <-chan struct{}, text string) {
	t := time.NewTicker(dripEach)
	defer t.Stop()
	for i := range len(text) {
		select {
		case <-t.C:
		case <-done:
			return
		}
		if _, err := c.Write([]byte{text[i]}); err != nil {
			return
		}
	}
}

// flood sends text until nobody takes it.
func flood(c net.Conn, text string) {
	piece := make([]byte, 0, floodPiece)
	for len(piece)+len(text) <= floodPiece {
		piece = append(piece, text...)
	}
	for {
		if _, err := c.Write(piece); err != nil {
			return
		}
	}
}

// startHostile starts a server on a free port.
func startHostile(behave func(net.Conn, <-chan struct{})) (*hostile, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for mail: %w", err)
	}
	h := &hostile{listener: listener, behave: behave, done: make(chan struct{})}
	h.serving.Go(h.serve)
	return h, nil
}

func (h *hostile) serve() {
	for {
		c, err := h.listener.Accept()
		if err != nil {
			return
		}
		gone := make(chan struct{})
		h.serving.Go(func() { // reads what the client says, and sees its end
			defer close(gone)
			buf := make([]byte, 1<<10)
			for {
				if _, err := c.Read(buf); err != nil {
					return
				}
			}
		})
		h.serving.Go(func() {
			select {
			case <-h.done:
			case <-gone:
			}
			_ = c.Close()
		})
		h.serving.Go(func() {
			h.behave(c, either(h.done, gone, &h.serving))
			_ = c.Close()
		})
	}
}

// either is closed when one of two channels is.
func either(a, b <-chan struct{}, wait *sync.WaitGroup) <-chan struct{} {
	first := make(chan struct{})
	wait.Go(func() {
		defer close(first)
		select {
		case <-a:
		case <-b:
		}
	})
	return first
}

func (h *hostile) close() {
	_ = h.listener.Close()
	close(h.done)
	h.serving.Wait()
}

// invite starts the hostile servers and stores a login to each.
func (r *run) invite() error {
	for name, behave := range behaviours() {
		h, err := startHostile(behave)
		if err != nil {
			return err
		}
		r.hostile = append(r.hostile, h)
		if err := r.putLogin(context.Background(), name, h.listener.Addr().String(), password(1)); err != nil {
			return err
		}
	}
	return nil
}

// annoy sends jobs to the hostile servers in turn, for as long as the load runs.
func (r *run) annoy(ctx context.Context) error {
	var names []string
	for name := range behaviours() {
		names = append(names, name)
	}
	for i := 0; time.Since(r.began) < r.For && pause(ctx, annoyEach) == nil; i++ {
		job := fmt.Appendf(nil, `{"id":"%s%d","expires_at":%q,"action":{"type":"email-smtp","smtp_secret":%q,`+
			`"from":"hostile@drill.test","to":"box@drill.test","subject":"drill","message":"body"}}`,
			hostilePrefix, i, time.Now().Add(annoyFor).UTC().Format(time.RFC3339), names[i%len(names)])
		if _, err := r.queue.Enqueue(ctx, json.RawMessage(job)); err != nil && ctx.Err() == nil {
			return fmt.Errorf("send a job to a hostile server: %w", err)
		}
	}
	return nil
}
