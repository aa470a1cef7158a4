package mailaddress

import (
	"strings"
	"testing"
)

func TestAddressesAreBroughtIntoTheFormOfDNS(t *testing.T) {
	list, err := ParseList(`a@X.Test; "Doe, Jo; Sr." <b@bücher.test>,, c@y.test ,`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range list {
		got = append(got, a.Name+"|"+a.Address)
	}
	if want := "|a@x.test Doe, Jo; Sr.|b@xn--bcher-kva.test |c@y.test"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBadAddressesAreNamedByTheirPlace(t *testing.T) {
	for _, bad := range []string{
		"canary", "canary@", "@canary.test", `"canary x"@y.test`, "canary..x@y.test", "canary@y..test",
		strings.Repeat("c", 65) + "@y.test", "canary@" + strings.Repeat("y", 64) + ".test", "canary\r\nBcc: x@y.test",
		`"a\\b" <canary@y.test>`,
	} {
		_, err := ParseList("a@b.test, " + bad)
		if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "address 2") && !strings.Contains(err.Error(), "control") {
			t.Errorf("%q: got %v, want the place and no address", bad, err)
		}
	}
	if _, err := ParseList(strings.Repeat("a@b.test,", MaxRecipients+1)); err == nil {
		t.Error("too many addresses are taken")
	}
}
