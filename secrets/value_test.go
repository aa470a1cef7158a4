package secrets

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/secrets/redact"
)

const canaryValue = "CaNaRy-7f3a"

func testCertificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// object is JSON of the fields, those of change added or, if nil, taken away.
func object(t *testing.T, fields, change map[string]any) string {
	t.Helper()
	all := maps.Clone(fields)
	for name, v := range change {
		if v == nil {
			delete(all, name)
		} else {
			all[name] = v
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func smtpFields() map[string]any {
	return map[string]any{"smtp_server": "mail.example.org", "smtp_port": 587, "username": "robot", "password": canaryValue}
}

func sqsFields() map[string]any {
	return map[string]any{
		"aws_region": "eu-west-1", "queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/q.fifo",
		"access_key_id": "AKIA" + canaryValue, "secret_access_key": canaryValue,
	}
}

func TestValueTypes(t *testing.T) {
	rows := []struct {
		name, text string
		asked      Type
		want       Type
	}{
		{"plain text", "hello world", "", TypeText},
		{"an object of other fields", `{"user":"a","pass":"b"}`, "", TypeText},
		{"an object with only a queue_url", `{"queue_url":"x"}`, "", TypeText},
		{"a list", `["smtp_server"]`, "", TypeText},
		{"broken JSON", `{"smtp_server": `, "", TypeText},
		{"smtp fields", object(t, smtpFields(), nil), "", TypeSMTP},
		{"smtp fields after white space", " \n" + object(t, smtpFields(), nil) + "\n", "", TypeSMTP},
		{"smtp fields asked as text", object(t, smtpFields(), nil), TypeText, TypeText},
		{"sqs fields", object(t, sqsFields(), nil), "", TypeSQS},
	}
	for _, r := range rows {
		got, err := checkValue(r.asked, redact.New(r.text))
		if err != nil || got.kind != r.want || got.length != len(r.text) {
			t.Errorf("%s: got %s of %d, %v, want %s of %d", r.name, got.kind, got.length, err, r.want, len(r.text))
		}
	}
}

func TestTextValues(t *testing.T) {
	rows := []struct {
		name, text string
		length     int // 0: refused
	}{
		{"6 characters", "123456", 6},
		{"5 characters", "12345", 0},
		{"nothing", "", 0},
		{"2048 characters", strings.Repeat("ä", 2048), 2048},
		{"2049 characters", strings.Repeat("ä", 2049), 0},
		{"3 characters of two UTF-16 units", "😀😀😀", 6},
		{"1025 characters of two UTF-16 units", strings.Repeat("😀", 1025), 0},
		{"line ends", "-----BEGIN\r\nkey\n", 16},
		{"a NUL", "12345\x006", 0},
		{"broken UTF-8", "12345\xff6", 0},
	}
	for _, r := range rows {
		got, err := checkValue(TypeText, redact.New(r.text))
		if r.length == 0 && !errors.Is(err, ErrInvalid) || r.length > 0 && (err != nil || got.length != r.length) {
			t.Errorf("%s: got length %d, %v, want %d", r.name, got.length, err, r.length)
		}
	}
	if _, err := checkValue("other", redact.New("some text")); !errors.Is(err, ErrInvalid) {
		t.Errorf("an unknown type: got %v, want ErrInvalid", err)
	}
}

func TestSMTPValues(t *testing.T) {
	ca := testCertificate(t)
	plain := SMTP{Server: "mail.example.org", Port: 587, Username: "robot", TLS: "starttls", Auth: "auto", MaxConnections: 4}
	with := func(f func(*SMTP)) SMTP { s := plain; f(&s); return s }
	rows := []struct {
		name   string
		change map[string]any
		want   SMTP
	}{
		{"the four fields", nil, plain},
		{"without a port", map[string]any{"smtp_port": nil}, plain},
		{"port 465 means implicit TLS", map[string]any{"smtp_port": 465}, with(func(s *SMTP) { s.Port, s.TLS = 465, "implicit" })},
		{"port 465 with its own choice", map[string]any{"smtp_port": 465, "tls": "starttls"}, with(func(s *SMTP) { s.Port = 465 })},
		{"all fields", map[string]any{
			"tls": "implicit", "auth": "scram-sha-256", "ca_pem": ca + "\n" + ca, "server_name": "relay.example.org",
			"from": "Robot <robot@example.org>", "max_connections": 10, "messages_per_second": 2.5,
		}, with(func(s *SMTP) {
			s.TLS, s.Auth, s.CAPEM, s.ServerName = "implicit", "scram-sha-256", ca+"\n"+ca, "relay.example.org"
			s.From, s.MaxConnections, s.MessagesPerSecond = "Robot <robot@example.org>", 10, 2.5
		})},
		{"an IPv6 address", map[string]any{"smtp_server": "2001:db8::1"}, with(func(s *SMTP) { s.Server = "2001:db8::1" })},
		{"a name of one label", map[string]any{"smtp_server": "mail_relay"}, with(func(s *SMTP) { s.Server = "mail_relay" })},
	}
	for _, r := range rows {
		got, err := parseSMTP(object(t, smtpFields(), r.change))
		if err != nil || got.Password.Reveal() != canaryValue {
			t.Errorf("%s: %v", r.name, err)
			continue
		}
		got.Password = redact.String{}
		if diff := cmp.Diff(got, r.want, cmp.Comparer(redact.String.Equal)); diff != "" {
			t.Errorf("%s (-got +want):\n%s", r.name, diff)
		}
	}
}

func TestSMTPValuesRefused(t *testing.T) {
	ca := testCertificate(t)
	rows := []struct {
		name   string
		change map[string]any
		says   string
	}{
		{"no server", map[string]any{"smtp_server": nil}, `"smtp_server" is missing`},
		{"no password", map[string]any{"password": nil}, `"password" is missing`},
		{"an empty user name", map[string]any{"username": ""}, `"username" is empty`},
		{"an unknown field", map[string]any{"smtp_pass": canaryValue}, `unknown field "smtp_pass"`},
		{"another case", map[string]any{"Password": canaryValue}, `unknown field "Password"`},
		{"a text for a port", map[string]any{"smtp_port": canaryValue}, `"smtp_port" is not a number`},
		{"a port with a fraction", map[string]any{"smtp_port": 587.5}, `"smtp_port" is not a number`},
		{"a huge port", map[string]any{"smtp_port": 70000}, `"smtp_port" is not 1 to 65535`},
		{"port 0", map[string]any{"smtp_port": 0}, `"smtp_port" is not 1 to 65535`},
		{"a number for a password", map[string]any{"password": 4711081508}, `"password" is not a text`},
		{"a password that is null", map[string]any{"password": json.RawMessage("null")}, `"password" is null`},
		{"an object for a password", map[string]any{"password": map[string]any{"a": canaryValue}}, `"password" is not a text`},
		{"a password of three", map[string]any{"password": "abc"}, `"password" is shorter`},
		{"a line end in a password", map[string]any{"password": canaryValue + "\r\n"}, `"password" holds a control`},
		{"a NUL in a user name", map[string]any{"username": "a\x00b"}, `"username" holds a control`},
		{"a lone surrogate", map[string]any{"password": json.RawMessage(`"abc\ud800def"`)}, `"password" is not proper`},
		{"a URL for a server", map[string]any{"smtp_server": "smtp://mail.example.org"}, `"smtp_server" is not a host`},
		{"a server with a port", map[string]any{"smtp_server": "mail.example.org:587"}, `"smtp_server" is not a host`},
		{"a server with a space", map[string]any{"smtp_server": "mail .org"}, `"smtp_server" is not a host`},
		{"an international name", map[string]any{"smtp_server": "bücher.example"}, `xn--`},
		{"a long name", map[string]any{"smtp_server": strings.Repeat("a.", 130)}, `"smtp_server" is not a host`},
		{"mail without TLS", map[string]any{"tls": "none"}, `without TLS is not sent`},
		{"an unknown kind of login", map[string]any{"auth": "ntlm"}, `"auth" is not one of`},
		{"a key for a certificate", map[string]any{"ca_pem": strings.ReplaceAll(ca, "CERTIFICATE", "PRIVATE KEY")}, `"ca_pem"`},
		{"text after a certificate", map[string]any{"ca_pem": ca + canaryValue}, `"ca_pem"`},
		{"a certificate that is none", map[string]any{"ca_pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, `"ca_pem"`},
		{"a sender that is no address", map[string]any{"from": "nobody"}, `"from" is not a mail address`},
		{"no connections", map[string]any{"max_connections": 0}, `"max_connections" is not`},
		{"a negative rate", map[string]any{"messages_per_second": -1}, `"messages_per_second" is not`},
		{"16 KiB of user name", map[string]any{"username": strings.Repeat("u", 16<<10)}, `longer than`},
	}
	for _, r := range rows {
		refuses(t, r.name, TypeSMTP, object(t, smtpFields(), r.change), r.says)
	}
}

// refuses fails the test unless the value is refused, without being quoted.
func refuses(t *testing.T, name string, kind Type, text, says string) {
	t.Helper()
	v, err := checkValue(kind, redact.New(text))
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: got %+v, %v, want ErrInvalid with %q", name, v, err, says)
		return
	}
	for _, secret := range []string{canaryValue, "4711081508"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error quotes the value: %v", name, err)
		}
	}
}

func TestObjectsRefused(t *testing.T) {
	whole := object(t, smtpFields(), nil)
	rows := map[string]string{
		"nothing": "", "a list": "[]", "a text": `"` + canaryValue + `"`, "a password alone": canaryValue,
		"cut": whole[:len(whole)-1], "cut in a text": whole[:len(whole)/2], "two objects": whole + whole, "text after it": whole + " x",
		"a field twice": strings.Replace(whole, "{", `{"password":"`+canaryValue+`",`, 1), "a comma too many": strings.Replace(whole, "}", ",}", 1),
		"deep": strings.Repeat(`{"password":`, 5000), "deep lists": `{"password":` + strings.Repeat("[", 15000),
		"broken UTF-8": strings.Replace(whole, "robot", "ro\xffbot", 1),
	}
	for name, text := range rows {
		refuses(t, name, TypeSMTP, text, "")
	}
}

func TestSQSValues(t *testing.T) {
	queue := func(region, url string) map[string]any { return map[string]any{"aws_region": region, "queue_url": url} }
	emulator := func(url, endpoint string) map[string]any {
		return map[string]any{"aws_region": "eu-west-1", "queue_url": url, "endpoint": endpoint}
	}
	rows := []struct {
		name   string
		change map[string]any
		says   string // "": taken
	}{
		{"a FIFO queue", nil, ""},
		{"a queue in China", queue("cn-north-1", "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q"), ""},
		{"a FIPS host", queue("us-gov-west-1", "https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/q"), ""},
		{"the dual-stack host", queue("eu-west-1", "https://sqs.eu-west-1.api.aws/123456789012/q"), ""},
		{"the old host", queue("eu-west-1", "https://eu-west-1.queue.amazonaws.com/123456789012/q"), ""},
		{"the oldest host", queue("us-east-1", "https://queue.amazonaws.com/123456789012/q"), ""},
		{"a VPC endpoint", queue("eu-west-1", "https://vpce-0a-b1.sqs.eu-west-1.vpce.amazonaws.com/123456789012/q"), ""},
		{"an emulator", emulator("http://127.0.0.1:4566/000000000000/q", "http://127.0.0.1:4566"), ""},
		{"an emulator by a name that does not resolve", emulator("http://sqs.eu-west-1.localhost:4566/0/q", "http://127.0.0.1:4566/"), ""},
		{"a session token", map[string]any{"session_token": strings.Repeat("t", 2000)}, ""},
		{"another region", queue("eu-west-2", "https://sqs.eu-west-1.amazonaws.com/123456789012/q"), "another region"},
		{"the oldest host with another region", queue("eu-west-1", "https://queue.amazonaws.com/123456789012/q"), "another region"},
		{"no TLS to AWS", queue("eu-west-1", "http://sqs.eu-west-1.amazonaws.com/123456789012/q"), "not https"},
		{"no account", queue("eu-west-1", "https://sqs.eu-west-1.amazonaws.com/q"), "account"},
		{"a foreign host alone", queue("eu-west-1", "https://evil.example.org/123456789012/q"), `needs "endpoint"`},
		{"a host that ends like AWS", queue("eu-west-1", "https://sqs.eu-west-1.amazonaws.com.evil.org/123456789012/q"), `needs "endpoint"`},
		{"a host that begins like AWS", queue("eu-west-1", "https://evil-sqs.eu-west-1.amazonaws.com/123456789012/q"), `needs "endpoint"`},
		{"a user in the URL", queue("eu-west-1", "https://u:"+canaryValue+"@sqs.eu-west-1.amazonaws.com/123456789012/q"), `"queue_url" is not a URL`},
		{"a query", queue("eu-west-1", "https://sqs.eu-west-1.amazonaws.com/123456789012/q?a="+canaryValue), `"queue_url" is not a URL`},
		{"a URL that does not parse", queue("eu-west-1", "https://u:"+canaryValue+"@ho st/"), `"queue_url" is not a URL`},
		{"another scheme", emulator("gopher://127.0.0.1/0/q", "http://127.0.0.1:1"), `"queue_url" is not a URL`},
		{"a path that climbs", emulator("http://127.0.0.1:1/../%2e%2e/ q", "http://127.0.0.1:1"), `"queue_url" is not a URL`},
		{"an endpoint with a path", emulator("http://127.0.0.1:1/0/q", "http://127.0.0.1:1/x"), `"endpoint"`},
		{"an endpoint with a user", emulator("http://127.0.0.1:1/0/q", "http://u:"+canaryValue+"@127.0.0.1:1"), `"endpoint"`},
		{"a region that is none", queue("EU West", "https://sqs.eu-west-1.amazonaws.com/123456789012/q"), `"aws_region"`},
		{"a key with a space", map[string]any{"secret_access_key": canaryValue + " x"}, `"secret_access_key" holds a space`},
		{"a short key", map[string]any{"access_key_id": "abc"}, `"access_key_id" is shorter`},
		{"no key", map[string]any{"secret_access_key": nil}, `"secret_access_key" is missing`},
		{"an unknown field", map[string]any{"region": "eu-west-1"}, `unknown field "region"`},
	}
	for _, r := range rows {
		text := object(t, sqsFields(), r.change)
		if r.says != "" {
			refuses(t, r.name, TypeSQS, text, r.says)
			continue
		}
		if v, err := checkValue(TypeSQS, redact.New(text)); err != nil || v.meta["queue_url"] == "" || v.meta["region"] == "" {
			t.Errorf("%s: got %v, %v", r.name, v.meta, err)
		}
	}
}

func TestMetaHoldsNoCredential(t *testing.T) {
	for kind, text := range map[Type]string{TypeSMTP: object(t, smtpFields(), nil), TypeSQS: object(t, sqsFields(), nil)} {
		v, err := checkValue(kind, redact.New(text))
		if err != nil {
			t.Fatal(err)
		}
		for name, m := range v.meta {
			if strings.Contains(m, canaryValue) || strings.Contains(m, "robot") {
				t.Errorf("%s: %s shows %q", kind, name, m)
			}
		}
	}
}

func TestKeysAndTags(t *testing.T) {
	tags := func(n int) []Tag { return make([]Tag, n) }
	full := tags(30)
	for i := range full {
		full[i] = Tag{Key: strings.Repeat("k", 100), Value: strings.Repeat("ü", 200)}
	}
	for name, err := range map[string]error{
		"a key in lower case": second2(checkKey("mail_1")), "a key of 128": second2(checkKey(strings.Repeat("A", 128))),
		"30 tags of the longest": second2(checkTags(full)), "no tags": second2(checkTags(nil)), "a tag without value": second2(checkTags([]Tag{{Key: "a"}})),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"an empty key": second2(checkKey("")), "a key of 129": second2(checkKey(strings.Repeat("A", 129))), "a hyphen": second2(checkKey("A-B")),
		"a space": second2(checkKey("A B")), "a line end": second2(checkKey("A\n")), "a letter that upper-cases to ASCII": second2(checkKey("ſ")),
		"31 tags": second2(checkTags(append(full, Tag{Key: "a"}))), "a tag without key": second2(checkTags(tags(1))),
		"a long tag key": second2(checkTags([]Tag{{Key: strings.Repeat("k", 101)}})), "a long tag value": second2(checkTags([]Tag{{Key: "a", Value: strings.Repeat("v", 201)}})),
		"a line end in a tag": second2(checkTags([]Tag{{Key: "a", Value: "b\r\nc"}})), "broken UTF-8 in a tag": second2(checkTags([]Tag{{Key: "a\xff"}})),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
}

func second2[T any](_ T, err error) error { return err }

func FuzzValue(f *testing.F) {
	f.Add("", `{"smtp_server":"h","username":"u","password":"pass"}`)
	f.Add("sqs", `{"aws_region":"eu-west-1","queue_url":"http://h/0/q","access_key_id":"AKIA","secret_access_key":"pass","endpoint":"http://h"}`)
	f.Add("smtp", `{"smtp_port":1e3,"password":"\ud800"}`)
	f.Add("text", "123456")
	f.Fuzz(func(t *testing.T, kind, text string) {
		v, err := checkValue(Type(kind), redact.New(text))
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("got %v, want ErrInvalid", err)
			}
			return
		}
		switch v.kind { // what is stored opens later
		case TypeSMTP:
			s, err := parseSMTP(text)
			if err != nil || s.Server == "" || s.Port < 1 || s.Password.IsZero() || s.TLS == "" || strings.ContainsAny(s.Server+s.Username+s.Password.Reveal(), "\r\n\x00") {
				t.Errorf("a bad login was taken: %+v, %v", s, err)
			}
		case TypeSQS:
			s, err := parseSQS(text)
			if err != nil || s.QueueURL == "" || s.Region == "" || s.SecretAccessKey.IsZero() {
				t.Errorf("a bad login was taken: %+v, %v", s, err)
			}
		case TypeText:
			if n := len(text); n < minText || n > 4*maxText {
				t.Errorf("a text of %d bytes was taken", n)
			}
		default:
			t.Errorf("a value of type %q was taken", v.kind)
		}
	})
}
