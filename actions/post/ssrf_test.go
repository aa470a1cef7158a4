package post

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/queue"
)

// special are addresses that no job may reach: one or more of each range of the
// registries of IANA, and those of the metadata services of clouds.
var special = []string{
	"127.0.0.1", "127.1.2.3", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.254", "172.16.0.1", "172.31.255.254", "192.168.0.1", "192.168.255.254",
	"169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
	"192.88.99.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
}

// special6 are the same of IPv6.
var special6 = []string{
	"::", "::1", "::2", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "2001::1", "2002::1", "64:ff9b:1::1", "100::1", "3fff::1", "5f00::1",
}

// spellings are the ways to write an IPv4 address that one resolver or parser
// or other takes.
func spellings(ip string) []string {
	b := netip.MustParseAddr(ip).As4()
	n := binary.BigEndian.Uint32(b[:])
	return []string{
		ip, ip + ".", fmt.Sprint(n), fmt.Sprintf("0x%x", n), fmt.Sprintf("0X%X", n), fmt.Sprintf("0%o", n),
		fmt.Sprintf("0%o.0%o.0%o.0%o", b[0], b[1], b[2], b[3]), fmt.Sprintf("0x%x.0x%x.0x%x.0x%x", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("%d.%d", b[0], n&0xffffff), fmt.Sprintf("%d.%d.%d", b[0], b[1], n&0xffff), fmt.Sprintf("%03d.%03d.%03d.%03d", b[0], b[1], b[2], b[3]),
		fmt.Sprint(uint64(n) + 1<<32), fmt.Sprintf("%d.%d.%d.%d", int(b[0])+256, b[1], b[2], b[3]),
		fmt.Sprintf("[::ffff:%s]", ip), fmt.Sprintf("[::ffff:%x:%x]", n>>16, n&0xffff), fmt.Sprintf("[::%s]", ip), fmt.Sprintf("[::ffff:0:%s]", ip),
		fmt.Sprintf("[64:ff9b::%s]", ip), fmt.Sprintf("[64:ff9b:1::%s]", ip), fmt.Sprintf("[2002:%x:%x::1]", n>>16, n&0xffff),
		fmt.Sprintf("[2001:0:%x:%x::1]", n>>16, n&0xffff), fmt.Sprintf("[2001::%x:%x]", ^n>>16&0xffff, ^n&0xffff), fmt.Sprintf("[fe80::5efe:%s]", ip),
		fmt.Sprintf("[::ffff:%s%%25eth0]", ip), circled(ip), strings.ReplaceAll(ip, ".", "\u3002"), "%" + strings.ToUpper(fmt.Sprintf("%x", ip[0])) + ip[1:],
	}
}

// circled writes digits in circles, which IDNA maps to plain ones.
func circled(ip string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '0':
			return '\u24ea'
		case r >= '1' && r <= '9':
			return '\u2460' + r - '1'
		}
		return r
	}, ip)
}

// forbidden are URLs that lead to what no job may reach. port is where somebody
// listens; names are the names that lead there.
func forbidden(port string, names []string) []string {
	var urls []string
	add := func(format string, args ...any) { urls = append(urls, fmt.Sprintf(format, args...)) }
	for i, ip := range special {
		for _, host := range spellings(ip) {
			add("https://%s/", host)
			switch i % 3 {
			case 0:
				add("https://%s:%s/latest/meta-data/?x=1", host, port)
			case 1:
				add("http://%s:80/", host)
			default:
				add("https://%s:8443/a/b", host)
			}
		}
	}
	for _, ip := range special6 {
		for _, host := range []string{"[" + ip + "]", "[" + ip + "%25lo]", "[" + ip + "%lo]"} {
			add("https://%s/", host)
			add("http://%s:%s/x", host, port)
		}
	}
	for _, name := range names {
		add("https://%s/", name)
		add("https://%s:%s/", strings.ToUpper(name), port)
		add("http://%s.:%s/x", name, port)
	}
	local := "127.0.0.1:" + port
	return append(urls,
		"https://good.test@"+local, "https://good.test:443@"+local+"/", "https://"+local+"@good.test/", `https://good.test\@`+local, `https://`+local+`\.good.test`,
		"https://"+local+"#@good.test/", "https://"+local+"?@good.test/", "https://"+local+"%23@good.test/", "https://"+local+"%00.good.test/", "https://"+local+"\t.good.test/",
		"https:"+local, "https:/"+local, "https:///"+local, "https:////"+local, "//"+local, local, "http:\\\\"+local, "file:///etc/passwd", "file://"+local, "gopher://"+local+"/_x",
		"dict://"+local, "ftp://"+local, "ldap://"+local, "unix:///var/run/docker.sock", "jar:https://"+local+"!/", "data:text/plain,x", "javascript:alert(1)", "blob:https://"+local,
		"http+unix://%2fvar%2frun%2fdocker.sock/", "https://[::ffff:7f00:1%2e]/", "https://[127.0.0.1]/", "https://[::1]:"+port+"@good.test/", "https://127.0.0.1:0443/", "https://127.0.0.1:+443/",
		"https://127.0.0.1:443:80/", "https:// 127.0.0.1/", "https://127.0.0.1 /", "https://127。0。0。1/", "https://$VALUE$/", "https://$VALUE$:"+port+"/", "https://127.0.0.$VALUE$/", "https://a.test:$VALUE$/",
		"$VALUE$", "$VALUE$://"+local, "https://good.test$VALUE$"+local,
	)
}

