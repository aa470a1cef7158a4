package panel

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sealpost/sealpost/access"
)

// Ways in which a row of the form selects; each is one shape of a tuple.
const (
	howNone  = ""
	howAny   = "any"
	howID    = "id"
	howTag   = "tag"
	howMatch = "match"
	howRaw   = "raw" // the tuple itself as JSON: shapes that the form does not know
)

// selector is a tuple as a row of the form. A and B are its texts: the id, the
// tag's key and value, or the raw tuple.
type selector struct {
	Kind, How, A, B string
	Hows            []option
	Kinds           []option // nil where there is only one kind
}

// permissionRow is a permission as a row of the form.
type permissionRow struct {
	Selector selector
	Effect   []option
	Actions  []option
	Others   string // actions that only other resources have, with spaces between
}

// policyFormView is the form of a new policy or of a change.
type policyFormView struct {
	ID          string // "" for a new one
	Version     int64
	Name        string
	Active      bool
	Tags        []pair
	Targets     []selector
	Permissions []permissionRow
	Faults      []string
}

func newPolicyForm(p access.Policy) policyFormView {
	v := policyFormView{ID: p.ID, Version: p.Version, Name: p.Name, Active: p.Active, Tags: withSpare(pairsOf(p.Tags))}
	for _, t := range p.Targets {
		v.Targets = append(v.Targets, targetRow(readTuple(t, access.KindAnalysis, access.KindRunUser)))
	}
	for _, perm := range p.Permissions {
		v.Permissions = append(v.Permissions, rowOf(perm))
	}
	return v.withSpare()
}

// withSpare adds empty rows: without scripts a row cannot be added later.
func (v policyFormView) withSpare() policyFormView {
	for range 2 {
		v.Targets = append(v.Targets, targetRow(selector{}))
		v.Permissions = append(v.Permissions, permissionOf(selector{}, "", []string{access.ActionAccess}))
	}
	return v
}

// readTuple finds the row for a tuple. A shape or kind that has none is shown
// as it is stored, so that saving the form does not change it.
func readTuple(t access.Tuple, kinds ...string) selector {
	if len(t) > 0 && slices.Contains(kinds, t[0]) {
		switch {
		case len(t) == 1:
			return selector{Kind: t[0], How: howAny}
		case len(t) == 3 && t[1] == "id":
			return selector{Kind: t[0], How: howID, A: t[2]}
		case len(t) == 3 && t[1] == "tag_match":
			return selector{Kind: t[0], How: howMatch, A: t[2]}
		case len(t) == 5 && t[1] == "tag.key" && t[3] == "tag.value":
			return selector{Kind: t[0], How: howTag, A: t[2], B: t[4]}
		}
	}
	raw, err := json.Marshal(t)
	if err != nil {
		return selector{}
	}
	return selector{How: howRaw, A: string(raw)}
}

// tuple is the inverse of readTuple. The error says what is wrong in the row.
func (s selector) tuple() (access.Tuple, error) {
	switch s.How {
	case howAny:
		return access.Tuple{s.Kind}, nil
	case howID:
		return access.Tuple{s.Kind, "id", strings.TrimSpace(s.A)}, s.need("the id is missing")
	case howMatch:
		return access.Tuple{s.Kind, "tag_match", s.A}, s.need("the key of the tag is missing")
	case howTag:
		return access.Tuple{s.Kind, "tag.key", s.A, "tag.value", s.B}, s.need("the key of the tag is missing")
	}
	var t access.Tuple
	if err := json.Unmarshal([]byte(s.A), &t); err != nil {
		return nil, fmt.Errorf(`write it as a JSON array of texts, such as ["secrets","id","..."]`)
	}
	return t, nil
}

func (s selector) need(message string) error {
	if strings.TrimSpace(s.A) == "" {
		return fmt.Errorf("%s", message)
	}
	return nil
}

func hows(chosen, one, match string) []option {
	none := "(unused)"
	if chosen != howNone {
		none = "(take away)"
	}
	list := []option{{howNone, none, false}, {howAny, "all", false}, {howID, one, false}, {howTag, "with the tag", false},
		{howMatch, match, false}, {howRaw, "as written", false}}
	for i := range list {
		list[i].Chosen = list[i].Value == chosen
	}
	return list
}

