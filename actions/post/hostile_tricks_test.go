package post

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
)

// says answers with a fixed text and ends the connection.
func says(text string) func(*peer) { return func(p *peer) { p.say(text) } }

// holds answers and keeps the connection open.
func holds(text string) func(*peer) { return func(p *peer) { p.say(text); p.hold() } }

const ok200 = "HTTP/1.1 200 OK\r\n"

// bomb is 200 MiB of zeros, packed: more than the heap may grow.
var bomb = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is one
	zeros := make([]byte, 1<<20)
	for range 200 {
		_, _ = z.Write(zeros)
	}
	_ = z.Close()
	return b.Bytes()
})

// tooMuch are receivers that send too much, or what counts without end.
func tooMuch() []trick {
	return []trick{
		{name: "endless headers", want: "unknown", http: func(p *peer) { p.say(ok200); p.forever("X-A: aaaaaaaaaaaaaaaaaaaaaa\r\n") }},
		{name: "one endless header", want: "unknown", http: func(p *peer) { p.say(ok200 + "X-A: "); p.forever("a") }},
		{name: "an endless header name", want: "unknown", http: func(p *peer) { p.say(ok200); p.forever("a") }},
		{name: "an endless status line", want: "unknown", http: func(p *peer) { p.say("HTTP/1.1 200 "); p.forever("a") }},
		{name: "endless garbage", want: "unknown", http: func(p *peer) { p.forever("\x00\xff") }},
		{name: "endless line ends", want: "unknown", http: func(p *peer) { p.forever("\r\n") }},
		{name: "an endless body", want: "accepted", http: func(p *peer) { p.say(ok200 + "\r\n"); p.forever("a") }},
		{name: "an endless chunked body", want: "accepted", http: func(p *peer) {
			p.say(ok200 + "Transfer-Encoding: chunked\r\n\r\n")
			p.forever("1\r\na\r\n")
		}},
		{name: "an endless chunk extension", want: "accepted", http: func(p *peer) {
			p.say(ok200 + "Transfer-Encoding: chunked\r\n\r\n1;")
			p.forever("a")
		}},
		{name: "endless trailers", want: "accepted", http: func(p *peer) {
			p.say(ok200 + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
			p.forever("X-A: a\r\n")
		}},
		{name: "endless events", want: "accepted", http: func(p *peer) {
			p.say(ok200 + "Content-Type: text/event-stream\r\n\r\n")
			p.forever("data: x\n\n")
		}},
		{name: "endless early hints", want: "unknown", http: func(p *peer) { p.forever("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n") }},
		{name: "endless continues", want: "unknown", http: func(p *peer) { p.forever("HTTP/1.1 100 Continue\r\n\r\n") }},
		{name: "a huge early hint", want: "unknown", http: func(p *peer) { p.say("HTTP/1.1 103 Early Hints\r\n"); p.forever("Link: xxxxxxxxxxxxxx\r\n") }},
		{name: "a few early hints are fine", want: "accepted", http: says(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 3) + ok200 + "Content-Length: 0\r\n\r\n")},
		{name: "a packed body of 200 MiB", want: "transient", http: func(p *peer) {
			p.say("HTTP/1.1 500 no\r\nContent-Encoding: gzip\r\n\r\n")
			_, _ = p.Write(bomb())
		}},
		{name: "401 with a huge body", want: "credential", http: func(p *peer) { p.say("HTTP/1.1 401 no\r\n\r\n"); p.forever("no entry ") }},
		{name: "a body of escapes", want: "payload", http: says("HTTP/1.1 400 no\r\n\r\n" + strings.Repeat("\x1b[2J\x1b]0;x\x07\u202e\u0000", 2000))},
		{name: "a Retry-After of centuries", want: "throttled", http: says("HTTP/1.1 429 no\r\nRetry-After: 99999999999\r\nContent-Length: 0\r\n\r\n")},
	}
}

