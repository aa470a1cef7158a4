package netguard

import (
	"errors"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// refused has one address of every kind that nobody but this machine, its LAN
// or its cloud answers on, with the edges of each range.
var refused = []string{
	// IPv4: RFC 1122, 1918, 3927, 6598, 6890, 5737, 2544, 1112, 7526, 7534, 7535, 7450
	"0.0.0.0", "0.0.0.1", "0.255.255.255",
	"10.0.0.0", "10.0.0.1", "10.1.2.3", "10.255.255.255",
	"100.64.0.0", "100.64.0.1", "100.100.100.200", "100.127.255.255",
	"127.0.0.0", "127.0.0.1", "127.1.1.1", "127.255.255.254", "127.255.255.255",
	"169.254.0.0", "169.254.169.254", "169.254.170.2", "169.254.255.255",
	"172.16.0.0", "172.16.0.1", "172.17.0.1", "172.24.1.1", "172.31.255.255",
	"192.0.0.0", "192.0.0.8", "192.0.0.170", "192.0.0.192", "192.0.0.255",
	"192.0.2.0", "192.0.2.1", "192.0.2.255",
	"192.31.196.1", "192.52.193.1", "192.88.99.1", "192.175.48.6",
	"192.168.0.0", "192.168.0.1", "192.168.1.1", "192.168.255.255",
	"198.18.0.0", "198.18.0.1", "198.19.255.255",
	"198.51.100.0", "198.51.100.25", "203.0.113.0", "203.0.113.255",
	"224.0.0.0", "224.0.0.1", "239.255.255.250", "239.255.255.255",
	"240.0.0.0", "240.0.0.1", "254.1.1.1", "255.255.255.254", "255.255.255.255",
	// IPv6
	"::", "::1", "::2", "::127.0.0.1", "::10.0.0.1", "::8.8.8.8",
	"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:192.168.1.1", "::ffff:0.0.0.0",
	"::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::1",
	"100::", "100::1", "100:0:0:1::1",
	"2001::", "2001::1", "2001:0:7f00:1::", "2001:1::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff:ffff::1",
	"2001:db8::", "2001:db8::1", "2001:db8:ffff::1",
	"2002::", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:c0a8:101::1",
	"2620:4f:8000::1", "3fff::1", "3fff:fff::1", "4000::1", "5f00::1",
	"fc00::", "fc00::1", "fd00::1", "fd00:ec2::254", "fdff:ffff::1",
	"fe80::", "fe80::1", "fe80::1%eth0", "fe80::a9fe:a9fe", "febf::1",
	"fec0::1", "feff::1", "ff00::1", "ff02::1", "ff02::1%eth0", "ff05::2", "ffff::1",
}

// admitted has addresses of the public internet, with the neighbours of the
// refused ranges.
var admitted = []string{
	"1.0.0.0", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0",
	"100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
	"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
	"191.255.255.255", "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0",
	"198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
	"::ffff:8.8.8.8", "2001:200::1", "2001:4860:4860::8888", "2001:db7::1", "2001:db9::1",
	"2003::1", "2400:cb00::1", "2606:4700:4700::1111", "2620:4f:8001::1", "2a00:1450:4001::1b", "3ffe::1",
}

func TestGuardRefusesWhatIsNotPublic(t *testing.T) {
	if len(refused)+len(admitted) < 100 {
		t.Fatalf("only %d addresses", len(refused)+len(admitted))
	}
	var none *Guard
	empty, err := Parse(" , ")
	if err != nil {
		t.Fatal(err)
	}
	for name, g := range map[string]*Guard{"nil": none, "empty": empty} {
		for _, ip := range refused {
			if err := g.Check("tcp4", net.JoinHostPort(ip, "587")); !errors.Is(err, ErrBlocked) {
				t.Errorf("%s guard: %s: got %v, want ErrBlocked", name, ip, err)
			}
		}
		for _, ip := range admitted {
			if err := g.Check("tcp6", net.JoinHostPort(ip, "25")); err != nil {
				t.Errorf("%s guard: %s: got %v, want nil", name, ip, err)
			}
		}
	}
}

func TestGuardRefusesOddNetworksAndAddresses(t *testing.T) {
	var g *Guard
	for _, c := range [][2]string{
		{"udp4", "8.8.8.8:53"}, {"unix", "/run/x"}, {"tcp", "8.8.8.8:25"}, {"tcp4", "8.8.8.8"},
		{"tcp4", "mail.test:25"}, {"tcp4", ""}, {"tcp6", "[::1"}, {"tcp4", "127.1:25"}, {"tcp4", "2130706433:25"},
	} {
		if err := g.Check(c[0], c[1]); !errors.Is(err, ErrBlocked) {
			t.Errorf("%s %q: got %v, want ErrBlocked", c[0], c[1], err)
		}
	}
}

func TestGuardAdmitsWhatTheOperatorAllowed(t *testing.T) {
	g, err := Parse("10.1.0.0/16, 192.168.7.7 ,127.0.0.1:2525,[fd00::1]:25,fd12::/32,::ffff:10.9.9.9")
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"10.1.0.0:25": true, "10.1.255.255:587": true, "10.2.0.0:25": false, "10.0.255.255:25": false,
		"192.168.7.7:1": true, "192.168.7.8:1": false,
		"127.0.0.1:2525": true, "127.0.0.1:25": false, "127.0.0.2:2525": false,
		"[fd00::1]:25": true, "[fd00::1]:26": false, "[fd12::9]:443": true, "[fd13::9]:443": false,
		"[::ffff:10.1.2.3]:25": true, "[::ffff:127.0.0.1]:2525": true, "[::ffff:10.2.2.3]:25": false,
		"10.9.9.9:1": true, "169.254.169.254:80": false,
	} {
		if got := g.Check("tcp4", address) == nil; got != want {
			t.Errorf("%s: got %v, want %v", address, got, want)
		}
	}
}

