package sink

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// SQSMessage is a message that a queue has accepted.
type SQSMessage struct {
	ID         string // MessageId
	Body       string
	Attributes map[string]string // values of the message attributes
	Group      string            // MessageGroupId
	DedupID    string            // MessageDeduplicationId
	At         time.Time
}

// Limits of AWS, from the SDK's documentation of SendMessageBatch.
const (
	sqsMaxEntries  = 10
	sqsMaxBytes    = 1 << 20         // of one message and of a batch
	sqsDedupWindow = 5 * time.Minute // FIFO
	sqsVisibility  = 30 * time.Second
)

type sqsQueue struct {
	fifo  bool
	keep  int
	log   []SQSMessage       // accepted, at least the last keep
	ready []sqsWaiting       // not deleted
	dedup map[string]sqsSeen // FIFO: what was accepted in the last minutes
	sent  uint64             // sequence numbers

	pruned time.Time // when old entries of dedup were dropped last
}

type sqsWaiting struct {
	SQSMessage
	receipt string
	hidden  time.Time // until then
}

type sqsSeen struct {
	id, sequence string
	at           time.Time
}

type sqsEntry struct {
	ID                     string `json:"Id"`
	MessageBody            string
	MessageGroupID         string `json:"MessageGroupId"`
	MessageDeduplicationID string `json:"MessageDeduplicationId"`
	MessageAttributes      map[string]sqsAttribute
}

type sqsAttribute struct {
	DataType    string
	StringValue string
}

// sqsResult is what AWS answers for one message.
type sqsResult struct {
	ID              string `json:"Id,omitempty"`
	MessageID       string `json:"MessageId"`
	MD5OfBody       string `json:"MD5OfMessageBody"`
	MD5OfAttributes string `json:"MD5OfMessageAttributes,omitempty"`
	SequenceNumber  string `json:",omitempty"`
}

// SQSEntryError is the failure of one entry of a batch.
type SQSEntryError struct {
	ID          string `json:"Id"`
	Code        string
	Message     string
	SenderFault bool
}

// send accepts one message. s.mu is held.
func (s *SQS) send(q *sqsQueue, e sqsEntry) (sqsResult, *SQSFault) {
	if f := q.check(e); f != nil {
		return sqsResult{}, f
	}
	r := sqsResult{ID: e.ID, MD5OfBody: md5Hex([]byte(e.MessageBody)), MD5OfAttributes: md5Attributes(e.MessageAttributes)}
	now := time.Now()
	key := e.MessageDeduplicationID
	if seen, ok := q.dedup[key]; ok && q.fifo && now.Sub(seen.at) < sqsDedupWindow {
		r.MessageID, r.SequenceNumber = seen.id, seen.sequence
		return r, nil
	}
	s.serial++
	r.MessageID = fmt.Sprintf("00000000-0000-4000-8000-%012d", s.serial)
	q.sent++
	if q.fifo {
		r.SequenceNumber = strconv.FormatUint(q.sent, 10)
		q.dedup[key] = sqsSeen{id: r.MessageID, sequence: r.SequenceNumber, at: now}
	}
	q.add(SQSMessage{
		ID: r.MessageID, Body: e.MessageBody, Attributes: values(e.MessageAttributes),
		Group: e.MessageGroupID, DedupID: key, At: now,
	})
	return r, nil
}

func (q *sqsQueue) add(m SQSMessage) {
	q.log = newest(append(q.log, m), q.keep)
	q.ready = newest(append(q.ready, sqsWaiting{SQSMessage: m}), q.keep)
	if m.At.Sub(q.pruned) > sqsDedupWindow {
		q.pruned = m.At
		maps.DeleteFunc(q.dedup, func(_ string, s sqsSeen) bool { return m.At.Sub(s.at) > sqsDedupWindow })
	}
}

// newest drops all but the last keep of a list, when it is twice as long: then
// the copying costs next to nothing for each message.
func newest[T any](list []T, keep int) []T {
	if len(list) < 2*keep {
		return list
	}
	return slices.Delete(list, 0, len(list)-keep)
}

