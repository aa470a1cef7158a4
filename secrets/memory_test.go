package secrets_test

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// TestMemorySealOpensForManyAtOnce has texts of all sizes opened by many, who
// share the space for it.
func TestMemorySealOpensForManyAtOnce(t *testing.T) {
	m := secrets.NewMemorySeal()
	var all sync.WaitGroup
	defer all.Wait()
	for i := range 8 {
		all.Go(func() {
			for n := range 200 {
				want, place := strings.Repeat(string(rune('a'+i)), n*7%90), strings.Repeat("p", n%40)
				if got, err := m.Open(m.Seal(redact.New(want), place), place); err != nil || got.Reveal() != want {
					t.Errorf("opener %d: text %d is another one, %v", i, n, err)
				}
			}
		})
	}
}

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
