package sqs

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/queue"
)

func allBehaviours(t *testing.T) []behaviour {
	t.Helper()
	var all []behaviour
	for _, list := range [][]behaviour{lineBehaviours(), tlsBehaviours(t), shapeBehaviours(t), entryBehaviours(), errorBehaviours(), redirectBehaviours(t), echoBehaviours(t)} {
		all = append(all, list...)
	}
	return all
}

// accepts is an answer that accepts these ids, checksums left out.
func accepts(ids ...string) string {
	var list []string
	for _, id := range ids {
		list = append(list, fmt.Sprintf(`{"Id":%q,"MessageId":"m-%s"}`, id, id))
	}
	return `{"Successful":[` + strings.Join(list, ",") + `]}`
}

// says is a behaviour that answers the same to all.
func says(status int, body string, headers ...string) func(*call) {
	return func(c *call) { c.answer(status, body, headers...) }
}

// shapeBehaviours answer 200 with what is not an answer of SQS.
func shapeBehaviours(t *testing.T) []behaviour {
	t.Helper()
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	if _, err := w.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	bombs := strings.Repeat(bomb.String(), (1<<20)/bomb.Len()) // members one after another: about 1 GiB
	list := []behaviour{
		unclear("200 with a gzip bomb", says(200, bombs, "Content-Encoding: gzip")),
		unclear("200 with HTML", says(200, "<!doctype html><title>Welcome</title>")),
		unclear("200 without a body", says(200, "")),
		unclear("204", func(c *call) { c.put("HTTP/1.1 204 No Content\r\n\r\n") }),
		unclear("200 with an object in an object", says(200, `{"Successful":`+strings.Repeat(`{"a":`, 20_000))),
		unclear("200 with an array in an array", says(200, strings.Repeat("[", 100_000))),
		unclear("200 with an unknown field of great depth", says(200, `{"x":`+strings.Repeat("[", 5_000)+strings.Repeat("]", 5_000)+"}")),
		unclear("200 with a number of 100 KB", says(200, `{"Successful":[{"Id":`+strings.Repeat("9", 100_000)+`}]}`)),
	}
	for _, body := range []string{
		`null`, `[]`, `"ok"`, `true`, `{}`, `{"Successful":{}}`, `{"Successful":"0"}`, `{"Successful":[0]}`, `{"Successful":[{"Id":0}]}`,
		`{"Successful":[null]}`, `{"Successful":[{"MessageId":"m"}]}`, `{"Failed":[{}]}`, `{"Failed":[{"Id":"0","SenderFault":"yes"}]}`, "{\"Successful\":[{\"Id\":\"\xff\"}]}",
	} {
		list = append(list, unclear("200 with "+body, says(200, body)))
	}
	return list
}

// entryBehaviours answer 200 with entries that do not fit the request.
func entryBehaviours() []behaviour {
	const noSuch = `{"Id":"+1","MessageId":"m"},{"Id":"01","MessageId":"m"},{"Id":"3","MessageId":"m"},{"Id":"-1","MessageId":"m"},{"Id":"99999999999999999999","MessageId":"m"},{"Id":"","MessageId":"m"},{"MessageId":"m"}`
	failed := func(id, code string) string {
		return fmt.Sprintf(`{"Id":%q,"Code":%q,"Message":"words","SenderFault":true}`, id, code)
	}
	partly := func(name, body, parts string) behaviour {
		b := unclear(name, says(200, body))
		b.parts = parts
		return b
	}
	many := strings.Repeat(`{"Id":"0","MessageId":"m"},`, 4_000)
	return []behaviour{
		partly("an entry is missing", accepts("0", "2"), "1 accepted, 3 accepted"),
		partly("an entry twice, another missing", accepts("0", "0", "2"), "1 accepted, 3 accepted"),
		partly("ids that were not sent", `{"Successful":[`+noSuch+`]}`, ""),
		partly("failures of ids that were not sent", `{"Failed":[`+strings.ReplaceAll(noSuch, "MessageId", "Code")+`]}`, ""),
		partly("four thousand entries", `{"Successful":[`+many+`{"Id":"1","MessageId":"m"}]}`, "1 accepted, 2 accepted"),
		partly("accepted and refused at once", strings.TrimSuffix(accepts("0", "1", "2"), "}")+`,"Failed":[`+failed("1", "InvalidMessageContents")+`]}`, "1 accepted, 3 accepted"),
		partly("refused in two ways", strings.TrimSuffix(accepts("0", "2"), "}")+`,"Failed":[`+failed("1", "InvalidMessageContents")+","+failed("1", "InternalError")+`]}`, "1 accepted, 3 accepted"),
		{
			name: "all accepted with wrong checksums", outcome: "done", certainty: queue.Accepted, parts: "",
			script: says(200, strings.ReplaceAll(accepts("0", "1", "2"), `"MessageId"`, `"MD5OfMessageBody":"00000000000000000000000000000000","MD5OfMessageAttributes":"x","MessageId"`)),
		},
		{
			name: "accepted by ids with control characters and credentials", outcome: "done", certainty: queue.Accepted,
			script: says(200, strings.ReplaceAll(accepts("0", "1", "2"), `"m-`, `"\u0000\u001b[31m`+hostileKey+hostileToken)),
		},
		{
			name: "one is refused for good", outcome: "dead", certainty: queue.Rejected, rule: "bad-message", parts: "1 accepted, 2 refused, 3 accepted",
			script: says(200, strings.TrimSuffix(accepts("0", "2"), "}")+`,"Failed":[`+failed("1", "InvalidMessageContents")+`]}`),
		},
	}
}

