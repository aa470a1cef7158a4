package queue

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeJob(t *testing.T) {
	at := time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		json string
		want Job
		err  string
	}{
		{name: "an inline action", json: `{"action":{"type":"x"}}`, want: Job{Action: json.RawMessage(`{"type":"x"}`)}},
		{name: "a stored action", json: `{"action_id":"0123456789abcdef01234567"}`, want: Job{ActionID: "0123456789abcdef01234567"}},
		{
			name: "all fields, with white space and escapes",
			json: " {\n\"id\" : \"a\\u002db\", \"action\":{ \"a\":[1,{\"b\":\"}\"}] } ,\"data\":[ {\"v\":1} , {} ],\"not_before\":\"2026-11-23T13:00:00Z\",\"expires_at\":\"2026-11-23T14:00:00+01:00\",\"max_attempts\":7,\"on_ambiguous\":\"park\",\"traceparent\":\"00-ab\"}\t",
			want: Job{
				ID: "a-b", Action: json.RawMessage(`{ "a":[1,{"b":"}"}] }`), Data: json.RawMessage(`[ {"v":1} , {} ]`),
				NotBefore: at, ExpiresAt: at, MaxAttempts: 7, OnAmbiguous: "park", Traceparent: "00-ab",
			},
		},
		{name: "null is absent", json: `{"action":{},"action_id":null,"data":null,"id":null}`, want: Job{Action: json.RawMessage(`{}`)}},
		{name: "an unknown field", json: `{"action":{},"priority":1}`, err: `unknown field "priority"`},
		{name: "a field in another case", json: `{"Action":{}}`, err: `unknown field "Action"`},
		{name: "a field twice", json: `{"action":{},"id":"a","id":"b"}`, err: `field "id" is given twice`},
		{name: "no action", json: `{"id":"a"}`, err: "exactly one of"},
		{name: "two actions", json: `{"action":{},"action_id":"0123456789abcdef01234567"}`, err: "exactly one of"},
		{name: "an action that is text", json: `{"action":"x"}`, err: `field "action" is not an object`},
		{name: "an action id in capitals", json: `{"action_id":"0123456789ABCDEF01234567"}`, err: `field "action_id"`},
		{name: "an empty id", json: `{"action":{},"id":""}`, err: "0 characters"},
		{name: "a long id", json: `{"action":{},"id":"` + strings.Repeat("a", 129) + `"}`, err: "129 characters"},
		{name: "an id with a space", json: `{"action":{},"id":"a b"}`, err: "a character outside"},
		{name: "an id that is a number", json: `{"action":{},"id":7}`, err: `field "id" is not a string`},
		{name: "an id of our form", json: `{"action":{},"id":"q0-1732366294123-0"}`, err: "makes itself"},
		{name: "data that is an object", json: `{"action":{},"data":{}}`, err: `field "data" is not an array`},
		{name: "a datum that is a number", json: `{"action":{},"data":[{},1]}`, err: "not an object"},
		{name: "a time without a zone", json: `{"action":{},"not_before":"2026-11-23T13:00:00"}`, err: `field "not_before" is not a time`},
		{name: "a time that is a number", json: `{"action":{},"expires_at":1732366294}`, err: `field "expires_at" is not a string`},
		{name: "expired before it may begin", json: `{"action":{},"not_before":"2026-11-23T13:00:00Z","expires_at":"2026-11-23T12:00:00Z"}`, err: "before"},
		{name: "no attempts", json: `{"action":{},"max_attempts":0}`, err: "whole number from 1"},
		{name: "half an attempt", json: `{"action":{},"max_attempts":1.5}`, err: "whole number from 1"},
		{name: "another policy", json: `{"action":{},"on_ambiguous":"drop"}`, err: `field "on_ambiguous"`},
		{name: "a trace with a line break", json: `{"action":{},"traceparent":"a\nb"}`, err: `field "traceparent"`},
		{name: "an array", json: `[{}]`, err: "want a JSON object"},
		{name: "nothing", json: ``, err: "not valid JSON"},
		{name: "two objects", json: `{"action":{}}{}`, err: "not valid JSON"},
		{name: "half an object", json: `{"action":{`, err: "not valid JSON"},
		{name: "bytes that are no UTF-8", json: "{\"action\":{\"a\":\"\xff\"}}", err: "UTF-8"},
		{name: "32 levels", json: `{"action":` + nested(MaxJobDepth-1) + `}`, want: Job{Action: json.RawMessage(nested(MaxJobDepth - 1))}},
		{name: "33 levels", json: `{"action":` + nested(MaxJobDepth) + `}`, err: "deeper than 32"},
		{name: "a million levels", json: strings.Repeat("[", 1_000_000), err: "at most 262144"},
		{name: "a job of the largest size", json: sized(MaxJobBytes), want: Job{Action: json.RawMessage(sized(MaxJobBytes)[10 : MaxJobBytes-1])}},
		{name: "a byte more", json: sized(MaxJobBytes + 1), err: "262145 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := &Job{}
			err := decodeJob(got, []byte(tt.json))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff(*got, tt.want, cmp.AllowUnexported(Job{})); diff != "" {
				t.Errorf("job (-got +want):\n%s", diff)
			}
		})
	}
}

// nested is an object of n levels.
func nested(n int) string {
	return strings.Repeat(`{"a":`, n-1) + `{}` + strings.Repeat(`}`, n-1)
}

