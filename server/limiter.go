package server

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits of failed logins. A token has 256 random bits, so guessing is hopeless
// at any rate; the limit keeps a client with a wrong token from filling logs
// and metrics. Numbers: ours.
const (
	failBurst   = 20    // failures at once from one address
	failPerSec  = 1     // and then one a second
	failTracked = 10000 // addresses remembered; the least recent is forgotten
)

// failures counts failed logins by client address. Only failures are limited:
// a right token always passes, so that one client with a wrong one cannot lock
// out others behind the same address.
type failures struct {
	mu    sync.Mutex
	byIP  map[netip.Addr]*list.Element
	order *list.List // of *failure, most recent first
	now   func() time.Time
}

type failure struct {
	addr    netip.Addr
	limiter *rate.Limiter
}

func newFailures(now func() time.Time) *failures {
	return &failures{byIP: make(map[netip.Addr]*list.Element), order: list.New(), now: now}
}

// allow notes one failure of addr and reports whether it is within the limit.
func (f *failures) allow(addr netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	el, ok := f.byIP[addr]
	if ok {
		f.order.MoveToFront(el)
	} else {
		el = f.order.PushFront(&failure{addr: addr, limiter: rate.NewLimiter(failPerSec, failBurst)})
		f.byIP[addr] = el
	}
	if f.order.Len() > failTracked {
		last := f.order.Back()
		f.order.Remove(last)
		delete(f.byIP, last.Value.(*failure).addr)
	}
	return el.Value.(*failure).limiter.AllowN(f.now(), 1)
}

// clientAddr is the address of the peer itself. Forwarded headers are not
// read: anybody can write them. An IPv6 client owns its /64, so that counts.
func clientAddr(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if prefix, err := addr.Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return addr
}
