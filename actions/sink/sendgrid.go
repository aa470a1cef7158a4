package sink

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/mail"
	"slices"
	"strings"
	"sync"
)

// SendGrid is SendGrid's operation POST /v3/mail/send on an [HTTP] sink, and GET
// /v3/scopes, which tells that the key may send: it asks
// for the key, refuses what SendGrid refuses, with its words, and keeps the rest.
type SendGrid struct {
	*HTTP

	mu    sync.Mutex
	key   string
	keep  int
	mails []SendGridMail
	count int
	fault func(HTTPRequest) *HTTPAnswer
}

// SendGridMail is a mail that was accepted.
type SendGridMail struct {
	ID           string // of X-Message-Id
	From         string // "Name <address>" or an address, as the next ones
	To, Cc, Bcc  []string
	ReplyTo      []string
	Subject      string
	Text, HTML   string
	Args         map[string]string // custom arguments
	Files        map[string][]byte // attachments by name
	ContentTypes []string          // of the parts, in order
}

// StartSendGrid starts a SendGrid that takes this key. Close ends it.
func StartSendGrid(cfg HTTPConfig, key string) (*SendGrid, error) {
	h, err := StartHTTP(cfg)
	if err != nil {
		return nil, err
	}
	s := &SendGrid{HTTP: h, key: key, keep: h.keep}
	h.SetAnswer(s.answer)
	return s, nil
}

// SetKey changes which key is taken, from the next request on.
func (s *SendGrid) SetKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
}

