package integration_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
)

// A server that sends more than it was asked for makes net/http print the rest,
// which could be what we sent it.
func TestWhatAServerSendsUnaskedIsNotPrinted(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	var asked atomic.Int64
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go unasked(conn, &asked)
		}
	}()
	s := newSite(t)
	s.serve()
	s.put("QUEUE", sqsSecret("http://"+ln.Addr().String(), "http://"+ln.Addr().String()+"/1/q", canaryKey))
	id := s.send(job(map[string]any{"type": "queue-sqs", "sqs_secret": "QUEUE", "message": "x"}, map[string]any{"max_attempts": 1}))[0]
	s.becomes(id, "dead")
	if asked.Load() == 0 {
		t.Fatal("the server was not asked")
	}
	if found := (evidence{"the log": []byte(s.logs())}).seek(map[string]string{"the key": canaryKey, "the words": "Unsolicited"}); len(found) > 0 {
		t.Errorf("found %v", found)
	}
}

// unasked answers 500 with the key behind the end of the answer.
func unasked(conn net.Conn, asked *atomic.Int64) {
	defer conn.Close()
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	asked.Add(1)
	_, _ = io.WriteString(conn, "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}"+canaryKey)
	_, _ = io.Copy(io.Discard, conn)
}
