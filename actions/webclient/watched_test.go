package webclient

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// eager answers each request with refused and, in the same piece, the next one with granted.
func eager(t *testing.T) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					_, _ = io.WriteString(c, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}

func TestAnAnswerInAdvanceIsNoAnswer(t *testing.T) {
	url := eager(t)
	c := New(Config{Guard: loopback(t), Timeout: 5 * time.Second})
	defer c.Close()
	for i := range 3000 { // one in some hundred was quicker than net/http
		resp, err := c.Do(t.Context(), nil, post(url))
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if resp.Status != http.StatusInternalServerError {
			t.Fatalf("request %d: got %d, want 500: the answer to it", i, resp.Status)
		}
	}
}

// A line that is fine is kept.
func TestAQuietLineIsKept(t *testing.T) {
	lines := map[string]bool{} // one request at a time
	s, c := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		lines[r.RemoteAddr] = true
		w.WriteHeader(http.StatusNoContent)
	})
	for range 200 {
		if _, err := c.Do(t.Context(), nil, post(s.URL)); err != nil {
			t.Fatal(err)
		}
	}
	if len(lines) != 1 {
		t.Errorf("got %d connections for 200 requests, want one", len(lines))
	}
}