// check applies AWS' rules for one message.
func (q *sqsQueue) check(e sqsEntry) *SQSFault {
	switch {
	case e.MessageBody == "":
		return errSQS("MissingParameter", "The request must contain the parameter MessageBody.")
	case !utf8.ValidString(e.MessageBody) || strings.ContainsFunc(e.MessageBody, forbidden):
		return errSQS("InvalidMessageContents", "Invalid binary character found in the message body.")
	case e.size() > sqsMaxBytes:
		return errSQS("InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.")
	case len(e.MessageAttributes) > 10:
		return errSQS("InvalidParameterValue", "Number of message attributes [%d] exceeds the allowed maximum [10].", len(e.MessageAttributes))
	case q.fifo && e.MessageGroupID == "":
		return errSQS("MissingParameter", "The request must contain the parameter MessageGroupId.")
	case q.fifo && e.MessageDeduplicationID == "":
		return errSQS("InvalidParameterValue", "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	case len(e.MessageGroupID) > 128 || len(e.MessageDeduplicationID) > 128:
		return errSQS("InvalidParameterValue", "The group or deduplication id is longer than 128 characters.")
	}
	return nil
}

// forbidden reports characters that no message may hold.
func forbidden(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
}

func (e sqsEntry) size() int {
	n := len(e.MessageBody)
	for name, a := range e.MessageAttributes {
		n += len(name) + len(a.DataType) + len(a.StringValue)
	}
	return n
}

// sendBatch accepts each entry on its own. s.mu is held.
func (s *SQS) sendBatch(q *sqsQueue, entries []sqsEntry, fault *SQSFault) (any, *SQSFault) {
	if f := checkBatch(entries); f != nil {
		return nil, f
	}
	var out struct {
		Successful []sqsResult
		Failed     []SQSEntryError
	}
	for i, e := range entries {
		if fault != nil && fault.Entry != nil {
			if failure := fault.Entry(i, e.MessageBody); failure != nil {
				failure.ID = e.ID
				out.Failed = append(out.Failed, *failure)
				continue
			}
		}
		r, refused := s.send(q, e)
		if refused != nil {
			out.Failed = append(out.Failed, SQSEntryError{ID: e.ID, Code: refused.Code, Message: refused.Message, SenderFault: true})
			continue
		}
		out.Successful = append(out.Successful, r)
	}
	return out, nil
}

func checkBatch(entries []sqsEntry) *SQSFault {
	if len(entries) == 0 {
		return errSQS("EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request.")
	}
	if len(entries) > sqsMaxEntries {
		return errSQS("TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent %d.", len(entries))
	}
	ids := map[string]bool{}
	total := 0
	for _, e := range entries {
		if e.ID == "" || len(e.ID) > 80 || ids[e.ID] {
			return errSQS("BatchEntryIdsNotDistinct", "Id %s repeated.", e.ID)
		}
		ids[e.ID] = true
		total += e.size()
	}
	if total > sqsMaxBytes {
		return errSQS("BatchRequestTooLong", "Batch requests cannot be longer than 1048576 bytes. You have sent %d bytes.", total)
	}
	return nil
}

// receive hands out messages that nobody holds, at most 10.
func (q *sqsQueue) receive(limit int, now time.Time) any {
	type message struct {
		MessageID     string `json:"MessageId"`
		ReceiptHandle string
		MD5OfBody     string
		Body          string
		Attributes    map[string]string `json:",omitempty"`
	}
	limit = min(max(limit, 1), sqsMaxEntries)
	out := struct{ Messages []message }{}
	for i := range q.ready {
		m := &q.ready[i]
		if len(out.Messages) == limit {
			break
		}
		if m.hidden.After(now) {
			continue
		}
		m.hidden = now.Add(sqsVisibility)
		m.receipt = m.ID + "-" + strconv.FormatInt(now.UnixNano(), 36)
		out.Messages = append(out.Messages, message{
			MessageID: m.ID, ReceiptHandle: m.receipt, MD5OfBody: md5Hex([]byte(m.Body)), Body: m.Body,
			Attributes: systemAttributes(m.SQSMessage),
		})
	}
	return out
}

func systemAttributes(m SQSMessage) map[string]string {
	if m.Group == "" {
		return nil
	}
	return map[string]string{"MessageGroupId": m.Group, "MessageDeduplicationId": m.DedupID}
}

func (q *sqsQueue) remove(receipt string) *SQSFault {
	i := slices.IndexFunc(q.ready, func(m sqsWaiting) bool { return receipt != "" && m.receipt == receipt })
	if i < 0 {
		return errSQS("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
	}
	q.ready = slices.Delete(q.ready, i, i+1)
	return nil
}

func (q *sqsQueue) attributes(arn string) map[string]string {
	a := map[string]string{
		"QueueArn": arn, "MaximumMessageSize": strconv.Itoa(sqsMaxBytes),
		"ApproximateNumberOfMessages": strconv.Itoa(len(q.ready)),
	}
	if q.fifo {
		a["FifoQueue"] = "true"
	}
	return a
}

func values(attributes map[string]sqsAttribute) map[string]string {
	if len(attributes) == 0 {
		return nil
	}
	m := make(map[string]string, len(attributes))
	for name, a := range attributes {
		m[name] = a.StringValue
	}
	return m
}

func md5Hex(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// md5Attributes is AWS' digest of message attributes: sorted by name, each part
// with its length in front, a 1 for text before the value (SQS Developer Guide,
// "Calculating the MD5 message digest for message attributes").
func md5Attributes(attributes map[string]sqsAttribute) string {
	if len(attributes) == 0 {
		return ""
	}
	var b []byte
	part := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		part(name)
		part(attributes[name].DataType)
		b = append(b, 1)
		part(attributes[name].StringValue)
	}
	return md5Hex(b)
}
