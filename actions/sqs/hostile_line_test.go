package sqs

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
)

// lost is a request of which nobody knows what became.
func lost(name string, script func(*call)) behaviour {
	return behaviour{name: name, script: script, outcome: "retry", certainty: queue.Unknown, rule: "no-answer"}
}

// unclear is an answer that begins well and says nothing that can be used.
func unclear(name string, script func(*call)) behaviour {
	return behaviour{name: name, script: script, outcome: "retry", certainty: queue.Unknown, rule: "unreadable"}
}

const okHead = "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"

// flood writes a text until nobody reads it any more.
func (c *call) flood(text string) {
	text = strings.Repeat(text, 1+(16<<10)/len(text))
	for c.put(text) {
	}
}

// lineBehaviours go wrong below HTTP, or in its framing.
func lineBehaviours() []behaviour {
	return []behaviour{
		lost("never answers", func(c *call) { c.hold() }),
		lost("closes instead of an answer", func(*call) {}),
		lost("resets after the request", func(c *call) { _ = c.Conn.(*net.TCPConn).SetLinger(0) }),
		lost("endless headers", func(c *call) { c.put(okHead); c.flood("X-Filler: 0123456789abcdef\r\n") }),
		lost("one endless header", func(c *call) { c.put(okHead, "X-Filler: "); c.flood("0123456789abcdef") }),
		lost("an endless status", func(c *call) { c.put("HTTP/1.1 200 "); c.flood("OK") }),
		lost("endless 100 Continue", func(c *call) { c.flood("HTTP/1.1 100 Continue\r\n\r\n") }),
		lost("endless 103 with headers", func(c *call) {
			c.flood("HTTP/1.1 103 Early Hints\r\nLink: <" + strings.Repeat("x", 4<<10) + ">\r\n\r\n")
		}),
		lost("headers byte by byte", func(c *call) { c.trickle(okHead + strings.Repeat("X-Filler: x\r\n", 99)) }),
		lost("cut in the status", func(c *call) { c.put("HTTP/1.1 2") }),
		lost("cut after the status", func(c *call) { c.put("HTTP/1.1 200 OK\r\n") }),
		lost("cut in the headers", func(c *call) { c.put(okHead + "Content-Le") }),
		lost("another protocol", func(c *call) { c.put("SSH-2.0-OpenSSH_9.9\r\n") }),
		lost("bytes without meaning", func(c *call) { c.flood("\x00\xff\x16\x03") }),
		lost("switches to another protocol", func(c *call) {
			c.put("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
			c.hold()
		}),
		lost("a negative length", func(c *call) { c.put(okHead + "Content-Length: -1\r\n\r\n{}") }),
		lost("two lengths", func(c *call) { c.put(okHead + "Content-Length: 2\r\nContent-Length: 90\r\n\r\n{}") }),
		lost("a length that is no number", func(c *call) { c.put(okHead + "Content-Length: 0x10\r\n\r\n{}") }),

		unclear("endless body", func(c *call) { c.put(okHead + "\r\n{\"Successful\":[\""); c.flood("0123456789abcdef") }),
		unclear("endless chunks", func(c *call) { c.put(okHead + "Transfer-Encoding: chunked\r\n\r\n"); c.flood("1\r\n[\r\n") }),
		unclear("a chunk with an endless length", func(c *call) { c.put(okHead + "Transfer-Encoding: chunked\r\n\r\n"); c.flood("0") }),
		unclear("endless trailers", func(c *call) {
			c.put(okHead + "Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n")
			c.flood("X-Filler: 0123456789abcdef\r\n")
		}),
		unclear("a chunk of a lying length", func(c *call) { c.put(okHead + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n{}") }),
		unclear("body byte by byte", func(c *call) { c.put(okHead + "Content-Length: 5000\r\n\r\n"); c.trickle(strings.Repeat(" ", 5000)) }),
		unclear("cut in the body", func(c *call) { c.put(okHead+"Content-Length: 5000\r\n\r\n", `{"Successful":[{"Id":"0",`) }),
		unclear("reset in the body", func(c *call) {
			c.put(okHead+"Content-Length: 5000\r\n\r\n", `{"Successful":[{"Id":"0",`)
			_ = c.Conn.(*net.TCPConn).SetLinger(0)
		}),
		unclear("a length that is too short", func(c *call) { c.put(okHead+"Content-Length: 40\r\n\r\n", accepts("0", "1", "2")) }),
		unclear("a length that is too long", func(c *call) { c.put(okHead+"Content-Length: 9000\r\n\r\n", accepts("0", "1", "2")); c.hold() }),
		unclear("a length of exabytes", func(c *call) { c.put(okHead+"Content-Length: 9223372036854775807\r\n\r\n", "[") }),
	}
}

// tlsBehaviours go wrong before a request could leave. "TLS" in their names
// makes the endpoint an https one.
func tlsBehaviours(t *testing.T) []behaviour {
	t.Helper()
	ca, err := sink.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	soon := time.Now().Add(time.Hour)
	config := func(end time.Time, host string) *tls.Config {
		cert, err := ca.IssueUntil(end, host)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	old := config(soon, "127.0.0.1")
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	alone := config(soon, "127.0.0.1")
	alone.Certificates[0].Certificate = alone.Certificates[0].Certificate[:1] // without its authority
	never := func(c *call) { panic("a signed request came over TLS that does not verify") }
	parked := func(name string, config *tls.Config) behaviour {
		return behaviour{name: name, tls: config, script: never, outcome: "parked", certainty: queue.Rejected, rule: "tls-refused"}
	}
	bare := func(name, outcome, rule string, script func(*call)) behaviour {
		return behaviour{name: name, bare: true, script: script, outcome: outcome, certainty: queue.Rejected, rule: rule}
	}
	record := func(length int, body string) string { // a handshake record (RFC 8446, section 5.1)
		return string(binary.BigEndian.AppendUint16([]byte{22, 3, 3}, uint16(length))) + body
	}
	return []behaviour{
		parked("TLS certificate for another name", config(soon, "sqs.eu-west-1.amazonaws.com")),
		parked("TLS certificate that has expired", config(time.Now().Add(-time.Minute), "127.0.0.1")),
		parked("TLS certificate of an unknown authority", config(soon, "127.0.0.1")),
		parked("TLS certificate without its authority", alone),
		parked("TLS 1.0 only", old),
		bare("no TLS but plain HTTP", "parked", "tls-refused", func(c *call) { c.answer(400, "{}"); c.hold() }),
		bare("no TLS but a flood", "parked", "tls-refused", func(c *call) { c.flood("0123456789abcdef") }),
		bare("TLS that never answers", "retry", "no-connection", func(c *call) { c.hold() }),
		bare("TLS that is cut", "retry", "no-connection", func(c *call) { c.put(record(1000, "\x02\x00")) }),
		bare("TLS byte by byte", "retry", "no-connection", func(c *call) { c.trickle(record(16000, strings.Repeat("\x02", 16000))) }),
		bare("TLS of endless empty records", "parked", "tls-refused", func(c *call) { c.flood(record(0, "")) }),
	}
}
