package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Limits of the services that send with a credential of the request.
const (
	// serviceTime is below the 60 s after which existing clients ask again: a
	// mail that is still on its way then would go twice.
	serviceTime = 45 * time.Second

	serviceBody = 8 << 20 // bytes: a mail with an attachment

	maxDirect    = 64 // at once in a process, each with a connection of its own
	maxDirectOne = 8  // of one token among them
)

// turns bounds what runs at once, all together and for each principal.
type turns struct {
	mu    sync.Mutex
	all   int
	byOne map[string]int
}

func newTurns() *turns { return &turns{byOne: map[string]int{}} }

// take returns false if there is no room. Otherwise done gives the turn back.
func (t *turns) take(who string) (done func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all >= maxDirect || t.byOne[who] >= maxDirectOne {
		return nil, false
	}
	t.all++
	t.byOne[who]++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.all--
		if t.byOne[who]--; t.byOne[who] == 0 {
			delete(t.byOne, who)
		}
	}, true
}

func (a *API) serviceSMTP(r *http.Request, who access.Principal) (any, error) {
	return a.service(r, who, "email-smtp", "smtp_secret")
}

func (a *API) serviceSQS(r *http.Request, who access.Principal) (any, error) {
	return a.service(r, who, "queue-sqs", "sqs_secret")
}

func (a *API) serviceSendgrid(r *http.Request, who access.Principal) (any, error) {
	return a.service(r, who, "email-sendgrid", "sendgrid_api_key")
}

func (a *API) serviceSMS(r *http.Request, who access.Principal) (any, error) {
	return a.service(r, who, "sms-twilio", "twilio_sid", "twilio_token")
}

func (a *API) serviceWhatsApp(r *http.Request, who access.Principal) (any, error) {
	return a.service(r, who, "whatsapp-twilio", "twilio_sid", "twilio_token")
}

// service has the sender of this kind do the request at once, with the
// credential that stands in its fields. Nothing of it is kept: not in Redis, as a
// job's would be, and not in memory.
func (a *API) service(r *http.Request, who access.Principal, kind string, fields ...string) (any, error) {
	given, request, err := serviceRequest(r, fields)
	if err != nil {
		return nil, err
	}
	sender, ok := a.actions.Direct(kind)
	if !ok {
		return nil, refuse(http.StatusNotFound, "This server has no sender of kind %s", kind)
	}
	done, ok := a.direct.take(actor(who))
	if !ok {
		return nil, refuse(http.StatusTooManyRequests, "Too many requests (Retry-After: 1)")
	}
	defer done()
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	entry := secrets.AuditEntry{Actor: actor(who), Op: "service " + kind, Kind: string(who.Kind), ID: who.ID, Key: who.Name}
	if err := vault.Secrets.Revision().Note(r.Context(), entry); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), serviceTime)
	defer cancel()
	if _, err := sender.SendWith(ctx, given.value, request); err != nil {
		return nil, refuseService(err, given.hide)
	}
	return "Successfully Sent", nil
}

// given is a credential that came with a request.
type given struct {
	value redact.String   // as the sender wants it
	hide  []redact.String // what the answer may not show
}

// serviceRequest takes the credential out of the body. That of one field is its
// value; of several it is an object of them.
func serviceRequest(r *http.Request, names []string) (g given, request json.RawMessage, err error) {
	body, err := readBody(r)
	if err != nil {
		return g, nil, err
	}
	var fields map[string]json.RawMessage
	if body == nil || json.Unmarshal(body, &fields) != nil || fields == nil {
		return g, nil, refuse(http.StatusBadRequest, "A JSON object is required")
	}
	parts := map[string]json.RawMessage{}
	for _, name := range names {
		text, err := credentialText(fields, name)
		if err != nil {
			return g, nil, err
		}
		parts[name] = fields[name]
		delete(fields, name)
		g.value = redact.New(text)
		g.hide = append(g.hide, g.value)
	}
	if len(names) > 1 {
		all, err := json.Marshal(parts)
		if err != nil {
			return g, nil, err
		}
		g.value = redact.New(string(all))
	}
	request, err = json.Marshal(fields)
	return g, request, err
}

// credentialText returns the text of a field: JSON text, or the object itself.
func credentialText(fields map[string]json.RawMessage, name string) (string, error) {
	raw := fields[name]
	var text string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "", refuse(http.StatusBadRequest, "%s is required: the value of the secret", name)
	case raw[0] == '{':
		return string(raw), nil
	case json.Unmarshal(raw, &text) != nil:
		return "", refuse(http.StatusBadRequest, "%s must be the value of the secret, as JSON text or as an object", name)
	}
	return text, nil
}

// refuseService is the answer for a request that was not done. It is never a
// 5xx, because clients send again after that, and a mail whose fate is unknown
// would go five times.
func refuseService(err error, hide []redact.String) error {
	status := http.StatusFailedDependency // the other side: it may go well in a while
	if _, ok := errors.AsType[*queue.PermanentError](err); ok {
		status = http.StatusBadRequest
	} else if _, ok := errors.AsType[*queue.ParkedError](err); ok {
		status = http.StatusBadRequest
	} else if _, ok := errors.AsType[*queue.ThrottledError](err); ok {
		status = http.StatusTooManyRequests
	}
	return refuse(status, "%s", redact.Scrub(ownText(err), hide...))
}

// consoleBody is a line that an analysis writes. Timestamp is a number of
// milliseconds or a text, as the client's language has it.
type consoleBody struct {
	Message   json.RawMessage `json:"message"`
	Timestamp json.RawMessage `json:"timestamp"`
}

// serviceConsole keeps a line of the analysis that asks.
func (a *API) serviceConsole(r *http.Request, who access.Principal) (any, error) {
	raw, err := readBody(r)
	if err != nil {
		return nil, err
	}
	var body consoleBody
	if raw == nil || json.Unmarshal(raw, &body) != nil || len(body.Message) == 0 {
		return nil, refuse(http.StatusBadRequest, "A JSON object with a message is required")
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	line := access.ConsoleLine{At: readStamp(body.Timestamp), Message: string(body.Message)}
	var text string
	if json.Unmarshal(body.Message, &text) == nil {
		line.Message = text
	}
	if err := vault.Directory.WriteConsole(r.Context(), who.ID, line); err != nil {
		return nil, err
	}
	return "Successfully Sent", nil
}

// readStamp reads a time of either client; what is none is now.
func readStamp(raw json.RawMessage) time.Time {
	var ms float64
	if json.Unmarshal(raw, &ms) == nil && ms > 0 && ms < 1e14 {
		return time.UnixMilli(int64(ms)).UTC()
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999"} {
			if at, err := time.Parse(layout, text); err == nil {
				return at.UTC()
			}
		}
	}
	return time.Now().UTC()
}