// tooSlow are receivers that take their time.
func tooSlow() []trick {
	return []trick{
		{name: "never answers", want: "unknown", http: (*peer).hold},
		{name: "never shakes hands", want: "transient", deaf: true, tcp: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
		{name: "stops within the handshake", want: "transient", deaf: true, tcp: func(c net.Conn) {
			_, _ = c.Write([]byte{22, 3, 3, 0, 100, 2, 0, 0})
			_, _ = io.Copy(io.Discard, c)
		}},
		{name: "a slow handshake", want: "transient", deaf: true, tcp: func(c net.Conn) {
			p := &peer{Conn: c}
			p.slowly("\x16\x03\x03\x40\x00\x02\x00\x00\x00")
		}},
		{name: "a slow status line", want: "unknown", http: func(p *peer) { p.slowly(ok200) }},
		{name: "slow headers", want: "unknown", http: func(p *peer) { p.say(ok200); p.slowly("X-A: a\r\n") }},
		{name: "a slow body", want: "accepted", http: func(p *peer) { p.say(ok200 + "Content-Length: 1000\r\n\r\n"); p.slowly("a") }},
		{name: "slow chunks", want: "accepted", http: func(p *peer) { p.say(ok200 + "Transfer-Encoding: chunked\r\n\r\n"); p.slowly("1\r\na\r\n") }},
		{name: "slow early hints", want: "unknown", http: func(p *peer) { p.slowly("HTTP/1.1 103 Early Hints\r\n\r\n") }},
		{name: "a body that never comes", want: "accepted", http: holds(ok200 + "Content-Length: 10\r\n\r\n")},
		{name: "a refusal whose body never comes", want: "payload", http: holds("HTTP/1.1 400 no\r\nContent-Length: 10\r\n\r\n")},
	}
}

// broken are receivers that end too early, or say what is not HTTP.
func broken() []trick {
	list := []trick{
		{name: "accepts and closes", want: "transient", deaf: true, tcp: func(net.Conn) {}},
		{name: "accepts and resets", want: "transient", deaf: true, tcp: reset},
		{name: "resets after the request", want: "unknown", http: func(p *peer) { reset(p.Conn) }},
		{name: "resets within the headers", want: "unknown", http: func(p *peer) { p.say(ok200 + "X-A: "); reset(p.Conn) }},
		{name: "resets within the body", want: "accepted|unknown", http: func(p *peer) { p.say(ok200 + "Content-Length: 10\r\n\r\nab"); reset(p.Conn) }},
		{name: "kept: says more than its length", want: "accepted", http: says(ok200 + "Content-Length: 1\r\n\r\nabc")},
		{name: "kept: answers the next request in advance", want: "transient", http: says("HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n" + ok200 + "Content-Length: 0\r\n\r\n")},
		{name: "kept: sets a cookie", want: "accepted|payload", http: func(p *peer) {
			status := "200 OK"
			if p.request.Header.Get("Cookie") != "" {
				status = "400 you have my cookie"
			}
			p.say("HTTP/1.1 " + status + "\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n")
		}},
		{name: "a switch of protocols", want: "payload", http: holds("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")},
	}
	for _, tt := range []struct{ name, text, want string }{
		{"closes after the request", "", "unknown"},
		{"closes within the status line", "HTTP/1.1 20", "unknown"},
		{"closes after the status line", ok200, "unknown"},
		{"closes within a header", ok200 + "X-A: b", "unknown"},
		{"closes before the body", ok200 + "Content-Length: 10\r\n\r\n", "accepted"},
		{"closes within the body", ok200 + "Content-Length: 10\r\n\r\nabc", "accepted"},
		{"closes within a chunk", ok200 + "Transfer-Encoding: chunked\r\n\r\n5\r\nab", "accepted"},
		{"closes after an early hint", "HTTP/1.1 103 Early Hints\r\n\r\n", "unknown"},
		{"two lengths", ok200 + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "unknown"},
		{"a negative length", ok200 + "Content-Length: -1\r\n\r\n", "unknown"},
		{"a length that is no number", ok200 + "Content-Length: abc\r\n\r\n", "unknown"},
		{"a length beyond numbers", ok200 + "Content-Length: 99999999999999999999\r\n\r\n", "unknown"},
		{"a huge length", ok200 + "Content-Length: 9223372036854775807\r\n\r\nab", "accepted"},
		{"length and chunks", ok200 + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "accepted|unknown"},
		{"a chunk size that is none", ok200 + "Transfer-Encoding: chunked\r\n\r\nxyz\r\nab\r\n", "accepted"},
		{"a huge chunk size", ok200 + "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nab", "accepted"},
		{"a chunk size beyond numbers", ok200 + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffffff\r\nab", "accepted"},
		{"an unknown coding of the transfer", ok200 + "Transfer-Encoding: foo\r\n\r\nab", "unknown"},
		{"a header without a colon", ok200 + "hello\r\n\r\n", "unknown"},
		{"a header with a blank in its name", ok200 + "X A: b\r\n\r\n", "unknown|accepted"},
		{"a NUL in a header", ok200 + "X-A: b\x00c\r\nContent-Length: 0\r\n\r\n", "unknown|accepted"},
		{"a NUL in a name", ok200 + "X\x00A: b\r\nContent-Length: 0\r\n\r\n", "unknown"},
		{"a header that is folded", ok200 + "X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n", "accepted|unknown"},
		{"bare line ends", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "accepted|unknown"},
		{"status 999", "HTTP/1.1 999 no\r\nContent-Length: 0\r\n\r\n", "payload"},
		{"status 000", "HTTP/1.1 000 no\r\nContent-Length: 0\r\n\r\n", "unknown|payload"},
		{"a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", "unknown"},
		{"a status of words", "HTTP/1.1 fine OK\r\n\r\n", "unknown"},
		{"a negative status", "HTTP/1.1 -20 OK\r\n\r\n", "unknown"},
		{"another version", "HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n", "unknown|accepted"},
		{"no HTTP at all", "hello\r\n", "unknown"},
		{"an answer of SSH", "SSH-2.0-OpenSSH_9.2\r\n", "unknown"},
		{"204 with a body", "HTTP/1.1 204 no\r\nContent-Length: 5\r\n\r\nhello", "accepted|unknown"},
	} {
		list = append(list, trick{name: tt.name, http: says(tt.text), want: tt.want})
	}
	return list
}

// redirects lead elsewhere.
func redirects(elsewhere string) []trick {
	var list []trick
	for _, to := range []string{
		"http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "http://" + elsewhere + "/", "gopher://" + elsewhere + "/_x", "//" + elsewhere, "/", "http://[bad", "", "javascript:alert(1)",
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			list = append(list, trick{
				name: fmt.Sprintf("%d to %q", status, to), want: "config",
				http: says(fmt.Sprintf("HTTP/1.1 %d go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", status, to)),
			})
		}
	}
	return append(list, trick{name: "kept: a hundred redirects", want: "config", http: says("HTTP/1.1 302 go\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")})
}

// impostors have no right to the request.
func impostors(t *testing.T) []trick {
	certify := func(issue func(ca *sink.CA) (tls.Certificate, error)) func(*tls.Config, *sink.CA) {
		return func(c *tls.Config, ca *sink.CA) {
			cert, err := issue(ca)
			if err != nil {
				t.Error(err)
			}
			c.Certificates = []tls.Certificate{cert}
		}
	}
	versions := func(v uint16) func(*tls.Config, *sink.CA) {
		return func(c *tls.Config, _ *sink.CA) { c.MinVersion, c.MaxVersion = v, v }
	}
	list := []trick{
		{name: "a certificate for another name", tls: certify(func(ca *sink.CA) (tls.Certificate, error) { return ca.Issue("other.test", "127.0.0.2") })},
		{name: "a certificate without a name", tls: certify(func(ca *sink.CA) (tls.Certificate, error) { return ca.Issue() })},
		{name: "an expired certificate", tls: certify(func(ca *sink.CA) (tls.Certificate, error) {
			return ca.IssueUntil(time.Now().Add(-time.Minute), "127.0.0.1")
		})},
		{name: "a certificate of another authority", tls: certify(func(*sink.CA) (tls.Certificate, error) {
			other, err := sink.NewCA()
			if err != nil {
				return tls.Certificate{}, err
			}
			return other.Issue("127.0.0.1")
		})},
		{name: "TLS 1.0 only", tls: versions(tls.VersionTLS10)}, {name: "TLS 1.1 only", tls: versions(tls.VersionTLS11)},
	}
	for i := range list {
		list[i].http = says(ok200 + "Content-Length: 0\r\n\r\n")
	}
	for name, text := range map[string]string{
		"plain HTTP on the TLS port": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "an SMTP greeting": "220 mail.test ESMTP\r\n",
		"random bytes": "\x9f\x03\x77\x10\x00\x01\x02\x03\x04\x05\x06", "an alert": "\x15\x03\x03\x00\x02\x02\x28", "a huge record": "\x16\x03\x03\xff\xff" + strings.Repeat("a", 70000),
	} {
		list = append(list, trick{name: name, tcp: func(c net.Conn) {
			_, _ = io.WriteString(c, text)
			_, _ = io.Copy(io.Discard, c)
		}})
	}
	for i := range list {
		list[i].want, list[i].deaf = "transient", true
	}
	return list
}

// frame is a frame of HTTP/2.
func frame(kind, flags byte, stream uint32, payload string) string {
	n := len(payload)
	return string([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream)}) + payload
}

