package actions

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

const datum = `[{"variable":"temperature","value":73.50,"unit":"F","time":"2026-11-23T10:00:00.000Z",
 "device":"5f5a8f3351d4db99c40de000","location":{"lat":42.29,"lng":-78.5},"extra":[1]},
 {"variable":"second","value":1}]`

func TestVariablesAreFilledFromTheFirstDatum(t *testing.T) {
	for _, tt := range []struct{ name, data, template, want string }{
		{"all of the first datum", datum, "$VARIABLE$=$VALUE$ $UNIT$ at $TIME$ on $DEVICE$ in $LOCATION$", "temperature=73.50 F at 2026-11-23T10:00:00.000Z on 5f5a8f3351d4db99c40de000 in 42.29,-78.5"},
		{"a known name without a value is empty", datum, "[$DEVICE.NAME$][$ACTION.STATE$]", "[][]"},
		{"no data makes all known names empty", ``, "[$VALUE$]", "[]"},
		{"an empty array makes all known names empty", `[]`, "[$VALUE$]", "[]"},
		{"an unknown name stays", datum, "$FOO$ $value$ $VALUE $", "$FOO$ $value$ $VALUE $"},
		{"a price before a variable", datum, "costs $5 $VALUE$$", "costs $5 73.50$"},
		{"dollars in a row", datum, "$$VALUE$$ $$$", "$73.50$ $$$"},
		{"a value is never read again", `[{"value":"$DEVICE$","device":"d"}]`, "$VALUE$", "$DEVICE$"},
		{"two values do not make a name", `[{"value":"$UN","unit":"IT$"}]`, "$VALUE$$UNIT$", "$UNIT$"},
		{"a text value", `[{"value":"on \"x\""}]`, "$VALUE$", `on "x"`},
		{"a switch", `[{"value":true}]`, "$VALUE$", "true"},
		{"null is empty", `[{"value":null}]`, "<$VALUE$>", "<>"},
		{"an object is its JSON", `[{"value":{"a": [1, 2]}}]`, "$VALUE$", `{"a":[1,2]}`},
		{"a large number keeps its digits", `[{"value":12345678901234567890.5}]`, "$VALUE$", "12345678901234567890.5"},
		{"time as milliseconds", `[{"time":1700000000123}]`, "$TIME$", "2023-11-14T22:13:20.123Z"},
		{"a GeoJSON point stands the other way round", `[{"location":{"type":"Point","coordinates":[-78.5,42.29]}}]`, "$LOCATION$", "42.29,-78.5"},
		{"a broken place is empty", `[{"location":"here"}]`, "<$LOCATION$>", "<>"},
		{"a device with a name", `[{"device":{"id":"d1","name":"Boiler"}}]`, "$DEVICE$ $DEVICE.NAME$", "d1 Boiler"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := ReadVariables(json.RawMessage(tt.data))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := v.Fill(tt.template, Plain); err != nil || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestReadVariablesRefusesWhatIsNoData(t *testing.T) {
	for _, in := range []string{`{}`, `"x"`, `1`, `[1]`, `["canary"]`, `[null]`, `[[]]`, `[{`} {
		if _, err := ReadVariables(json.RawMessage(in)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v", in, err)
		}
	}
}

func TestVariablesAreEscapedForTheirPlace(t *testing.T) {
	evil := "a\r\nBcc: evil@x <b>&\"'\t\x00\x1b/?&=+ ü\u2028$UNIT$"
	raw, err := json.Marshal([]map[string]string{{"value": evil, "unit": "never"}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := ReadVariables(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		place Place
		want  string
	}{
		{"header", Header, "a  Bcc: evil@x <b>&\"'   /?&=+ ü $UNIT$"},
		{"plain", Plain, "a\r\nBcc: evil@x <b>&\"'\t  /?&=+ ü $UNIT$"},
		{"html", HTML, "a\r\nBcc: evil@x &lt;b&gt;&amp;&#34;&#39;\t  /?&amp;=+ ü $UNIT$"},
		{"json", JSON, `a\r\nBcc: evil@x \u003cb\u003e\u0026\"'\t\u0000\u001b/?\u0026=+ ü\u2028$UNIT$`},
		{"url", URL, "a%0D%0ABcc%3A%20evil%40x%20%3Cb%3E%26%22%27%09%00%1B%2F%3F%26%3D%2B%20%C3%BC%E2%80%A8%24UNIT%24"},
	} {
		if got, err := v.Fill("$VALUE$", tt.place); err != nil || got != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

func FuzzFillNeverRescans(f *testing.F) {
	for _, s := range []string{"$VALUE$", "$$VALUE$", "x$VALUE$UNIT$y", "$DEVICE.NAME$", "$", "$A$VALUE$B$", "$VALUE$VALUE$"} {
		f.Add(s)
	}
	// Values that are made of dollars and names must come out as they are.
	v := Variables{values: map[string]string{varValue: "$UNIT$", varUnit: "$VALUE$"}}
	marked := Variables{values: map[string]string{varValue: "\x01", varUnit: "\x02"}}
	f.Fuzz(func(t *testing.T, template string) {
		if strings.ContainsAny(template, "\x01\x02") {
			return
		}
		b, err := json.Marshal(template)
		if err != nil || len(b) == 0 {
			return
		}
		filled, err := marked.Fill(template, JSON)
		if err != nil {
			return // too long
		}
		want := strings.NewReplacer("\x01", escape("$UNIT$", JSON), "\x02", escape("$VALUE$", JSON)).Replace(
			strings.NewReplacer(`\u0001`, "\x01", `\u0002`, "\x02").Replace(filled))
		if got, err := v.Fill(template, JSON); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", template, got, err, want)
		}
	})
}

func TestFillIsBounded(t *testing.T) {
	v := Variables{values: map[string]string{varValue: strings.Repeat("x", 100<<10)}}
	if got, err := v.Fill(strings.Repeat("$VALUE$", 20_000), Plain); !errors.Is(err, ErrFilled) || got != "" {
		t.Errorf("2 GB of text: got %d bytes, %v, want ErrFilled", len(got), err)
	}
	if got, err := v.Fill(strings.Repeat("$VALUE$", 40), Plain); err != nil || len(got) != 40*100<<10 {
		t.Errorf("4,000 KiB of text: got %d bytes, %v, want all of it", len(got), err)
	}
}
