package access

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// analysisBody is an analysis as its record has it. The token and the values of
// the variables are sealed; the token's MAC and its first digits find and check
// it without opening anything.
type analysisBody struct {
	ID          string        `json:"id"`
	Version     int64         `json:"version"`
	Name        string        `json:"name"`
	Description string        `json:"description,omitempty"`
	Active      bool          `json:"active"`
	RunOn       RunOn         `json:"run_on"`
	Runtime     string        `json:"runtime"`
	Interval    string        `json:"interval,omitempty"`
	FileName    string        `json:"file_name,omitempty"`
	Tags        []secrets.Tag `json:"tags"`
	Created     int64         `json:"created"` // Unix milliseconds
	Updated     int64         `json:"updated"` // Unix milliseconds
	TokenHint   string        `json:"token_hint"`
	TokenMAC    []byte        `json:"token_mac"`
	Sealed      []byte        `json:"sealed"` // JSON of a sealedPart

	seen *seenToken // nil in what is only written
}

// sealedPart is what of an analysis is not in clear in Redis.
type sealedPart struct {
	Token     string      `json:"token"`
	Variables [][2]string `json:"variables"` // key, value
}

// sealKind and tokenPurpose bind what they seal and authenticate to its use.
const (
	sealKind     = "analysis"
	tokenPurpose = "analysis token"
)

// shown returns the analysis without its variables.
func (b *analysisBody) shown() Analysis {
	return Analysis{
		ID: b.ID, Version: b.Version, Name: b.Name, Description: b.Description, Active: b.Active, RunOn: b.RunOn,
		Runtime: b.Runtime, Interval: b.Interval, FileName: b.FileName, Tags: b.Tags,
		Created: time.UnixMilli(b.Created).UTC(), Updated: time.UnixMilli(b.Updated).UTC(),
	}
}

// open returns the token and the variables.
func (b *analysisBody) open(k *secrets.Keyring) (redact.String, []Variable, error) {
	text, err := k.Unseal(sealKind, b.ID, b.Version, b.Sealed)
	if err != nil {
		return redact.String{}, nil, err
	}
	var part sealedPart
	if err := json.Unmarshal([]byte(text.Reveal()), &part); err != nil {
		return redact.String{}, nil, fmt.Errorf("%w: analysis %s has a sealed part that this release cannot read", secrets.ErrSealBroken, b.ID)
	}
	vars := make([]Variable, 0, len(part.Variables))
	for _, v := range part.Variables {
		vars = append(vars, Variable{Key: v[0], Value: redact.New(v[1])})
	}
	return redact.New(part.Token), vars, nil
}

// analysisRecord makes the record of a with a token.
func analysisRecord(k *secrets.Keyring, a Analysis, token redact.String) (string, error) {
	part := sealedPart{Token: token.Reveal(), Variables: make([][2]string, 0, len(a.Variables))}
	for _, v := range a.Variables {
		part.Variables = append(part.Variables, [2]string{v.Key, v.Value.Reveal()})
	}
	plain, err := json.Marshal(part)
	if err != nil {
		return "", fmt.Errorf("encode analysis %s: %w", a.ID, err)
	}
	defer clear(plain)
	b := analysisBody{
		ID: a.ID, Version: a.Version, Name: a.Name, Description: a.Description, Active: a.Active, RunOn: a.RunOn,
		Runtime: a.Runtime, Interval: a.Interval, FileName: a.FileName, Tags: a.Tags,
		Created: a.Created.UnixMilli(), Updated: a.Updated.UnixMilli(),
		TokenHint: tokenHint(part.Token), TokenMAC: k.MAC(tokenPurpose, a.ID, part.Token),
	}
	if b.Sealed, err = k.Seal(sealKind, a.ID, a.Version, redact.New(string(plain))); err != nil {
		return "", err
	}
	text, err := json.Marshal(b)
	if err != nil {
		return "", fmt.Errorf("encode analysis %s: %w", a.ID, err)
	}
	return string(text), nil
}

// newAnalysisToken returns "a-" and a random UUID (RFC 9562, version 4): 122
// random bits in the form that clients know.
func newAnalysisToken() redact.String {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails: crypto/rand ends the program instead
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	h := hex.EncodeToString(u[:])
	return redact.New("a-" + strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-"))
}

const (
	tokenSize = 38 // characters: "a-" and a UUID
	hintSize  = 10 // characters of it that are stored in clear, to find the analysis: 90 random bits stay secret
)

// tokenHint returns the part of a token that finds its analysis, "" for a text
// that cannot be a token.
func tokenHint(token string) string {
	if len(token) != tokenSize || !strings.HasPrefix(token, "a-") {
		return ""
	}
	return token[:hintSize]
}

// newRecordID returns 96 random bits as 24 hex digits, the form of ids that clients know.
func newRecordID() string {
	b := make([]byte, 12)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
