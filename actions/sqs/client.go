package sqs

import (
	"context"
	"crypto/md5"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/crashpoint"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Bounds of what an endpoint may answer. The answer to 10 messages has about 3
// KiB.
const (
	maxAnswer    = 128 << 10 // bytes of a body: more is work for the JSON reader and nothing else
	maxHeader    = 64 << 10  // bytes of headers
	keepIdle     = 30 * time.Second
	tlsHandshake = 10 * time.Second
)

// client talks to the service with one version of a secret.
type client struct {
	api       *awssqs.Client
	transport *http.Transport
	queueURL  string
	secure    bool                     // https
	scrub     []redact.String          // what no text may show
	clean     func(text string) string // takes it out
}

// newClient returns a client that makes one try for each call, through the
// guard, without a proxy (which would see instead of the guard) and without
// following redirects (which would take the signed request elsewhere).
func newClient(s secrets.SQS, guard *netguard.Guard) (*client, error) {
	endpoint, err := endpointOf(s)
	if err != nil {
		return nil, err
	}
	c := &client{
		queueURL: s.QueueURL, secure: endpoint == "" || endpoint[:5] == "https",
		scrub: []redact.String{s.AccessKeyID, s.SecretAccessKey, s.SessionToken},
	}
	c.clean = redact.Scrubber(c.scrub...)
	c.transport = &http.Transport{
		DialContext: dialer(guard, c.secure), TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: tlsHandshake, MaxIdleConnsPerHost: maxFlights, IdleConnTimeout: keepIdle,
		MaxResponseHeaderBytes: maxHeader, DisableCompression: true,
	}
	options := awssqs.Options{
		Region: s.Region, Retryer: aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{
				AccessKeyID: s.AccessKeyID.Reveal(), SecretAccessKey: s.SecretAccessKey.Reveal(), SessionToken: s.SessionToken.Reveal(),
			}, nil
		}),
		HTTPClient: &http.Client{
			Transport:     bounded{c.transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		// We compare the checksums of each message; the SDK's check turns one that
		// differs into an error of the whole request, after it was accepted.
		DisableMessageChecksumValidation: true,
	}
	if endpoint != "" {
		options.BaseEndpoint = aws.String(endpoint)
	}
	options.EndpointResolverV2 = &resolvedOnce{ask: awssqs.NewDefaultEndpointResolverV2()}
	c.api = awssqs.New(options)
	return c, nil
}

func (c *client) close() { c.transport.CloseIdleConnections() }

// errPlain says that an endpoint without TLS is on the public internet.
var errPlain = errors.New("an endpoint on the internet must be https://")

// dialer connects through the guard. Without TLS it reaches only addresses that
// are private and so were allowed by the operator: messages stay in that net.
func dialer(guard *netguard.Guard, secure bool) func(context.Context, string, string) (net.Conn, error) {
	if secure {
		return guard.DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := guard.DialContext(ctx, network, address)
		if err == nil && !staysPrivate(conn) {
			_ = conn.Close()
			return nil, errPlain
		}
		return conn, err
	}
}

// staysPrivate reports whether the other end is an address that the guard would
// refuse if the operator had not allowed it.
func staysPrivate(conn net.Conn) bool {
	var nothingAllowed *netguard.Guard
	family := "tcp6"
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok && a.IP.To4() != nil {
		family = "tcp4"
	}
	return nothingAllowed.Check(family, conn.RemoteAddr().String()) != nil
}

// bounded limits what an endpoint can make us read.
type bounded struct{ next http.RoundTripper }

// errSwitched says that an endpoint wants to speak another protocol.
var errSwitched = errors.New("the endpoint answered 101 to a request that asked for no other protocol")

// RoundTrip cuts the answer off at the limit. It takes no 101: net/http gives
// the bare connection as the body then, and reading it would outlive the
// context of the request.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		_ = resp.Body.Close()
		return nil, errSwitched
	}
	resp.Header.Del("Location") // it is not followed, and one that is no URL would hide the status
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	return resp, nil
}

// progress is how far a request came.
type progress struct{ connected, secured, written atomic.Bool }

func (p *progress) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectDone: func(_, _ string, err error) { p.connected.Store(err == nil) },
		GotConn:     func(httptrace.GotConnInfo) { p.connected.Store(true); p.secured.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				p.written.Store(true)
			}
		},
	})
}

// send makes one request of the messages and returns a result for each, and
// whether the request failed as a whole.
func (c *client) send(ctx context.Context, batch []*entry) ([]result, bool) {
	in := &awssqs.SendMessageBatchInput{QueueUrl: aws.String(c.queueURL)}
	for i, e := range batch {
		in.Entries = append(in.Entries, e.request(i))
	}
	var p progress
	crashpoint.Point("sqs-before")
	out, err := c.api.SendMessageBatch(p.trace(ctx), in)
	crashpoint.Point("sqs-after")
	if err != nil {
		results := make([]result, len(batch))
		f := c.judge(err, &p)
		for i := range results {
			results[i].failed = f
		}
		return results, true
	}
	return c.sortOut(out, batch), false
}

// What an answer may say of a message without being readable.
var (
	unreadable    = actions.Answer{Stage: stageSend, Code: http.StatusOK, Status: "answer.unreadable"}
	missing       = newFailure(unreadable, "the answer says nothing of this message")
	contradiction = newFailure(unreadable, "the answer says more than one thing of this message")
)

// sortOut gives each message what the answer says of it. A message of which it
// says nothing, or both that it was taken and that it was not, may or may not
// be in the queue.
func (c *client) sortOut(out *awssqs.SendMessageBatchOutput, batch []*entry) []result {
	results := make([]result, len(batch))
	for i := range results {
		results[i].failed = missing
	}
	for _, ok := range out.Successful {
		// A second mention costs nothing: an answer has room for thousands.
		if i := place(ok.Id, len(batch)); i >= 0 && results[i].failed != nil {
			sum := md5.Sum([]byte(batch[i].body))
			results[i] = result{
				id:      c.clean(aws.ToString(ok.MessageId)),
				changed: ok.MD5OfMessageBody != nil && *ok.MD5OfMessageBody != hex.EncodeToString(sum[:]),
			}
		}
	}
	for _, no := range out.Failed {
		i := place(no.Id, len(batch))
		switch {
		case i < 0:
		case results[i].failed == missing:
			results[i].failed = c.judgeEntry(no)
		default:
			results[i] = result{failed: contradiction}
		}
	}
	return results
}

// place is which of n messages an id of an answer names, -1 for none. Only what
// we wrote counts: "+1" and "01" are no ids of ours.
func place(id *string, n int) int {
	i, err := strconv.Atoi(aws.ToString(id))
	if err != nil || i < 0 || i >= n || strconv.Itoa(i) != *id {
		return -1
	}
	return i
}

// request is the entry as the i-th of a request.
func (e *entry) request(i int) types.SendMessageBatchRequestEntry {
	text := func(typ, value string) types.MessageAttributeValue {
		return types.MessageAttributeValue{DataType: aws.String(typ), StringValue: aws.String(value)}
	}
	r := types.SendMessageBatchRequestEntry{
		Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String(e.body),
		MessageAttributes: map[string]types.MessageAttributeValue{
			attrJob: text("String", e.job), attrPart: text("Number", e.part()),
		},
	}
	if e.group != "" {
		r.MessageGroupId = aws.String(e.group)
	}
	if e.dedup != "" {
		r.MessageDeduplicationId = aws.String(e.dedup)
	}
	return r
}