func TestNoURLReachesWhatNoJobMayReach(t *testing.T) {
	ln, touched := listenEverywhere(t)
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dns := startDNS(t)
	var names []string
	for i, ip := range append(append([]string{}, special...), special6...) {
		name := fmt.Sprintf("inner-%d.test", i)
		dns.set(name, ip)
		names = append(names, name)
	}
	dns.set("alias.test", "=inner-0.test")
	names = append(names, "alias.test", "localhost")
	var nobody *netguard.Guard
	a := New(Config{Vault: newVault(), Guard: nobody.WithResolver(dns.resolver()), Timeout: 5 * time.Second})
	defer a.Close()
	urls := forbidden(port, names)
	if len(urls) < 500 {
		t.Fatalf("only %d URLs", len(urls))
	}
	var all sync.WaitGroup
	var dialled atomic.Int32
	slots := make(chan struct{}, 16)
	for _, u := range urls {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if refused(t, a, u) {
				dialled.Add(1)
			}
		})
	}
	all.Wait()
	if n := touched(); n != 0 {
		t.Errorf("%d connections came", n)
	}
	t.Logf("%d URLs, %d of them refused by the guard", len(urls), dialled.Load())
	if dialled.Load() < 500 {
		t.Errorf("only %d of %d URLs got as far as the guard", dialled.Load(), len(urls))
	}
}

// refused fails the test unless the URL is refused, and says whether the guard
// did it.
func refused(t *testing.T, a *Action, u string) bool {
	j := job(t, `[{"value":"127.0.0.1"}]`, fields{"url": u})
	work, err := a.Prepare(j)
	if _, dead := errors.AsType[*queue.PermanentError](err); dead {
		return false
	}
	if err != nil {
		t.Errorf("%s: %v", u, err)
		return false
	}
	reply, err := work.Do(t.Context(), queue.NewClaim(j, 1, nil))
	if reply.Reason != string(actions.Policy) || outcome(err) != "dead" || !errors.Is(err, netguard.ErrBlocked) {
		t.Errorf("%s: got %s %v, want policy", u, reply.Reason, err)
	}
	return true
}

func TestANameThatChangesGainsNothing(t *testing.T) {
	ln, touched := listenEverywhere(t)
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	dns := startDNS(t)
	dns.set("rebind.test", "8.8.8.8", "127.0.0.1") // the first answer, then always the second
	var guard *netguard.Guard
	seen, err := dns.resolver().LookupNetIP(t.Context(), "ip4", "rebind.test")
	if err != nil || guard.Check("tcp4", net.JoinHostPort(seen[0].String(), "443")) != nil {
		t.Fatalf("the first look-up: %v, %v", seen, err)
	}
	a := New(Config{Vault: newVault(), Guard: guard.WithResolver(dns.resolver()), Timeout: 5 * time.Second})
	defer a.Close()
	for _, u := range []string{"https://rebind.test/", "https://rebind.test:8443/", "https://rebind.test:" + port + "/", "http://rebind.test:" + port + "/"} {
		if !refused(t, a, u) {
			t.Errorf("%s did not get as far as the guard", u)
		}
	}
	if n := touched(); n != 0 {
		t.Errorf("%d connections came", n)
	}
}

// listenEverywhere counts connections to any address of this machine.
func listenEverywhere(t *testing.T) (net.Listener, func() int32) {
	t.Helper()
	ln, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	var count atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			_ = c.Close()
		}
	}()
	return ln, func() int32 {
		_ = ln.Close()
		<-done
		return count.Load()
	}
}

// dnsServer answers by a table. A text that begins with = is another name.
type dnsServer struct {
	conn net.PacketConn
	done chan struct{}

	mu    sync.Mutex
	names map[string][]string // answers in turn; the last one stays
}

func startDNS(t *testing.T) *dnsServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dnsServer{conn: conn, done: make(chan struct{}), names: map[string][]string{}}
	go s.serve()
	t.Cleanup(func() {
		_ = conn.Close()
		<-s.done
	})
	return s
}

func (s *dnsServer) set(name string, answers ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[name] = answers
}

// resolver asks this server only.
func (s *dnsServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

func (s *dnsServer) serve() {
	defer close(s.done)
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer, err := s.answer(buf[:n]); err == nil {
			_, _ = s.conn.WriteTo(answer, from)
		}
	}
}

func (s *dnsServer) answer(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil, errors.New("not a question")
	}
	q := m.Questions[0]
	m.Header = dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}
	m.Additionals = nil
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	text := s.next(name, q.Type)
	head := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 0}
	if other, ok := strings.CutPrefix(text, "="); ok {
		target := dnsmessage.MustNewName(other + ".")
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.CNAMEResource{CNAME: target}})
		head.Name, text = target, s.next(other, q.Type)
	}
	switch ip, err := netip.ParseAddr(text); {
	case err == nil && ip.Is4() && q.Type == dnsmessage.TypeA:
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: ip.As4()}})
	case err == nil && ip.Is6() && q.Type == dnsmessage.TypeAAAA:
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}})
	}
	return m.Pack()
}

// next is the answer for a name; questions for A move on to the next one.
func (s *dnsServer) next(name string, q dnsmessage.Type) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.names[name]
	if len(list) == 0 {
		return ""
	}
	if q == dnsmessage.TypeA && len(list) > 1 {
		s.names[name] = list[1:]
	}
	return list[0]
}
