package sink

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Twilio is Twilio's operation to create a message on an [HTTP] sink: it asks for
// the login, refuses what Twilio refuses, with its codes and words, and keeps the
// rest. The numbers that Twilio gives for tests do here what they do there, see
// [TwilioInvalid] and the next ones.
type Twilio struct {
	*HTTP

	mu         sync.Mutex
	sid, token string
	keep       int
	messages   []TwilioMessage
	count      int
	fault      func(HTTPRequest) *HTTPAnswer
}

// Numbers that are refused, each with the code that its name says (Twilio, "Test
// credentials").
const (
	TwilioInvalid   = "+15005550001" // 21211
	TwilioNoRoute   = "+15005550002" // 21612
	TwilioNoRegion  = "+15005550003" // 21408
	TwilioOptedOut  = "+15005550004" // 21610
	TwilioNoMobile  = "+15005550009" // 21614
	twilioBodyLimit = 1600           // characters
)

// TwilioMessage is a message that was accepted.
type TwilioMessage struct {
	SID       string
	To, From  string // From is "" with a Service
	Service   string // MessagingServiceSid
	Body      string
	Template  string // ContentSid
	Variables string // ContentVariables
	Media     string // MediaUrl
}

// StartTwilio starts a Twilio that knows this account and its token. Close ends it.
func StartTwilio(cfg HTTPConfig, sid, token string) (*Twilio, error) {
	h, err := StartHTTP(cfg)
	if err != nil {
		return nil, err
	}
	t := &Twilio{HTTP: h, sid: sid, token: token, keep: h.keep}
	h.SetAnswer(t.answer)
	return t, nil
}

// SetToken changes which token is taken, from the next request on.
func (t *Twilio) SetToken(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token = token
}

// SetFault sets what is asked before each request is looked at: an answer instead
// of the one that it would get, or nil. It is called by several goroutines at once.
func (t *Twilio) SetFault(fault func(HTTPRequest) *HTTPAnswer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault = fault
}

// Messages returns the messages that were accepted and kept, the oldest first.
func (t *Twilio) Messages() []TwilioMessage {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.messages)
}

func (t *Twilio) answer(r HTTPRequest) HTTPAnswer {
	t.mu.Lock()
	fault, sid, token := t.fault, t.sid, t.token
	t.mu.Unlock()
	if fault != nil {
		if a := fault(r); a != nil {
			return *a
		}
	}
	account, ok := strings.CutPrefix(r.Path, "/2010-04-01/Accounts/")
	account, messages := strings.CutSuffix(account, "/Messages.json")
	login := "Basic " + base64.StdEncoding.EncodeToString([]byte(sid+":"+token))
	switch {
	case !ok || !messages:
		return twilioError(http.StatusNotFound, 20404, "The requested resource "+r.Path+" was not found")
	case r.Header.Get("Authorization") != login:
		return twilioError(http.StatusUnauthorized, 20003, "Authenticate")
	case account != sid:
		return twilioError(http.StatusNotFound, 20404, "The requested resource "+r.Path+" was not found")
	case r.Method != http.MethodPost:
		return twilioError(http.StatusMethodNotAllowed, 20004, "Method not allowed")
	case r.Header.Get("Content-Type") != "application/x-www-form-urlencoded":
		return twilioError(http.StatusUnsupportedMediaType, 20415, "Unsupported media type")
	}
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return twilioError(http.StatusBadRequest, 20001, "Bad request")
	}
	if code, words := twilioRefusal(form); code != 0 {
		return twilioError(http.StatusBadRequest, code, words)
	}
	return t.accept(form)
}

// accept keeps the message.
func (t *Twilio) accept(form url.Values) HTTPAnswer {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	m := TwilioMessage{
		SID: fmt.Sprintf("SM%032x", t.count), To: form.Get("To"), From: form.Get("From"), Service: form.Get("MessagingServiceSid"),
		Body: form.Get("Body"), Template: form.Get("ContentSid"), Variables: form.Get("ContentVariables"), Media: form.Get("MediaUrl"),
	}
	t.messages = newest(append(t.messages, m), t.keep)
	body, _ := json.Marshal(map[string]any{ // texts encode
		"sid": m.SID, "status": "queued", "account_sid": t.sid, "to": m.To, "from": m.From, "body": m.Body, "error_code": nil,
		"uri": "/2010-04-01/Accounts/" + t.sid + "/Messages/" + m.SID + ".json",
	})
	return HTTPAnswer{Status: http.StatusCreated, Header: map[string]string{"Content-Type": "application/json"}, Body: string(body)}
}

// Forms of numbers.
var (
	twilioNumber  = regexp.MustCompile(`^(whatsapp:)?\+[0-9]{1,15}$`)
	twilioSender  = regexp.MustCompile(`^(whatsapp:\+[0-9]{1,15}|\+[0-9]{1,15}|[0-9]{3,6}|[A-Za-z0-9 +&_-]{1,11})$`)
	twilioService = regexp.MustCompile(`^MG[0-9a-fA-F]{32}$`)
	twilioContent = regexp.MustCompile(`^HX[0-9a-fA-F]{32}$`)
)

// twilioRefusal checks the main rules of the operation; code 0 means none is
// broken.
func twilioRefusal(form url.Values) (code int, words string) {
	to, from := form.Get("To"), form.Get("From")
	refused := map[string]int{TwilioInvalid: 21211, TwilioNoRoute: 21612, TwilioNoRegion: 21408, TwilioOptedOut: 21610, TwilioNoMobile: 21614}
	variables := map[string]string{}
	switch {
	case to == "":
		return 21604, "A 'To' phone number is required."
	case from == "" && form.Get("MessagingServiceSid") == "":
		return 21603, "A 'From' phone number is required."
	case !twilioNumber.MatchString(to):
		return 21211, "The 'To' number " + to + " is not a valid phone number."
	case from != "" && !twilioSender.MatchString(from):
		return 21212, "The 'From' number " + from + " is not a valid phone number, shortcode, or alphanumeric sender ID."
	case from == "" && !twilioService.MatchString(form.Get("MessagingServiceSid")):
		return 21701, "The Messaging Service does not exist"
	case from != "" && strings.HasPrefix(to, "whatsapp:") != strings.HasPrefix(from, "whatsapp:"):
		return 21910, "From and To addresses should be of the same channel."
	case form.Get("Body") == "" && form.Get("MediaUrl") == "" && form.Get("ContentSid") == "":
		return 21619, "A text message body or media urls must be specified."
	case utf8.RuneCountInString(form.Get("Body")) > twilioBodyLimit:
		return 21617, "The concatenated message body exceeds the 1600 character limit."
	case form.Get("ContentSid") != "" && !twilioContent.MatchString(form.Get("ContentSid")):
		return 21655, "The ContentSid is invalid."
	case form.Get("ContentVariables") != "" && json.Unmarshal([]byte(form.Get("ContentVariables")), &variables) != nil:
		return 21656, "The ContentVariables parameter is invalid."
	}
	if code := refused[strings.TrimPrefix(to, "whatsapp:")]; code != 0 {
		return code, "The message to " + to + " cannot be sent"
	}
	return 0, ""
}

// twilioError is an answer in Twilio's form.
func twilioError(status, code int, words string) HTTPAnswer {
	body, _ := json.Marshal(map[string]any{ // texts and numbers encode
		"code": code, "message": words, "more_info": fmt.Sprintf("https://www.twilio.com/docs/errors/%d", code), "status": status,
	})
	return HTTPAnswer{Status: status, Header: map[string]string{"Content-Type": "application/json"}, Body: string(body)}
}
