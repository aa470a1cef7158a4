package access

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets"
)

// EventKind says what an event tells.
type EventKind string

// The kinds of events.
const (
	EventRun     EventKind = "run"     // somebody started the analysis; Data is the array it gets
	EventConsole EventKind = "console" // the analysis wrote a line; Data is a ConsoleLine
	EventTaken   EventKind = "taken"   // a listener has the run; Analysis is the Run of its event
)

// Event is what the listeners of an analysis are told, in all processes. It
// holds no value of a secret: whoever delivers a run resolves the environment
// then.
type Event struct {
	Kind     EventKind       `json:"kind"`
	Analysis string          `json:"analysis"` // id
	Data     json.RawMessage `json:"data"`

	// Of a run that a job started; see [Directory.Trigger].
	Facts []Fact `json:"facts,omitempty"` // entries beside the environment
	Why   string `json:"why,omitempty"`   // for the audit entry of the environment
	Run   string `json:"run,omitempty"`   // whoever delivers it calls Taken
}

// Topic is what a listener wants to hear of.
type Topic struct {
	Kind     EventKind
	Analysis string // id; the Run of an event for EventTaken
}

// ErrListeners says that there are as many listeners as there may be.
var ErrListeners = errors.New("access: too many listeners; close some, or ask another process")

// Limits of listeners. Numbers: ours.
const (
	eventBuffer  = 64     // events that wait for a listener; a slower one is dropped
	maxListeners = 10_000 // of a process; each holds a connection anyway
	maxTopic     = 200    // listeners of one topic in a process
)

// Listener gets events until it is closed, or dropped for being slow.
type Listener struct {
	events *events
	topics []Topic
	queue  chan Event
	gone   bool // queue is closed
}

// Events returns the channel of events. It is closed when the listener was
// dropped because it did not keep up, or was closed.
func (l *Listener) Events() <-chan Event { return l.queue }

// Close ends the listening. It may be called more than once.
func (l *Listener) Close() { l.events.leave(l) }

// Listen returns a listener of these topics. An event that is published after
// Listen has returned reaches it, unless the line to Redis breaks meanwhile:
// events are not kept for anybody. Error ErrListeners, or the network's.
func (d *Directory) Listen(ctx context.Context, topics ...Topic) (*Listener, error) {
	return d.events.listen(ctx, topics)
}

// events hands out what is published on one channel of Redis. There is one
// subscription in a process, and only while somebody listens.
type events struct {
	rdb     redis.UniversalClient
	keyring *secrets.Keyring
	channel string

	mu      sync.Mutex
	byTopic map[Topic]map[*Listener]bool
	open    map[*Listener]bool
	sub     *subscription // nil: nobody listens
}

// subscription is one subscription to the channel.
type subscription struct {
	stop  context.CancelFunc
	ready chan struct{} // closed when Redis has confirmed it, or err is set
	done  chan struct{} // closed at its end
	err   error
}

func newEvents(rdb redis.UniversalClient, keyring *secrets.Keyring, channel string) *events {
	return &events{rdb: rdb, keyring: keyring, channel: channel, byTopic: map[Topic]map[*Listener]bool{}, open: map[*Listener]bool{}}
}

func (e *events) listen(ctx context.Context, topics []Topic) (*Listener, error) {
	l := &Listener{events: e, topics: topics, queue: make(chan Event, eventBuffer)}
	sub, err := e.enter(ctx, l)
	if err != nil {
		return nil, err
	}
	select {
	case <-sub.ready:
		err = sub.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("subscribe to events: %w", err)
	}
	return l, nil
}

// enter adds a listener, and subscribes for the first.
func (e *events) enter(ctx context.Context, l *Listener) (*subscription, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.open) >= maxListeners {
		return nil, ErrListeners
	}
	for _, t := range l.topics {
		if len(e.byTopic[t]) >= maxTopic {
			return nil, ErrListeners
		}
	}
	e.open[l] = true
	for _, t := range l.topics {
		if e.byTopic[t] == nil {
			e.byTopic[t] = map[*Listener]bool{}
		}
		e.byTopic[t][l] = true
	}
	if e.sub == nil {
		// It serves others too: the context of the first one must not end it.
		sub, stop := context.WithCancel(context.WithoutCancel(ctx))
		e.sub = &subscription{stop: stop, ready: make(chan struct{}), done: make(chan struct{})}
		go e.run(sub, e.sub)
	}
	return e.sub, nil
}

// leave removes a listener. The last one ends the subscription and waits for
// its end.
func (e *events) leave(l *Listener) {
	e.mu.Lock()
	e.silence(l)
	delete(e.open, l)
	sub := e.sub
	if len(e.open) > 0 || sub == nil {
		e.mu.Unlock()
		return
	}
	e.sub = nil
	e.mu.Unlock()
	sub.stop()
	<-sub.done
}

// silence sends l nothing more. e.mu is held.
func (e *events) silence(l *Listener) {
	if l.gone {
		return
	}
	l.gone = true
	for _, t := range l.topics {
		delete(e.byTopic[t], l)
		if len(e.byTopic[t]) == 0 {
			delete(e.byTopic, t)
		}
	}
	close(l.queue)
}

// run hands out messages until ctx ends. go-redis subscribes again by itself
// when the line breaks, and tries it every few seconds.
func (e *events) run(ctx context.Context, sub *subscription) {
	defer close(sub.done)
	ps := e.rdb.Subscribe(ctx, e.channel)
	defer ps.Close()
	if _, err := ps.Receive(ctx); err != nil { // the confirmation
		sub.err = err
		e.forget(sub)
		close(sub.ready)
		return
	}
	close(sub.ready)
	messages := ps.Channel()
	for {
		select {
		case m, ok := <-messages:
			if !ok {
				return
			}
			e.hand(m.Payload)
		case <-ctx.Done():
			return
		}
	}
}

// forget lets the next listener try anew.
func (e *events) forget(sub *subscription) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sub == sub {
		e.sub = nil
	}
}

// hand gives one message to those who want it. Who has no room is dropped: the
// others must not wait for it.
func (e *events) hand(payload string) {
	ev, ok := e.decode(payload)
	if !ok {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := range e.byTopic[Topic{ev.Kind, ev.Analysis}] {
		select {
		case l.queue <- ev:
		default:
			e.silence(l)
		}
	}
}

// eventPurpose binds the MAC of an event to its use.
const eventPurpose = "event"

// payload is the event as a message: a MAC in hex and JSON. Whoever can only
// write to Redis can start no analysis with data of their own.
func (e *events) payload(ev Event) (string, error) {
	text, err := json.Marshal(ev)
	if err != nil {
		return "", fmt.Errorf("encode event: %w", err)
	}
	return hex.EncodeToString(e.keyring.MAC(eventPurpose, string(text))) + " " + string(text), nil
}

// decode reads a message. It is false for one that is not ours.
func (e *events) decode(payload string) (ev Event, ok bool) {
	tag, text, _ := strings.Cut(payload, " ")
	mac, err := hex.DecodeString(tag)
	if err != nil || !e.keyring.VerifyMAC(mac, eventPurpose, text) {
		return Event{}, false
	}
	return ev, json.Unmarshal([]byte(text), &ev) == nil
}
