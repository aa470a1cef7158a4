package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Credentials that the sinks of the dev mode take. They open nothing else.
const (
	devSendgridKey = "SG.dev-key-of-the-sink"
	devTwilioSID   = "AC0000000000000000000000000000de50"
	devTwilioToken = "dev-token-of-the-sink"
	devHookKey     = "dev-key-of-the-hook"
)

// devSinks are the receivers of the dev mode, one for each type of action, and
// the page that shows what they got.
type devSinks struct {
	mail     *sink.SMTP
	queue    *sink.SQS
	http     *sink.HTTP
	sendgrid *sink.SendGrid
	twilio   *sink.Twilio
	page     *devPage
	queueAt  string // URL of the queue
	scripts  string // directory of the scripts
}

// startDevSinks starts them all. arrived is told of each mail.
func startDevSinks(arrived func(sink.Message)) (s *devSinks, err error) {
	s = &devSinks{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.scripts, err = os.MkdirTemp("", "sealpost-dev-"); err != nil {
		return s, fmt.Errorf("make a directory for scripts: %w", err)
	}
	if s.mail, err = sink.StartSMTP(sink.SMTPConfig{OnMessage: arrived}); err != nil {
		return s, err
	}
	if s.queue, err = sink.StartSQS(sink.SQSConfig{}); err != nil {
		return s, err
	}
	s.queueAt = s.queue.CreateQueue(devQueue)
	if s.http, err = sink.StartHTTP(sink.HTTPConfig{}); err != nil {
		return s, err
	}
	if s.sendgrid, err = sink.StartSendGrid(sink.HTTPConfig{}, devSendgridKey); err != nil {
		return s, err
	}
	if s.twilio, err = sink.StartTwilio(sink.HTTPConfig{}, devTwilioSID, devTwilioToken); err != nil {
		return s, err
	}
	s.page, err = startDevPage(s)
	return s, err
}

// devQueue is the name of the queue.
const devQueue = "events"

// close ends the sinks, in reverse.
func (s *devSinks) close() error {
	var errs []error
	if s.page != nil {
		errs = append(errs, s.page.Close())
	}
	if s.twilio != nil {
		errs = append(errs, s.twilio.Close())
	}
	if s.sendgrid != nil {
		errs = append(errs, s.sendgrid.Close())
	}
	if s.http != nil {
		errs = append(errs, s.http.Close())
	}
	if s.queue != nil {
		errs = append(errs, s.queue.Close())
	}
	if s.mail != nil {
		errs = append(errs, s.mail.Close())
	}
	if s.scripts != "" {
		errs = append(errs, os.RemoveAll(s.scripts))
	}
	return errors.Join(errs...)
}

// values are what opens the sinks, by the key of its secret.
func (s *devSinks) values() (map[string]any, error) {
	host, port, err := net.SplitHostPort(s.mail.Addr())
	if err != nil {
		return nil, fmt.Errorf("address of the mail sink: %w", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("port of the mail sink: %w", err)
	}
	id, key := s.queue.Keys()
	return map[string]any{
		"MAIL_DEV": map[string]any{"smtp_server": host, "smtp_port": number, "username": "sink",
			"password": "sink-password", "ca_pem": s.mail.CAPEM()},
		"QUEUE_DEV": map[string]any{"aws_region": s.queue.Region(), "queue_url": s.queueAt,
			"access_key_id": id, "secret_access_key": key, "endpoint": s.queue.URL()},
		"SENDGRID_DEV":     devSendgridKey,
		"TWILIO_SID_DEV":   devTwilioSID,
		"TWILIO_TOKEN_DEV": devTwilioToken,
		"HOOK_DEV":         devHookKey,
	}, nil
}

// secretTexts are what the page must not show though the receivers know it.
func (s *devSinks) secretTexts() []redact.String {
	return []redact.String{redact.New(devSendgridKey), redact.New(devTwilioSID), redact.New(devTwilioToken), redact.New(devHookKey)}
}

// devScript is what the analysis of the show runs. It gets its environment as
// any script does, and prints none of it.
const devScript = `#!/bin/sh
echo "script of job $_job_id: MODE is $MODE, API_KEY has ${#API_KEY} characters"
`

// putScript writes the program of an analysis.
func (s *devSinks) putScript(analysis string) error {
	// Only its owner may change it: the worker refuses others.
	if err := os.WriteFile(filepath.Join(s.scripts, analysis), []byte(devScript), 0o700); err != nil {
		return fmt.Errorf("write the script: %w", err)
	}
	return nil
}
