// Package crashpoint lets a process kill itself at a named place, as kill -9
// would, so that a test can show what a crash right there leaves behind.
//
// A place is a call of [Point]. Nothing happens there unless the process was
// started with SEALPOST_CRASH_AT=<name> or <name>:<n>, which kills it when the
// place is passed for the n-th time.
package crashpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Variable is the environment variable that arms a place of `sealpost serve`.
const Variable = "SEALPOST_CRASH_AT"

// armed is the place that kills this process, nil in all that are not a test's.
var armed atomic.Pointer[place]

// place is an armed place.
type place struct {
	name string
	left atomic.Int64 // passes up to the one that kills
}

// Point is passed by whoever comes to the place of this name. It costs one
// load unless a place is armed.
func Point(name string) {
	if p := armed.Load(); p != nil {
		p.pass(name)
	}
}

// pass kills the process with SIGKILL at the last pass. No goroutine that comes
// here goes on: the signal may need a moment.
func (p *place) pass(name string) {
	if name != p.name || p.left.Add(-1) > 0 {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		_ = self.Kill()
	}
	select {}
}

// Arm arms the place that spec names, "<name>" or "<name>:<n>". An empty spec
// arms nothing. It is called once, at the start.
func Arm(spec string) error {
	if spec == "" {
		return nil
	}
	name, count, counted := strings.Cut(spec, ":")
	n := int64(1)
	if counted {
		var err error
		if n, err = strconv.ParseInt(count, 10, 64); err != nil || n < 1 {
			return fmt.Errorf("%s: want <name> or <name>:<n> with n from 1", Variable)
		}
	}
	if !slices.Contains(names, name) {
		return fmt.Errorf("%s: names no place; crashpoint/names.go lists them", Variable)
	}
	p := &place{name: name}
	p.left.Store(n)
	armed.Store(p)
	return nil
}

// Names returns the names of all places.
func Names() []string { return slices.Clone(names) }
