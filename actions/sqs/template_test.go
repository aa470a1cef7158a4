package sqs

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/queue"
)

// payloads are values of a datum that try to become part of what is around
// them: of the template, of JSON, of what a consumer does with it.
func payloads() []string {
	list := []string{
		"", " ", "plain", "ünïcödé 🚀", "$", "$$", "$$$", "$VALUE$", "$$VALUE$$", "$VALUE", "VALUE$", "$UNIT$", "$UN", "IT$", "$VARIABLE$$UNIT$",
		"$DEVICE.NAME$", "$ACTION.STATE$", "$value$", "$VALUE$VALUE$", "\\$VALUE\\$", "${VALUE}", "{{.Value}}", "{{VALUE}}", "%VALUE%", "<%= 1 %>", "#{7*7}", "${7*7}", "$(id)", "`id`", "%s%n%x", "%24VALUE%24",
		`"`, `""`, `\`, `\\`, `\"`, `\\"`, `","x":"`, `"}`, `"},{"a":"`, `"]`, `"],"b":["`, `\u0022`, `\u0022,\u0022x\u0022:1`, `\`, `\u`, `\ud800`, `/`, `//`, `/*`, `*/`, `--`, `'`, `';--`,
		"{", "}", "[", "]", "{}", "[]", ":", ",", "null", "true", "0", "-1", "1e999", "NaN", "{\"a\":1}", "[1,2]", "\"quoted\"",
		"a\nb", "a\r\nb", "a\tb", "\n", "\u2028", "\u2029", "\u0085", "\ufeff", "\u200b", "\u202e", "\u00a0",
		"<script>", "</script>", "<!--", "&lt;", "&", "]]>", "<?xml?>", "<!ENTITY x SYSTEM \"file:///etc/passwd\">",
		"__proto__", "constructor", "a\nsealpost-job-id: x", "x\r\n\r\n", "=1+1", "@SUM(1)", "../../etc/passwd", "file:///etc/passwd", "data:,x", "javascript:1",
	}
	for _, r := range "\x01\x07\x08\x0b\x0c\x1b\x1f\x7f" {
		list = append(list, "a"+string(r)+"b")
	}
	return append(list, strings.Repeat("\\", 33), strings.Repeat("\"", 33), strings.Repeat("$VALUE$", 33), strings.Repeat("é", 4_000))
}

// datum is one datum with the value in every field that a variable reads.
func datum(value string) string {
	text, err := json.Marshal([]any{map[string]any{
		"variable": value, "value": value, "unit": value, "time": value, "device": map[string]string{"id": value, "name": value},
	}})
	if err != nil {
		panic(err) // of strings
	}
	return string(text)
}

// body is the one message that a template makes of data.
func body(template, data string) (string, error) {
	action, err := json.Marshal(map[string]any{"type": Kind, "sqs_secret": "q", "message": template, "group": "g"})
	if err != nil {
		return "", err
	}
	p, err := decode(&queue.Job{Action: action, Data: json.RawMessage(data)})
	if err != nil {
		return "", err
	}
	if len(p.bodies) != 1 || p.group != "g" || p.secret != "q" {
		return "", fmt.Errorf("the plan is %+v", p)
	}
	return p.bodies[0], nil
}

// filled puts a value for the variables into each text of a JSON value, names
// included, which is what must come out.
func filled(v any, value string) any {
	names := strings.NewReplacer("$VARIABLE$", value, "$VALUE$", value, "$UNIT$", value, "$TIME$", value, "$DEVICE$", value,
		"$DEVICE.NAME$", value, "$LOCATION$", "", "$ACTION.STATE$", "")
	switch v := v.(type) {
	case string:
		return names.Replace(v)
	case []any:
		for i := range v {
			v[i] = filled(v[i], value)
		}
	case map[string]any:
		out := map[string]any{}
		for name, inner := range v {
			out[names.Replace(name)] = filled(inner, value)
		}
		return out
	}
	return v
}

// shape is a JSON value with the kinds of its parts in place of texts and
// numbers.
func shape(text string) (string, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	var b strings.Builder
	for {
		token, err := dec.Token()
		if err != nil {
			if !json.Valid([]byte(text)) {
				return "", fmt.Errorf("%.200q is no JSON", text)
			}
			return b.String(), nil
		}
		if d, ok := token.(json.Delim); ok {
			b.WriteRune(rune(d))
		} else {
			fmt.Fprintf(&b, " %T", token)
		}
	}
}

const jsonTemplate = `{"a":"$VALUE$","b":["x $UNIT$ y","$$VALUE$$","$VARIABLE$$TIME$"],"$DEVICE$":{"n":1,"t":true,"z":null,"s":"\"$DEVICE.NAME$\\"},"l":"$LOCATION$$ACTION.STATE$"}`

