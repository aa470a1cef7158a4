package drill

import (
	"hash/fnv"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
)

// share is how many mails of a hundred have a fault.
const share = 30

// kind is one way in which the mail server treats a mail badly.
type kind struct {
	name   string
	weight int // among all kinds
	fault  sink.Fault
}

// kinds are the faults of mails. Each hits a mail once, so that a run comes to
// an end: the queue's pauses double. Throttling stops the whole lane for a second and
// more, and is rare for that reason.
func kinds() []kind {
	return []kind{
		{"sender refused for now", 100, sink.Fault{Stage: "mail", Code: 451, Text: "4.3.0 local error"}},
		{"line cut at MAIL", 100, sink.Fault{Stage: "mail", Cut: true}},
		{"recipient refused for now", 100, sink.Fault{Stage: "rcpt", Code: 450, Text: "4.2.1 mailbox busy"}},
		{"recipient without room", 100, sink.Fault{Stage: "rcpt", Code: 452, Text: "4.3.1 no room"}},
		{"5xx that passes", 100, sink.Fault{Stage: "rcpt", Code: 503, Text: "5.5.1 not now"}},
		{"line cut at RCPT", 60, sink.Fault{Stage: "rcpt", Cut: true}},
		{"text refused for now", 100, sink.Fault{Stage: "dot", Code: 451, Text: "4.3.0 local error"}},
		{"no room for the text", 100, sink.Fault{Stage: "dot", Code: 452, Text: "4.3.1 no room"}},
		{"text dropped, line cut", 60, sink.Fault{Stage: "dot", Cut: true}},
		{"accepted, reply cut", 60, sink.Fault{Stage: "dot", Cut: true, Keep: true}},
		{"accepted, answered 451", 20, sink.Fault{Stage: "dot", Code: 451, Text: "4.3.0 local error", Keep: true}},
		{"accepted late", 60, sink.Fault{Stage: "dot", Stall: 300 * time.Millisecond}},
		{"throttled", 1, sink.Fault{Stage: "rcpt", Code: 450, Text: "4.7.1 too many messages, slow down"}},
		{Refused, 10, sink.Fault{Stage: "rcpt", Code: 550, Text: "5.1.1 no such mailbox"}},
	}
}

// Refused is the name of the fault after which a job is rightly a dead letter.
const Refused = "refused for good"

// mischief chooses the faults of a run. What happens to job n follows from the
// seed and n, whatever the order of arrival.
type mischief struct {
	seed  uint64
	kinds []kind
	sum   int // of the weights

	mu    sync.Mutex
	done  map[int]bool   // jobs that had their fault
	count map[string]int // by name
	conns uint64
}

func newMischief(seed uint64) *mischief {
	m := &mischief{seed: seed, kinds: kinds(), done: map[int]bool{}, count: map[string]int{}}
	for _, k := range m.kinds {
		m.sum += k.weight
	}
	return m
}

// draw is a number below n that follows from the seed, a word and a number.
func (m *mischief) draw(word string, number uint64, n int) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(word + strconv.FormatUint(m.seed, 10) + "/" + strconv.FormatUint(number, 10))) // never fails
	v := h.Sum64()
	v ^= v >> 33 // FNV's low bits alone are not even over short texts
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	return int(v % uint64(n))
}

// of returns the fault of a job, and whether it has one.
func (m *mischief) of(job int) (kind, bool) {
	const all = 100
	if m.draw("whether", uint64(job), all) >= share {
		return kind{}, false
	}
	n := m.draw("which", uint64(job), m.sum)
	for _, k := range m.kinds {
		if n -= k.weight; n < 0 {
			return k, true
		}
	}
	return kind{}, false
}

// choose is asked by the sink at each stage.
func (m *mischief) choose(stage, from string, _ []string) (sink.Fault, bool) {
	if stage == "connect" || stage == "auth" {
		return m.connection(stage)
	}
	job, ok := jobOf(from)
	if !ok {
		return sink.Fault{}, false
	}
	k, ok := m.of(job)
	if !ok || k.fault.Stage != stage {
		return sink.Fault{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done[job] {
		return sink.Fault{}, false
	}
	m.done[job] = true
	m.count[k.name]++
	return k.fault, true
}

// connection spoils one connection of forty at each of two stages.
func (m *mischief) connection(stage string) (sink.Fault, bool) {
	const each = 40
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns++
	if m.draw(stage, m.conns, each) != 0 {
		return sink.Fault{}, false
	}
	if stage == "auth" {
		m.count["login refused for now"]++
		return sink.Fault{Stage: stage, Code: 454, Text: "4.7.0 temporary failure"}, true
	}
	m.count["connection cut"]++
	return sink.Fault{Stage: stage, Cut: true}, true
}

// counts returns how often each fault happened.
func (m *mischief) counts() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]int, len(m.count))
	for name, n := range m.count {
		all[name] = n
	}
	return all
}

// senderOf is the sender of a job's mail, by which the sink knows the job.
func senderOf(job int) string { return "job-" + strconv.Itoa(job) + "@drill.test" }

// jobOf is the reverse of senderOf.
func jobOf(from string) (int, bool) {
	text, ok := strings.CutPrefix(from, "job-")
	if !ok {
		return 0, false
	}
	text, ok = strings.CutSuffix(text, "@drill.test")
	n, err := strconv.Atoi(text)
	return n, ok && err == nil
}
