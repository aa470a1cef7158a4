package twilio

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/provider"
	"github.com/sealpost/sealpost/actions/webclient"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// login is what one attempt holds: the values of the secrets, for as long as it
// runs.
type login struct {
	sid, token, template secrets.Text // template is zero for a text
}

// key is both values as one, for the memory of refusals.
func (in *login) key() redact.String {
	return redact.New(in.sid.Value.Reveal() + ":" + in.token.Value.Reveal())
}

// hide is what no text may show.
func (in *login) hide(to, from string) []redact.String {
	both := in.key().Reveal()
	return []redact.String{
		in.token.Value, in.sid.Value, in.template.Value, redact.New(both), redact.New(base64.StdEncoding.EncodeToString([]byte(both))),
		redact.New(digitsOf(to)), redact.New(digitsOf(from)),
	}
}

// digitsOf is a number without what stands before it.
func digitsOf(address string) string {
	return strings.TrimLeft(strings.TrimPrefix(address, whatsApp), "+")
}

// Forms of the values.
var (
	accountSID = regexp.MustCompile(`^AC[0-9a-fA-F]{32}$`)
	contentSID = regexp.MustCompile(`^HX[0-9a-fA-F]{32}$`)
	messageSID = regexp.MustCompile(`^(SM|MM)[0-9a-fA-F]{32}$`)
)

// check says which value cannot be used, "" if all can. It shows none.
func (in *login) check() string {
	token := in.token.Value.Reveal()
	switch {
	case !accountSID.MatchString(in.sid.Value.Reveal()):
		return "the secret of twilio_sid is no account SID (AC and 32 hex digits)"
	case token == "" || actions.CheckLine(token) != nil || strings.ContainsAny(token, " \t"):
		return "the secret of twilio_token is no auth token: it has blanks or line ends; store the token alone"
	case !in.template.Value.IsZero() && !contentSID.MatchString(in.template.Value.Reveal()):
		return "the secret of content_sid is no SID of a template (HX and 32 hex digits)"
	}
	return ""
}

// exchange sends the message to one recipient.
func (a *Action) exchange(ctx context.Context, c *queue.Claim, p *plan, in *login, to string) provider.Verdict {
	sid := in.sid.Value.Reveal()
	resp, err := a.client.Do(ctx, c.Begin, webclient.Request{
		Method: http.MethodPost, URL: a.config.URL + "/2010-04-01/Accounts/" + sid + "/Messages.json",
		Header: http.Header{
			"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(sid+":"+in.token.Value.Reveal()))},
			"Content-Type":  {"application/x-www-form-urlencoded"},
			"Accept":        {"application/json"},
		},
		Body: p.form(in, to),
	})
	if err != nil {
		return judgeFailure(err)
	}
	return judge(resp, in.hide(to, p.from))
}

// form writes the request for one recipient.
func (p *plan) form(in *login, to string) []byte {
	form := url.Values{"To": {to}}
	set := func(name, value string) {
		if value != "" {
			form.Set(name, value)
		}
	}
	set("From", p.from)
	set("MessagingServiceSid", p.service)
	set("Body", p.body)
	set("MediaUrl", p.media)
	set("ContentVariables", p.variables)
	if !in.template.Value.IsZero() {
		form.Set("ContentSid", in.template.Value.Reveal())
	}
	return []byte(form.Encode())
}

// answer is the body of an answer, good or bad.
type answer struct {
	SID     string `json:"sid"`
	Status  any    `json:"status"` // a word, or with an error the HTTP status
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// judge says what an answer means.
func judge(resp *webclient.Response, hide []redact.String) provider.Verdict {
	var body answer
	read := json.Unmarshal(resp.Body, &body) == nil
	code := strconv.Itoa(resp.Status)
	if resp.Status == http.StatusCreated {
		text := ""
		if messageSID.MatchString(body.SID) {
			text = redact.Scrub("message "+body.SID, hide...)
		}
		return provider.Verdict{Accepted: true, Stage: webclient.StageDone, Code: code, Text: text}
	}
	a := resp.Answer()
	text := resp.Text(hide...)
	if read && body.Message != "" {
		text = webclient.Text([]byte(body.Message), hide...)
	}
	if read && body.Code > 0 && body.Code <= maxCode {
		a.Status = strconv.Itoa(body.Code)
		code += " " + a.Status
	}
	v := provider.Judge(replies, a, code, withoutNumbers(text))
	v.After = max(v.After, resp.RetryAfter)
	return v
}

// maxCode bounds what counts as a code of Twilio: theirs have five digits.
const maxCode = 999_999

// What Twilio's words hold besides secrets: numbers of people, and ids of
// accounts and their parts.
var (
	numberLike = regexp.MustCompile(`\+?[0-9][0-9() .-]{5,}[0-9]`)
	sidLike    = regexp.MustCompile(`\b[A-Z]{2}[0-9a-fA-F]{32}\b`)
)

func withoutNumbers(text string) string {
	return numberLike.ReplaceAllString(sidLike.ReplaceAllString(text, "(sid)"), "(number)")
}

// judgeFailure says what an exchange without an answer means. Its text is in
// fixed words, without the URL.
func judgeFailure(err error) provider.Verdict {
	f, ok := errors.AsType[*webclient.Failure](err)
	if !ok { // it gives no others
		f = &webclient.Failure{Stage: webclient.StageSend, Status: "net.closed"}
	}
	v := provider.Judge(replies, f.Answer(), "", f.Text())
	v.Cause = f.Err
	return v
}
