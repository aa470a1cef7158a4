package sqs

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sealpost/sealpost/secrets"
)

func TestEndpointOf(t *testing.T) {
	const region = "eu-west-1"
	tests := []struct{ name, queue, endpoint, want string }{
		{"the region's own", "https://sqs.eu-west-1.amazonaws.com/123456789012/q", "", ""},
		{"the legacy name", "https://eu-west-1.queue.amazonaws.com/123456789012/q", "", ""},
		{"FIPS", "https://sqs-fips.eu-west-1.amazonaws.com/123456789012/q", "", "https://sqs-fips.eu-west-1.amazonaws.com"},
		{"dual stack", "https://sqs.eu-west-1.api.aws/123456789012/q", "", "https://sqs.eu-west-1.api.aws"},
		{"VPC endpoint", "https://vpce-0a-b.sqs.eu-west-1.vpce.amazonaws.com/123456789012/q", "", "https://vpce-0a-b.sqs.eu-west-1.vpce.amazonaws.com"},
		{"an emulator", "http://sqs.eu-west-1.localhost:4566/000000000000/q", "http://127.0.0.1:4566/", "http://127.0.0.1:4566"},
		{"an endpoint wins", "https://sqs.us-east-1.amazonaws.com/1/q", "https://proxy.example", "https://proxy.example"},
		{"another region", "https://sqs.us-east-1.amazonaws.com/123456789012/q", "", "refused"},
		{"the bare name is of us-east-1", "https://queue.amazonaws.com/123456789012/q", "", "refused"},
		{"http", "http://sqs.eu-west-1.amazonaws.com/123456789012/q", "", "refused"},
		{"a foreign host", "https://sqs.eu-west-1.amazonaws.com.evil.example/1/q", "", "refused"},
		{"a foreign host that holds AWS' name", "https://evil.example/sqs.eu-west-1.amazonaws.com/q", "", "refused"},
		{"the metadata service", "http://169.254.169.254/latest", "", "refused"},
		{"user in the URL", "https://sqs.eu-west-1.amazonaws.com@evil.example/1/q", "", "refused"},
		{"no URL", "queue", "", "refused"},
		{"an endpoint with a path", "http://q/1/q", "http://127.0.0.1:1/path", "refused"},
		{"an endpoint that is no URL", "http://q/1/q", "127.0.0.1:4566", "refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := endpointOf(secrets.SQS{Region: region, QueueURL: tt.queue, Endpoint: tt.endpoint})
			if err != nil {
				got = "refused"
			}
			if got != tt.want {
				t.Errorf("endpointOf: got %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestTheEndpointIsResolvedOnce(t *testing.T) {
	sdk := awssqs.NewDefaultEndpointResolverV2()
	once := &resolvedOnce{ask: sdk}
	if _, err := once.ResolveEndpoint(t.Context(), awssqs.EndpointParameters{}); err == nil {
		t.Fatal("no region: no error")
	}
	region := awssqs.EndpointParameters{Region: aws.String("cn-north-1")}
	want, err := sdk.ResolveEndpoint(t.Context(), region)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := once.ResolveEndpoint(t.Context(), region); err != nil || got.URI != want.URI {
			t.Errorf("got %v, %v, want %v", got.URI.String(), err, want.URI.String())
		}
		once.ask = nil // a second question would panic
	}
}
