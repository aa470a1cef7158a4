package sqs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/jsonscan"
	"github.com/sealpost/sealpost/queue"
)

// Params is the "action" object of a job.
type Params struct {
	Type   string `json:"type"`       // "queue-sqs"
	Secret string `json:"sqs_secret"` // id or key of a secret of type sqs

	// Message is sent instead of the job's data, as one message. Message
	// variables in it are filled from the first datum, escaped for JSON when the
	// message is JSON.
	Message string `json:"message"`

	// Group is the MessageGroupId: messages of one group of a FIFO queue are
	// read in order. "" means "sealpost" for a FIFO queue, which puts all into
	// one group, and none for a standard queue.
	Group string `json:"group"`

	// BatchEnabled is true unless it is given as false: then each message goes
	// in a request of its own. Nothing else changes in what arrives.
	BatchEnabled *bool `json:"batch_enabled"`
}

const (
	// maxMessages of one job. A job has at most 256 KiB, so it only stops jobs
	// that are all brackets.
	maxMessages = 1000
	// maxBytes of one message, and of all in a request, with their attributes
	// (AWS SDK, SendMessageBatch: 1 MiB).
	maxBytes = 1 << 20
	// maxGroup is the length of a MessageGroupId (AWS SDK, SendMessage).
	maxGroup = 128
)

const defaultGroup = "sealpost"

// plan is what a job wants, checked.
type plan struct {
	secret string
	group  string
	alone  bool     // each message in a request of its own
	bodies []string // at least one
}

func refuse(format string, args ...any) error {
	return queue.Permanent(fmt.Errorf(Kind+": "+format, args...))
}

// decode reads and checks the job.
func decode(job *queue.Job) (*plan, error) {
	var p Params
	if err := actions.Decode(Kind, job.Action, &p); err != nil {
		return nil, err
	}
	if !actions.IsSecretRef(p.Secret) {
		return nil, refuse("field \"sqs_secret\": want the id or the key of a secret of type sqs")
	}
	if !validGroup(p.Group) {
		return nil, refuse("field \"group\": want at most %d letters, digits or punctuation marks", maxGroup)
	}
	bodies, err := bodiesOf(p.Message, job)
	if err != nil {
		return nil, refuse("%w", err)
	}
	for i, body := range bodies {
		if err := checkBody(body); err != nil {
			return nil, refuse("message %d: %w", i+1, err)
		}
	}
	alone := p.BatchEnabled != nil && !*p.BatchEnabled
	return &plan{secret: p.Secret, group: p.Group, alone: alone, bodies: bodies}, nil
}

// validGroup takes what SQS takes: letters, digits and ASCII punctuation.
func validGroup(group string) bool {
	return len(group) <= maxGroup && !strings.ContainsFunc(group, func(r rune) bool { return r <= ' ' || r > '~' })
}

// bodiesOf returns the texts to send.
func bodiesOf(message string, job *queue.Job) ([]string, error) {
	if message != "" {
		text, err := fill(message, job)
		return []string{text}, err
	}
	return bodiesOfData(job.Data)
}

// bodiesOfData returns a text for each datum.
func bodiesOfData(data json.RawMessage) ([]string, error) {
	if string(data) == "null" {
		data = nil
	}
	var list [][]byte
	note := func(value []byte) error { list = append(list, value); return nil }
	if len(data) > 0 && jsonscan.Array(data, queue.MaxJobDepth, note) != nil {
		return nil, errors.New("data: want an array of objects")
	}
	if len(list) == 0 {
		return nil, errors.New("the job has neither \"message\" nor data: there is nothing to send")
	}
	if len(list) > maxMessages {
		return nil, fmt.Errorf("data: has %d elements, more than %d", len(list), maxMessages)
	}
	bodies := make([]string, 0, len(list))
	for i, value := range list {
		if value[0] != '{' {
			return nil, fmt.Errorf("data: element %d: want an object", i+1)
		}
		bodies = append(bodies, escapeNonCharacters(compact(value)))
	}
	return bodies, nil
}

// compact is valid JSON without the space between its parts, as json.Compact
// makes it, which checks it a second time.
func compact(value []byte) string {
	var b strings.Builder
	b.Grow(len(value))
	from, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case quoted && c == '\\':
			i++ // what follows ends no string
		case c == '"':
			quoted = !quoted
		case !quoted && c <= ' ':
			b.Write(value[from:i])
			from = i + 1
		}
	}
	b.Write(value[from:])
	return b.String()
}

// escapeNonCharacters writes the two characters that JSON allows and SQS does
// not as escapes, which mean the same. In JSON they can stand in strings only.
func escapeNonCharacters(text string) string {
	if !strings.Contains(text, "\xEF\xBF") { // how both begin in UTF-8
		return text
	}
	return strings.NewReplacer("\uFFFE", `\ufffe`, "\uFFFF", `\uffff`).Replace(text)
}

// fill puts the first datum's values into the message.
func fill(message string, job *queue.Job) (string, error) {
	vars, err := actions.JobVariables(job)
	if err != nil {
		return "", err
	}
	place := actions.Plain
	if json.Valid([]byte(message)) {
		place = actions.JSON
	}
	filled, err := vars.Fill(message, place)
	if err != nil {
		return "", fmt.Errorf("message %w", err)
	}
	if place == actions.JSON {
		filled = escapeNonCharacters(filled)
	}
	return filled, nil
}

// checkBody applies SQS' rules for a message (AWS SDK, SendMessage). SQS would
// accept bytes that are not UTF-8, and change them.
func checkBody(body string) error {
	if body == "" {
		return errors.New("is empty; SQS does not take that")
	}
	if len(body) > maxBytes {
		return fmt.Errorf("has %d bytes; SQS takes %d", len(body), maxBytes)
	}
	if err := actions.CheckText(body); err != nil {
		return err
	}
	for i, r := range body {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return fmt.Errorf("has a character that SQS does not take (U+%04X) at byte %d", r, i)
		}
	}
	return nil
}
