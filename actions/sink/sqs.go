package sink

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// SQS is an Amazon SQS in this process: the JSON protocol over plain HTTP, with
// verified signatures, FIFO deduplication and faults on demand. It keeps
// messages in memory. It serves the operations CreateQueue, GetQueueUrl,
// GetQueueAttributes, SendMessage, SendMessageBatch, ReceiveMessage and
// DeleteMessage.
type SQS struct {
	config SQSConfig
	server *http.Server
	ln     net.Listener
	done   chan struct{}

	mu     sync.Mutex
	queues map[string]*sqsQueue // by name
	fault  func(SQSCall) *SQSFault
	calls  map[string]int // by operation
	serial int            // of message ids
}

// SQSConfig says how an [SQS] listens and whom it knows.
type SQSConfig struct {
	Addr            string // host:port; "" is a free port of 127.0.0.1
	Region          string // "" is "us-east-1"
	AccessKeyID     string // "" is "AKIASINK"
	SecretAccessKey string // "" is "sink-secret"
	SessionToken    string // "" when the keys are not temporary
	Keep            int    // at least so many messages of each queue are kept, the newest; 0 is 10,000
	Lax             bool   // do not verify signatures
}

// StartSQS starts an SQS. The caller closes it.
func StartSQS(config SQSConfig) (*SQS, error) {
	if config.Addr == "" {
		config.Addr = "127.0.0.1:0"
	}
	if config.Region == "" {
		config.Region = "us-east-1"
	}
	if config.AccessKeyID == "" {
		config.AccessKeyID, config.SecretAccessKey = "AKIASINK", "sink-secret"
	}
	if config.Keep == 0 {
		config.Keep = 10_000
	}
	ln, err := net.Listen("tcp", config.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen for sqs: %w", err)
	}
	s := &SQS{
		config: config, ln: ln, done: make(chan struct{}),
		queues: map[string]*sqsQueue{}, calls: map[string]int{},
	}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(ln) // ends by Close only
	}()
	return s, nil
}

// Addr returns host:port.
func (s *SQS) Addr() string { return s.ln.Addr().String() }

// URL returns the endpoint, to be set as "endpoint" of a secret.
func (s *SQS) URL() string { return "http://" + s.Addr() }

// Keys returns the access key id and the secret access key that it knows.
func (s *SQS) Keys() (accessKeyID, secretAccessKey string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config.AccessKeyID, s.config.SecretAccessKey
}

// Region returns the region that requests must be signed for.
func (s *SQS) Region() string { return s.config.Region }

// Close ends all connections and waits for the server to end.
func (s *SQS) Close() error {
	err := s.server.Close()
	<-s.done
	return err
}

// SetKeys changes whom the server knows, from the next request on.
func (s *SQS) SetKeys(accessKeyID, secretAccessKey, sessionToken string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config.AccessKeyID, s.config.SecretAccessKey, s.config.SessionToken = accessKeyID, secretAccessKey, sessionToken
}

