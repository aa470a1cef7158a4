package access

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/secrets"
)

// The random worlds: go test ./access -run Worlds -worlds 1000000 -seed 7
var (
	worlds = flag.Int("worlds", 100_000, "random worlds in which two evaluators are compared")
	seed   = flag.Uint64("seed", 0, "seed of the random worlds; 0 takes the clock")
)

// naive answers by the text of the rules alone, one sentence after the other,
// and shares nothing with Evaluate but the types.
//
//	Default is deny. Inactive policies do not count. A policy counts if one of
//	its targets selects who asks. Allowed: some counting policy has a matching
//	allow, and no counting policy has a matching deny.
func naive(policies []Policy, who Subject, what Resource, action string) bool {
	allows, denies := 0, 0
	for _, p := range policies {
		if p.Active && naiveSelected(p, who) {
			for _, perm := range p.Permissions {
				named := false
				for _, a := range perm.Action {
					named = named || a == action
				}
				if named && naiveCovers(perm.Resource, who, what) && perm.Effect == "allow" {
					allows++
				}
				if named && naiveCovers(perm.Resource, who, what) && perm.Effect == "deny" {
					denies++
				}
			}
		}
	}
	return allows > 0 && denies == 0
}

func naiveSelected(p Policy, who Subject) bool {
	for _, t := range p.Targets {
		if len(t) == 0 || t[0] != who.Kind {
			continue
		}
		words := strings.Join(t[1:], "\x00")
		if len(t) == 1 || words == "id\x00"+who.ID && len(t) == 3 && who.ID != "" {
			return true
		}
		for _, tag := range who.Tags {
			if len(t) == 3 && words == "tag_match\x00"+tag.Key {
				return true
			}
			if len(t) == 5 && words == "tag.key\x00"+tag.Key+"\x00tag.value\x00"+tag.Value {
				return true
			}
		}
	}
	return false
}

func naiveCovers(t Tuple, who Subject, what Resource) bool {
	if len(t) == 0 || strings.TrimSuffix(t[0], "s") != strings.TrimSuffix(what.Kind, "s") {
		return false
	}
	if len(t) == 1 {
		return true
	}
	if len(t) == 3 && t[1] == "id" {
		return what.ID != "" && t[2] == what.ID
	}
	if len(t) == 3 && t[1] == "path" {
		return t[0] == "file" && what.Path != "" && strings.Index(what.Path, t[2]) == 0
	}
	for _, mine := range what.Tags {
		if len(t) == 5 && t[1] == "tag.key" && t[2] == mine.Key && t[3] == "tag.value" && t[4] == mine.Value {
			return true
		}
		for _, theirs := range who.Tags {
			if len(t) == 3 && t[1] == "tag_match" && t[2] == mine.Key && theirs.Key == mine.Key && theirs.Value == mine.Value {
				return true
			}
		}
	}
	return false
}

// world makes things from so few names that they meet often.
type world struct{ r *rand.Rand }

func (w world) of(names ...string) string { return names[w.r.IntN(len(names))] }

func (w world) tags(most int) []secrets.Tag {
	tags := make([]secrets.Tag, w.r.IntN(most+1))
	for i := range tags {
		tags[i] = secrets.Tag{Key: w.of("k", "l", ""), Value: w.of("1", "2", "id")}
	}
	return tags
}

func (w world) tuple(heads ...string) Tuple {
	head := w.of(heads...)
	switch w.r.IntN(12) {
	case 0, 1:
		return Tuple{head}
	case 2, 3:
		return Tuple{head, "id", w.of("s0", "s1", "s2", "a1", "")}
	case 4, 5, 6:
		return Tuple{head, "tag.key", w.of("k", "l", ""), "tag.value", w.of("1", "2", "id")}
	case 7, 8:
		return Tuple{head, "tag_match", w.of("k", "l", "")}
	case 9:
		return Tuple{head, "path", w.of("", "a/", "a/b", "s0")}
	case 10: // a shape that means nothing
		return Tuple{head, w.of("id", "tag.key", "tag_match", "path", "ID", "any")}
	}
	t := make(Tuple, w.r.IntN(7))
	for i := range t {
		t[i] = w.of(head, "id", "k", "1", "tag.key", "tag.value", "tag_match")
	}
	return t
}

