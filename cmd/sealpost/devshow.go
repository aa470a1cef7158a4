package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

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
	Secret        secretInfo        `json:"secret"`
	Mail          string            `json:"mail"` // headers and body as they arrived
	Message       string            `json:"sqs_message"`
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
	r := devResult{API: "http://" + d.process.api.Addr().String(), Ops: "off", SMTP: d.mail.Addr(), SQS: d.queue.URL(),
		HTTP: d.http.URL(), AdminToken: d.admin.Reveal(), ProducerToken: d.producer.Reveal()}
	if d.process.ops != nil {
		r.Ops = "http://" + d.process.ops.Addr().String()
	}
	admin := newClient(r.API, d.admin)
	if err := d.putSecrets(ctx, admin); err != nil {
		return err
	}
	if err := d.sendJobs(ctx, &r, start); err != nil {
		return err
	}
	if err := admin.call(ctx, http.MethodGet, "/secrets/MAIL_DEV", nil, &r.Secret); err != nil {
		return err
	}
	if err := d.makeAnalysis(ctx, admin, &r); err != nil {
		return err
	}
	if messages := d.mail.Messages(); len(messages) > 0 {
		r.Mail = mailText(messages[0])
	}
	if messages := d.queue.Messages("events"); len(messages) > 0 {
		r.Message = messages[0].Body
	}
	if d.app.asJSON() {
		return d.app.printJSON(r)
	}
	return d.tell(r)
}

// putSecrets stores what opens the two sinks.
func (d *dev) putSecrets(ctx context.Context, admin *client) error {
	host, port, err := net.SplitHostPort(d.mail.Addr())
	if err != nil {
		return fmt.Errorf("address of the mail sink: %w", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("port of the mail sink: %w", err)
	}
	mail, err := json.Marshal(map[string]any{"smtp_server": host, "smtp_port": number, "username": "sink",
		"password": "sink-password", "ca_pem": d.mail.CAPEM()})
	if err != nil {
		return fmt.Errorf("encode secret: %w", err)
	}
	if _, err := putSecret(ctx, admin, putValue{key: "MAIL_DEV", value: redact.New(string(mail)), tags: []tag{{Key: "made_by", Value: "dev"}}}); err != nil {
		return fmt.Errorf("store MAIL_DEV: %w", err)
	}
	id, key := d.queue.Keys()
	queue, err := json.Marshal(map[string]any{"aws_region": d.queue.Region(), "queue_url": d.queueAt,
		"access_key_id": id, "secret_access_key": key, "endpoint": d.queue.URL()})
	if err != nil {
		return fmt.Errorf("encode secret: %w", err)
	}
	if _, err := putSecret(ctx, admin, putValue{key: "QUEUE_DEV", value: redact.New(string(queue))}); err != nil {
		return fmt.Errorf("store QUEUE_DEV: %w", err)
	}
	return nil
}

// devJobs are the jobs of the show. The first is the mail.
func devJobs() []byte {
	return []byte(`[
	{"action": {"type": "email-smtp", "smtp_secret": "MAIL_DEV", "from": "Sealpost <sealpost@dev.test>",
	  "to": "you@dev.test; colleague@dev.test", "subject": "$VARIABLE$ is $VALUE$ $UNIT$",
	  "message": "The $VARIABLE$ is $VALUE$ $UNIT$.\n\nThis mail came over STARTTLS, with a password that only the sender opened.\n"},
	 "data": [{"variable": "temperature", "value": 73, "unit": "F"}]},
	{"action": {"type": "queue-sqs", "sqs_secret": "QUEUE_DEV"},
	 "data": [{"variable": "temperature", "value": 73, "unit": "F"}]}]`)
}

// sendJobs sends the jobs as a producer and waits until they are done.
func (d *dev) sendJobs(ctx context.Context, r *devResult, start time.Time) error {
	producer := newClient(r.API, d.producer)
	var got []sent
	if err := producer.call(ctx, http.MethodPost, "/jobs", devJobs(), &got); err != nil {
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
	for _, job := range r.Jobs {
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
