package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sealpost/sealpost/access/child"
	"github.com/sealpost/sealpost/secrets/redact"
)

// devWait is how long the show waits for its jobs.
const devWait = 20 * time.Second

// devResult is what the show has to tell, as -o json prints it.
type devResult struct {
	API           string            `json:"api"`
	Ops           string            `json:"ops"`
	AdminToken    string            `json:"admin_token"`
	ProducerToken string            `json:"producer_token"`
	SMTP          string            `json:"smtp_sink"`
	SQS           string            `json:"sqs_sink"`
	HTTP          string            `json:"http_sink"`
	Mailbox       string            `json:"mailbox"` // page that shows what arrived
	Secret        secretInfo        `json:"secret"`
	Mail          string            `json:"mail"` // headers and body as they arrived
	Message       string            `json:"sqs_message"`
	Post          string            `json:"post"`
	SendGrid      string            `json:"sendgrid_mail"`
	SMS           string            `json:"sms"`
	WhatsApp      string            `json:"whatsapp"`
	Script        string            `json:"script"` // what it printed last
	Jobs          []json.RawMessage `json:"jobs"`
	FirstMS       int64             `json:"first_delivery_ms"` // since the program started
	Analysis      string            `json:"analysis"`
	AnalysisToken string            `json:"analysis_token"`
	Environment   json.RawMessage   `json:"environment"` // keys and where each is from, no values
}

// show does the main job, through the API as anybody would.
func (d *dev) show(ctx context.Context, start time.Time) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	r := devResult{API: "http://" + d.process.api.Addr().String(), Ops: "off", SMTP: d.sinks.mail.Addr(), SQS: d.sinks.queue.URL(),
		HTTP: d.sinks.http.URL(), Mailbox: d.sinks.page.URL(), AdminToken: d.admin.Reveal(), ProducerToken: d.producer.Reveal()}
	if d.process.ops != nil {
		r.Ops = "http://" + d.process.ops.Addr().String()
	}
	admin := newClient(r.API, d.admin)
	if err := d.putSecrets(ctx, admin); err != nil {
		return err
	}
	if err := d.makeAnalysis(ctx, admin, &r); err != nil {
		return err
	}
	if err := d.sendJobs(ctx, &r, start); err != nil {
		return err
	}
	if err := admin.call(ctx, http.MethodGet, "/secrets/MAIL_DEV", nil, &r.Secret); err != nil {
		return err
	}
	r.arrived(d.sinks)
	if d.app.asJSON() {
		return d.app.printJSON(r)
	}
	return d.tell(r)
}

// arrived takes from the sinks what the jobs of the show have sent.
func (r *devResult) arrived(s *devSinks) {
	if messages := s.mail.Messages(); len(messages) > 0 {
		r.Mail = mailText(messages[0])
	}
	if messages := s.queue.Messages(devQueue); len(messages) > 0 {
		r.Message = messages[0].Body
	}
	if requests := s.http.Requests(); len(requests) > 0 {
		r.Post = requests[0].Method + " " + requests[0].Path + " " + string(requests[0].Body)
	}
	if mails := s.sendgrid.Mails(); len(mails) > 0 {
		r.SendGrid = mails[0].Subject + ": " + mails[0].Text
	}
	for _, m := range s.twilio.Messages() {
		if strings.HasPrefix(m.To, "whatsapp:") {
			r.WhatsApp = m.To + ": " + m.Body
		} else {
			r.SMS = m.To + ": " + m.Body
		}
	}
}

// putSecrets stores what opens the sinks.
func (d *dev) putSecrets(ctx context.Context, admin *client) error {
	values, err := d.sinks.values()
	if err != nil {
		return err
	}
	for key, value := range values {
		text, ok := value.(string)
		if !ok {
			object, err := json.Marshal(value)
			if err != nil {
				return fmt.Errorf("encode secret %s: %w", key, err)
			}
			text = string(object)
		}
		put := putValue{key: key, value: redact.New(text), tags: []tag{{Key: "made_by", Value: "dev"}}}
		if _, err := putSecret(ctx, admin, put); err != nil {
			return fmt.Errorf("store %s: %w", key, err)
		}
	}
	return nil
}

// devJobs are the jobs of the show, one of each type. The first is the mail.
func (d *dev) devJobs() ([]byte, error) {
	const text = "The $VARIABLE$ is $VALUE$ $UNIT$."
	list := []map[string]any{
		{"type": "email-smtp", "smtp_secret": "MAIL_DEV", "from": "Sealpost <sealpost@dev.test>", "to": "you@dev.test; colleague@dev.test",
			"subject": "$VARIABLE$ is $VALUE$ $UNIT$",
			"message": text + "\n\nThis mail came over STARTTLS, with a password that only the sender opened.\n"},
		{"type": "queue-sqs", "sqs_secret": "QUEUE_DEV"},
		{"type": "post", "url": d.sinks.http.URL() + "/hook?of=$VARIABLE$", "headers": map[string]string{"X-Unit": "$UNIT$"},
			"header_secrets": map[string]string{"X-Api-Key": "HOOK_DEV"}},
		{"type": "email-sendgrid", "sendgrid_api_key": "SENDGRID_DEV", "from": "sealpost@dev.test", "to": "you@dev.test", "subject": "$VARIABLE$", "message": text},
		{"type": "sms-twilio", "twilio_sid": "TWILIO_SID_DEV", "twilio_token": "TWILIO_TOKEN_DEV", "from": "+15550001111", "to": "555 000 2222", "message": text},
		{"type": "whatsapp-twilio", "twilio_sid": "TWILIO_SID_DEV", "twilio_token": "TWILIO_TOKEN_DEV", "from": "+15550001111", "to": "+15550003333", "message": text},
	}
	if child.Supported {
		list = append(list, map[string]any{"type": "script", "script": []string{d.program}})
	}
	jobs := make([]map[string]any, len(list))
	for i, action := range list {
		jobs[i] = map[string]any{"action": action, "data": json.RawMessage(`[{"variable":"temperature","value":73,"unit":"F"}]`)}
	}
	return json.Marshal(jobs)
}

