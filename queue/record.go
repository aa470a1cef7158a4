package queue

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxText is how much of other people's text is kept: characters of an
// attempt's answer, from the public contract.
const maxText = 200

// meta is what the queue knows of a job besides its JSON. It travels with the
// job from place to place. The names are short because each job carries them.
type meta struct {
	JID       string `json:"j"`
	Attempts  int    `json:"a,omitempty"` // used
	Handbacks int    `json:"h,omitempty"`
	Crashes   int    `json:"c,omitempty"`
	Next      int    `json:"n,omitempty"` // number of the next log record, from 1
	Enqueued  int64  `json:"e,omitempty"` // ms
	Reason    string `json:"r,omitempty"` // of the last failure
	Text      string `json:"x,omitempty"` // of the last failure
	Secret    string `json:"s,omitempty"` // parked on it
	Version   int64  `json:"v,omitempty"`
	Beside    string `json:"b,omitempty"` // the rest of the parked set's name; see parkedOn
	Parts     []part `json:"p,omitempty"` // that ended for good
	Code      string `json:"o,omitempty"` // of the last failure, as in record
	Rule      string `json:"l,omitempty"` // of the last failure, as in record
	Kind      string `json:"k,omitempty"` // of the last failure; a stored action's job does not tell it
	Lane      string `json:"d,omitempty"` // of the last failure, "" if it came to none
	Used      string `json:"i,omitempty"` // id of the secret of the last failure
	Waits     string `json:"w,omitempty"` // the lane that handed it back; see recall.go
}

// parseMeta reads the meta field of stream entry eid. An entry without one, or
// with one that is not ours, is a new job whose jid is the entry's id.
func parseMeta(eid, text string) meta {
	var m meta
	if text != "" {
		m = decodeMeta(text)
	}
	if m.JID == "" {
		m.JID = eid
	}
	if m.Enqueued <= 0 {
		m.Enqueued = jidMillis(m.JID)
	}
	m.Attempts, m.Handbacks, m.Crashes = max(m.Attempts, 0), max(m.Handbacks, 0), max(m.Crashes, 0)
	m.Next = max(m.Next, 1)
	return m
}

// decodeMeta is apart from parseMeta so that a job without one needs no
// allocation.
func decodeMeta(text string) meta {
	m := meta{}
	if err := json.Unmarshal([]byte(text), &m); err != nil || !isEntryID(m.JID) {
		return meta{}
	}
	return m
}

// body joins meta and job as they are kept outside of the stream.
func (m *meta) body(job []byte) string {
	b, err := json.Marshal(m)
	if err != nil {
		panic("queue: " + err.Error()) // strings and numbers always marshal
	}
	return string(b) + "\n" + string(job)
}

// record is what the log keeps of an attempt. It is only ever written once.
type record struct {
	At        int64  `json:"t"` // ms, start
	Worker    string `json:"w,omitempty"`
	Kind      string `json:"k,omitempty"`
	Number    int    `json:"a,omitempty"` // attempt, from 1; 0: no attempt was made
	Used      int    `json:"u,omitempty"` // attempts used after it
	Handbacks int    `json:"h,omitempty"`
	Crashes   int    `json:"c,omitempty"`
	Millis    int64  `json:"d,omitempty"` // duration
	Secret    string `json:"s,omitempty"`
	Version   int64  `json:"v,omitempty"`
	Stage     string `json:"g,omitempty"`
	Code      string `json:"o,omitempty"`
	Text      string `json:"x,omitempty"`
	Rule      string `json:"l,omitempty"`
	Reason    string `json:"r,omitempty"`
	Certainty string `json:"y,omitempty"`
	Lane      string `json:"n,omitempty"`
}

// json is record as JSON.
func (r *record) json() string { return r.after("") }

// ending is the log's value of a record: the state after it and the record.
func (r *record) ending(state State) string { return r.after(string(state) + " ") }

// after is record as JSON behind other text, by hand: it is written for each
// job, and reflection would cost as much as the rest of its settlement.
func (r *record) after(text string) string {
	var room [256]byte // the usual record fits, and is copied once
	b := append(room[:0], text...)
	b = append(b, `{"t":`...)
	b = strconv.AppendInt(b, r.At, 10)
	b = appendText(b, "w", r.Worker)
	b = appendText(b, "k", r.Kind)
	b = appendInt(b, "a", int64(r.Number))
	b = appendInt(b, "u", int64(r.Used))
	b = appendInt(b, "h", int64(r.Handbacks))
	b = appendInt(b, "c", int64(r.Crashes))
	b = appendInt(b, "d", r.Millis)
	b = appendText(b, "s", r.Secret)
	b = appendInt(b, "v", r.Version)
	b = appendText(b, "g", r.Stage)
	b = appendText(b, "o", r.Code)
	b = appendText(b, "x", r.Text)
	b = appendText(b, "l", r.Rule)
	b = appendText(b, "r", r.Reason)
	b = appendText(b, "y", r.Certainty)
	b = appendText(b, "n", r.Lane)
	return string(append(b, '}'))
}

func appendInt(b []byte, key string, v int64) []byte {
	if v == 0 {
		return b
	}
	b = append(append(append(b, `,"`...), key...), `":`...)
	return strconv.AppendInt(b, v, 10)
}

func appendText(b []byte, key, v string) []byte {
	if v == "" {
		return b
	}
	b = append(append(append(b, `,"`...), key...), `":`...)
	if !needsEscape(v) {
		return append(append(append(b, '"'), v...), '"')
	}
	q, err := json.Marshal(v)
	if err != nil {
		return append(b, `""`...) // a string always marshals
	}
	return append(b, q...)
}

func needsEscape(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

// parseRecord splits a log value, "<state> <JSON>".
func parseRecord(value string) (State, record, bool) {
	state, text, found := strings.Cut(value, " ")
	var r record
	if !found || json.Unmarshal([]byte(text), &r) != nil {
		return "", record{}, false
	}
	return State(state), r, true
}

// attempt is the record as users see it.
func (r *record) attempt(after State) Attempt {
	return Attempt{
		At: time.UnixMilli(r.At).UTC(), Number: r.Number, Worker: r.Worker, Lane: r.Lane,
		Secret: r.Secret, SecretVersion: r.Version,
		Stage: r.Stage, Code: r.Code, Text: r.Text, Rule: r.Rule, Reason: r.Reason,
		Certainty: Certainty(r.Certainty), DurationMS: r.Millis, State: after,
	}
}

// clip makes text fit for a log, a table and a JSON answer: one line, printable,
// at most maxText characters.
func clip(s string) string {
	plain := len(s) <= maxText
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= ' ' && s[i] <= '~'
	}
	if plain {
		return s
	}
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxText {
			break
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String()
}

// logField is the name of record n of a job in its log.
func logField(jid string, n int) string { return jid + "/" + strconv.Itoa(n) }
