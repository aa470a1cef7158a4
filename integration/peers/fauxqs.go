package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/queue/queuetest"
)

// Versions of the emulator and of the Node it runs on, from npm. fauxqs 2.4.1
// needs Node 22.5 or newer for its built-in SQLite, which is why a Node of its
// own comes with it.
const (
	fauxqsVersion = "fauxqs@2.4.1"
	fauxqsNode    = "node@22"
)

const fauxqsStart = 20 * time.Second // 2 s on a quiet machine

// Fauxqs is a running SQS emulator, written by others in another language: an
// independent word on what an SQS client may send. It checks no signatures.
type Fauxqs struct {
	// Endpoint is its base URL.
	Endpoint string

	proc *Process
}

// NewFauxqs starts the emulator for the test. cache is the directory that
// keeps its npm packages between runs; they are installed there when missing.
// It skips the test when npm is missing or cannot install them.
func NewFauxqs(tb testing.TB, cache string) *Fauxqs {
	tb.Helper()
	if err := InstallFauxqs(tb.Context(), cache); err != nil {
		tb.Skipf("skipped: %v", err)
	}
	f, err := StartFauxqs(cache, Dir(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Kill() })
	return f
}

// InstallFauxqs puts the emulator's npm packages into the directory cache, unless
// they are there.
func InstallFauxqs(ctx context.Context, cache string) error {
	if err := installNPM(ctx, cache, "node_modules/fauxqs/dist/cli.js", fauxqsNode, fauxqsVersion); err != nil {
		return fmt.Errorf("fauxqs cannot run here: %w", err)
	}
	return nil
}

// StartFauxqs starts the emulator from the cache, with its log in dir.
func StartFauxqs(cache, dir string) (*Fauxqs, error) {
	port, err := queuetest.FreePort()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(cache, "node_modules/node/bin/node"), "node_modules/fauxqs/dist/cli.js")
	cmd.Dir = cache
	cmd.Env = append(os.Environ(), "FAUXQS_LOGGER=false", "FAUXQS_PORT="+strconv.Itoa(port), "FAUXQS_HOST=127.0.0.1")
	proc, err := StartProcess(cmd, filepath.Join(dir, "fauxqs.log"))
	if err != nil {
		return nil, err
	}
	f := &Fauxqs{Endpoint: "http://127.0.0.1:" + strconv.Itoa(port), proc: proc}
	if err := Wait(fauxqsStart, "fauxqs", f.healthy); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, proc.LogTail()), proc.Kill())
	}
	return f, nil
}

// Kill ends the emulator.
func (f *Fauxqs) Kill() error { return f.proc.Kill() }

// CPU is the processor time that it has used.
func (f *Fauxqs) CPU() (time.Duration, error) { return f.proc.CPU() }

// Count is how many messages wait in the queue.
func (f *Fauxqs) Count(ctx context.Context, queueURL string) (int, error) {
	const name = "ApproximateNumberOfMessages"
	out, err := f.call(ctx, "GetQueueAttributes", map[string]any{"QueueUrl": queueURL, "AttributeNames": []string{name}})
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(out.Attributes[name])
}

// Purge removes all messages of the queue.
func (f *Fauxqs) Purge(ctx context.Context, queueURL string) error {
	_, err := f.call(ctx, "PurgeQueue", map[string]any{"QueueUrl": queueURL})
	return err
}

// healthy returns nil when the emulator answers.
func (f *Fauxqs) healthy() error {
	_, err := f.call(context.Background(), "ListQueues", map[string]any{})
	return err
}

// CreateQueue makes a queue and returns its URL as a producer gets it. A name
// that ends in .fifo makes a FIFO queue.
func (f *Fauxqs) CreateQueue(ctx context.Context, name string) (string, error) {
	in := map[string]any{"QueueName": name}
	if strings.HasSuffix(name, ".fifo") {
		in["Attributes"] = map[string]string{"FifoQueue": "true"}
	}
	out, err := f.call(ctx, "CreateQueue", in)
	return out.QueueURL, err
}

// Message is one message read back from a queue.
type Message struct {
	ID            string `json:"MessageId"`
	Body          string `json:"Body"`
	ReceiptHandle string `json:"ReceiptHandle"`
	// Attributes are those that SQS itself adds: MessageGroupId and so on.
	Attributes map[string]string `json:"Attributes"`
	// MessageAttributes are the sender's.
	MessageAttributes map[string]struct {
		StringValue string `json:"StringValue"`
	} `json:"MessageAttributes"`
}

// Receive takes up to ten messages from the queue and deletes them there.
func (f *Fauxqs) Receive(ctx context.Context, queueURL string) ([]Message, error) {
	out, err := f.call(ctx, "ReceiveMessage", map[string]any{
		"QueueUrl": queueURL, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0,
		"AttributeNames": []string{"All"}, "MessageAttributeNames": []string{"All"},
	})
	if err != nil {
		return nil, err
	}
	for _, m := range out.Messages {
		in := map[string]any{"QueueUrl": queueURL, "ReceiptHandle": m.ReceiptHandle}
		if _, err := f.call(ctx, "DeleteMessage", in); err != nil {
			return nil, err
		}
	}
	return out.Messages, nil
}

// reply has the fields of every answer that is read here.
type reply struct {
	QueueURL   string            `json:"QueueUrl"`
	Messages   []Message         `json:"Messages"`
	Attributes map[string]string `json:"Attributes"`
}

// call does one request of the JSON protocol of SQS.
func (f *Fauxqs) call(ctx context.Context, action string, in map[string]any) (reply, error) {
	var out reply
	body, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("encode %s: %w", action, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.Endpoint, bytes.NewReader(body))
	if err != nil {
		return out, fmt.Errorf("make the request %s: %w", action, err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "AmazonSQS."+action)
	// The emulator takes the region from the signature's scope and checks no more.
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/sqs/aws4_request, SignedHeaders=host, Signature=0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return out, fmt.Errorf("call %s: %w", action, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return out, fmt.Errorf("call %s: status %d", action, resp.StatusCode)
	}
	if action == "DeleteMessage" || action == "PurgeQueue" {
		return out, nil // their answers have no body
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("decode the answer of %s: %w", action, err)
	}
	return out, nil
}
