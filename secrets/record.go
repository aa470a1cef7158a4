package secrets

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sealpost/sealpost/secrets/redact"
)

// body is the part of a record that is not secret. It is stored as JSON and
// bound, byte by byte, to the sealed value and to the record's MAC.
type body struct {
	ID      string            `json:"id"`
	Key     string            `json:"key"`
	Type    Type              `json:"type"`
	Version int64             `json:"version"` // of the value
	Edit    int64             `json:"edit"`    // of the record: grows with every write, so that old tags cannot come back either
	Tags    []Tag             `json:"tags,omitempty"`
	Length  int               `json:"length"`
	Meta    map[string]string `json:"meta,omitempty"`
	Created int64             `json:"created"` // Unix milliseconds
	Updated int64             `json:"updated"` // Unix milliseconds, of the last write
	By      string            `json:"by"`      // who wrote it last

	// Of versions. The seals of the other versions are in the current record, so
	// that its own seal and the manifest also tell which those are.
	Top      int64      `json:"top,omitempty"`      // the highest version ever given; no number is used twice
	Made     int64      `json:"made,omitempty"`     // Unix milliseconds, of this version
	Maker    string     `json:"maker,omitempty"`    // who made this version
	Verdict  *Verdict   `json:"verdict,omitempty"`  // of the last test of this version
	Previous []byte     `json:"previous,omitempty"` // the MAC of the version before
	Staged   *candidate `json:"staged,omitempty"`   // the version that waits beside
}

// stored is a record as it is in Redis.
type stored struct {
	body string // JSON of a body
	ct   string // the value, sealed
	mac  string // over id, body and ct
}

// record is a stored record whose MAC was checked. It never changes and holds
// no plaintext.
type record struct {
	body
	kind string // what it is sealed as: currentKind or stagedKind
	raw  stored
}

// member is the record's entry in the sorted list of names. A space sorts
// before every character of a key, so A is before A_B.
func (b *body) member() string { return b.Key + " " + b.ID }

func (r *record) ref() Ref {
	return Ref{ID: r.ID, Key: r.Key, Type: r.Type, Version: r.Version, Staged: r.kind == stagedKind}
}

// secret returns what may be shown, in copies.
func (r *record) secret() Secret {
	s := Secret{
		Ref: r.ref(), Tags: slices.Clone(r.Tags), Length: r.Length,
		Created: time.UnixMilli(r.Created).UTC(), Updated: time.UnixMilli(r.Updated).UTC(),
	}
	if len(r.Meta) > 0 {
		s.Meta = make(map[string]string, len(r.Meta))
		for k, v := range r.Meta {
			s.Meta[k] = v
		}
	}
	return s
}

// bytes is what a manifest's hash of the record covers: all of it, by its MAC,
// which covers the rest.
func (s *stored) bytes() []byte { return []byte(s.mac) }

// What a record is sealed as. A staged version does not open in the place of a
// current one, whoever moves it there.
const (
	currentKind = "secret"
	stagedKind  = "staged"
)

// sealRecord makes a record of b and the value's text.
func (k *Keyring) sealRecord(b body, value redact.String) (*record, error) {
	return k.sealAs(currentKind, b, value)
}

func (k *Keyring) sealAs(kind string, b body, value redact.String) (*record, error) {
	text, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode secret %s: %w", b.ID, err)
	}
	plain := []byte(value.Reveal())
	defer clear(plain)
	ct, err := k.data.Encrypt(plain, valueAAD(k.storeID, kind, b.ID, b.Version, string(text)))
	if err != nil {
		return nil, fmt.Errorf("seal secret %s: %w", b.ID, err)
	}
	raw := stored{body: string(text), ct: string(ct)}
	raw.mac = string(k.MAC(kind, b.ID, raw.body, raw.ct))
	return &record{body: b, kind: kind, raw: raw}, nil
}

// checkRecord verifies what Redis gave for id. The error is ErrSealBroken.
func (k *Keyring) checkRecord(id string, raw stored) (*record, error) {
	return k.checkAs(currentKind, id, raw)
}

func (k *Keyring) checkAs(kind, id string, raw stored) (*record, error) {
	if !k.VerifyMAC([]byte(raw.mac), kind, id, raw.body, raw.ct) {
		return nil, fmt.Errorf("%w: secret %s was changed in Redis or is of another keyring", ErrSealBroken, id)
	}
	r := &record{kind: kind, raw: raw}
	if err := json.Unmarshal([]byte(raw.body), &r.body); err != nil || r.ID != id {
		return nil, fmt.Errorf("%w: secret %s has a body that this release cannot read", ErrSealBroken, id)
	}
	return r, nil
}

// open returns the value's text. The caller clears it after use.
func (k *Keyring) open(r *record) ([]byte, error) {
	plain, err := k.data.Decrypt([]byte(r.raw.ct), valueAAD(k.storeID, r.kind, r.ID, r.Version, r.raw.body))
	if err != nil {
		return nil, fmt.Errorf("%w: secret %s version %s does not open", ErrSealBroken, r.ID, strconv.FormatInt(r.Version, 10))
	}
	return plain, nil
}
