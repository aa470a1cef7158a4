package queue

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
	err := eachField(value, func(key, value []byte) error {
		parts = append(parts, string(key), string(value))
		return nil
	})
	if err == errTooDeep || !utf8.Valid(raw) {
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
		for depth, want := range map[int]error{MaxJobDepth: nil, MaxJobDepth + 1: errTooDeep} {
			text := strings.Repeat(open, depth) + "1" + strings.Repeat(shut, depth)
			if _, err := scanValue([]byte(text), 0, 0); err != want {
				t.Errorf("%d of %s: got %v, want %v", depth, open, err, want)
			}
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
