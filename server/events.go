package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Limits of streams. Numbers: ours, but for ping: proxies commonly cut a silent
// line after 30 to 60 s.
const (
	maxChannels = 20
	streamPing  = 20 * time.Second
	streamWrite = 10 * time.Second // for one event; who takes none for so long has gone
	streamTime  = 365 * 24 * time.Hour
)

// Channels of /events.
const (
	channelTrigger = "analysis_trigger"
	channelConsole = "analysis_console."
)

// eventsPath is the one route that takes its token from the query as well:
// EventSource clients cannot send headers.
const eventsPath = "/events"

// events opens a stream of what happens on the channels of the query.
func (a *API) events(r *http.Request, who access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	topics, err := topicsFor(r, who)
	if err != nil {
		return nil, err
	}
	for _, t := range topics {
		if _, err := vault.Directory.Analysis(r.Context(), t.Analysis); err != nil {
			return nil, err
		}
	}
	listener, err := vault.Directory.Listen(r.Context(), topics...)
	if errors.Is(err, access.ErrListeners) {
		return nil, refuse(http.StatusTooManyRequests, "Too many requests (Retry-After: 1): %s", ownText(err))
	}
	if err != nil {
		return nil, err
	}
	return &stream{api: a, vault: vault, who: who, token: redact.New(presented(r)), listener: listener}, nil
}

// topicsFor reads channels=a,b and channel=a. The token says for which analysis
// a trigger is meant.
func topicsFor(r *http.Request, who access.Principal) ([]access.Topic, error) {
	query := r.URL.Query()
	var topics []access.Topic
	for _, name := range strings.Split(strings.Join(append(query["channels"], query["channel"]...), ","), ",") {
		var t access.Topic
		console, isConsole := strings.CutPrefix(name, channelConsole)
		switch {
		case name == "":
			continue
		case name == channelTrigger && who.Kind != analysisKind:
			return nil, refuse(http.StatusForbidden, "%s: %s is for the token of an analysis", denied, channelTrigger)
		case name == channelTrigger:
			t = access.Topic{Kind: access.EventRun, Analysis: who.ID}
		case isConsole && who.Kind == analysisKind && console != who.ID:
			return nil, errDenied()
		case isConsole:
			t = access.Topic{Kind: access.EventConsole, Analysis: console}
		default:
			return nil, refuse(http.StatusBadRequest, "Unknown channel; want %s or %s<id of an analysis>", channelTrigger, channelConsole)
		}
		if !slices.Contains(topics, t) {
			topics = append(topics, t)
		}
	}
	if len(topics) == 0 || len(topics) > maxChannels {
		return nil, refuse(http.StatusBadRequest, "channels must name 1 to %d channels", maxChannels)
	}
	return topics, nil
}

// stream is one client of /events.
type stream struct {
	api      *API
	vault    *Vault
	who      access.Principal
	token    redact.String
	listener *access.Listener
}

// respond sends events until the client goes, falls behind, loses its access,
// or the server stops.
func (s *stream) respond(w http.ResponseWriter, r *http.Request) {
	defer s.listener.Close()
	line := http.NewResponseController(w)
	// The server's limit for reading a request would end the stream.
	_ = line.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	send := func(text string) bool {
		_ = line.SetWriteDeadline(time.Now().Add(streamWrite))
		_, err := w.Write([]byte(text))
		return err == nil && line.Flush() == nil
	}
	if !send(": connected\n\n") {
		return
	}
	ping := time.NewTicker(streamPing)
	defer ping.Stop()
	for {
		var ev access.Event
		select {
		case next, ok := <-s.listener.Events():
			if !ok {
				return // too slow
			}
			ev = next
		case <-ping.C:
		case <-s.api.stopping:
			return
		case <-r.Context().Done():
			return
		}
		if s.revoked(r.Context()) {
			return
		}
		text, whole := s.deliver(r.Context(), ev)
		if !send(text) {
			return
		}
		if whole {
			s.taken(r.Context(), ev)
		}
	}
}

// revoked reports whether the token of the stream is good no more. While Redis
// does not answer nobody knows, and nothing can be delivered either.
func (s *stream) revoked(ctx context.Context) bool {
	who, err := s.vault.verify(ctx, s.token.Reveal())
	if _, refused := errors.AsType[*refused](err); refused || errors.Is(err, access.ErrUnauthorized) {
		return true
	}
	return err == nil && !who.Same(s.who)
}

// triggerView is what an analysis is told to run with.
type triggerView struct {
	Environment []entryView     `json:"environment"`
	Data        json.RawMessage `json:"data"`
	AnalysisID  string          `json:"analysis_id"`
	Token       string          `json:"token"`
}

// consoleView is a line of a console.
type consoleView struct {
	Timestamp string `json:"timestamp"`
	Message   string `json:"message"`
}

// deliver is the event as text of the stream; a comment for the zero event, and
// for one that cannot be delivered, which is then not whole. Values of secrets
// are opened here, for one listener, and kept nowhere.
func (s *stream) deliver(ctx context.Context, ev access.Event) (text string, whole bool) {
	if ev.Kind == "" {
		return ": ping\n\n", false
	}
	text, err := s.text(ctx, ev)
	if err == nil {
		return text, true
	}
	if ctx.Err() == nil {
		s.api.log.WarnContext(ctx, "an event was not delivered", slog.String("analysis", ev.Analysis), slog.Any("err", err))
	}
	return ": not delivered\n\n", false
}

// taken tells whoever started the run that the client has it. If that cannot
// be told, the run comes again: at least once.
func (s *stream) taken(ctx context.Context, ev access.Event) {
	if err := s.vault.Directory.Taken(ctx, ev); err != nil && ctx.Err() == nil {
		s.api.log.WarnContext(ctx, "a run was delivered and will come again", slog.String("analysis", ev.Analysis), slog.Any("err", err))
	}
}

func (s *stream) text(ctx context.Context, ev access.Event) (string, error) {
	if ev.Kind == access.EventConsole {
		var line access.ConsoleLine
		if err := json.Unmarshal(ev.Data, &line); err != nil {
			return "", errors.New("decode console line: not of this release")
		}
		return sse(channelConsole+ev.Analysis, consoleView{Timestamp: stamp(line.At), Message: line.Message})
	}
	env, _, err := s.vault.Directory.Environment(ctx, ev.Analysis, secrets.Use{Actor: actor(s.who), Why: cmp.Or(ev.Why, "run")})
	if err != nil {
		return "", err
	}
	data := ev.Data
	if len(data) == 0 {
		data = json.RawMessage("[]")
	}
	return sse(channelTrigger, triggerView{Environment: withFacts(reveal(env), ev.Facts), Data: data, AnalysisID: ev.Analysis, Token: s.token.Reveal()})
}

// withFacts adds the facts of a run, sorted, each key once: a fact wins.
func withFacts(env []entryView, facts []access.Fact) []entryView {
	for _, f := range facts {
		env = slices.DeleteFunc(env, func(e entryView) bool { return e.Key == f.Key })
		env = append(env, entryView{Key: f.Key, Value: f.Value})
	}
	slices.SortFunc(env, func(a, b entryView) int { return cmp.Compare(a.Key, b.Key) })
	return env
}

// sse is one event: JSON has no line ends, so it is one data line.
func sse(channel string, payload any) (string, error) {
	text, err := json.Marshal(map[string]any{"channel": channel, "payload": payload})
	if err != nil {
		return "", fmt.Errorf("encode event: %w", err)
	}
	return "data: " + string(text) + "\n\n", nil
}
