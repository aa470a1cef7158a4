package access

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

func TestDecodeAnalysis(t *testing.T) {
	c, err := DecodeAnalysis([]byte(`{"name":"report","description":null,"active":false,"run_on":"external","runtime":"node-rt2025",
		"interval":"1 minute","file_name":"a.js","profile":"ignored","console":[1],
		"variables":[{"key":"__proto__","value":"1"},{"key":"B","value":""}],"tags":[{"key":"k","value":""}]}`))
	if err != nil {
		t.Fatalf("DecodeAnalysis: %v", err)
	}
	var f faults
	c.check(&f)
	if err := f.err(); err != nil {
		t.Fatalf("check: %v", err)
	}
	got := c.apply(Analysis{Description: "before", Active: true})
	want := Analysis{
		Name: "report", RunOn: RunOnExternal, Interval: "1 minute", FileName: "a.js",
		Variables: vars("__proto__", "1", "B", ""), Tags: tagged("k", ""),
	}
	if diff := cmp.Diff(want, got, sameVariables); diff != "" {
		t.Errorf("analysis (-want +got):\n%s", diff)
	}
	if *c.Runtime != "node-rt2025" {
		t.Errorf("runtime = %s", *c.Runtime)
	}
}

func TestAnalysisIsRefused(t *testing.T) {
	const hidden = "hidden-value"
	tests := []struct{ name, body, want string }{
		{"variables as object", `{"variables":{"key":"a","value":"b"}}`, "variables: Expected array, received object"},
		{"variables null", `{"variables":null}`, "variables: Expected array, received null"},
		{"a boolean as value", `{"variables":[{"key":"a","value":true}]}`, "variables[0].value: Expected string, received boolean"},
		{"a number as value", `{"variables":[{"key":"a","value":1e3}]}`, "variables[0].value: Expected string, received number"},
		{"an empty key", `{"variables":[{"key":"","value":"` + hidden + `"}]}`, "variables[0].key: String must contain at least 1"},
		{"a key with a line break", `{"variables":[{"key":"a\nB=1","value":"` + hidden + `"}]}`, "variables[0].key: String must not contain control"},
		{"a value with NUL", `{"variables":[{"key":"a","value":"` + hidden + `\u0000"}]}`, "variables[0].value: String must be UTF-8 without NUL"},
		{"a long value", `{"variables":[{"key":"a","value":"` + strings.Repeat(hidden, 1000) + `"}]}`, "variables[0].value: String must contain at most 8192 bytes"},
		{"no value", `{"variables":[{"key":"a"}]}`, "variables[0].value: Required"},
		{"a variable that is a text", `{"variables":["a"]}`, "variables[0]: Expected object, received string"},
		{"21 variables", `{"variables":[` + strings.Repeat(`{"key":"a","value":"b"},`, 20) + `{"key":"a","value":"b"}]}`, "variables: Array must contain at most 20"},
		{"31 tags", `{"tags":[` + strings.Repeat(`{"key":"a","value":"b"},`, 30) + `{"key":"a","value":"b"}]}`, "tags: Array must contain at most 30"},
		{"another run_on", `{"run_on":"cloud"}`, "run_on: Invalid enum value"},
		{"another runtime", `{"runtime":"ruby"}`, "runtime: Invalid enum value"},
		{"a name null", `{"name":null}`, "name: Expected string, received null"},
		{"a long description", `{"description":"` + strings.Repeat("d", 1001) + `"}`, "description: String must contain at most 1000"},
		{"a file name with a line break", `{"file_name":"a\r\nb"}`, "file_name: String must not contain control"},
		{"active as a number", `{"active":1}`, "active: Expected boolean, received number"},
		{"text after the object", `{"name":"a"}{}`, "Expected object, received invalid JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := DecodeAnalysis([]byte(tt.body))
			if err == nil {
				var f faults
				c.check(&f)
				err = f.err()
			}
			if !errors.Is(err, secrets.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), hidden) {
				t.Errorf("the error quotes the value: %v", err)
			}
		})
	}
}

func TestInvalidTextFromGoIsRefused(t *testing.T) {
	c := AnalysisChange{Name: new("a\xff"), Variables: []Variable{{Key: "\xff", Value: redact.New("\xff")}}, Tags: tagged("\xff", "")}
	var f faults
	c.check(&f)
	got := f.err()
	want := "name: String must be UTF-8; variables[0].key: String must be UTF-8; variables[0].value: String must be UTF-8 without NUL; tags[0].key: String must be UTF-8"
	if got == nil || got.Error() != want {
		t.Errorf("error = %v, want %s", got, want)
	}
}

func FuzzDecodeAnalysis(f *testing.F) {
	f.Add([]byte(`{"name":"n","variables":[{"key":"a","value":"b"}],"tags":[],"description":null}`))
	f.Add([]byte(`{"name":"n","variables":[1,[],null],"run_on":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := DecodeAnalysis(body)
		var bad faults
		c.check(&bad)
		if err != nil || bad.err() != nil {
			return
		}
		a := c.apply(Analysis{})
		if len(a.Variables) > maxVariables || len(a.Tags) > maxTags || len(lastOfEach(a.Variables)) > len(a.Variables) {
			t.Errorf("accepted %+v", a)
		}
	})
}

func TestOfOneKeyTheLastVariableCounts(t *testing.T) {
	got := lastOfEach(vars("B", "1", "A", "2", "B", "3", "C", "4", "B", "5"))
	if diff := cmp.Diff(vars("A", "2", "B", "5", "C", "4"), got, sameVariables); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
}

func TestTokensLookAsClientsExpect(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		token := newAnalysisToken().Reveal()
		if len(token) != tokenSize || tokenHint(token) != token[:10] || token[16] != '4' || !strings.ContainsRune("89ab", rune(token[21])) || seen[token] {
			t.Fatalf("token %q is no new a-<uuid> of version 4", token)
		}
		seen[token] = true
	}
}
