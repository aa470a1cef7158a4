package secrets

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/secrets/redact"
)

// testKeyring is a keyring that no Redis has.
func testKeyring(t testing.TB) *Keyring {
	t.Helper()
	kek, err := LoadKEK(GenerateMasterKey())
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := newKeyring(kek, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestBindTellsListsApart(t *testing.T) {
	lists := [][]string{
		{}, {""}, {"", ""}, {"a"}, {"a", ""}, {"", "a"}, {"ab"}, {"a", "b"}, {"\x01a"}, {"a", "b", ""},
		{"\x01"}, {"\x00"}, {strings.Repeat("a", 127)}, {strings.Repeat("a", 128)}, {strings.Repeat("a", 300)},
	}
	for i, a := range lists {
		for j, b := range lists {
			if got := bytes.Equal(bind(a...), bind(b...)); got != (i == j) {
				t.Errorf("bind(%q) and bind(%q): equal is %v, want %v", a, b, got, i == j)
			}
		}
	}
}

func FuzzBind(f *testing.F) {
	f.Add("ab", "c", "", "a", "bc", "")
	f.Add("\x01a", "", "", "a", "", "\x00")
	f.Fuzz(func(t *testing.T, a, b, c, x, y, z string) {
		one, two := []string{a, b, c}, []string{x, y, z}
		if got, want := bytes.Equal(bind(one...), bind(two...)), slices.Equal(one, two); got != want {
			t.Errorf("bind(%q) and bind(%q): equal is %v, want %v", one, two, got, want)
		}
		if bytes.Equal(bind(a, b), bind(x, y, z)) {
			t.Errorf("two fields %q, %q give the bytes of three: %q", a, b, two)
		}
	})
}

// sampleRecord is a sealed record with every field set.
func sampleRecord(t testing.TB, k *Keyring) *record {
	t.Helper()
	b := body{
		ID: strings.Repeat("a1", 12), Key: "MAIL", Type: TypeSMTP, Version: 3, Edit: 5, Tags: []Tag{{"env", "prod"}}, Length: 6,
		Meta: map[string]string{"server": "mail.example.org", "port": "587"}, Created: 1, Updated: 2, By: "admin a1",
	}
	r, err := k.sealRecord(b, redact.New("hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecordOpensAsItWasSealed(t *testing.T) {
	k := testKeyring(t)
	r := sampleRecord(t, k)
	got, err := k.checkRecord(r.ID, r.raw)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := k.open(got)
	if err != nil || string(plain) != "hunter2" {
		t.Errorf("open: got %q, %v", plain, err)
	}
}

// TestRecordBreaksByEveryBit flips each bit of each stored field.
func TestRecordBreaksByEveryBit(t *testing.T) {
	k := testKeyring(t)
	r := sampleRecord(t, k)
	for name, field := range map[string]func(*stored) *string{
		"body": func(s *stored) *string { return &s.body },
		"ct":   func(s *stored) *string { return &s.ct },
		"mac":  func(s *stored) *string { return &s.mac },
	} {
		for bit := range 8 * len(*field(&r.raw)) {
			changed := r.raw
			b := []byte(*field(&changed))
			b[bit/8] ^= 1 << (bit % 8)
			*field(&changed) = string(b)
			if _, err := k.checkRecord(r.ID, changed); !errors.Is(err, ErrSealBroken) {
				t.Fatalf("%s, bit %d: got %v, want ErrSealBroken", name, bit, err)
			}
		}
		changed := r.raw
		*field(&changed) = ""
		if _, err := k.checkRecord(r.ID, changed); !errors.Is(err, ErrSealBroken) {
			t.Errorf("without %s: got %v, want ErrSealBroken", name, err)
		}
	}
}

// TestValueIsBoundToItsPlace opens a value with each thing it is bound to
// changed. The MAC is left out: the seal alone must hold, since it is what
// stands if the record key is lost.
func TestValueIsBoundToItsPlace(t *testing.T) {
	k, other := testKeyring(t), testKeyring(t)
	r := sampleRecord(t, k)
	rows := map[string]func(*record, **Keyring){
		"another id":          func(r *record, _ **Keyring) { r.ID = strings.Repeat("b", 24) },
		"another version":     func(r *record, _ **Keyring) { r.Version-- },
		"another store":       func(_ *record, k **Keyring) { c := **k; c.storeID = other.storeID; *k = &c },
		"another keyring":     func(_ *record, k **Keyring) { *k = other },
		"a ciphertext cut":    func(r *record, _ **Keyring) { r.raw.ct = r.raw.ct[:len(r.raw.ct)-1] },
		"no ciphertext":       func(r *record, _ **Keyring) { r.raw.ct = "" },
		"another server":      func(r *record, _ **Keyring) { r.raw.body = strings.Replace(r.raw.body, "mail.", "evil.", 1) },
		"another port":        func(r *record, _ **Keyring) { r.raw.body = strings.Replace(r.raw.body, "587", "588", 1) },
		"another tag":         func(r *record, _ **Keyring) { r.raw.body = strings.Replace(r.raw.body, "prod", "test", 1) },
		"another key":         func(r *record, _ **Keyring) { r.raw.body = strings.Replace(r.raw.body, "MAIL", "MEAL", 1) },
		"a space in its body": func(r *record, _ **Keyring) { r.raw.body += " " },
		"another update time": func(r *record, _ **Keyring) {
			r.raw.body = strings.Replace(r.raw.body, `"updated":2`, `"updated":3`, 1)
		},
		"the same body, resealed by another keyring": func(r *record, _ **Keyring) { *r = *sampleRecord(t, other) },
	}
	for name, change := range rows {
		c, kr := *r, k
		change(&c, &kr)
		if plain, err := kr.open(&c); !errors.Is(err, ErrSealBroken) || plain != nil {
			t.Errorf("%s: got %q, %v, want ErrSealBroken", name, plain, err)
		}
	}
}

func TestMACTellsPurposesAndFieldsApart(t *testing.T) {
	k, other := testKeyring(t), testKeyring(t)
	tag := k.MAC("token", "a", "b")
	if !k.VerifyMAC(tag, "token", "a", "b") {
		t.Fatal("a MAC does not verify")
	}
	for name, ok := range map[string]bool{
		"another purpose":   k.VerifyMAC(tag, "secret", "a", "b"),
		"fields joined":     k.VerifyMAC(tag, "token", "ab"),
		"fields split":      k.VerifyMAC(tag, "token", "a", "b", ""),
		"another order":     k.VerifyMAC(tag, "token", "b", "a"),
		"another keyring":   other.VerifyMAC(tag, "token", "a", "b"),
		"a tag cut":         k.VerifyMAC(tag[:len(tag)-1], "token", "a", "b"),
		"a tag of nothing":  k.VerifyMAC(nil, "token", "a", "b"),
		"a tag of zeros":    k.VerifyMAC(make([]byte, tagSize), "token", "a", "b"),
		"the prefix alone":  k.VerifyMAC(tag[:tagPrefix], "token", "a", "b"),
		"the purpose moved": k.VerifyMAC(k.MAC("", "token", "a", "b"), "token", "a", "b"),
	} {
		if ok {
			t.Errorf("%s: verifies", name)
		}
	}
}

func TestManifestStandsForItsSet(t *testing.T) {
	k := testKeyring(t)
	a, b := []byte("record a"), []byte("record b")
	m := k.Next(k.Next(Manifest{}, SetSecrets, "1", nil, a), SetSecrets, "2", nil, b)
	n := k.Next(k.Next(Manifest{}, SetSecrets, "2", nil, b), SetSecrets, "1", nil, a)
	if m != n || m.Count != 2 || m.Version != 2 {
		t.Errorf("the order counts: %+v and %+v", m, n)
	}
	gone := k.Next(m, SetSecrets, "2", b, nil)
	if want := k.Next(Manifest{}, SetSecrets, "1", nil, a); gone.Digest != want.Digest || gone.Count != 1 {
		t.Errorf("taking away: got %+v, want the digest of %+v", gone, want)
	}
	for name, other := range map[string]Manifest{
		"another id":      k.Next(Manifest{}, SetSecrets, "3", nil, a),
		"another record":  k.Next(Manifest{}, SetSecrets, "1", nil, b),
		"another kind":    k.Next(Manifest{}, SetTokens, "1", nil, a),
		"another keyring": testKeyring(t).Next(Manifest{}, SetSecrets, "1", nil, a),
	} {
		if other.Digest == gone.Digest {
			t.Errorf("%s: the same digest", name)
		}
	}
	seal, err := k.SealManifest(SetSecrets, m)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.OpenManifest(SetSecrets, m.Version, seal); err != nil || got != m {
		t.Errorf("OpenManifest: got %+v, %v, want %+v", got, err, m)
	}
	for name, err := range map[string]error{
		"another version": manifestErr(k.OpenManifest(SetSecrets, m.Version+1, seal)),
		"another kind":    manifestErr(k.OpenManifest(SetTokens, m.Version, seal)),
		"cut":             manifestErr(k.OpenManifest(SetSecrets, m.Version, seal[:len(seal)-1])),
		"empty":           manifestErr(k.OpenManifest(SetSecrets, m.Version, nil)),
		"a sealed value":  manifestErr(k.OpenManifest(SetSecrets, m.Version, []byte(sampleRecord(t, k).raw.ct))),
	} {
		if !errors.Is(err, ErrSealBroken) {
			t.Errorf("%s: got %v, want ErrSealBroken", name, err)
		}
	}
	if bytes.Contains(seal, m.Digest[:8]) {
		t.Error("the digest is in the seal in clear")
	}
}

func manifestErr(_ Manifest, err error) error { return err }

func BenchmarkSeal(b *testing.B) {
	k := testKeyring(b)
	r := sampleRecord(b, k)
	value := redact.New(strings.Repeat("v", 200))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.sealRecord(r.body, value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	k := testKeyring(b)
	r := sampleRecord(b, k)
	b.ReportAllocs()
	for b.Loop() {
		plain, err := k.open(r)
		if err != nil {
			b.Fatal(err)
		}
		clear(plain)
	}
}

func BenchmarkCheckRecord(b *testing.B) {
	k := testKeyring(b)
	r := sampleRecord(b, k)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.checkRecord(r.ID, r.raw); err != nil {
			b.Fatal(err)
		}
	}
}