func (w world) policies() []Policy {
	list := make([]Policy, w.r.IntN(6))
	for i := range list {
		p := &list[i]
		p.ID, p.Active = fmt.Sprintf("p%d", i), w.r.IntN(6) > 0
		for range 1 + w.r.IntN(2) {
			p.Targets = append(p.Targets, w.tuple(KindAnalysis, KindAnalysis, KindAnalysis, KindRunUser))
		}
		for range w.r.IntN(5) {
			p.Permissions = append(p.Permissions, Permission{
				Effect:   Effect(w.of("allow", "allow", "allow", "deny")),
				Action:   [][]string{{ActionAccess}, {ActionCreate, ActionAccess}, {ActionEdit, ActionAccess}, {}}[w.r.IntN(4)],
				Resource: w.tuple("secrets", "secrets", "secret", "file"),
			})
		}
	}
	return list
}

func (w world) secrets() []secrets.Sealed {
	list := make([]secrets.Sealed, 3)
	for i := range list {
		id := fmt.Sprintf("s%d", i)
		list[i].Secret = secrets.Secret{Ref: secrets.Ref{ID: id, Key: strings.ToUpper(id)}, Tags: w.tags(3)}
	}
	return list
}

// heap is a shelf that looks at everything.
type heap []secrets.Sealed

func (h heap) ByID(id string) (secrets.Sealed, bool) {
	i := slices.IndexFunc(h, func(s secrets.Sealed) bool { return s.ID == id })
	if i < 0 {
		return secrets.Sealed{}, false
	}
	return h[i], true
}

func (h heap) ByTag(t secrets.Tag) []secrets.Sealed {
	var out []secrets.Sealed
	for _, s := range h {
		if slices.Contains(s.Tags, t) {
			out = append(out, s)
		}
	}
	return out
}

func (h heap) All() []secrets.Sealed { return h }

// TestWorldsAgree compares, in each random world, the evaluator with the naive
// one and the index with both.
func TestWorldsAgree(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", *seed)
	w := world{rand.New(rand.NewPCG(*seed, 1))}
	allowed, asked := 0, 0
	for n := range *worlds {
		policies, all := w.policies(), w.secrets()
		who := Subject{Kind: KindAnalysis, ID: w.of("a1", "a2", ""), Tags: w.tags(3)}
		action := w.of(ActionAccess, ActionAccess, ActionAccess, ActionCreate, ActionEdit, ActionDelete)
		file := Resource{Kind: "file", Path: w.of("", "a/b/c", "b")}
		created := Resource{Kind: w.of("secret", "secrets"), Tags: w.tags(2)}
		for _, what := range []Resource{file, created, resourceOf(all[0].Secret), resourceOf(all[1].Secret), resourceOf(all[2].Secret)} {
			got, want := Evaluate(policies, who, what, action), naive(policies, who, what, action)
			asked++
			if got.Allowed {
				allowed++
			}
			if got.Allowed != want {
				t.Fatalf("world %d: Evaluate(%+v, %+v, %s) = %+v, want allowed %v; policies %+v", n, who, what, action, got, want, policies)
			}
			if why := Explain(policies, who, what, action); why.Decision != got {
				t.Fatalf("world %d: Explain decides %+v, Evaluate %+v", n, why.Decision, got)
			}
		}
		compareIndex(t, n, w, policies, heap(all), who, action)
	}
	if allowed*20 < asked || allowed*2 > asked {
		t.Errorf("%d of %d questions allowed: the worlds test little", allowed, asked)
	}
}

// compareIndex checks that the index, after policies came and went, grants just
// what Evaluate does, by the same rules.
func compareIndex(t *testing.T, n int, w world, policies []Policy, all heap, who Subject, action string) {
	t.Helper()
	x := newPolicyIndex()
	for _, p := range w.policies() { // will be replaced or removed
		x.put(&p)
	}
	for i := range 6 {
		x.remove(fmt.Sprintf("p%d", i))
	}
	for i := range policies {
		x.put(&policies[len(policies)-1-i])
	}
	granted, denied := resolve(x.selecting(who), all, who, action)
	for _, s := range all {
		want := Evaluate(policies, who, resourceOf(s.Secret), action)
		is := func(g Grant) bool { return g.Secret.ID == s.ID }
		i, j := slices.IndexFunc(granted, is), slices.IndexFunc(denied, is)
		switch {
		case want.Allowed != (i >= 0), i >= 0 && j >= 0:
			t.Fatalf("world %d: granted %v and denied %v, Evaluate of %s says %+v; policies %+v", n, granted, denied, s.ID, want, policies)
		case i >= 0 && granted[i].Rule != want.Rule, j >= 0 && denied[j].Rule != want.Rule:
			t.Fatalf("world %d: %s by another rule than %+v: granted %v denied %v", n, s.ID, want.Rule, granted, denied)
		}
	}
	for _, p := range policies {
		x.remove(p.ID)
	}
	if len(x.byID)+len(x.byTarget) > 0 {
		t.Fatalf("world %d: the empty index holds %d policies and %d targets", n, len(x.byID), len(x.byTarget))
	}
}