// sized is a job of n bytes.
func sized(n int) string {
	const frame = `{"action":{"a":""}}`
	return `{"action":{"a":"` + strings.Repeat("x", n-len(frame)) + `"}}`
}

func TestHostileDepthCostsNothing(t *testing.T) {
	deep := []byte(strings.Repeat("[", MaxJobBytes))
	if n := testing.AllocsPerRun(10, func() {
		if err := decodeJob(&Job{}, deep); err == nil {
			t.Error("got no error")
		}
	}); n > 10 {
		t.Errorf("got %v allocations, want a few", n)
	}
}

func FuzzDecodeJob(f *testing.F) {
	for _, seed := range []string{
		`{"action":{"type":"x"},"id":"a","data":[{"v":1}],"max_attempts":3}`, `{"action_id":"0123456789abcdef01234567"}`,
		`{"action":{"a":"\"}"}}`, "{\"\\u0069d\":\"a\",\"action\":{}}", `{ }`, `{"a":-1e5,"b":[[]],"c":true}`, `[`, `{"action":{},"action":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		j := &Job{}
		err := decodeJob(j, raw)
		// What the strict decoder takes, encoding/json takes too, with the same parts.
		var ref struct {
			ID       string          `json:"id"`
			Action   json.RawMessage `json:"action"`
			ActionID string          `json:"action_id"`
			Data     json.RawMessage `json:"data"`
			Max      int             `json:"max_attempts"`
		}
		if err != nil {
			return
		}
		if err := json.Unmarshal(raw, &ref); err != nil {
			t.Fatalf("decoded %q, which is not JSON: %v", raw, err)
		}
		if string(ref.Data) == "null" {
			ref.Data = nil
		}
		if string(ref.Action) == "null" {
			ref.Action = nil
		}
		if j.ID != ref.ID || !bytes.Equal(j.Action, ref.Action) || j.ActionID != ref.ActionID || !bytes.Equal(j.Data, ref.Data) || j.MaxAttempts != ref.Max {
			t.Fatalf("got %+v, want %+v", j, ref)
		}
		_ = kindOf(j)
	})
}

func TestPublicID(t *testing.T) {
	tests := []struct {
		id  string
		p   int
		jid string
		ok  bool
	}{
		{"q0-1732366294123-0", 0, "1732366294123-0", true},
		{"q12-5-18446744073709551", 12, "5-18446744073709551", true},
		{"q-1-0", 0, "", false},
		{"q0-1", 0, "", false},
		{"q0-1-", 0, "", false},
		{"q0--1", 0, "", false},
		{"q0-1-0-0", 0, "", false},
		{"q0-x-0", 0, "", false},
		{"q999999-1-0", 0, "", false},
		{"order-1", 0, "", false},
		{"", 0, "", false},
	}
	for _, tt := range tests {
		p, jid, ok := splitPublicID(tt.id)
		if ok != tt.ok || ok && (p != tt.p || jid != tt.jid) {
			t.Errorf("%q: got %d, %q, %v; want %d, %q, %v", tt.id, p, jid, ok, tt.p, tt.jid, tt.ok)
		}
		if ok && publicID(p, jid) != tt.id {
			t.Errorf("%q: comes back as %q", tt.id, publicID(p, jid))
		}
	}
}

func TestRecordIsWrittenAsEncodingJSONWould(t *testing.T) {
	full := record{
		At: 1, Worker: "w\"x", Kind: "k", Number: 2, Used: 3, Handbacks: 4, Crashes: 5, Millis: 6, Secret: "s", Version: 7,
		Stage: "g", Code: "550 5.1.1", Text: "über\n<b>", Rule: "l\\", Reason: "r", Certainty: "unknown",
	}
	for _, r := range []record{{}, {At: 5}, full} {
		want, err := json.Marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		var a, b map[string]any
		if err := json.Unmarshal([]byte(r.json()), &a); err != nil {
			t.Fatalf("%s: %v", r.json(), err)
		}
		if err := json.Unmarshal(want, &b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("record (-got +want):\n%s", diff)
		}
		if state, got, ok := parseRecord("done " + r.json()); !ok || state != Done || got != r {
			t.Errorf("got %v %+v %v, want %+v", state, got, ok, r)
		}
	}
}

func TestClip(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain text stays", "250 ok", "250 ok"},
		{"lines become one", "a\r\nb\x00c", "a  b c"},
		{"bad UTF-8 goes", "a\xffb", "a b"},
		{"long text is cut", strings.Repeat("é", 300), strings.Repeat("é", 200)},
	}
	for _, tt := range tests {
		if got := clip(tt.in); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func BenchmarkDecodeJob(b *testing.B) {
	raw := []byte(`{"action":{"type":"noop","smtp_secret":"RELAY","from":"alerts@example.test","to":"a@example.test;b@example.test",` +
		`"subject":"Temperature of $DEVICE$ is $VALUE$ $UNIT$","message":"The device has left its range."},"data":[{"variable":"temperature",` +
		`"value":73.5,"unit":"F","time":"2026-01-01T00:00:00Z","device":"boiler-7"}]}`)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	j := &Job{}
	for b.Loop() {
		*j = Job{}
		if err := decodeJob(j, raw); err != nil {
			b.Fatal(err)
		}
	}
}