func TestParseReportsAllMistakes(t *testing.T) {
	_, err := Parse("10.0.0.0/8,10.0.0/8,mail.lan,mail.lan:0,mail.lan:smtp,mail lan:25,10.0.0.256:25,10.1.2.3/8,host:70000,:25")
	if err == nil {
		t.Fatal("got nil")
	}
	for _, entry := range []string{
		`"10.0.0/8"`, `"mail.lan"`, `"mail.lan:0"`, `"mail.lan:smtp"`, `"mail lan:25"`, `"10.0.0.256:25"`,
		`"10.1.2.3/8"`, "did you mean 10.0.0.0/8?", `"host:70000"`, `":25"`,
	} {
		if !strings.Contains(err.Error(), entry) {
			t.Errorf("%s is not reported in:\n%v", entry, err)
		}
	}
	if strings.Contains(err.Error(), `"10.0.0.0/8"`) {
		t.Errorf("a good entry is reported:\n%v", err)
	}
}

func TestDialIsCheckedAfterTheNameIsResolved(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, tt := range []struct {
		name, allow, host string
		blocked           bool
	}{
		{"a loopback address is blocked", "", "127.0.0.1", true},
		{"a name for a loopback address is blocked", "", "localhost", true},
		{"a name does not help another port", "localhost:1", "localhost", true},
		{"an allowed name passes", "LocalHost:" + port, "localhost", false},
		{"an allowed name does not admit the address", "localhost:" + port, "127.0.0.1", true},
		{"an allowed address passes", "127.0.0.1:" + port, "127.0.0.1", false},
		{"an allowed address admits its names", "127.0.0.0/8,::1", "localhost", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := Parse(tt.allow)
			if err != nil {
				t.Fatal(err)
			}
			c, err := g.DialContext(t.Context(), "tcp4", net.JoinHostPort(tt.host, port))
			if err == nil {
				c.Close()
			}
			if got := errors.Is(err, ErrBlocked); got != tt.blocked || (err != nil) != tt.blocked {
				t.Errorf("got %v, want blocked %v", err, tt.blocked)
			}
			if tt.blocked && !strings.Contains(err.Error(), "SEALPOST_ALLOW_NET=127.0.0.1:") {
				t.Errorf("no advice in %v", err)
			}
		})
	}
}

