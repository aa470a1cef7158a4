package secrets_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

func TestMemorySealOpensInItsPlaceOnly(t *testing.T) {
	m, other := secrets.NewMemorySeal(), secrets.NewMemorySeal()
	sealed := m.Seal(redact.New("canary text"), "a", "bc")
	if bytes.Contains(sealed, []byte("canary")) || bytes.Equal(sealed, m.Seal(redact.New("canary text"), "a", "bc")) {
		t.Error("it is in clear, or the same twice")
	}
	if got, err := m.Open(sealed, "a", "bc"); err != nil || got.Reveal() != "canary text" {
		t.Errorf("Open: %q, %v, want the text", got.Reveal(), err)
	}
	damaged := bytes.Clone(sealed)
	damaged[len(damaged)-1] ^= 1
	for name, err := range map[string]error{
		"another place":   second(m.Open(sealed, "ab", "c")),
		"another process": second(other.Open(sealed, "a", "bc")),
		"a changed text":  second(m.Open(damaged, "a", "bc")),
		"a short text":    second(m.Open(sealed[:5], "a", "bc")),
	} {
		if !errors.Is(err, secrets.ErrSealBroken) {
			t.Errorf("%s: %v, want ErrSealBroken", name, err)
		}
	}
}
