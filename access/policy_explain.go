package access

import "slices"

// MaxFindings bounds what an explanation lists: more would not be read.
const MaxFindings = 200

// Results of one permission in an explanation.
const (
	FindingDecides       = "decides"         // its effect is the answer
	FindingMatches       = "matches"         // it matches, another rule decides
	FindingInactive      = "policy inactive" // it would match if its policy were active
	FindingOtherTarget   = "other target"    // its policy does not select this subject
	FindingOtherAction   = "other action"    // it is about other actions
	FindingOtherResource = "other resource"  // it selects other resources
	FindingUnknownShape  = "unknown shape"   // its tuple has a shape that selects nothing
)

// Finding says what one permission had to do with a question.
type Finding struct {
	Rule   Rule   `json:"rule"`
	Result string `json:"result"` // one of the Finding texts
}

// Explanation is a decision with the permissions that were looked at: first the
// one that decides, then those that match, then those that fell short, each in
// the order of the policies. Permissions on other kinds of resources are left
// out, and so is what comes after MaxFindings.
type Explanation struct {
	Decision
	Findings []Finding `json:"findings"`
	Omitted  int       `json:"omitted,omitempty"`
}

// Explain answers as Evaluate does and says why.
func Explain(policies []Policy, who Subject, what Resource, action string) Explanation {
	e := Explanation{Decision: Evaluate(policies, who, what, action), Findings: []Finding{}}
	for i := range policies {
		p := &policies[i]
		selected := p.selects(who)
		for j, perm := range p.Permissions {
			if len(perm.Resource) == 0 || canonical(perm.Resource[0]) != canonical(what.Kind) {
				continue
			}
			f := Finding{Rule: p.rule(j), Result: shortfall(p, selected, perm, who, what, action)}
			if f.Result == FindingMatches && f.Rule == e.Rule {
				f.Result = FindingDecides
			}
			e.Findings = append(e.Findings, f)
		}
	}
	slices.SortStableFunc(e.Findings, func(a, b Finding) int { return weight(a.Result) - weight(b.Result) })
	if n := len(e.Findings); n > MaxFindings {
		e.Findings, e.Omitted = e.Findings[:MaxFindings], n-MaxFindings
	}
	return e
}

// shortfall names what a permission lacks to match, or that it matches.
func shortfall(p *Policy, selected bool, perm Permission, who Subject, what Resource, action string) string {
	switch by := perm.Resource.parse(); {
	case by.by == byNothing:
		return FindingUnknownShape
	case !slices.Contains(perm.Action, action):
		return FindingOtherAction
	case !by.covers(who, what):
		return FindingOtherResource
	case !selected:
		return FindingOtherTarget
	case !p.Active:
		return FindingInactive
	}
	return FindingMatches
}

func weight(result string) int {
	switch result {
	case FindingDecides:
		return 0
	case FindingMatches:
		return 1
	case FindingInactive, FindingOtherTarget: // one change away from matching
		return 2
	}
	return 3
}