func TestAnAllowedNameDoesNotReachTheMetadataService(t *testing.T) {
	g, err := Parse("169.254.169.254.:80,metadata.test:80")
	if err == nil {
		t.Fatalf("an address with a trailing dot was taken as a name: %+v", g)
	}
	for _, ip := range []string{"169.254.169.254", "0.0.0.0", "224.0.0.1", "fe80::1", "::", "ff02::1"} {
		if ordinary(mustAddr(t, ip)) {
			t.Errorf("%s may be reached by name", ip)
		}
	}
	for _, ip := range []string{"127.0.0.1", "10.0.0.1", "fd00::1", "8.8.8.8"} {
		if !ordinary(mustAddr(t, ip)) {
			t.Errorf("%s may not be reached by name", ip)
		}
	}
}

func FuzzParseNeverAdmitsByMistake(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "a:25", "[::1]:25", "1.2.3.4", ",,", "x/y", "::ffff:1.2.3.4/100"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		g, err := Parse(list)
		if err != nil {
			return
		}
		// With nothing but names and ports allowed, no other port opens.
		if len(g.prefixes) == 0 && !g.ports[mustAddrPort(t, "169.254.169.254:80")] {
			if err := g.Check("tcp4", "169.254.169.254:80"); err == nil {
				t.Errorf("Parse(%q) admits the metadata service", list)
			}
		}
	})
}

func TestDialAllowedReachesOnlyWhatTheOperatorNamed(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, tt := range []struct {
		name, allow, host string
		blocked           bool
	}{
		{"nothing is allowed", "", "127.0.0.1", true},
		{"another address is allowed", "127.0.0.2", "127.0.0.1", true},
		{"a public address is not enough", "127.0.0.1:" + port, "192.0.32.8", true},
		{"an allowed address", "127.0.0.1:" + port, "127.0.0.1", false},
		{"an allowed name", "localhost:" + port, "localhost", false},
		{"an allowed network admits names in it", "127.0.0.0/8", "localhost", false},
		{"an address written as a number", "127.0.0.0/8", "2130706433", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := Parse(tt.allow)
			if err != nil {
				t.Fatal(err)
			}
			c, err := g.DialAllowed(t.Context(), "tcp4", net.JoinHostPort(tt.host, port))
			if err == nil {
				c.Close()
			}
			if got := errors.Is(err, ErrBlocked); got != tt.blocked || (err != nil) != tt.blocked {
				t.Errorf("got %v, want blocked %v", err, tt.blocked)
			}
		})
	}
	var none *Guard
	if _, err := none.DialAllowed(t.Context(), "tcp4", "8.8.8.8:80"); !errors.Is(err, ErrBlocked) {
		t.Errorf("a nil guard: got %v, want ErrBlocked", err)
	}
}

func TestHostsThatAreNumbers(t *testing.T) {
	for host, want := range map[string]bool{
		"2130706433": true, "0x7f000001": true, "0x7f.0.0.1": true, "127.1": true, "017700000001": true, "1.2.3.4.": true,
		"0177.0.0.1": true, "1.2.3.0x": true, "256.1.1.1": true, "a.1": true, "": true, "127.0.0.1": false, "::1": false,
		"a.test": false, "1.test": false, "1e100.net": false, "0xa.test": false, "localhost": false, "a.test.": false,
	} {
		if got := writtenAsNumber(net.JoinHostPort(host, "443")); got != want {
			t.Errorf("%q: got %v, want %v", host, got, want)
		}
	}
}
