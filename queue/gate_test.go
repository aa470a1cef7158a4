package queue

import "testing"

func TestALateListForgetsNoNewerRefusal(t *testing.T) {
	g := newGate(nil, "")
	g.keep("new:1", refusal{asOf: 20})
	g.keep("same:1", refusal{asOf: 10})
	g.keep("old:1", refusal{asOf: 9})
	g.keep("told:1", refusal{asOf: 20, N: 2})
	g.replace(map[string]refusal{"told:1": {asOf: 10, N: 1}, "listed:1": {asOf: 10}}, 10)
	for name, want := range map[string]bool{"new:1": true, "same:1": true, "old:1": false, "told:1": true, "listed:1": true} {
		if _, ok := g.find(name); ok != want {
			t.Errorf("%s is known: %v, want %v", name, ok, want)
		}
	}
	if r, _ := g.find("told:1"); r.N != 2 {
		t.Errorf("got a refusal that counts %d, want the newer one, 2", r.N)
	}
	if names := g.applying([]Credential{{"new", 1}}); len(names) != 1 {
		t.Errorf("a newer refusal applies to %v, want one", names)
	}
}
