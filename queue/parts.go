package queue

// Part is a piece of a job that has ended for good although the job has not: a
// recipient of a mail, a message of several, an analysis. Parts travel with the
// job and are written in the step that moves it, so that no later attempt does
// an accepted one again.
type Part struct {
	ID    string `json:"part"`           // chosen by the sender, the same in all attempts; at most maxPartID bytes; never an address
	State string `json:"state"`          // PartAccepted or PartRefused
	Code  string `json:"code,omitempty"` // the provider's
	Text  string `json:"text,omitempty"` // scrubbed, at most maxPartText characters
}

// States of a part.
const (
	PartAccepted = "accepted" // the other side has it
	PartRefused  = "refused"  // the other side will never take it
)

// Limits of parts. A job with 1,000 parts of full length carries 200 KiB.
const (
	maxParts    = 1000
	maxPartID   = 64 // bytes
	maxPartText = 80 // characters
)

// part is a Part as meta keeps it; the names are short because each job carries
// them.
type part struct {
	ID      string `json:"i"`
	Refused bool   `json:"r,omitempty"`
	Code    string `json:"o,omitempty"`
	Text    string `json:"x,omitempty"`
}

// merge takes the parts that ended in an attempt into those that had ended
// before. The newer state of a part counts, but an accepted one stays accepted.
func (m *meta) merge(ended []Part) {
	if len(ended) == 0 {
		return
	}
	at := make(map[string]int, len(m.Parts)+len(ended))
	parts := append(make([]part, 0, len(m.Parts)+len(ended)), m.Parts...)
	for i := range parts {
		at[parts[i].ID] = i
	}
	for _, e := range ended {
		p := part{ID: cut(clip(e.ID), maxPartID), Refused: e.State != PartAccepted, Code: clip(e.Code), Text: cut(clip(e.Text), maxPartText)}
		i, known := at[p.ID]
		switch {
		case known && !parts[i].Refused:
		case known:
			parts[i] = p
		case len(parts) < maxParts:
			at[p.ID] = len(parts)
			parts = append(parts, p)
		}
	}
	m.Parts = parts
}

// shown returns the parts as senders and users see them.
func (m *meta) shown() []Part {
	if len(m.Parts) == 0 {
		return nil
	}
	list := make([]Part, len(m.Parts))
	for i, p := range m.Parts {
		list[i] = Part{ID: p.ID, State: PartAccepted, Code: p.Code, Text: p.Text}
		if p.Refused {
			list[i].State = PartRefused
		}
	}
	return list
}

// cut returns the first n characters of s.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}