// SetFault sets what is asked before each request is looked at: an answer instead
// of the one that it would get, or nil. It is called by several goroutines at once.
func (s *SendGrid) SetFault(fault func(HTTPRequest) *HTTPAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Mails returns the mails that were accepted and kept, the oldest first.
func (s *SendGrid) Mails() []SendGridMail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

func (s *SendGrid) answer(r HTTPRequest) HTTPAnswer {
	s.mu.Lock()
	fault, key := s.fault, s.key
	s.mu.Unlock()
	if fault != nil {
		if a := fault(r); a != nil {
			return *a
		}
	}
	if r.Path == "/v3/scopes" && r.Method == http.MethodGet {
		if r.Header.Get("Authorization") != "Bearer "+key {
			return sendGridError(http.StatusUnauthorized, "", "The provided authorization grant is invalid, expired, or revoked")
		}
		return HTTPAnswer{Body: `{"scopes":["mail.send"]}`}
	}
	switch {
	case r.Path != "/v3/mail/send":
		return sendGridError(http.StatusNotFound, "", "not found")
	case r.Method != http.MethodPost:
		return sendGridError(http.StatusMethodNotAllowed, "", "method not allowed")
	case r.Header.Get("Authorization") != "Bearer "+key:
		return sendGridError(http.StatusUnauthorized, "", "The provided authorization grant is invalid, expired, or revoked")
	case r.Header.Get("Content-Type") != "application/json":
		return sendGridError(http.StatusUnsupportedMediaType, "", "Content-Type should be application/json.")
	}
	var in sendGridRequest
	if err := json.Unmarshal(r.Body, &in); err != nil {
		return sendGridError(http.StatusBadRequest, "", "Bad Request")
	}
	m, field, words := in.mail()
	if words != "" {
		return sendGridError(http.StatusBadRequest, field, words)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	m.ID = fmt.Sprintf("sink-%d", s.count)
	s.mails = newest(append(s.mails, m), s.keep)
	return HTTPAnswer{Status: http.StatusAccepted, Header: map[string]string{"X-Message-Id": m.ID}}
}

// sendGridError is an answer in SendGrid's form.
func sendGridError(status int, field, words string) HTTPAnswer {
	type fault struct {
		Message string  `json:"message"`
		Field   *string `json:"field"`
		Help    *string `json:"help"`
	}
	f := fault{Message: words}
	if field != "" {
		f.Field = &field
	}
	body, _ := json.Marshal(map[string][]fault{"errors": {f}}) // texts encode
	return HTTPAnswer{Status: status, Header: map[string]string{"Content-Type": "application/json"}, Body: string(body)}
}

type sendGridAddress struct{ Email, Name string }

type sendGridRequest struct {
	Personalizations []struct {
		To, Cc, Bcc []sendGridAddress
		CustomArgs  map[string]string `json:"custom_args"`
	}
	From        *sendGridAddress
	ReplyTo     *sendGridAddress  `json:"reply_to"`
	ReplyToList []sendGridAddress `json:"reply_to_list"`
	Subject     string
	Content     []struct{ Type, Value string }
	Attachments []struct{ Content, Type, Filename string }
}

// mail checks the main rules of the operation, in SendGrid's words.
func (in *sendGridRequest) mail() (m SendGridMail, field, words string) {
	if len(in.Personalizations) != 1 { // it takes 1,000; we send one
		return m, "personalizations", "The personalizations field is required and must have at least one personalization."
	}
	p := in.Personalizations[0]
	if len(p.To) == 0 {
		return m, "personalizations.0.to", "The to array is required for all personalization objects, and must have at least one email object with a valid email address."
	}
	if in.From == nil || !in.From.valid() {
		return m, "from.email", "The from email does not contain a valid address."
	}
	seen := map[string]bool{}
	for name, list := range map[string][]sendGridAddress{"to": p.To, "cc": p.Cc, "bcc": p.Bcc} {
		for i, a := range list {
			key := strings.ToLower(a.Email)
			if !a.valid() {
				return m, fmt.Sprintf("personalizations.0.%s.%d.email", name, i), "Does not contain a valid address."
			}
			if seen[key] {
				return m, "personalizations.0", "Each email address in the personalization block should be unique between to, cc, and bcc. We found the first duplicate instance of [" + a.Email + "] in the personalizations.0." + name + " field."
			}
			seen[key] = true
		}
	}
	if in.Subject == "" {
		return m, "subject", "The subject is required. You can get around this requirement if you use a template with a subject defined or if every personalization has a subject defined."
	}
	m = SendGridMail{From: in.From.text(), To: texts(p.To), Cc: texts(p.Cc), Bcc: texts(p.Bcc), ReplyTo: texts(in.ReplyToList),
		Subject: in.Subject, Args: p.CustomArgs, Files: map[string][]byte{}}
	if in.ReplyTo != nil {
		m.ReplyTo = []string{in.ReplyTo.text()}
	}
	field, words = in.contents(&m)
	return m, field, words
}

// contents checks the texts and the attachments.
func (in *sendGridRequest) contents(m *SendGridMail) (field, words string) {
	for i, c := range in.Content {
		if c.Value == "" {
			return fmt.Sprintf("content.%d.value", i), "The content value must be a string at least one character in length."
		}
		if c.Type == "text/plain" && i > 0 {
			return "content", "If present, text/plain and text/html may only be provided once, text/plain first."
		}
		if c.Type == "text/plain" {
			m.Text = c.Value
		} else {
			m.HTML = c.Value
		}
		m.ContentTypes = append(m.ContentTypes, c.Type)
	}
	if len(in.Content) == 0 {
		return "content", "Unless a valid template_id is provided, the content parameter is required. There must be at least one defined content block. We typically suggest both text/plain and text/html blocks are included, but only one block is required."
	}
	for i, f := range in.Attachments {
		content, err := base64.StdEncoding.DecodeString(f.Content)
		if err != nil || len(content) == 0 {
			return fmt.Sprintf("attachments.%d.content", i), "The attachment content must be base64 encoded."
		}
		if f.Filename == "" || strings.ContainsAny(f.Type, ";\r\n") {
			return fmt.Sprintf("attachments.%d", i), "The attachment needs a filename, and its type may not have ; or CRLF."
		}
		m.Files[f.Filename] = content
	}
	return "", ""
}

func (a sendGridAddress) valid() bool {
	parsed, err := mail.ParseAddress(a.Email)
	return err == nil && parsed.Address == a.Email && !strings.ContainsFunc(a.Email, func(r rune) bool { return r >= 0x80 })
}

func (a sendGridAddress) text() string {
	if a.Name == "" {
		return a.Email
	}
	return a.Name + " <" + a.Email + ">"
}

func texts(list []sendGridAddress) []string {
	var out []string
	for _, a := range list {
		out = append(out, a.text())
	}
	return out
}