func targetRow(s selector) selector {
	s.Kinds = []option{{access.KindAnalysis, "analyses", s.Kind != access.KindRunUser}, {access.KindRunUser, "run users", s.Kind == access.KindRunUser}}
	s.Hows = hows(s.How, "with the id", "with any value of the tag")
	return s
}

func rowOf(p access.Permission) permissionRow {
	return permissionOf(readTuple(p.Resource, access.KindSecrets), p.Effect, p.Action)
}

func permissionOf(s selector, effect access.Effect, actions []string) permissionRow {
	s.Kind, s.Hows = access.KindSecrets, hows(s.How, "with the id", "sharing its value of the tag")
	row := permissionRow{Selector: s, Effect: options(string(effect), string(access.Allow), string(access.Deny))}
	known := []string{access.ActionAccess, access.ActionCreate, access.ActionEdit, access.ActionDelete}
	for _, a := range known {
		row.Actions = append(row.Actions, option{Value: a, Label: a, Chosen: slices.Contains(actions, a)})
	}
	others := slices.DeleteFunc(slices.Clone(actions), func(a string) bool { return slices.Contains(known, a) })
	row.Others = strings.Join(others, " ")
	return row
}

// readPolicy makes a change of a form, and the form again. Rows without a
// choice are left out. faults is nil if the rows are whole; the store checks
// the rest.
func readPolicy(form url.Values, was access.Policy) (change access.PolicyChange, v policyFormView, faults []string) {
	name, active := form.Get("name"), form.Get("active") != ""
	tags := pairs(form, "tag-key", "tag-value")
	v = policyFormView{ID: was.ID, Version: was.Version, Name: name, Active: active, Tags: withSpare(tags)}
	change = access.PolicyChange{Name: &name, Active: &active, Tags: tagsOf(tags), Targets: []access.Tuple{}, Permissions: []access.Permission{}}
	for i := range rows(form, "targets") {
		s := readRow(form, "t", i)
		if s.How == howNone {
			faults = append(faults, s.forgotten("Who", i, len(was.Targets))...)
			continue
		}
		v.Targets = append(v.Targets, targetRow(s))
		t, err := s.tuple()
		if err != nil {
			faults = append(faults, fmt.Sprintf("Who, row %d: %s.", len(v.Targets), err))
		}
		change.Targets = append(change.Targets, t)
	}
	for i := range rows(form, "permissions") {
		s := readRow(form, "p", i)
		if s.How == howNone {
			faults = append(faults, s.forgotten("What", i, len(was.Permissions))...)
			continue
		}
		s.Kind = access.KindSecrets
		at := "p" + strconv.Itoa(i)
		effect, list := access.Effect(form.Get(at+"-effect")), append(slices.Clone(form[at+"-action"]), strings.Fields(form.Get(at+"-others"))...)
		v.Permissions = append(v.Permissions, permissionOf(s, effect, list))
		t, err := s.tuple()
		if err != nil {
			faults = append(faults, fmt.Sprintf("What, row %d: %s.", len(v.Permissions), err))
		}
		if len(list) == 0 {
			faults = append(faults, fmt.Sprintf("What, row %d: no action is ticked.", len(v.Permissions)))
		}
		change.Permissions = append(change.Permissions, access.Permission{Effect: effect, Action: list, Resource: t})
	}
	return change, v.withSpare(), faults
}

// forgotten is a fault for a new row whose texts would be dropped because no
// choice was made in it; a row that was there before is taken away so.
func (s selector) forgotten(part string, i, before int) []string {
	if i < before || strings.TrimSpace(s.A+s.B) == "" {
		return nil
	}
	return []string{fmt.Sprintf("%s, row %d: choose which ones, or empty the row.", part, i+1)}
}

// rows is how many rows a list of the form had.
func rows(form url.Values, name string) int {
	n, err := strconv.Atoi(form.Get(name))
	if err != nil || n < 0 {
		return 0
	}
	return min(n, mostRows)
}

func readRow(form url.Values, prefix string, i int) selector {
	at := prefix + strconv.Itoa(i)
	return selector{Kind: form.Get(at + "-kind"), How: form.Get(at + "-how"), A: form.Get(at + "-a"), B: form.Get(at + "-b")}
}
