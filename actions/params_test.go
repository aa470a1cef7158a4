package actions

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/queue"
)

type params struct {
	Type  string         `json:"type"`
	To    string         `json:"to"`
	Count int            `json:"count"`
	Batch bool           `json:"batch"`
	List  []string       `json:"list"`
	Extra map[string]any `json:"extra"`
	Nest  struct {
		A string `json:"a"`
	} `json:"nest"`
}

func TestDecodeIsStrict(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string // want "" means no error
	}{
		{"all fields of the right type pass", `{"type":"x","to":"a","count":3,"batch":true,"list":["a"],"extra":{"k":1},"nest":{"a":"b"}}`, ""},
		{"an empty object passes", `{}`, ""},
		{"an unknown field is named with the known ones", `{"too":"canary"}`, `test: unknown field "too" (known fields: batch, count, extra, list, nest, to, type)`},
		{"capital letters make another name", `{"To":"canary"}`, `unknown field "To"`},
		{"an empty name is unknown", `{"":"canary"}`, `unknown field ""`},
		{"a field that stands twice is refused", `{"to":"canary","to":"canary"}`, `field "to" stands twice`},
		{"a number for a text", `{"to":123456789}`, `field "to": want a text, got a number`},
		{"a text for a number", `{"count":"canary"}`, `field "count": want a whole number, got a text`},
		{"a fraction for a whole number", `{"count":1.5}`, `field "count": want a whole number, got a number`},
		{"a number too large", `{"count":1e400}`, `field "count": want a whole number, got a number`},
		{"a text for a switch", `{"batch":"true"}`, `field "batch": want true or false, got a text`},
		{"an object for an array", `{"list":{"canary":1}}`, `field "list": want an array of texts, got an object`},
		{"a wrong element", `{"list":[1]}`, `field "list": want an array of texts, got an array`},
		{"a text for an object", `{"extra":"canary"}`, `field "extra": want an object, got a text`},
		{"an unknown field further down", `{"nest":{"canary":1}}`, `field "nest": want an object, got an object`},
		{"null is not a value", `{"to":null}`, `field "to": want a text, got null`},
		{"an array is no object", `["canary"]`, `want a JSON object`},
		{"a text is no object", `"canary"`, `want a JSON object`},
		{"nothing is no object", ``, `want a JSON object`},
		{"a cut object", `{"to":"canary`, `not valid JSON`},
		{"an object that does not end", `{"to":"canary"`, `not valid JSON`},
		{"text after the object", `{"to":"x"}"canary"`, `text after the object`},
		{"bytes that are not UTF-8", "{\"to\":\"canary\xff\"}", `not valid UTF-8`},
		{"a long unknown name is cut", `{"` + strings.Repeat("n", 500) + `":1}`, `unknown field "` + strings.Repeat("n", 64) + `"...`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p params
			err := Decode("test", json.RawMessage(tt.in), &p)
			if tt.want == "" {
				if err != nil {
					t.Fatalf("got %v, want nil", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			if strings.Contains(strings.ReplaceAll(err.Error(), `field "canary"`, ""), "canary") {
				t.Errorf("the error repeats a value: %v", err)
			}
			if _, ok := errors.AsType[*queue.PermanentError](err); !ok {
				t.Errorf("got %T, want a permanent error", err)
			}
		})
	}
}

func TestDecodeReadsValues(t *testing.T) {
	var got params
	if err := Decode("test", json.RawMessage(` {"type":"x","to":"a\"b","count":3,"nest":{"a":"b"}} `), &got); err != nil {
		t.Fatal(err)
	}
	want := params{Type: "x", To: `a"b`, Count: 3}
	want.Nest.A = "b"
	if d := cmp.Diff(got, want); d != "" {
		t.Error(d)
	}
}

func TestCheckLineRefusesWhatBreaksAHeader(t *testing.T) {
	for _, s := range []string{"", "plain", "Grüße, 世界 🎉", "a\u00a0b", strings.Repeat("x", 5000)} {
		if err := CheckLine(s); err != nil {
			t.Errorf("%q: got %v, want nil", s, err)
		}
	}
	for _, s := range []string{"a\nb", "a\rb", "a\r\nBcc: x", "a\x00b", "a\tb", "a\x1bb", "a\x7fb", "a\u0085b", "a\u2028b", "a\u2029b", "a\xffb"} {
		if err := CheckLine(s); err == nil {
			t.Errorf("%q: got nil", s)
		}
	}
	if err := CheckText("two\nlines\tand a tab"); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	for _, s := range []string{"a\x00b", "a\xc3("} {
		if err := CheckText(s); err == nil {
			t.Errorf("%q: got nil", s)
		}
	}
}

func TestOnlyIdsAndKeysNameSecrets(t *testing.T) {
	for s, want := range map[string]bool{
		"MAIL_PROD": true, "mail_prod": true, "0123456789abcdef01234567": true, strings.Repeat("A", 128): true,
		"": false, "a b": false, `{"password":"x"}`: false, "a-b": false, "ä": false, strings.Repeat("A", 129): false, "A\n": false,
	} {
		if got := IsSecretRef(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{}`, `{"to":"x"}`, `{"to":1}`, `{"nest":{}}`, `[`, "{\"to\":\"\xff\"}", `{"to":"a","to":"b"}`, ` { "to" : "a\\\"\n\/b" , "count":3,"nest":{"a":"}"} } `, `{"t\u006f":"\ud83d\ude00\b"}`, `{"list":["a,b","]"],"to":"\\"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var strict, loose, slow params
		err := Decode("test", in, &strict)
		if utf8.Valid(in) { // both ways of decoding say the same
			if text, want := fmt.Sprint(err), decodeInOrder(in, reflect.ValueOf(&slow).Elem()); (err == nil) != (want == nil) || want != nil && !strings.HasSuffix(text, want.Error()) {
				t.Fatalf("%q: got %v, want %v", in, err, want)
			}
		}
		if err != nil {
			return
		}
		if err := json.Unmarshal(in, &loose); err != nil {
			t.Fatalf("Decode takes what encoding/json refuses: %q", in)
		}
		if d := cmp.Diff(strict, loose); d != "" {
			t.Fatalf("%q: %s", in, d)
		}
	})
}
