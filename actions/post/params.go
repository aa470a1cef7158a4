package post

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
)

// Params is the action object of a post job.
type Params struct {
	Type          string          `json:"type"`
	URL           string          `json:"url"`            // may hold message variables in its path and query
	Headers       json.RawMessage `json:"headers"`        // object: name to value, which may hold message variables
	HeaderSecrets json.RawMessage `json:"header_secrets"` // object: name to id or key of a text secret, the whole value
	SigningSecret string          `json:"signing_secret"` // id or key of a text secret

	// What becomes of the data of a dead letter.
	FallbackEnabled bool   `json:"http_post_fallback_enabled"`
	FallbackAction  string `json:"fallback_action"` // id of a stored action
	FallbackToken   string `json:"fallback_token"`  // taken for compatibility and not used: there are no devices here
}

// Limits of headers. Most servers take 8 KiB for all of them (nginx:
// large_client_header_buffers), some up to 16.
const (
	maxHeaders     = 50
	maxHeaderName  = 64      // bytes
	maxHeaderValue = 8 << 10 // bytes
)

// plan is a checked job: what will be sent, but for the secrets.
type plan struct {
	url, origin string
	headers     []header
	signing     string // id or key of a secret, "" for none
	body        []byte
	fallback    string // id of a stored action, "" for none
}

// header is one header of the request; secret is set in place of value.
type header struct{ name, value, secret string }

// secretRefs returns the secrets of the headers in the order of their names,
// then the one that signs.
func (p *plan) secretRefs() []string {
	var refs []string
	for _, h := range p.headers {
		if h.secret != "" {
			refs = append(refs, h.secret)
		}
	}
	if p.signing != "" {
		refs = append(refs, p.signing)
	}
	return refs
}

// decode reads and checks the action of a job. Its errors are permanent.
func decode(job *queue.Job) (*plan, error) {
	var p Params
	if err := actions.Decode(Kind, job.Action, &p); err != nil {
		return nil, err
	}
	pl, err := p.plan(job)
	if err != nil {
		return nil, queue.Permanent(fmt.Errorf("%s: %w", Kind, err))
	}
	return pl, nil
}

// plan checks every field and fills the variables.
func (p *Params) plan(job *queue.Job) (*plan, error) {
	vars, err := actions.JobVariables(job)
	if err != nil {
		return nil, err
	}
	pl := &plan{body: body(job.Data)}
	if err := pl.setURL(p.URL, vars); err != nil {
		return nil, fmt.Errorf("field \"url\": %w", err)
	}
	if err := pl.addHeaders("headers", p.Headers, func(h *header, value string) error { return h.fill(value, vars) }); err != nil {
		return nil, err
	}
	if err := pl.addHeaders("header_secrets", p.HeaderSecrets, (*header).setSecret); err != nil {
		return nil, err
	}
	slices.SortFunc(pl.headers, func(a, b header) int { return strings.Compare(a.name, b.name) })
	if p.SigningSecret != "" && !actions.IsSecretRef(p.SigningSecret) {
		return nil, fmt.Errorf("field \"signing_secret\": %w", errNoRef)
	}
	pl.signing = p.SigningSecret
	if p.FallbackAction != "" && !isActionID(p.FallbackAction) {
		return nil, errors.New("field \"fallback_action\": want the id of a stored action, 24 hex digits")
	}
	if p.FallbackEnabled {
		pl.fallback = p.FallbackAction
	}
	return pl, nil
}

var errNoRef = errors.New("want the id or the key of a secret of type text")

// body is the whole data array.
func body(data json.RawMessage) []byte {
	if len(data) == 0 || string(data) == "null" {
		return []byte("[]")
	}
	return data
}

// isActionID reports an id of a stored action.
func isActionID(s string) bool {
	return len(s) == 24 && strings.Trim(s, "0123456789abcdef") == ""
}