// shownJobs is how many jobs are shown whole: the mail and the message.
const shownJobs = 2

// sendJobs sends the jobs as a producer and waits until they are done.
func (d *dev) sendJobs(ctx context.Context, r *devResult, start time.Time) error {
	producer := newClient(r.API, d.producer)
	jobs, err := d.devJobs()
	if err != nil {
		return fmt.Errorf("encode jobs: %w", err)
	}
	var got []sent
	if err := producer.call(ctx, http.MethodPost, "/jobs", jobs, &got); err != nil {
		return fmt.Errorf("send jobs: %w", err)
	}
	deadline := time.Now().Add(devWait)
	for i, job := range got {
		status, err := waitFor(ctx, producer, job.ID, deadline)
		if err != nil {
			return fmt.Errorf("wait for job %s: %w", job.ID, err)
		}
		if status.State != "done" {
			return fmt.Errorf("job %s is %s: %s", job.ID, status.State, status.last())
		}
		if i == 0 {
			r.FirstMS = time.Since(start).Milliseconds()
		}
		var record json.RawMessage
		if err := producer.call(ctx, http.MethodGet, jobPath(job.ID), nil, &record); err != nil {
			return err
		}
		r.Jobs = append(r.Jobs, record)
		r.Script = status.last() // of the last job, which is the script's
	}
	return nil
}

// tell prints the show for a person.
func (d *dev) tell(r devResult) error {
	section := func(title, text string) string {
		return "--- " + title + "\n\n" + indent(text) + "\n\n"
	}
	var b strings.Builder
	b.WriteString("Sealpost dev mode: everything is in this process, and nothing is kept.\n\n")
	b.WriteString(section(fmt.Sprintf("The mail, as the server got it over STARTTLS %d ms after the start", r.FirstMS), r.Mail))
	b.WriteString(section("The message, as SQS got it", r.Message))
	others := "post             " + r.Post + "\nemail-sendgrid   " + r.SendGrid + "\nsms-twilio       " + r.SMS + "\nwhatsapp-twilio  " + r.WhatsApp
	if r.Script != "" {
		others += "\nscript           " + r.Script
	}
	b.WriteString(section("The other types of actions, as their receivers got them", others))
	for _, job := range r.Jobs[:min(len(r.Jobs), shownJobs)] {
		text, err := json.MarshalIndent(job, "", "  ")
		if err != nil {
			return fmt.Errorf("print job: %w", err)
		}
		b.WriteString(section("A job and its attempts (GET /jobs/{id})", string(text)))
	}
	text, err := json.MarshalIndent(r.Secret, "", "  ")
	if err != nil {
		return fmt.Errorf("print secret: %w", err)
	}
	b.WriteString(section("What anybody can see of the secret from now on (GET /secrets/MAIL_DEV)", string(text)))
	environment, err := json.MarshalIndent(r.Environment, "", "  ")
	if err != nil {
		return fmt.Errorf("print environment: %w", err)
	}
	b.WriteString(section("What an analysis may see, and by which rule (GET /analysis/{id}/environment?explain=true)", string(environment)))
	b.WriteString(r.play())
	_, err = fmt.Fprint(d.app.stdout, b.String())
	return err
}

// play says where everything is and what to try.
func (r *devResult) play() string {
	var b strings.Builder
	b.WriteString("--- Play with it; Ctrl-C ends it, and all is gone\n\n")
	fmt.Fprintf(&b, "  API        %s\n  panel      %s/panel/ (log in with the token below)\n", r.API, r.API)
	if r.Ops != "off" {
		fmt.Fprintf(&b, "  metrics    %s/metrics\n  health     %s/readyz?verbose\n", r.Ops, r.Ops)
	}
	fmt.Fprintf(&b, "  mailbox    %s (all that arrived: mails, requests, messages)\n", r.Mailbox)
	fmt.Fprintf(&b, "  mail sink  %s (STARTTLS)\n  SQS sink   %s\n  HTTP sink  %s\n\n", r.SMTP, r.SQS, r.HTTP)
	fmt.Fprintf(&b, "  export SEALPOST_URL=%s\n  export SEALPOST_TOKEN=%s   # admin\n", r.API, r.AdminToken)
	fmt.Fprintf(&b, "  # a producer's token: %s\n  # the analysis' token: %s\n\n", r.ProducerToken, r.AnalysisToken)
	b.WriteString("  sealpost secret test MAIL_DEV\n  sealpost queue stats\n  sealpost run --analysis dev -- printenv API_KEY MODE\n")
	b.WriteString(`  echo '{"action":{"type":"email-smtp","smtp_secret":"MAIL_DEV","from":"me@dev.test","to":"you@dev.test","subject":"hi","message":"hello"}}' | sealpost job send - --wait 10s` + "\n")
	return b.String()
}

// indent moves text two columns in, and makes it harmless on a terminal.
func indent(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = "  " + clean(strings.ReplaceAll(line, "\t", "  "))
		}
	}
	return strings.Join(lines, "\n")
}