// SetFault sets what is asked before each call is served; nil for no faults.
// It is called by several goroutines at once.
func (s *SQS) SetFault(fault func(SQSCall) *SQSFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Calls returns how often an operation, such as "SendMessageBatch", was asked
// for, with or without success.
func (s *SQS) Calls(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

// CreateQueue makes a queue if there is none and returns its URL. A name that
// ends in ".fifo" makes a FIFO queue.
func (s *SQS) CreateQueue(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue(name)
	return s.queueURL(name)
}

// queue returns the queue and makes it if there is none. s.mu is held.
func (s *SQS) queue(name string) *sqsQueue {
	q := s.queues[name]
	if q == nil {
		q = &sqsQueue{fifo: strings.HasSuffix(name, ".fifo"), dedup: map[string]sqsSeen{}, keep: s.config.Keep}
		s.queues[name] = q
	}
	return q
}

// sqsAccount is the account id in queue URLs; AWS' documentation uses it too.
const sqsAccount = "123456789012"

func (s *SQS) queueURL(name string) string { return s.URL() + "/" + sqsAccount + "/" + name }

// Messages returns the messages that a queue has accepted and kept, the oldest
// first, received or not. Duplicates that a FIFO queue took out are not there.
func (s *SQS) Messages(name string) []SQSMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[name]
	if q == nil {
		return nil
	}
	return append([]SQSMessage(nil), q.log...)
}

// maxSQSRequest is AWS' limit for a batch, with room for JSON escapes.
const maxSQSRequest = 8 << 20 // bytes

// ServeHTTP serves one call.
func (s *SQS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSQSRequest))
	if err != nil {
		writeSQSError(w, &SQSFault{Status: http.StatusRequestEntityTooLarge, Code: "RequestEntityTooLarge"})
		return
	}
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
	if r.Method != http.MethodPost || !ok {
		writeSQSError(w, &SQSFault{Status: http.StatusNotFound, Code: "UnknownOperationException"})
		return
	}
	fault := s.note(operation, r, body)
	if fault != nil && fault.before(w, r) {
		return
	}
	if refused := s.verify(r, body); refused != nil {
		writeSQSError(w, refused)
		return
	}
	answer, refused := s.serve(operation, body, fault)
	switch {
	case refused != nil:
		writeSQSError(w, refused)
	case fault != nil && fault.CutAfter:
		cut(w)
	default:
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.Header().Set("X-Amzn-Requestid", "sink")
		_ = json.NewEncoder(w).Encode(answer) // the client is gone otherwise
	}
}

// note counts the call and asks for a fault.
func (s *SQS) note(operation string, r *http.Request, body []byte) *SQSFault {
	s.mu.Lock()
	s.calls[operation]++
	call := SQSCall{Operation: operation, N: s.calls[operation], Header: r.Header.Clone(), Body: body}
	fault := s.fault
	s.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(call)
}

// errSQS is an error answer of an operation.
func errSQS(code, format string, args ...any) *SQSFault {
	return &SQSFault{Status: http.StatusBadRequest, Code: code, Message: fmt.Sprintf(format, args...)}
}

// serve does the operation and returns its answer.
func (s *SQS) serve(operation string, body []byte, fault *SQSFault) (any, *SQSFault) {
	var in sqsInput
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, errSQS("SerializationException", "not valid JSON")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if operation == "CreateQueue" {
		s.queue(in.QueueName)
		return map[string]string{"QueueUrl": s.queueURL(in.QueueName)}, nil
	}
	name := in.QueueName
	if name == "" {
		name = in.QueueURL[strings.LastIndexByte(in.QueueURL, '/')+1:]
	}
	q := s.queues[name]
	if q == nil {
		return nil, errSQS("QueueDoesNotExist", "The specified queue does not exist.")
	}
	switch operation {
	case "GetQueueUrl":
		return map[string]string{"QueueUrl": s.queueURL(name)}, nil
	case "GetQueueAttributes":
		return map[string]any{"Attributes": q.attributes("arn:aws:sqs:" + s.config.Region + ":" + sqsAccount + ":" + name)}, nil
	case "SendMessage":
		return s.send(q, in.sqsEntry)
	case "SendMessageBatch":
		return s.sendBatch(q, in.Entries, fault)
	case "ReceiveMessage":
		return q.receive(in.MaxNumberOfMessages, time.Now()), nil
	case "DeleteMessage":
		return struct{}{}, q.remove(in.ReceiptHandle)
	}
	return nil, errSQS("UnsupportedOperation", "%s", operation)
}

// sqsInput has the fields of all operations.
type sqsInput struct {
	QueueURL            string `json:"QueueUrl"`
	QueueName           string
	Entries             []sqsEntry
	MaxNumberOfMessages int
	ReceiptHandle       string
	sqsEntry
}

// writeSQSError answers as AWS does, with the code in both of its places.
func writeSQSError(w http.ResponseWriter, f *SQSFault) {
	for name, value := range f.Header {
		w.Header().Set(name, value)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("X-Amzn-Requestid", "sink")
	w.WriteHeader(f.Status)
	body := f.Body
	if body == "" {
		b, err := json.Marshal(map[string]string{"__type": "com.amazonaws.sqs#" + f.Code, "message": f.Message})
		if err != nil {
			return
		}
		body = string(b)
	}
	_, _ = io.WriteString(w, body) // the client is gone otherwise
}

// cut ends the connection without an answer.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}
