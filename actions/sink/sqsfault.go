package sink

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// SQSCall is a call that is about to be served.
type SQSCall struct {
	Operation string // "SendMessageBatch"
	N         int    // how many of this operation there were, from 1
	Header    http.Header
	Body      []byte
}

// SQSFault says what goes wrong with a call. The zero SQSFault changes nothing.
type SQSFault struct {
	Status  int    // answer this HTTP status and do nothing; 0 for no error answer
	Code    string // with this error code
	Message string
	Header  map[string]string
	Body    string // instead of the JSON of Code and Message

	CutBefore bool            // close the connection and do nothing
	CutAfter  bool            // do it, and close the connection instead of answering
	Wait      <-chan struct{} // serve when this is closed, or never if the client goes away first

	// Entry fails single entries of a batch: it returns nil for those that are
	// to be accepted. The ID of its answer is filled in.
	Entry func(index int, body string) *SQSEntryError
}

// before does what comes before the operation and reports whether that was all.
func (f *SQSFault) before(w http.ResponseWriter, r *http.Request) bool {
	if f.Wait != nil {
		select {
		case <-f.Wait:
		case <-r.Context().Done():
			return true
		}
	}
	if f.CutBefore {
		cut(w)
		return true
	}
	if f.Status != 0 {
		writeSQSError(w, f)
		return true
	}
	return false
}

// sqsSkew is how far clocks may be apart (AWS Signature Version 4).
const sqsSkew = 15 * time.Minute

// verify checks the signature (AWS Signature Version 4) and returns what AWS
// answers when it is wrong, nil when it is right.
func (s *SQS) verify(r *http.Request, body []byte) *SQSFault {
	s.mu.Lock()
	c := s.config
	s.mu.Unlock()
	if c.Lax {
		return nil
	}
	forbid := func(code, message string) *SQSFault {
		return &SQSFault{Status: http.StatusForbidden, Code: code, Message: message}
	}
	auth, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return forbid("MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(auth, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	id, scope, _ := strings.Cut(fields["Credential"], "/")
	date := r.Header.Get("X-Amz-Date")
	switch {
	case id != c.AccessKeyID || r.Header.Get("X-Amz-Security-Token") != c.SessionToken:
		return forbid("InvalidClientTokenId", "The security token included in the request is invalid.")
	case len(date) < 8 || scope != date[:8]+"/"+c.Region+"/sqs/aws4_request":
		return forbid("SignatureDoesNotMatch", "Credential should be scoped to a valid region.")
	}
	at, err := time.Parse("20060102T150405Z", date)
	if err != nil || time.Since(at).Abs() > sqsSkew {
		return forbid("SignatureDoesNotMatch", "Signature expired: "+date+" is now earlier than the server's time.")
	}
	want := sigV4(r, body, c.SecretAccessKey, date, scope, fields["SignedHeaders"])
	if subtle.ConstantTimeCompare([]byte(want), []byte(fields["Signature"])) != 1 {
		return forbid("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.")
	}
	return nil
}

// sigV4 computes the signature that a request should have.
func sigV4(r *http.Request, body []byte, secret, date, scope, signed string) string {
	var c strings.Builder
	c.WriteString(r.Method + "\n" + r.URL.EscapedPath() + "\n" + r.URL.RawQuery + "\n")
	for name := range strings.SplitSeq(signed, ";") {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = r.Header.Get("Content-Length")
		}
		c.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	sum := sha256.Sum256(body)
	c.WriteString("\n" + signed + "\n" + hex.EncodeToString(sum[:]))
	request := sha256.Sum256([]byte(c.String()))
	text := "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + hex.EncodeToString(request[:])

	key := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = hmacSHA256(key, part)
	}
	return hex.EncodeToString(hmacSHA256(key, text))
}

func hmacSHA256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