// sameStructure fails unless the filled template is the template with the
// value in its texts.
func sameStructure(t *testing.T, template, value string) {
	t.Helper()
	got, err := body(template, datum(value))
	if err != nil {
		t.Fatalf("%.100q in %.200q: %v", value, template, err)
	}
	want, err := shape(template)
	if err != nil {
		t.Fatal(err)
	}
	if is, err := shape(got); err != nil || is != want {
		t.Errorf("%.100q in %.200q: got the structure %s (%v), want %s", value, template, is, err, want)
	}
	var in, out any
	if json.Unmarshal([]byte(template), &in) != nil || json.Unmarshal([]byte(got), &out) != nil {
		t.Fatalf("%.200q is no JSON", got)
	}
	if want, is := fmt.Sprintf("%#v", filled(in, value)), fmt.Sprintf("%#v", out); is != want {
		t.Errorf("%.100q in %.200q: got %.500s, want %.500s", value, template, is, want)
	}
}

func TestAHundredPayloadsStayWhereTheyAreFilledIn(t *testing.T) {
	list := payloads()
	if len(list) < 100 {
		t.Fatalf("%d payloads, want 100", len(list))
	}
	for _, value := range append(list, "a\uFFFEb\uFFFF") { // which SQS takes as escapes only
		sameStructure(t, jsonTemplate, value)
	}
}

func TestPayloadsInATextAreFilledOnce(t *testing.T) {
	clean := func(s string) string { // what SQS does not take becomes a blank
		return strings.Map(func(r rune) rune {
			if r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7F || r == 0x85 || r == 0x2028 || r == 0x2029 {
				return ' '
			}
			return r
		}, s)
	}
	for _, value := range payloads() {
		got, err := body("<$VALUE$|$$UNIT$$|$FOO$>", datum(value))
		want := "<" + clean(value) + "|$" + clean(value) + "$|$FOO$>"
		if err != nil || got != want {
			t.Errorf("%.100q: got %.300q, %v, want %.300q", value, got, err, want)
		}
	}
}

func TestAGroupIsNoTemplate(t *testing.T) {
	for _, value := range payloads() {
		for _, group := range []string{"$VALUE$", value} {
			action, err := json.Marshal(map[string]any{"type": Kind, "sqs_secret": "q", "group": group})
			if err != nil {
				t.Fatal(err)
			}
			p, err := decode(&queue.Job{Action: action, Data: json.RawMessage(datum(value))})
			if err == nil && p.group != group {
				t.Errorf("group %q became %q", group, p.group)
			}
			if bad := strings.ContainsFunc(group, func(r rune) bool { return r <= ' ' || r > '~' }) || len(group) > 128; bad != (err != nil) {
				t.Errorf("group %.100q: got %v", group, err)
			}
		}
	}
}

// randomTemplate is a JSON text with variables and payloads in its strings.
func randomTemplate(r *rand.Rand, depth int) string {
	quoted := func() string {
		parts := []string{"$VALUE$", "$UNIT$", "$", "$$", "VALUE$", "x", "\\", "\"", "é", "\n", "$FOO$", "$DEVICE.NAME$"}
		var s string
		for range r.IntN(5) {
			s += parts[r.IntN(len(parts))]
		}
		text, err := json.Marshal(s)
		if err != nil {
			panic(err) // of a string
		}
		return string(text)
	}
	switch n := r.IntN(6); {
	case n == 0 || depth == 0:
		return quoted()
	case n == 1:
		return []string{"1", "-2.5e3", "true", "false", "null"}[r.IntN(5)]
	case n < 4:
		var list []string
		for range r.IntN(4) {
			list = append(list, randomTemplate(r, depth-1))
		}
		return "[" + strings.Join(list, " ,") + "]"
	}
	var list []string
	for i := range r.IntN(4) {
		list = append(list, fmt.Sprintf("\"%d%s: %s", i, quoted()[1:], randomTemplate(r, depth-1)))
	}
	return "{" + strings.Join(list, ",\n") + "}"
}

func TestAnyJSONKeepsItsStructure(t *testing.T) {
	list := payloads()
	for seed := range uint64(2_000) {
		r := rand.New(rand.NewPCG(seed, 1))
		sameStructure(t, randomTemplate(r, 4), list[r.IntN(len(list))])
	}
}

func FuzzJSONKeepsItsStructure(f *testing.F) {
	for i, value := range payloads() {
		f.Add(slices.Concat([]string{jsonTemplate}, payloads())[i%20], value)
	}
	f.Fuzz(func(t *testing.T, template, value string) {
		want, err := shape(template)
		if err != nil || template == "" || !json.Valid([]byte(template)) {
			return
		}
		got, err := body(template, datum(value))
		if err != nil {
			return // refused is safe
		}
		if is, err := shape(got); err != nil || is != want {
			t.Errorf("%q in %q: got the structure %s (%v), want %s", value, template, is, err, want)
		}
	})
}
