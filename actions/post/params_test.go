package post

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/queue"
)

func TestWhatIsRefused(t *testing.T) {
	a := New(Config{Vault: newVault()})
	defer a.Close()
	const good = "https://a.test/x"
	url := func(u string) fields { return fields{"url": u} }
	header := func(name string, value any) fields { return fields{"url": good, "headers": fields{name: value}} }
	secret := func(name string, value any) fields { return fields{"url": good, "header_secrets": fields{name: value}} }
	many := fields{}
	for i := range 51 {
		many[fmt.Sprintf("X-%d", i)] = "v"
	}
	for _, tt := range []struct {
		name string
		f    fields
		want string // in the error
	}{
		{"no url", fields{}, `"url": want one that begins with https://`},
		{"another scheme", url("ftp://canary.test/"), `"url": want one`},
		{"a file", url("file:///canary"), `"url": want one`},
		{"no scheme", url("//canary.test/"), `"url": want one`},
		{"a script", url("javascript:canary"), `"url": want one`},
		{"no host", url("https:///canary"), "no host"},
		{"a user", url("https://canary@a.test/"), "header_secrets"},
		{"a user and a password", url("https://canary:canary@a.test/"), "header_secrets"},
		{"a variable as scheme", url("$VALUE$://a.test/"), `"url": want one`},
		{"a variable as host", url("https://$VALUE$/canary"), "before its path"},
		{"a variable in the host", url("https://$VALUE$.a.test/canary"), "before its path"},
		{"a variable as port", url("https://a.test:$VALUE$/canary"), "before its path"},
		{"a variable as user", url("https://$VALUE$@a.test/canary"), "user"},
		{"an unknown variable as host", url("https://$FOO$/canary"), "before its path"},
		{"a port that is none", url("https://a.test:canary/"), "host"},
		{"a port of 0", url("https://a.test:0/canary"), "port"},
		{"a port that is too high", url("https://a.test:65536/canary"), "port"},
		{"a zone", url("https://[fe80::1%25eth0]/canary"), "host"},
		{"an escaped host", url("https://%61.test/canary"), "host"},
		{"an odd host", url("https://a..test/canary"), "host"},
		{"a backslash", url(`https://a.test\canary`), "backslash"},
		{"a blank", url("https://a.test/canary x"), "blank"},
		{"a line end", url("https://a.test/\r\ncanary"), "control character"},
		{"a step up", url("https://a.test/x/../canary"), "step"},
		{"a step up, escaped", url("https://a.test/x/%2e%2E/canary"), "step"},
		{"a broken escape", url("https://a.test/%zz"), "not a URL"},
		{"a long one", url("https://a.test/" + strings.Repeat("x", 8000)), "longer than 8000"},
		{"a secret of another system", url("https://a.test/$SECRET.canary$"), "header_secrets"},
		{"the same in a header", header("X-A", "Bearer $secret.canary$"), "header_secrets"},
		{"Host", header("Host", "canary"), `header "Host" cannot be set`},
		{"Content-Length", header("content-length", "1"), `header "Content-Length" cannot be set`},
		{"Content-Type", header("CONTENT-TYPE", "canary"), `header "Content-Type" cannot be set`},
		{"Content-Encoding", header("Content-Encoding", "gzip"), "cannot be set"},
		{"Transfer-Encoding", header("Transfer-Encoding", "canary"), "cannot be set"},
		{"Connection", header("Connection", "canary"), "cannot be set"},
		{"TE", header("TE", "canary"), "cannot be set"},
		{"Proxy-Authorization", header("Proxy-Authorization", "canary"), "cannot be set"},
		{"Upgrade", header("Upgrade", "canary"), "cannot be set"},
		{"Expect", header("Expect", "100-continue"), "cannot be set"},
		{"Idempotency-Key", header("idempotency-key", "canary"), "Sealpost sets it"},
		{"Webhook-Signature", header("webhook-signature", "canary"), "Sealpost sets it"},
		{"User-Agent", header("User-Agent", "canary"), "Sealpost sets it"},
		{"a secret as Host", secret("Host", "HOOK_TOKEN"), "cannot be set"},
		{"a name with a line end", header("X-A\r\nX-B", "v"), "name of a header"},
		{"a name with a colon", header("canary:", "v"), "name of a header"},
		{"an empty name", header("", "v"), "name of a header"},
		{"a long name", header(strings.Repeat("x", 65), "v"), "name of a header"},
		{"a value with a line end", header("X-A", "canary\r\nX-B: 1"), "control character"},
		{"a value with a NUL", header("X-A", "canary\x00"), "NUL"},
		{"a long value", header("X-A", strings.Repeat("x", 8193)), "longer than 8192"},
		{"a value that is a number", header("X-A", 5), `"headers": want an object of texts`},
		{"a value that is null", header("X-A", nil), `"headers": want an object of texts`},
		{"headers that are an array", fields{"url": good, "headers": []string{"canary"}}, `"headers": want an object of texts`},
		{"too many headers", fields{"url": good, "headers": many}, "more than 50"},
		{"a header in two cases", fields{"url": good, "headers": fields{"x-a": "1", "X-A": "2"}}, `header "X-A" is given twice`},
		{"a header and a secret", fields{"url": good, "headers": fields{"x-a": "1"}, "header_secrets": fields{"X-A": "HOOK_TOKEN"}}, "given twice"},
		{"a value in place of a secret's name", secret("X-A", "Bearer canary"), "id or the key"},
		{"a value as signing_secret", fields{"url": good, "signing_secret": "whsec_canary/+="}, `"signing_secret"`},
		{"a fallback that is no id", fields{"url": good, "fallback_action": "canary"}, `"fallback_action"`},
		{"a fallback in capitals", fields{"url": good, "fallback_action": "0123456789ABCDEF01234567"}, `"fallback_action"`},
		{"an unknown field", fields{"url": good, "method": "GET"}, `unknown field "method"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := a.Prepare(job(t, `[{"value":1}]`, tt.f))
			if _, dead := errors.AsType[*queue.PermanentError](err); !dead || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %T %v, want permanent with %q", err, err, tt.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows a value: %v", err)
			}
		})
	}
}

func TestANameThatStandsTwiceIsRefused(t *testing.T) {
	a := New(Config{Vault: newVault()})
	defer a.Close()
	_, err := a.Prepare(&queue.Job{ID: "x", Action: json.RawMessage(`{"type":"post","url":"https://a.test/","headers":{"X-A":"1","X-A":"2"}}`)})
	if err == nil || !strings.Contains(err.Error(), `"headers": a name stands twice`) {
		t.Errorf("got %v", err)
	}
}

func TestOrigins(t *testing.T) {
	a := New(Config{Vault: newVault()})
	defer a.Close()
	for url, want := range map[string]string{
		"https://A.Test":                         "https://a.test",
		"https://a.test.:443/x":                  "https://a.test",
		"https://a.test:8443?x":                  "https://a.test:8443",
		"http://a.test:80/":                      "http://a.test",
		"http://a.test:443/":                     "http://a.test:443",
		"https://[2001:DB8::0:1]/":               "https://[2001:db8::1]",
		"https://[::1]:8443/":                    "https://[::1]:8443",
		"https://my_host/":                       "https://my_host",
		"https://xn--bcher-kva.test/":            "https://xn--bcher-kva.test",
		"https://１２７.0.0.1/":                     "https://127.0.0.1",
		"https://a.test/https://user@evil.test/": "https://a.test",
		"https://a.test?@evil.test":              "https://a.test",
		"https://a.test#@evil.test":              "https://a.test",
	} {
		work, err := a.Prepare(job(t, "", fields{"url": url}))
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if got := strings.TrimPrefix(work.Lane(), "post/"); got != want {
			t.Errorf("%s: got %q, want %q", url, got, want)
		}
	}
}