// errorBehaviours answer with errors of odd sizes and contents.
func errorBehaviours() []behaviour {
	refused := func(name, outcome, rule string, script func(*call)) behaviour {
		return behaviour{name: name, script: script, outcome: outcome, certainty: queue.Rejected, rule: rule}
	}
	const allDead = "1 refused, 2 refused, 3 refused"
	dead := func(name, rule string, script func(*call)) behaviour {
		b := refused(name, "dead", rule, script)
		b.parts = allDead
		return b
	}
	throttled := `{"__type":"com.amazonaws.sqs#RequestThrottled","message":"slow down"}`
	return []behaviour{
		refused("403 RequestThrottled", "throttled", "throttled", says(403, throttled)),
		refused("503 until the end of time", "throttled", "http-busy", says(503, "", "Retry-After: 99999999999999999999")),
		refused("429 with a wait in the past", "throttled", "throttled", says(429, "", "Retry-After: Mon, 01 Jan 1900 00:00:00 GMT")),
		refused("401 with a huge body", "parked", "http-auth", func(c *call) { c.put("HTTP/1.1 401 No\r\n\r\n"); c.flood("0123456789abcdef") }),
		refused("401 with a body byte by byte", "parked", "http-auth", func(c *call) { c.put("HTTP/1.1 401 No\r\n\r\n"); c.trickle(strings.Repeat(" ", 999)) }),
		refused("500 cut in the body", "retry", "http-5xx", func(c *call) { c.put("HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\n{") }),
		refused("500 with a date of another age", "retry", "service", says(500, `{"__type":"InternalError"}`, "Date: Fri, 31 Dec 9999 23:59:59 GMT")),
		refused("407 of a proxy", "parked", "http-target", says(407, "<html>")),
		dead("400 with a code of 900 KB", "http-4xx", says(400, `{"__type":"`+strings.Repeat("A", 900_000)+`","message":"x"}`)),
		dead("400 with a message of 900 KB", "http-4xx", says(400, `{"__type":"InvalidMessageContents","message":"`+strings.Repeat("A\\n", 300_000)+`"}`)),
		dead("400 with a code of 100 KB", "http-4xx", says(400, `{"__type":"`+strings.Repeat("A", 100_000)+`","message":"x"}`)),
		dead("400 with a message of 100 KB", "bad-message", says(400, `{"__type":"InvalidMessageContents","message":"`+strings.Repeat("A\\n", 33_000)+`"}`)),
		dead("400 with control characters in the code", "http-4xx", says(400, `{"__type":"Bad\u0000\u001b[31m\r\nCode","message":"a\u0000\u001b[31m\r\nb"}`)),
		dead("400 with bytes that are no text", "http-4xx", says(400, "{\"__type\":\"\xff\xfe\",\"message\":\"\xff\xfe\"}")),
		dead("400 with great depth", "http-4xx", says(400, `{"__type":"x","a":`+strings.Repeat(`[`, 100_000))),
		dead("400 with a code that is an object", "http-4xx", says(400, `{"__type":{"a":1},"message":[1]}`)),
	}
}

// redirectBehaviours send the client elsewhere. Nobody may come there.
func redirectBehaviours(t *testing.T) []behaviour {
	t.Helper()
	trap := startEndpoint(t, behaviour{bare: true, script: func(*call) { t.Error("a redirect was followed") }})
	var list []behaviour
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		for _, to := range []string{"http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/latest/meta-data/", trap.url(), "file:///etc/passwd", "//", "http://[::1"} {
			list = append(list, behaviour{
				name: fmt.Sprintf("%d to %q", status, to), script: says(status, "", "Location: "+to),
				outcome: "parked", certainty: queue.Rejected, rule: "http-redirect",
			})
		}
	}
	return list
}

// echoBehaviours give back what they were sent, and what they could guess.
func echoBehaviours(t *testing.T) []behaviour {
	t.Helper()
	values := []string{hostileKey, hostileSecret, hostileToken}
	spell := map[string]func(string) string{
		"as it is": func(s string) string { return s },
		"in a URL": url.QueryEscape,
		"in hex":   func(s string) string { return hex.EncodeToString([]byte(s)) },
		"in HEX":   func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
		"in base64 after something": func(s string) string {
			return base64.StdEncoding.EncodeToString([]byte("x" + s))
		},
		"in base64 for URLs": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte("xy" + s)) },
	}
	var list []behaviour
	for name, spelled := range spell {
		for place := range values {
			list = append(list, echoing(fmt.Sprintf("echo of value %d %s", place, name), func(*call) (string, string) {
				return spelled(values[place]), "you are " + strings.Repeat("x", place*60) + spelled(values[place])
			}))
		}
	}
	return append(list,
		echoing("echo of the headers", func(c *call) (string, string) {
			return c.header.Get("Authorization"), c.header.Get("X-Amz-Security-Token") + " " + c.header.Get("Authorization")
		}),
		echoing("echo of the request", func(c *call) (string, string) { return "Echo", fmt.Sprint(c.header, string(c.body)) }),
		echoing("echo of half a value in the code", func(*call) (string, string) {
			return "x#" + hostileSecret, "x"
		}),
		echoing("echo of a value at the border of what is read", func(*call) (string, string) {
			return "Echo", strings.Repeat("x", 190) + hostileSecret
		}))
}

// echoing answers 403, which parks, with the code and the message.
func echoing(name string, told func(*call) (code, message string)) behaviour {
	return behaviour{
		name: name, outcome: "parked", certainty: queue.Rejected, rule: "http-auth",
		script: func(c *call) {
			code, message := told(c)
			body, err := json.Marshal(map[string]string{"__type": code, "message": message})
			if err != nil {
				panic(err) // of strings
			}
			c.answer(http.StatusForbidden, string(body), "X-Amzn-Query-Error: "+code+";Sender", "X-Amzn-RequestId: "+code)
		},
	}
}
