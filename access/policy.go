// Package access says who may read what.
//
// Analyses are the programs that ask; policies grant them secrets by id or by
// tag, and deny always wins. [Evaluate] is the whole rule, without I/O. A
// [Directory] keeps analyses and policies in Redis under record MACs and
// resolves the environment of an analysis: the secrets that policies grant it,
// overridden by its own variables. Tokens say who is calling.
package access

import (
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/secrets"
)

// Effect says whether a permission allows or denies.
type Effect string

// The two effects. Any other text is refused when a policy is read.
const (
	Allow Effect = "allow"
	Deny  Effect = "deny"
)

// Kinds of targets, and the kind of resource that secrets are in policies.
const (
	KindAnalysis = "analysis"
	KindRunUser  = "run_user"
	KindSecrets  = "secrets"
	// kindSecret is accepted for KindSecrets and kept as it was sent: every
	// other resource name that clients know is singular.
	kindSecret = "secret"
)

// Actions on secrets. ActionAccess puts a secret in the environment and in
// lists; the others are the writes.
const (
	ActionAccess = "access"
	ActionCreate = "create"
	ActionEdit   = "edit"
	ActionDelete = "delete"
)

// maxTuple is how many elements of a tuple are kept: clients' own tools cut
// there too, so that a longer tuple means the same here as it does there.
const maxTuple = 5

// Tuple is a selector as the wire has it: the kind, then how it selects.
//
//	[kind]                                   every one
//	[kind, "id", ID]                         this one
//	[kind, "tag.key", K, "tag.value", V]     those with the tag K=V
//	[kind, "tag_match", K]                   on a permission: the resource has, for
//	                                         K, a value that the target has too;
//	                                         on a target: it has K, any value
//	[kind, "path", P]                        files under P; never a target
//
// Every other shape is kept and selects nothing. The zero Tuple selects nothing.
type Tuple []string

// Policy grants its targets what its permissions say. Targets select who, with
// or between them; all permissions then count for each of them.
type Policy struct {
	ID          string        `json:"id"`      // 24 lower-case hex
	Version     int64         `json:"version"` // from 1, grows with each change
	Name        string        `json:"name"`    // 1 to 100 characters; names may repeat
	Active      bool          `json:"active"`  // an inactive policy does not count at all
	Permissions []Permission  `json:"permissions"`
	Targets     []Tuple       `json:"targets"`
	Tags        []secrets.Tag `json:"tags"`
	Created     time.Time     `json:"created_at"`
	Updated     time.Time     `json:"updated_at"`
}

// Permission allows or denies actions on the resources that a tuple selects.
type Permission struct {
	Effect   Effect   `json:"effect"`
	Action   []string `json:"action"`
	Resource Tuple    `json:"resource"`
}

// Subject is who asks: an analysis, as policies see it.
type Subject struct {
	Kind string // KindAnalysis or KindRunUser
	ID   string
	Tags []secrets.Tag
}

// Resource is what is asked for. A resource that is about to be created has no
// ID yet and the tags of the request, so that only tags can grant it.
type Resource struct {
	Kind string // KindSecrets, or another name of the wire
	ID   string
	Path string // of files only
	Tags []secrets.Tag
}

// Rule names one permission of one policy. The zero Rule is no rule.
type Rule struct {
	Policy     string `json:"policy"`     // id
	Name       string `json:"name"`       // of the policy
	Permission int    `json:"permission"` // from 0, in the order that answers show
	Effect     Effect `json:"effect"`
}

// Decision is the answer to one question. The zero Decision is the default:
// refused, because no rule grants it.
type Decision struct {
	Allowed bool `json:"allowed"`
	Rule    Rule `json:"rule"` // that decided; zero when nothing matched
}

