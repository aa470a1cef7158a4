package sqs

import (
	"context"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"

	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	smithyendpoints "github.com/aws/smithy-go/endpoints"

	"github.com/sealpost/sealpost/secrets"
)

// awsHost are the names under which AWS serves SQS; group 1 to 3 is the region,
// none of them us-east-1. What the service does not serve at its regional name
// is told by the groups too: 4 is set for a VPC endpoint.
var awsHost = regexp.MustCompile(`^(?:sqs(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)` +
	`|(?:([a-z0-9-]+)\.)?queue\.amazonaws\.com(?:\.cn)?` +
	`|(vpce-[a-z0-9-]+)\.sqs\.([a-z0-9-]+)\.vpce\.amazonaws\.com(?:\.cn)?)$`)

// endpointOf returns the endpoint to send to, "" for the one that the SDK knows
// for the region.
//
// The SDK does not send to the host of the queue's URL: the URL is a parameter.
// An endpoint is taken from the setting of that name only, or from a queue's
// URL whose host is AWS' own and of the secret's region. So nobody gets a
// signed request to a host of their choice by a queue's URL.
func endpointOf(s secrets.SQS) (string, error) {
	u, err := url.Parse(s.QueueURL)
	if err != nil || u.Host == "" || u.User != nil {
		return "", refuseEndpoint("\"queue_url\" is not a URL of a queue")
	}
	if s.Endpoint != "" {
		e, err := url.Parse(s.Endpoint)
		if err != nil || e.Scheme != "https" && e.Scheme != "http" || e.Host == "" || e.User != nil || strings.Trim(e.Path, "/") != "" {
			return "", refuseEndpoint("\"endpoint\" is not http(s)://host[:port] alone")
		}
		return e.Scheme + "://" + e.Host, nil
	}
	host := strings.ToLower(u.Host)
	m := awsHost.FindStringSubmatch(host)
	switch {
	case m == nil:
		return "", refuseEndpoint("\"queue_url\" is not of AWS and there is no \"endpoint\"")
	case u.Scheme != "https":
		return "", refuseEndpoint("\"queue_url\" is of AWS but not https")
	case regionOf(m) != s.Region:
		return "", refuseEndpoint("\"queue_url\" is in another region than \"aws_region\" says")
	}
	if m[3] != "" || strings.HasPrefix(host, "sqs-fips.") || strings.HasSuffix(host, ".api.aws") {
		return "https://" + host, nil
	}
	return "", nil
}

func regionOf(m []string) string {
	if region := m[1] + m[2] + m[4]; region != "" {
		return region
	}
	return "us-east-1"
}

// resolvedOnce keeps what the SDK's rules say of the endpoint. They go by the
// options of a client only, which never change, and take 6 us for each request.
type resolvedOnce struct {
	ask  awssqs.EndpointResolverV2
	kept atomic.Pointer[smithyendpoints.Endpoint]
}

// ResolveEndpoint returns the endpoint of the client. The SDK reads it only.
func (r *resolvedOnce) ResolveEndpoint(ctx context.Context, p awssqs.EndpointParameters) (smithyendpoints.Endpoint, error) {
	if e := r.kept.Load(); e != nil {
		return *e, nil
	}
	e, err := r.ask.ResolveEndpoint(ctx, p)
	if err == nil {
		r.kept.Store(&e)
	}
	return e, err
}

func isFIFO(queueURL string) bool { return strings.HasSuffix(queueURL, ".fifo") }
