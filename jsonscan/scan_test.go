package jsonscan

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// scanSeeds are texts at the edges of JSON.
var scanSeeds = []string{
	``, ` `, `{}`, `[]`, ` [ 1 , 2 ] `, `{"a":1,}`, `[1,]`, `[,1]`, `{,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1 "b":2}`, `[1 2]`, `{"a":1}}`, `]`,
	`0`, `-0`, `01`, `-`, `1.`, `.1`, `1.5e+10`, `1e`, `1e+`, `1E5`, `0x1`, `+1`, `1_0`, `NaN`, `-Infinity`, `0.0`, `00`, `-01`,
	`true`, `tru`, `truely`, `false`, `null`, `nul`, `True`,
	`"a"`, `"`, `"\"`, `"\\"`, `"\u00e9"`, `"\u00g9"`, `"\u12"`, `"\x41"`, `"\u`, "\"\t\"", "\"\x7f\"", "\"\n\"", `'a'`, `"\/\b\f\n\r\t"`, "\"\u2028\"",
	"\ufeff{}", "{}\x00", "{}\v", "[\f]", `{"a":{"b":[{"c":"]}"}]}}`, `{"":""}`, `[[],[[]],{}]`, `{"a":1,"a":2}`,
}

func TestScannerTakesWhatEncodingJSONTakes(t *testing.T) {
	for _, s := range scanSeeds {
		compareScan(t, []byte(s))
	}
}

func FuzzScan(f *testing.F) {
	for _, s := range scanSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(compareScan)
}

// compareScan scans raw as the value of a field and compares with encoding/json.
func compareScan(t *testing.T, raw []byte) {
	value := append(append([]byte(`{"x":`), raw...), '}')
	var parts []string
	err := Object(value, 32, func(key, value []byte) error {
		parts = append(parts, string(key), string(value))
		return nil
	})
	if err == ErrTooDeep || !utf8.Valid(raw) {
		return // the scanner's own limit, and encoding/json takes the latter
	}
	if (err == nil) != json.Valid(value) {
		t.Fatalf("%q: got %v, and json.Valid says %v", value, err, json.Valid(value))
	}
	if err != nil {
		return
	}
	d := json.NewDecoder(bytes.NewReader(value))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for i := 0; d.More(); i += 2 {
		key, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var want json.RawMessage
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		if i+1 >= len(parts) || parts[i] != key || parts[i+1] != string(want) {
			t.Fatalf("%q: got fields %q, want %q to be %q", value, parts, key, want)
		}
	}
}

func TestScannerCountsDepth(t *testing.T) {
	for _, open := range []string{`[`, `{"a":`} {
		shut := map[string]string{`[`: `]`, `{"a":`: `}`}[open]
		for depth, want := range map[int]error{32: nil, 33: ErrTooDeep} {
			text := strings.Repeat(open, depth) + "1" + strings.Repeat(shut, depth)
			if _, err := scanValue([]byte(text), 0, 32); err != want {
				t.Errorf("%d of %s: got %v, want %v", depth, open, err, want)
			}
		}
	}
}

func TestTextIsWhatEncodingJSONReads(t *testing.T) {
	for _, s := range []string{`""`, `"a"`, `"\"\\\/\b\f\n\r\t"`, `"a\nb\u00e9\ud83d\ude00"`, `"\\n"`, `"\\\\"`, `"x\\"`, `"\ud83d"`} {
		var want string
		if err := json.Unmarshal([]byte(s), &want); err != nil {
			t.Fatal(err)
		}
		if got, err := Text([]byte(s)); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", s, got, err, want)
		}
	}
	for _, s := range []string{``, `1`, `null`, `{}`} {
		if got, err := Text([]byte(s)); err == nil {
			t.Errorf("%s: got %q, want an error", s, got)
		}
	}
}
