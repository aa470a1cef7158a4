package actions

import (
	"bytes"
	"encoding/json"
	"errors"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/queue"
)

// Place says where a message variable lands, and so how its value is escaped.
type Place int

// The places.
const (
	Plain  Place = iota // text of a message: as it is, without control characters
	Header              // one line of a header: control characters become spaces
	HTML                // text or attribute value of HTML
	JSON                // inside a JSON string
	URL                 // a part of a path or of a query
)

// Variables are the values that $VARIABLE$ and its like stand for, taken from
// the first datum of a job. The zero Variables has no data: all known names
// are empty.
type Variables struct{ values map[string]string }

// names of variables; wire compatibility fixes them.
const (
	varVariable = "VARIABLE"
	varValue    = "VALUE"
	varUnit     = "UNIT"
	varTime     = "TIME"
	varLocation = "LOCATION"
	varDevice   = "DEVICE"
	varName     = "DEVICE.NAME"
	varState    = "ACTION.STATE"
)

// maxVariable is the length of the longest name.
const maxVariable = len(varState)

// variableNames are the names of all variables.
var variableNames = []string{varVariable, varValue, varUnit, varTime, varLocation, varDevice, varName, varState}

// VariableNames returns the names of all message variables, without dollar signs.
func VariableNames() []string { return slices.Clone(variableNames) }

// isVariable reports whether $name$ is replaced.
func isVariable(name string) bool { return slices.Contains(variableNames, name) }

// variablesIn returns what looks like the name of a message variable in a text:
// capital letters with points or lines, between two dollar signs.
func variablesIn(s string) []string {
	var names []string
	for _, m := range variableLike.FindAllStringSubmatch(s, -1) {
		names = append(names, m[1])
	}
	return names
}

var variableLike = regexp.MustCompile(`\$([A-Z][A-Z_]*(?:\.[A-Z_]+)*)\$`)

// JobVariables is [ReadVariables] of the job's data, with the state of its
// stored action, if it has one.
func JobVariables(job *queue.Job) (Variables, error) {
	v, err := ReadVariables(job.Data)
	if err != nil || job.ActionID == "" {
		return v, err
	}
	state := "unlocked"
	if job.Locked {
		state = "locked"
	}
	if v.values == nil {
		v.values = map[string]string{}
	}
	v.values[varState] = state
	return v, nil
}

// ReadVariables takes the variables from data, an array of datum objects or
// nothing. Only the first datum counts. A datum may have fields that no
// variable uses. The error says which field is wrong, never its value.
func ReadVariables(data json.RawMessage) (Variables, error) {
	if len(data) == 0 || string(data) == "null" {
		return Variables{}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return Variables{}, errors.New("data: want an array of objects")
	}
	if !dec.More() {
		return Variables{}, nil
	}
	var datum map[string]json.RawMessage
	if err := dec.Decode(&datum); err != nil || datum == nil {
		return Variables{}, errors.New("data: want an array of objects")
	}
	device, name := readDevice(datum["device"])
	return Variables{values: map[string]string{
		varVariable: text(datum["variable"]),
		varValue:    text(datum["value"]),
		varUnit:     text(datum["unit"]),
		varTime:     readTime(datum["time"]),
		varLocation: readLocation(datum["location"]),
		varDevice:   device,
		varName:     name,
	}}, nil
}

// text returns a JSON string without its quotes, null and nothing as "", and
// anything else as it stands, compact.
func text(raw json.RawMessage) string {
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return ""
	}
	return b.String()
}

// readTime returns ISO 8601: a text as it is, a number as milliseconds since
// 1970, which is how JavaScript counts.
func readTime(raw json.RawMessage) string {
	var ms int64
	if len(raw) > 0 && json.Unmarshal(raw, &ms) == nil && string(raw) != "null" {
		return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
	}
	return text(raw)
}

// readLocation returns "lat,lng" of {"lat","lng"} or of a GeoJSON point, whose
// coordinates stand the other way round (RFC 7946, section 3.1.1).
func readLocation(raw json.RawMessage) string {
	var l struct {
		Lat, Lng    json.Number
		Coordinates []json.Number
	}
	if len(raw) == 0 || json.Unmarshal(raw, &l) != nil {
		return ""
	}
	if l.Lat != "" && l.Lng != "" {
		return l.Lat.String() + "," + l.Lng.String()
	}
	if len(l.Coordinates) >= 2 {
		return l.Coordinates[1].String() + "," + l.Coordinates[0].String()
	}
	return ""
}

// readDevice returns id and name of a device: an id, or {"id","name"}.
func readDevice(raw json.RawMessage) (id, name string) {
	var d struct{ ID, Name string }
	if len(raw) > 0 && raw[0] == '{' {
		if json.Unmarshal(raw, &d) != nil {
			return "", ""
		}
		return d.ID, d.Name
	}
	return text(raw), ""
}

// MaxFilled bounds a filled template: bytes. A job has at most 256 KiB, but a
// long value that is named ten thousand times would make gigabytes.
const MaxFilled = 4 << 20

// ErrFilled says that a template grew over MaxFilled.
var ErrFilled = errors.New("is over 4 MiB once its variables are filled")

// Fill replaces the variables of a template by their values, escaped for the
// place. It reads the template once and never looks at a value again, so that
// a value such as "$DEVICE$" stays what it is. A known name without a value
// becomes empty; an unknown name stays. Error: ErrFilled for a result over
// MaxFilled.
func (v Variables) Fill(template string, place Place) (string, error) {
	if !strings.Contains(template, "$") {
		return template, nil
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(template, "$")
		b.WriteString(before)
		if b.Len() > MaxFilled {
			return "", ErrFilled
		}
		if !found {
			return b.String(), nil
		}
		end := strings.IndexByte(after[:min(len(after), maxVariable+1)], '$')
		if end < 0 || !isVariable(after[:end]) {
			b.WriteByte('$') // not ours; the next dollar may begin one
			template = after
			continue
		}
		b.WriteString(escape(v.values[after[:end]], place))
		template = after[end+1:]
	}
}

// escape makes a value harmless in the place where it lands.
func escape(value string, place Place) string {
	switch place {
	case Header:
		return strings.TrimSpace(replaceControl(value, false))
	case HTML:
		return html.EscapeString(replaceControl(value, true))
	case JSON:
		b, err := json.Marshal(value)
		if err != nil {
			return ""
		}
		return string(b[1 : len(b)-1])
	case URL:
		// In a path "+" is a plus sign, in a query %20 is a blank as well: %20
		// is right in both.
		return strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
	}
	return replaceControl(value, true)
}

// replaceControl turns control characters into blanks; lines says whether line
// ends and tabs may stay.
func replaceControl(s string, lines bool) string {
	return strings.Map(func(r rune) rune {
		if lines && (r == '\n' || r == '\r' || r == '\t') || !isControl(r) {
			return r
		}
		return ' '
	}, s)
}
