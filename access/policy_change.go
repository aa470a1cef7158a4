package access

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sealpost/sealpost/secrets"
)

// Limits of a policy. The public clients name none but the name's; these keep a
// policy readable and its index small.
const (
	maxPermissions = 200
	maxTargets     = 200
	maxActions     = 64   // names in one permission; the clients know 37
	maxElement     = 1024 // characters of one element of a tuple
)

// resourceNames are the kinds of resources that public clients name. A policy
// on any other is refused: the name is misspelt, and a deny that is misspelt
// would protect nothing. Sealpost itself asks about secrets only.
var resourceNames = []string{
	"access_management", "account", "action", "analysis", "connector", "dashboard", "device", "dictionary", "entity",
	"file", "network", "profile", "run_user", "secret", "secrets", "service_authorization", "sql",
}

var targetNames = []string{KindAnalysis, KindRunUser}

var secretActions = []string{ActionAccess, ActionCreate, ActionEdit, ActionDelete}

// actionName is how actions on other resources look; their list is not public.
var actionName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// PolicyChange is what a request wants a policy to be. nil leaves a field as it
// is, or as the default says on a create; lists replace the ones before whole.
type PolicyChange struct {
	Name        *string // needed on a create
	Active      *bool   // default true
	Permissions []Permission
	Targets     []Tuple // at least one; needed on a create, as Permissions are
	Tags        []secrets.Tag
}

// DecodePolicy reads the body of a create or edit as clients send it. Unknown
// fields are ignored. The error is an *InvalidError.
func DecodePolicy(body []byte) (PolicyChange, error) {
	var f faults
	o := readObject(body, "", &f)
	c := PolicyChange{Name: o.text("name"), Active: o.flag("active"), Tags: o.tags("tags")}
	if list := o.list("permissions", maxPermissions); list != nil {
		c.Permissions = make([]Permission, 0, len(list))
		for i, item := range list {
			c.Permissions = append(c.Permissions, readPermission(item, at("permissions", i), &f))
		}
	}
	if list := o.list("targets", maxTargets); list != nil {
		c.Targets = make([]Tuple, 0, len(list))
		for i, item := range list {
			c.Targets = append(c.Targets, readTexts(item, at("targets", i), maxTargets, &f))
		}
	}
	return c, f.err()
}

func readPermission(raw json.RawMessage, path string, f *faults) Permission {
	o := readObject(raw, path, f)
	if o.raw == nil {
		return Permission{}
	}
	return Permission{
		Effect:   Effect(o.need("effect")),
		Action:   o.needTexts("action", maxActions),
		Resource: o.needTexts("resource", maxTargets),
	}
}

// apply returns p with the change made, in the form in which it is stored:
// tuples cut to five elements, allows before denies.
func (c PolicyChange) apply(p Policy) Policy {
	if c.Name != nil {
		p.Name = *c.Name
	}
	if c.Active != nil {
		p.Active = *c.Active
	}
	if c.Permissions != nil {
		p.Permissions = make([]Permission, 0, len(c.Permissions))
		for _, perm := range c.Permissions {
			perm.Resource = perm.Resource.cut()
			perm.Action = append([]string{}, perm.Action...)
			p.Permissions = append(p.Permissions, perm)
		}
		slices.SortStableFunc(p.Permissions, func(a, b Permission) int { return strings.Compare(string(a.Effect), string(b.Effect)) })
	}
	if c.Targets != nil {
		p.Targets = make([]Tuple, 0, len(c.Targets))
		for _, t := range c.Targets {
			p.Targets = append(p.Targets, t.cut())
		}
	}
	if c.Tags != nil {
		p.Tags = slices.Clone(c.Tags)
	}
	return p
}

func (t Tuple) cut() Tuple { return append(Tuple{}, t[:min(len(t), maxTuple)]...) }

// required adds a fault for each field that a create lacks.
func (c PolicyChange) required(f *faults) {
	if c.Name == nil {
		f.add("name", "Required")
	}
	if c.Permissions == nil {
		f.add("permissions", "Required")
	}
	if c.Targets == nil {
		f.add("targets", "Required")
	}
}

// check adds a fault for each rule that a sent field breaks.
func (c PolicyChange) check(f *faults) {
	if c.Name != nil {
		f.checkText("name", *c.Name, 1, maxName)
	}
	if len(c.Permissions) > maxPermissions {
		f.add("permissions", "Array must contain at most %d element(s)", maxPermissions)
	} else {
		for i, p := range c.Permissions {
			p.check(at("permissions", i), f)
		}
	}
	switch {
	case c.Targets != nil && len(c.Targets) == 0:
		f.add("targets", "Array must contain at least 1 element(s)")
	case len(c.Targets) > maxTargets:
		f.add("targets", "Array must contain at most %d element(s)", maxTargets)
	}
	for i, t := range c.Targets {
		t.check(at("targets", i), targetNames, f)
	}
	f.checkTags(c.Tags)
}

func (p Permission) check(path string, f *faults) {
	if p.Effect != Allow && p.Effect != Deny {
		f.add(path+".effect", "Invalid enum value. Expected 'allow' | 'deny'")
	}
	p.Resource.check(path+".resource", resourceNames, f)
	if len(p.Action) > maxActions {
		f.add(path+".action", "Array must contain at most %d element(s)", maxActions)
		return
	}
	onSecrets := len(p.Resource) > 0 && canonical(p.Resource[0]) == KindSecrets
	for i, a := range p.Action {
		switch {
		case onSecrets && !slices.Contains(secretActions, a):
			f.add(at(path+".action", i), "Invalid enum value. Expected '%s'", strings.Join(secretActions, "' | '"))
		case !actionName.MatchString(a):
			f.add(at(path+".action", i), "Invalid enum value. Expected the name of an action, such as 'access'")
		}
	}
}

// check adds a fault unless the tuple begins with one of the names and holds
// only printable text. Its shape is not checked: clients store any.
func (t Tuple) check(path string, names []string, f *faults) {
	if len(t) == 0 || !slices.Contains(names, t[0]) {
		f.add(at(path, 0), "Invalid enum value. Expected '%s'", strings.Join(names, "' | '"))
		return
	}
	for i, s := range t[:min(len(t), maxTuple)] {
		if utf8.RuneCountInString(s) > maxElement || !utf8.ValidString(s) {
			f.add(at(path, i), "String must be UTF-8 and contain at most %d character(s)", maxElement)
		}
	}
}
