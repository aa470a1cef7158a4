package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/secrets/redact"
)

//go:embed devpage.html
var devPageText string

//go:embed devpage.css
var devPageStyle []byte

var devPageTemplate = template.Must(template.New("page").Parse(devPageText))

// devPage is the page that shows what the sinks of the dev mode got: a mailbox,
// and a log of requests and messages.
type devPage struct {
	sinks  *devSinks
	server *http.Server
	ln     net.Listener
	done   chan struct{}
}

// startDevPage listens on a free port of this machine.
func startDevPage(s *devSinks) (*devPage, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the mailbox: %w", err)
	}
	p := &devPage{sinks: s, ln: ln, done: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.show)
	mux.HandleFunc("GET /devpage.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		_, _ = w.Write(devPageStyle) // the browser is gone otherwise
	})
	p.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(p.done)
		_ = p.server.Serve(ln) // ends by Close only
	}()
	return p, nil
}

// URL is where the page is.
func (p *devPage) URL() string { return "http://" + p.ln.Addr().String() + "/" }

// Close ends the page.
func (p *devPage) Close() error {
	err := p.server.Close()
	<-p.done
	return err
}

// devItem is one thing that arrived.
type devItem struct {
	At    string
	Title string
	More  string // all of it, as text
}

// devSection is what one sink got, the newest first.
type devSection struct {
	Name, Type string
	Items      []devItem
}

// devPageMost is how many things of a sink are shown.
const devPageMost = 50

func (p *devPage) show(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	if err := devPageTemplate.Execute(&b, p.sections()); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(b.Bytes()) // the browser is gone otherwise
}

func (p *devPage) sections() []devSection {
	s := p.sinks
	list := []devSection{
		{"Mailbox", "email-smtp", devItems(s.mail.Messages(), mailItem)},
		{"Requests", "post", devItems(s.http.Requests(), requestItem)},
		{"Queue " + devQueue, "queue-sqs", devItems(s.queue.Messages(devQueue), messageItem)},
		{"SendGrid", "email-sendgrid", devItems(s.sendgrid.Mails(), sendgridItem)},
		{"Twilio", "sms-twilio, whatsapp-twilio", devItems(s.twilio.Messages(), twilioItem)},
	}
	for _, section := range list {
		for i := range section.Items {
			section.Items[i].More = redact.Mask(section.Items[i].More, s.secretTexts()...)
		}
	}
	return list
}

// devItems returns the newest of what arrived as the page shows them.
func devItems[T any](list []T, item func(T) devItem) []devItem {
	items := make([]devItem, 0, min(len(list), devPageMost))
	for _, arrived := range slices.Backward(list) {
		if len(items) == devPageMost {
			break
		}
		items = append(items, item(arrived))
	}
	return items
}

func mailItem(m sink.Message) devItem {
	subject := ""
	for line := range strings.SplitSeq(mailText(m), "\n") {
		if text, ok := strings.CutPrefix(line, "Subject: "); ok {
			subject = text
			break
		}
	}
	return devItem{At: clock(m.At), Title: subject + " (to " + strings.Join(m.To, ", ") + ")", More: mailText(m)}
}

func requestItem(r sink.HTTPRequest) devItem {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Method, r.Path)
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(r.Header[name], ", "))
	}
	fmt.Fprintf(&b, "\n%s\n", r.Body)
	return devItem{At: clock(r.At), Title: r.Method + " " + r.Path, More: b.String()}
}

func messageItem(m sink.SQSMessage) devItem {
	return devItem{At: clock(m.At), Title: m.ID, More: m.Body}
}

func sendgridItem(m sink.SendGridMail) devItem {
	return devItem{Title: m.Subject + " (to " + strings.Join(m.To, ", ") + ")",
		More: fmt.Sprintf("From: %s\nTo: %s\nSubject: %s\n\n%s\n%s", m.From, strings.Join(m.To, ", "), m.Subject, m.Text, m.HTML)}
}

func twilioItem(m sink.TwilioMessage) devItem {
	return devItem{Title: "to " + m.To, More: fmt.Sprintf("From: %s\nTo: %s\n\n%s%s", m.From+m.Service, m.To, m.Body, m.Template)}
}

// clock is the time of day.
func clock(t time.Time) string { return t.Format("15:04:05.000") }