// headerName is what we send as a name of a header: stricter than RFC 9110,
// section 5.6.2, which allows quotes and pipes too.
var headerName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// managed are headers that a job cannot set, with who does. Those that end in
// "-" are beginnings. TagoIO-Retries is not among them: it is overwritten, as
// users of this kind are used to.
var managed = []struct{ name, why string }{
	{"Host", "it is the URL's"}, {"Content-", "the body is JSON"},
	{"Connection", hop}, {"Keep-Alive", hop}, {"Proxy-", hop}, {"Te", hop}, {"Trailer", hop}, {"Transfer-Encoding", hop}, {"Upgrade", hop},
	{"Http2-Settings", hop}, {"Expect", hop},
	{"Idempotency-Key", ours}, {"X-Idempotency-Key", ours}, {"User-Agent", ours}, {"Webhook-", ours},
}

const (
	hop  = "it belongs to the connection"
	ours = "Sealpost sets it"
)

// addHeaders reads an object of texts; set puts the text of one into its header.
func (p *plan) addHeaders(field string, raw json.RawMessage, set func(h *header, text string) error) error {
	if len(raw) == 0 {
		return nil
	}
	texts, err := readTexts(raw)
	if err != nil {
		return fmt.Errorf("field %q: %w", field, err)
	}
	for _, t := range texts {
		h := header{name: http.CanonicalHeaderKey(t[0])}
		if err := p.checkName(t[0], h.name); err != nil {
			return fmt.Errorf("field %q: %w", field, err)
		}
		if err := set(&h, t[1]); err != nil {
			return fmt.Errorf("field %q: header %q: %w", field, h.name, err)
		}
		p.headers = append(p.headers, h)
	}
	return nil
}

// checkName says whether a header of this name can be added. A name that is not
// one may be a value at the wrong place: it is not repeated.
func (p *plan) checkName(given, name string) error {
	if !headerName.MatchString(given) {
		return fmt.Errorf("a name of a header has letters, digits, - and _ and at most %d of them", maxHeaderName)
	}
	for _, m := range managed {
		if name == m.name || strings.HasSuffix(m.name, "-") && strings.HasPrefix(name, m.name) {
			return fmt.Errorf("header %q cannot be set: %s", name, m.why)
		}
	}
	if slices.ContainsFunc(p.headers, func(h header) bool { return h.name == name }) {
		return fmt.Errorf("header %q is given twice", name)
	}
	if len(p.headers) == maxHeaders {
		return fmt.Errorf("more than %d headers", maxHeaders)
	}
	return nil
}

// fill sets the value from a template.
func (h *header) fill(template string, vars actions.Variables) error {
	if err := actions.CheckLine(template); err != nil {
		return err
	}
	if err := noSecret(template); err != nil {
		return err
	}
	value, err := vars.Fill(template, actions.Header)
	if err != nil {
		return err
	}
	if len(value) > maxHeaderValue {
		return fmt.Errorf("is longer than %d bytes", maxHeaderValue)
	}
	h.value = value
	return nil
}

// setSecret sets the secret whose text is the value.
func (h *header) setSecret(ref string) error {
	if !actions.IsSecretRef(ref) {
		return errNoRef
	}
	h.secret = ref
	return nil
}

// noSecret refuses the form of secrets that other systems have, which would go
// out as it stands.
func noSecret(text string) error {
	if strings.Contains(strings.ToUpper(text), "$SECRET.") {
		return errors.New("secrets are not named within texts: name the secret by its field, \"header_secrets\"")
	}
	return nil
}

// readTexts reads an object of texts, in order. It is as strict as
// [actions.Decode]; its errors hold no value.
func readTexts(raw json.RawMessage) ([][2]string, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("want an object of texts")
	}
	var out [][2]string
	seen := map[string]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, errors.New("not valid JSON")
		}
		value, err := dec.Token()
		text, ok := value.(string)
		if err != nil || !ok {
			return nil, errors.New("want an object of texts")
		}
		key := name.(string) // the decoder admits nothing else before a colon
		if seen[key] {
			return nil, errors.New("a name stands twice")
		}
		seen[key] = true
		out = append(out, [2]string{key, text})
	}
	return out, nil
}
