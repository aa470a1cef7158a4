package sink

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/smtp"
	"strings"
	"testing"
)

// TestRepliesToAGroupAreOneWrite: what Postfix and Exim do. Loopback hands over what
// was written at once in one piece.
func TestRepliesToAGroupAreOneWrite(t *testing.T) {
	s, err := StartSMTP(SMTPConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 4096)
	if n, err := c.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "220 ") {
		t.Fatalf("greeting %q (%v)", buf[:n], err)
	}
	if _, err := c.Write([]byte("NOOP\r\nRSET\r\nNOOP\r\nQUIT\r\n")); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(buf)
	if got := string(buf[:n]); err != nil || strings.Count(got, "\r\n") != 4 || !strings.Contains(got, "221 ") {
		t.Errorf("the first piece is %q (%v), want four replies", got, err)
	}
}

// TestTheGoodbyeGoesOut: the reply to QUIT is written just before the line closes.
func TestTheGoodbyeGoesOut(t *testing.T) {
	s, err := StartSMTP(SMTPConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.CAPEM()))
	config := &tls.Config{ServerName: "127.0.0.1", RootCAs: roots}
	c, err := smtp.Dial(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.StartTLS(config); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Errorf("QUIT over TLS: %v", err)
	}
}
