package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets/redact"
)

// ownPath is where an analysis asks for its own environment.
const ownPath = "/environment"

// envAnswer is an environment as it is written to its analysis.
type envAnswer struct {
	media string
	etag  string
	text  redact.String
}

func (e envAnswer) respond(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h["Etag"] = []string{e.etag} // as Set has it, which would spell it anew each time
	h["Content-Type"] = []string{e.media}
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, e.text.Reveal()) // the client has gone: nobody to tell
}

// respondKnown answers a request for the caller's own environment in one trip to
// Redis, which authenticates, decides and writes the audit entry at once. It is
// false for every request that it cannot answer so, which then goes on as if this
// had not been. The trip has a time limit of its own, and the answer that of
// every short one, so none is set for the request.
func (a *API) respondKnown(w http.ResponseWriter, r *http.Request, row route) bool {
	known, ok, err := a.knownEnvironment(r)
	if err != nil {
		a.refuse(w, r, row, err)
		return true
	}
	if ok {
		known.respond(w, r)
	}
	return ok
}

func (a *API) knownEnvironment(r *http.Request) (known envAnswer, ok bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panickedBy(v)
		}
	}()
	token := presented(r)
	if !strings.HasPrefix(token, analysisPrefix) || r.ContentLength != 0 {
		return known, false, nil
	}
	q, err := parseEnvQuery(r)
	if err != nil || q.explain || q.known != nil {
		return known, false, nil // the long way says what is wrong
	}
	vault, err := a.vault()
	if err != nil {
		return known, false, err
	}
	answer, ok, err := vault.Directory.Known(r.Context(), redact.New(token), q.format)
	if err != nil || !ok {
		return known, false, err
	}
	return q.answer(answer), true, nil
}

// answer is the environment with its headers.
func (q envQuery) answer(a access.Answer) envAnswer {
	media := "application/json; charset=utf-8"
	if q.format == "dotenv" || q.format == "shell" {
		media = "text/plain; charset=utf-8"
	}
	return envAnswer{media: media, etag: q.etag(a.Tag), text: a.Text}
}

// form writes an environment in the format that was asked for.
func (q envQuery) form() access.Form {
	return access.Form{Name: q.format, Write: func(env []access.Entry) (redact.String, error) {
		views := reveal(env)
		switch q.format {
		case "dotenv":
			return redact.New(dotenv(views)), nil
		case "shell":
			return redact.New(shell(views)), nil
		}
		var body any = views
		if q.format == "" {
			body = success{Status: true, Result: views}
		}
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(body); err != nil {
			return redact.String{}, fmt.Errorf("encode environment: %w", err)
		}
		return redact.New(buf.String()), nil
	}}
}
