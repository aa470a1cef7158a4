package webclient

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Origin returns scheme, host and port of a URL, "" if it has none. It is all
// that may be shown of one: paths and queries hold tokens.
func Origin(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return ""
	}
	return strings.ToLower(u.Scheme + "://" + u.Host)
}

// Text returns the words of an answer's body that are safe to keep: one line of
// at most redact.MaxText characters without the hidden values, addresses and
// links.
func Text(body []byte, hide ...redact.String) string {
	// The values go first: white space may be part of one.
	masked := redact.Mask(string(body), hide...)
	return redact.Clean(strings.Join(strings.Fields(masked), " "), hide...)
}

// Text returns the words of the body that are safe to keep, "" if it is packed.
func (r *Response) Text(hide ...redact.String) string {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return ""
	}
	return Text(r.Body, hide...)
}

// Answer is the response in the terms of a table.
func (r *Response) Answer() actions.Answer {
	return actions.Answer{Stage: StageSend, Code: r.Status, Text: string(r.Body)}
}

// maxRetryAfter bounds what a header can ask for: a day. The queue has a
// shorter bound of its own.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header Retry-After: seconds or a date (RFC 9110, section
// 10.2.3). 0 for anything else and for the past.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseInt(header, 10, 64); err == nil {
		seconds = min(max(seconds, 0), int64(maxRetryAfter/time.Second))
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