// Evaluate says whether the subject may do the action on the resource. Active
// policies with a target that selects the subject count, with all their
// permissions. A matching deny of any policy wins over every allow; nothing
// matching is a refusal. The rule in the answer is the first one that decides,
// in the order of the policies.
func Evaluate(policies []Policy, who Subject, what Resource, action string) Decision {
	var d Decision
	for i := range policies {
		p := &policies[i]
		if !p.Active || !p.selects(who) {
			continue
		}
		for j, perm := range p.Permissions {
			if !perm.covers(who, what, action) {
				continue
			}
			rule := p.rule(j)
			if perm.Effect == Deny {
				return Decision{Rule: rule}
			}
			if perm.Effect == Allow && !d.Allowed {
				d = Decision{Allowed: true, Rule: rule}
			}
		}
	}
	return d
}

// selects reports whether any target of the policy selects the subject.
func (p *Policy) selects(who Subject) bool {
	return slices.ContainsFunc(p.Targets, func(t Tuple) bool { return t.parse().selects(who) })
}

// rule names permission i.
func (p *Policy) rule(i int) Rule {
	return Rule{Policy: p.ID, Name: p.Name, Permission: i, Effect: p.Permissions[i].Effect}
}

// covers reports whether the permission is about the action and the resource.
func (p Permission) covers(who Subject, what Resource, action string) bool {
	return slices.Contains(p.Action, action) && p.Resource.parse().covers(who, what)
}

// how says in which way a selector selects.
type how uint8

const (
	byNothing how = iota // an unknown shape
	byAny
	byID
	byTag
	byTagMatch
	byPath
)

// selector is a parsed tuple: comparable, so that it can be the key of an index.
type selector struct {
	by    how
	kind  string // canonical
	key   string // of a tag
	value string // id, tag value or path
}

// parse reads the shape of a tuple. The words between are exact.
func (t Tuple) parse() selector {
	switch {
	case len(t) == 1:
		return selector{by: byAny, kind: canonical(t[0])}
	case len(t) == 3 && t[1] == "id":
		return selector{by: byID, kind: canonical(t[0]), value: t[2]}
	case len(t) == 3 && t[1] == "tag_match":
		return selector{by: byTagMatch, kind: canonical(t[0]), key: t[2]}
	case len(t) == 3 && t[1] == "path":
		return selector{by: byPath, kind: canonical(t[0]), value: t[2]}
	case len(t) == 5 && t[1] == "tag.key" && t[3] == "tag.value":
		return selector{by: byTag, kind: canonical(t[0]), key: t[2], value: t[4]}
	}
	return selector{}
}

// canonical gives the name under which a kind is compared.
func canonical(kind string) string {
	if kind == kindSecret {
		return KindSecrets
	}
	return kind
}

// selects reports whether the selector, as a target, selects the subject. A
// subject without an id is selected by no id.
func (s selector) selects(who Subject) bool {
	if s.kind != who.Kind {
		return false
	}
	switch s.by {
	case byAny:
		return true
	case byID:
		return s.value != "" && s.value == who.ID
	case byTag:
		return slices.Contains(who.Tags, secrets.Tag{Key: s.key, Value: s.value})
	case byTagMatch:
		return slices.ContainsFunc(who.Tags, func(t secrets.Tag) bool { return t.Key == s.key })
	}
	return false
}

// covers reports whether the selector, on a permission, covers the resource.
func (s selector) covers(who Subject, what Resource) bool {
	if s.kind != canonical(what.Kind) {
		return false
	}
	switch s.by {
	case byAny:
		return true
	case byID:
		return s.value != "" && s.value == what.ID
	case byTag:
		return slices.Contains(what.Tags, secrets.Tag{Key: s.key, Value: s.value})
	case byTagMatch:
		return slices.ContainsFunc(what.Tags, func(t secrets.Tag) bool {
			return t.Key == s.key && slices.Contains(who.Tags, t)
		})
	case byPath:
		return s.kind == "file" && what.Path != "" && strings.HasPrefix(what.Path, s.value)
	}
	return false
}

// resourceOf is a secret as policies see it.
func resourceOf(s secrets.Secret) Resource {
	return Resource{Kind: KindSecrets, ID: s.ID, Tags: s.Tags}
}
