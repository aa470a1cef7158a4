package email

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/actions"
)

// Limits of headers that a job adds.
const (
	maxHeaders  = 50  // ours, as for stored actions
	maxHeader   = 900 // bytes of a value; see maxSubject
	maxUnsub    = 10  // addresses to unsubscribe at; readers use one or two
	maxUnsubURI = 900 // bytes, for the same reason
)

// header is a header that the job adds, its variables filled.
type header struct{ name, value string }

// headerName is stricter than RFC 5322, section 3.6.8: these are the names that
// exist. go-mail writes a name as it is.
var headerName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// plainHeaders are headers that a job may add, with values in ASCII, for they
// are not free text; so are those that begin with List- (RFC 2369). All that says who wrote, who reads, and how the body
// is built, is ours.
func plainHeaders() []string {
	return []string{"Auto-Submitted", "Feedback-Id", "Importance", "In-Reply-To", "Precedence", "Priority", "References", "Sensitivity"}
}

// freeHeaders may hold any text. So may all that begin with X-.
func freeHeaders() []string { return []string{"Comments", "Keywords", "Organization"} }

// checkHeaderName returns the name in its usual form, and whether its value may
// have letters outside ASCII.
func checkHeaderName(name string) (canonical string, free bool, err error) {
	if !headerName.MatchString(name) {
		return "", false, errors.New("the name of a header is 1 to 64 of A-Z a-z 0-9 -")
	}
	canonical = textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case strings.HasPrefix(canonical, "X-") && len(canonical) > 2, slices.Contains(freeHeaders(), canonical):
		return canonical, true, nil
	case strings.HasPrefix(canonical, "List-Unsubscribe"):
		return "", false, errors.New("use the field \"list_unsubscribe\"")
	case strings.HasPrefix(canonical, "List-") && len(canonical) > 5, slices.Contains(plainHeaders(), canonical):
		return canonical, false, nil
	}
	return "", false, fmt.Errorf("only X-..., List-..., %s may be set", strings.Join(append(plainHeaders(), freeHeaders()...), ", "))
}

// fillHeaders checks the headers of a job and fills in their variables. Errors
// give the place of a header in the order of names, not its name, which could be
// a value that was put in the wrong place.
func fillHeaders(raw map[string]json.RawMessage, vars filler) ([]header, error) {
	if len(raw) > maxHeaders {
		return nil, fmt.Errorf("field \"headers\": more than %d", maxHeaders)
	}
	var out []header
	for i, name := range slices.Sorted(maps.Keys(raw)) {
		h, err := fillHeader(name, raw[name], vars)
		if err == nil && slices.ContainsFunc(out, func(o header) bool { return o.name == h.name }) {
			err = errors.New("stands twice")
		}
		if err != nil {
			return nil, fmt.Errorf("field \"headers\": header %d of %d: %w", i+1, len(raw), err)
		}
		out = append(out, h)
	}
	return out, nil
}

// fillHeader checks one header.
func fillHeader(name string, raw json.RawMessage, vars filler) (header, error) {
	name, free, err := checkHeaderName(name)
	if err != nil {
		return header{}, err
	}
	var value string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &value) != nil {
		return header{}, errors.New("want a text")
	}
	if err := actions.CheckLine(value); err != nil {
		return header{}, err
	}
	if value, err = vars.Fill(value, actions.Header); err != nil {
		return header{}, err
	}
	// Folding may change blanks, and go-mail folds at each: two of them could
	// make a line of nothing but blanks.
	value = strings.Join(strings.Fields(value), " ")
	if value == "" {
		return header{}, errors.New("has no value")
	}
	if len(value) > maxHeader {
		return header{}, fmt.Errorf("has more than %d bytes", maxHeader)
	}
	if !free && strings.ContainsFunc(value, func(r rune) bool { return r > 0x7e }) {
		return header{}, errors.New("takes ASCII only")
	}
	if free {
		value = literal(value)
	}
	return header{name: name, value: value}, nil
}

// texts is one text or an array of them.
type texts []string

// UnmarshalJSON reads either form.
func (t *texts) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil && string(raw) != "null" {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(t))
}

// uriPattern is what a URI consists of (RFC 3986, section 2).
var uriPattern = regexp.MustCompile(`^[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+$`)

// fillUnsubscribe checks the addresses of list_unsubscribe and fills in their
// variables. oneClick reports whether one is https, so that a POST to it can
// unsubscribe (RFC 8058, section 3.1).
func fillUnsubscribe(list texts, vars filler) (uris []string, oneClick bool, err error) {
	if len(list) > maxUnsub {
		return nil, false, fmt.Errorf("field \"list_unsubscribe\": more than %d", maxUnsub)
	}
	for i, uri := range list {
		uri, https, err := fillURI(uri, vars)
		if err != nil {
			return nil, false, fmt.Errorf("field \"list_unsubscribe\": address %d: %w", i+1, err)
		}
		uris, oneClick = append(uris, uri), oneClick || https
	}
	return uris, oneClick, nil
}

// fillURI checks one address. An http one is refused: everybody on the way
// could unsubscribe people.
func fillURI(text string, vars filler) (uri string, https bool, err error) {
	if err := actions.CheckLine(text); err != nil {
		return "", false, err
	}
	if uri, err = vars.Fill(text, actions.URL); err != nil {
		return "", false, err
	}
	if len(uri) > maxUnsubURI {
		return "", false, fmt.Errorf("has more than %d bytes", maxUnsubURI)
	}
	u, err := url.Parse(uri)
	if err == nil && uriPattern.MatchString(uri) {
		switch {
		case u.Scheme == "https" && u.Host != "" && u.User == nil:
			return uri, true, nil
		case u.Scheme == "mailto" && strings.Contains(u.Opaque, "@"):
			return uri, false, nil
		}
	}
	return "", false, errors.New("want a URI of https or mailto") // err would repeat it
}
