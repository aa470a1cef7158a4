package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// timeLayout is how every time is written: ISO 8601, UTC, milliseconds. It is
// what JavaScript's toISOString gives and what existing clients parse.
const timeLayout = "2006-01-02T15:04:05.000Z"

// stamp formats t for an answer.
func stamp(t time.Time) string { return t.UTC().Format(timeLayout) }

// success and refusal are the two envelopes. Every answer of the API listener
// is one of them, down to unknown routes.
type success struct {
	Status  bool   `json:"status"`
	Result  any    `json:"result"`
	Message string `json:"message,omitempty"` // a warning
}

// warned is a result with a warning beside it in the envelope.
type warned struct {
	result  any
	warning string
}

type refusal struct {
	Status  bool   `json:"status"`
	Message string `json:"message"`
}

// writeResult answers 200 with result. A nil result becomes an empty object,
// because some clients take null for a failure.
func writeResult(w http.ResponseWriter, result any) error {
	if result == nil {
		result = struct{}{}
	}
	body := success{Status: true, Result: result}
	if w, ok := result.(warned); ok {
		body.Result, body.Message = w.result, w.warning
	}
	return writeJSON(w, http.StatusOK, body)
}

// writeRefusal answers with the message that the client shows to its user.
func writeRefusal(w http.ResponseWriter, status int, message string) {
	// The client has gone when this fails; there is nobody to tell.
	_ = writeJSON(w, status, refusal{Message: message})
}

func writeJSON(w http.ResponseWriter, status int, body any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // the client has gone: nobody to tell
	return nil
}

// readBody returns the whole body, which mount has bounded already. A body
// must be labelled as JSON, which browsers cannot do across origins unasked.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, refuse(http.StatusRequestEntityTooLarge,
			"The body is over the limit of this route, %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "The body ended early")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, refuse(http.StatusUnsupportedMediaType, "Send the body as Content-Type: application/json")
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, refuse(http.StatusUnsupportedMediaType, "Send the body in UTF-8")
	}
	return body, nil
}

// decode reads the body into dst strictly: an unknown field is named in the
// refusal. The text of other decoding errors is ours, because encoding/json
// quotes its input, which may be a secret.
func decode(r *http.Request, dst any) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	if body == nil {
		return refuse(http.StatusBadRequest, "A JSON body is required")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(dst); err != nil {
		return refuse(http.StatusBadRequest, "%s", decodeText(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return refuse(http.StatusBadRequest, "There is text after the JSON body")
	}
	return nil
}

// decodeText says what is wrong with a body without quoting a value.
func decodeText(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return fmt.Sprintf("Field %q: want %s", wrong.Field, wrong.Type)
	} else if ok {
		return "The JSON body has the wrong shape: want " + wrong.Type.Kind().String()
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("The body is not JSON: error at byte %d", syntax.Offset)
	}
	// encoding/json has no type for this one; its text holds the name only.
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok && len(name) <= 130 {
		return "Unknown field " + name
	}
	return "The body is not JSON of the shape this route takes"
}