// http2 are receivers that break HTTP/2.
func http2() []trick {
	settings := frame(4, 0, 0, "")
	list := []trick{
		{name: "h2: garbage", http: says("garbage garbage garbage garbage"), want: "transient|unknown"},
		{name: "h2: an answer of HTTP/1", http: says(ok200 + "Content-Length: 0\r\n\r\n"), want: "transient|unknown"},
		{name: "h2: closes", http: says(settings), want: "transient|unknown"},
		{name: "h2: never answers", http: holds(settings), want: "unknown"},
		{name: "h2: goes away", http: holds(settings + frame(7, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x0b")), want: "transient|unknown"},
		{name: "h2: refuses the stream", http: holds(settings + frame(3, 0, 1, "\x00\x00\x00\x07")), want: "transient|unknown"},
		{name: "h2: an inner error", http: holds(settings + frame(3, 0, 1, "\x00\x00\x00\x02")), want: "transient|unknown"},
		{name: "h2: a frame that is too large", http: holds(settings + "\xff\xff\xff\x00\x00\x00\x00\x00\x01"), want: "transient|unknown"},
		{name: "h2: data before headers", http: holds(settings + frame(0, 0, 1, "hello")), want: "transient|unknown"},
		{name: "h2: headers that cannot be unpacked", http: holds(settings + frame(1, 4, 1, "\xff\xff\xff\xff\xff")), want: "transient|unknown"},
	}
	for name, f := range map[string]string{
		"settings": frame(4, 0, 0, "\x00\x03\x00\x00\x00\x64"), "pings": frame(6, 0, 0, "12345678"), "windows": frame(8, 0, 0, "\x00\x00\x00\x01"),
		"empty data": frame(0, 0, 1, ""), "continuations": frame(1, 0, 1, "\x88") + strings.Repeat(frame(9, 0, 1, ""), 100),
	} {
		list = append(list, trick{name: "h2: endless " + name, want: "transient|unknown", http: func(p *peer) { p.say(settings); p.forever(f) }})
	}
	for i := range list {
		list[i].h2 = true
	}
	return list
}

// gossips repeat what they were told.
func gossips() []trick {
	all := func(p *peer) string {
		var b strings.Builder
		_ = p.request.Header.Write(&b)
		return p.request.RequestURI + "\r\n" + b.String()
	}
	refuse := func(p *peer, body string) {
		p.say(fmt.Sprintf("HTTP/1.1 400 no\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	}
	return []trick{
		{name: "repeats the request", want: "payload", http: func(p *peer) { refuse(p, all(p)) }},
		{name: "repeats one header", want: "payload", http: func(p *peer) { refuse(p, "bad token: "+p.request.Header.Get("Authorization")) }},
		{name: "repeats it without its scheme", want: "payload", http: func(p *peer) {
			refuse(p, "bad token: "+strings.TrimPrefix(p.request.Header.Get("Authorization"), "Bearer "))
		}},
		{name: "repeats it in base64", want: "payload", http: func(p *peer) { refuse(p, base64.StdEncoding.EncodeToString([]byte(all(p)))) }},
		{name: "repeats it in hex", want: "payload", http: func(p *peer) { refuse(p, hex.EncodeToString([]byte(p.request.Header.Get("Authorization")))) }},
		{name: "repeats it quoted", want: "payload", http: func(p *peer) { refuse(p, fmt.Sprintf("%q", all(p))) }},
		{name: "repeats it at the end of a long text", want: "payload", http: func(p *peer) {
			refuse(p, strings.Repeat("no ", 60)+p.request.Header.Get("Authorization"))
		}},
		{name: "repeats it in the status line", want: "payload", http: func(p *peer) {
			p.say("HTTP/1.1 400 " + p.request.Header.Get("Authorization") + "\r\nContent-Length: 0\r\n\r\n")
		}},
		{name: "repeats it in headers", want: "config", http: func(p *peer) {
			p.say("HTTP/1.1 302 no\r\nLocation: http://x.test/" + p.request.Header.Get("Authorization") + "\r\nRetry-After: " + p.request.RequestURI + "\r\nContent-Length: 0\r\n\r\n")
		}},
		{name: "repeats it in what is not HTTP", want: "unknown", http: func(p *peer) { p.say(p.request.Header.Get("Authorization") + " " + all(p)) }},
		{name: "repeats it in a broken header", want: "unknown", http: func(p *peer) { p.say(ok200 + p.request.Header.Get("Authorization") + "\r\n\r\n") }},
		{name: "repeats it in a chunk size", want: "accepted", http: func(p *peer) {
			p.say(ok200 + "Transfer-Encoding: chunked\r\n\r\n" + p.request.Header.Get("Authorization") + "\r\n")
		}},
		{name: "kept: repeats it after the answer", want: "accepted", http: func(p *peer) {
			p.say(ok200 + "Content-Length: 0\r\n\r\nHTTP/1.1 200 " + all(p) + "\r\n")
		}},
		{name: "repeats it and accepts", want: "accepted", http: func(p *peer) { p.say(ok200 + "\r\n" + all(p)) }},
	}
}
