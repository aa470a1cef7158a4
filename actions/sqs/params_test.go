package sqs

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/queue"
)

func TestDecode(t *testing.T) {
	tests := []struct {
		name, action, data string
		want               plan
	}{
		{
			"one message for each datum, compact", `{"type":"queue-sqs","sqs_secret":"q","batch_enabled":true}`, `[{"a": 1}, {"b": "x y"}]`,
			plan{secret: "q", bodies: []string{`{"a":1}`, `{"b":"x y"}`}},
		},
		{
			"a message instead of data", `{"type":"queue-sqs","sqs_secret":"q","message":"hello","group":"g"}`, ``,
			plan{secret: "q", group: "g", bodies: []string{"hello"}},
		},
		{
			"variables in a text", `{"type":"queue-sqs","sqs_secret":"q","message":"$VARIABLE$ is \"$VALUE$\""}`, `[{"variable":"t","value":"a\"$UNIT$\""}]`,
			plan{secret: "q", bodies: []string{`t is "a"$UNIT$""`}},
		},
		{
			"variables in JSON are escaped for JSON", `{"type":"queue-sqs","sqs_secret":"q","message":"{\"v\":\"$VALUE$\"}"}`, `[{"value":"a\"b"}]`,
			plan{secret: "q", bodies: []string{`{"v":"a\"b"}`}},
		},
		{
			"characters that JSON has and SQS has not", `{"type":"queue-sqs","sqs_secret":"q"}`, "[{\"a\":\"x\uFFFEy\uFFFF\"}]",
			plan{secret: "q", bodies: []string{`{"a":"x\ufffey\uffff"}`}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decode(&queue.Job{Action: json.RawMessage(tt.action), Data: json.RawMessage(tt.data)})
			if err != nil {
				t.Fatalf("decode: %v", err)
			}
			if diff := cmp.Diff(*got, tt.want, cmp.AllowUnexported(plan{})); diff != "" {
				t.Errorf("got - want +\n%s", diff)
			}
		})
	}
}

func TestDecodeNamesTheField(t *testing.T) {
	const ok = `"type":"queue-sqs","sqs_secret":"q"`
	tests := []struct{ name, action, data, want string }{
		{"unknown field", `{` + ok + `,"delay":5}`, `[{}]`, `unknown field "delay"`},
		{"secret missing", `{"type":"queue-sqs"}`, `[{}]`, `"sqs_secret"`},
		{"a value where the secret's name belongs", `{"type":"queue-sqs","sqs_secret":"{\"aws_region\":\"hunter2\"}"}`, `[{}]`, `"sqs_secret"`},
		{"batch_enabled is a text", `{` + ok + `,"batch_enabled":"hunter2"}`, `[{}]`, `"batch_enabled": want true or false`},
		{"group with a space", `{` + ok + `,"group":"a b"}`, `[{}]`, `"group"`},
		{"group too long", `{` + ok + `,"group":"` + strings.Repeat("g", 129) + `"}`, `[{}]`, `"group"`},
		{"nothing to send", `{` + ok + `}`, ``, "nothing to send"},
		{"empty data", `{` + ok + `}`, `[]`, "nothing to send"},
		{"data is an object", `{` + ok + `}`, `{}`, "want an array of objects"},
		{"a datum is null", `{` + ok + `}`, `[{},null]`, "element 2: want an object"},
		{"too many data", `{` + ok + `}`, `[` + strings.Repeat(`{},`, 1000) + `{}]`, "1001 elements, more than 1000"},
		{"bytes that are not UTF-8", `{` + ok + `}`, "[{\"a\":\"\xff\"}]", "message 1: is not valid UTF-8"},
		{"a control character", `{` + ok + `,"message":"a\u0007b"}`, ``, "message 1: has a character that SQS does not take (U+0007) at byte 1"},
		{"NUL", `{` + ok + `,"message":"a\u0000b"}`, ``, "message 1: has a NUL"},
		{"a message of a variable without a value", `{` + ok + `,"message":"$VALUE$"}`, ``, "message 1: is empty"},
		{"a message that grows over the limit", `{` + ok + `,"message":"` + strings.Repeat("$VALUE$", 50) + `"}`, `[{"value":"` + strings.Repeat("x", 30_000) + `"}]`, "message 1: has 1500000 bytes"},
		{"a message that would grow without end", `{` + ok + `,"message":"` + strings.Repeat("$VALUE$", 5000) + `"}`, `[{"value":"` + strings.Repeat("x", 30_000) + `"}]`, "over 4 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decode(&queue.Job{Action: json.RawMessage(tt.action), Data: json.RawMessage(tt.data)})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("decode: got %v, want %q", err, tt.want)
			}
			if got := outcomeOf(err); got != "dead" {
				t.Errorf("outcome: got %s, want dead", got)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("decode: the error shows the value: %v", err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"type":"queue-sqs","sqs_secret":"q"}`, `[{"a":1}]`)
	f.Add(`{"type":"queue-sqs","sqs_secret":"q","message":"$VALUE$","group":"g"}`, `[{"value":"$VALUE$"}]`)
	f.Fuzz(func(t *testing.T, action, data string) {
		p, err := decode(&queue.Job{Action: json.RawMessage(action), Data: json.RawMessage(data)})
		if err != nil {
			if outcomeOf(err) != "dead" {
				t.Errorf("decode: got %v, want a permanent error", err)
			}
			return
		}
		for _, body := range p.bodies {
			if checkBody(body) != nil {
				t.Errorf("decode: accepted the body %q", body)
			}
		}
	})
}

// FuzzBodiesOfData compares with encoding/json, which reads the data three times.
func FuzzBodiesOfData(f *testing.F) {
	for _, seed := range []string{`[{"a":1}]`, ` [ {"a b\\": "x \" y" , "c":[1, {} ]} ,{}]`, `null`, ``, `[]`, `[{}`, `{}`, `[{},null]`, "[{\"a\":\"\u2028 \uFFFE\"}]\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		got, err := bodiesOfData(json.RawMessage(data))
		var list []json.RawMessage
		valid := json.Unmarshal([]byte(data), &list) == nil && len(list) > 0 && len(list) <= maxMessages
		var want []string
		for _, raw := range list {
			var b bytes.Buffer
			valid = valid && len(raw) > 0 && raw[0] == '{' && json.Compact(&b, raw) == nil
			want = append(want, escapeNonCharacters(b.String()))
		}
		if deep := strings.Count(data, "[")+strings.Count(data, "{") > queue.MaxJobDepth; deep && err != nil {
			return
		}
		if valid != (err == nil) || valid && !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v, want %q", data, got, err, want)
		}
	})
}
