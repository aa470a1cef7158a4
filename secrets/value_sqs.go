package secrets

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/sealpost/sealpost/secrets/redact"
)

func parseSQS(text string) (SQS, error) {
	var s SQS
	err := decodeObject(text, []field{
		{name: "aws_region", required: true, to: &s.Region},
		{name: "queue_url", required: true, to: &s.QueueURL},
		{name: "access_key_id", required: true, to: &s.AccessKeyID},
		{name: "secret_access_key", required: true, to: &s.SecretAccessKey},
		{name: "session_token", max: maxToken, to: &s.SessionToken},
		{name: "endpoint", to: &s.Endpoint},
	})
	if err != nil {
		return SQS{}, err
	}
	return s, s.check()
}

func (s *SQS) check() error {
	if !regionName.MatchString(s.Region) {
		return invalid("field \"aws_region\" is not a region's name, such as eu-west-1")
	}
	for _, c := range []struct {
		name string
		text redact.String
		min  int
	}{
		{"access_key_id", s.AccessKeyID, minCredential}, {"secret_access_key", s.SecretAccessKey, minCredential}, {"session_token", s.SessionToken, 0},
	} {
		text := c.text.Reveal()
		if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return invalid("field %q holds a space or a character outside ASCII", c.name)
		}
		if len(text) < c.min {
			return invalid("field %q is shorter than %d characters", c.name, c.min)
		}
	}
	if s.Endpoint != "" && !validEndpoint(s.Endpoint) {
		return invalid("field \"endpoint\" is not http(s)://host[:port] alone")
	}
	return s.checkQueue()
}

var (
	regionName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

	// awsQueueHost are the names under which AWS serves SQS; the region is in
	// one of the groups. The bare queue.amazonaws.com is us-east-1.
	awsQueueHost = regexp.MustCompile(`^(?:sqs(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)` +
		`|(?:([a-z0-9-]+)\.)?queue\.amazonaws\.com(?:\.cn)?` +
		`|vpce-[a-z0-9-]+\.sqs\.([a-z0-9-]+)\.vpce\.amazonaws\.com(?:\.cn)?)$`)

	// awsQueuePath: account and queue name, at most 80 characters with .fifo.
	awsQueuePath = regexp.MustCompile(`^/[0-9]{12}/[A-Za-z0-9_-]{1,80}(\.fifo)?$`)

	// otherQueuePath: what emulators use.
	otherQueuePath = regexp.MustCompile(`^(/[A-Za-z0-9._-]{1,80}){1,6}$`)
)

// checkQueue holds queue_url to what it can mean. The SDK sends requests to the
// region or to the endpoint, never to the queue's host (it is a parameter), so a
// foreign host without an endpoint would send the signature to AWS for a queue
// that is not there.
func (s *SQS) checkQueue() error {
	u, ok := plainURL(s.QueueURL)
	if !ok {
		return invalid("field \"queue_url\" is not a URL of a queue")
	}
	host := awsQueueHost.FindStringSubmatch(strings.ToLower(u.Host))
	if host == nil {
		switch {
		case s.Endpoint == "":
			return invalid("field \"queue_url\" is not of AWS; such a queue needs \"endpoint\" too")
		case !otherQueuePath.MatchString(u.Path):
			return invalid("field \"queue_url\" is not a URL of a queue")
		}
		return nil
	}
	region := host[1] + host[2] + host[3]
	if region == "" {
		region = "us-east-1"
	}
	switch {
	case u.Scheme != "https":
		return invalid("field \"queue_url\" is of AWS but not https")
	case region != s.Region:
		return invalid("field \"queue_url\" is in another region than \"aws_region\" says")
	case !awsQueuePath.MatchString(u.Path):
		return invalid("field \"queue_url\" does not end in /<account of 12 digits>/<queue>")
	}
	return nil
}

// plainURL parses an http or https URL without user, query and fragment. It
// gives no error: net/url quotes the whole URL, password included.
func plainURL(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, false
	}
	return u, validHost(u.Hostname()) && !strings.ContainsAny(text, "#\\")
}

func validEndpoint(text string) bool {
	u, ok := plainURL(text)
	return ok && (u.Path == "" || u.Path == "/")
}

func sqsMeta(s SQS) map[string]string {
	m := map[string]string{"region": s.Region, "queue_url": s.QueueURL}
	if s.Endpoint != "" {
		m["endpoint"] = s.Endpoint
	}
	return m
}
