package sink

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

func startSQS(t *testing.T, cfg SQSConfig) *SQS {
	t.Helper()
	s, err := StartSQS(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// sdk is AWS' own client for s, with its own check of checksums.
func sdk(s *SQS, region, id, key, token string) *sqs.Client {
	return sqs.New(sqs.Options{
		Region: region, BaseEndpoint: aws.String(s.URL()), Retryer: aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: id, SecretAccessKey: key, SessionToken: token}, nil
		}),
	})
}

func TestSQSKnowsItsKeysOnly(t *testing.T) {
	s := startSQS(t, SQSConfig{Region: "eu-west-1", AccessKeyID: "AKIA", SecretAccessKey: "sec/ret+", SessionToken: "tok"})
	url := s.CreateQueue("q")
	tests := []struct{ name, region, id, key, token, want string }{
		{"the right keys", "eu-west-1", "AKIA", "sec/ret+", "tok", ""},
		{"another id", "eu-west-1", "AKIB", "sec/ret+", "tok", "InvalidClientTokenId"},
		{"another key", "eu-west-1", "AKIA", "other", "tok", "SignatureDoesNotMatch"},
		{"another token", "eu-west-1", "AKIA", "sec/ret+", "tik", "InvalidClientTokenId"},
		{"another region", "us-east-1", "AKIA", "sec/ret+", "tok", "SignatureDoesNotMatch"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := sdk(s, tt.region, tt.id, tt.key, tt.token)
			_, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("x")})
			if got := codeOf(err); got != tt.want {
				t.Errorf("SendMessage: got %q (%v), want %q", got, err, tt.want)
			}
		})
	}
	if got := len(s.Messages("q")); got != 1 {
		t.Errorf("messages: got %d, want that of the right keys", got)
	}
}

func codeOf(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestSQSServesAConsumer(t *testing.T) {
	s := startSQS(t, SQSConfig{})
	id, key := s.Keys()
	c := sdk(s, s.Region(), id, key, "")
	made, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("orders.fifo")})
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("orders.fifo")})
	if err != nil || *found.QueueUrl != *made.QueueUrl {
		t.Fatalf("GetQueueUrl: got %v, %v", found, err)
	}
	send := func(body, dedup string) *sqs.SendMessageOutput {
		out, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl: made.QueueUrl, MessageBody: &body, MessageGroupId: aws.String("g"), MessageDeduplicationId: &dedup,
			MessageAttributes: map[string]types.MessageAttributeValue{"a": {DataType: aws.String("String"), StringValue: aws.String("b")}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	first, again := send("one", "d1"), send("one", "d1")
	send("two", "d2")
	if *first.MessageId != *again.MessageId || *first.SequenceNumber != *again.SequenceNumber {
		t.Errorf("the same deduplication id gave messages %s and %s", *first.MessageId, *again.MessageId)
	}
	in := &sqs.ReceiveMessageInput{QueueUrl: made.QueueUrl, MaxNumberOfMessages: 10}
	got, err := c.ReceiveMessage(t.Context(), in) // the SDK checks the digests
	if err != nil || len(got.Messages) != 2 || *got.Messages[0].Body != "one" {
		t.Fatalf("ReceiveMessage: got %+v, %v, want one and two", got, err)
	}
	if _, err := c.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: made.QueueUrl, ReceiptHandle: got.Messages[0].ReceiptHandle}); err != nil {
		t.Errorf("DeleteMessage: %v", err)
	}
	if got, err := c.ReceiveMessage(t.Context(), in); err != nil || len(got.Messages) != 0 {
		t.Errorf("ReceiveMessage while the other is held: got %+v, %v, want none", got, err)
	}
	attributes, err := c.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: made.QueueUrl})
	if err != nil || attributes.Attributes["FifoQueue"] != "true" || attributes.Attributes["ApproximateNumberOfMessages"] != "1" {
		t.Errorf("GetQueueAttributes: got %v, %v", attributes, err)
	}
}

func TestSQSKeepsTheRulesForBatches(t *testing.T) {
	s := startSQS(t, SQSConfig{})
	id, key := s.Keys()
	c := sdk(s, s.Region(), id, key, "")
	url := s.CreateQueue("q")
	entry := func(id, body string) types.SendMessageBatchRequestEntry {
		return types.SendMessageBatchRequestEntry{Id: &id, MessageBody: &body}
	}
	big := strings.Repeat("x", 600<<10)
	var eleven []types.SendMessageBatchRequestEntry
	for _, id := range strings.Split("a b c d e f g h i j k", " ") {
		eleven = append(eleven, entry(id, "x"))
	}
	tests := []struct {
		name    string
		entries []types.SendMessageBatchRequestEntry
		want    string
		failed  []string
	}{
		{"one of two is bad", []types.SendMessageBatchRequestEntry{entry("a", "x"), entry("b", "\x00")}, "", []string{"b InvalidMessageContents"}},
		{"eleven", eleven, "TooManyEntriesInBatchRequest", nil},
		{"together too long", []types.SendMessageBatchRequestEntry{entry("a", big), entry("b", big)}, "BatchRequestTooLong", nil},
		{"the same id", []types.SendMessageBatchRequestEntry{entry("a", "x"), entry("a", "y")}, "BatchEntryIdsNotDistinct", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := c.SendMessageBatch(t.Context(), &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: tt.entries})
			if got := codeOf(err); got != tt.want {
				t.Fatalf("SendMessageBatch: got %q, want %q", got, tt.want)
			}
			var failed []string
			if err == nil {
				for _, f := range out.Failed {
					failed = append(failed, *f.Id+" "+*f.Code)
				}
			}
			if diff := cmp.Diff(failed, tt.failed); diff != "" {
				t.Errorf("failed: got - want +\n%s", diff)
			}
		})
	}
}

func TestMD5OfAttributes(t *testing.T) {
	// Computed by the recipe of the developer guide, apart from this code:
	// printf '\0\0\0\1a\0\0\0\6String\1\0\0\0\1b' | md5sum
	got := md5Attributes(map[string]sqsAttribute{"a": {DataType: "String", StringValue: "b"}})
	if want := "bef8bf215374a0a228d67533b1a488be"; got != want {
		t.Errorf("md5Attributes: got %s, want %s", got, want)
	}
}

func TestHTTPKeepsTheNewest(t *testing.T) {
	h, err := StartHTTP(HTTPConfig{Keep: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	h.SetAnswer(func(r HTTPRequest) HTTPAnswer {
		return HTTPAnswer{Status: http.StatusTeapot, Header: map[string]string{"X-A": "b"}, Body: r.Method + r.Path}
	})
	for range 4 {
		resp, err := http.Post(h.URL()+"/p?q=1", "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusTeapot || string(body) != "POST/p?q=1" || resp.Header.Get("X-A") != "b" {
			t.Fatalf("answer: got %d %q, %v", resp.StatusCode, body, err)
		}
	}
	list := h.Requests()
	if h.Count() != 4 || len(list) != 2 || string(list[1].Body) != "hello" || list[1].Path != "/p?q=1" {
		t.Errorf("kept: got %d of %d, want 2 of 4", len(list), h.Count())
	}
	http.DefaultClient.CloseIdleConnections()
}
