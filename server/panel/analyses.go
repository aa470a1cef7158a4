package panel

import (
	"net/http"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets/redact"
)

type analysesView struct {
	Analyses []access.Analysis
	Pager    pager
}

func (c *call) listAnalyses() error {
	all, err := c.vault.Directory.Analyses(c.r.Context())
	if err != nil {
		return err
	}
	page := c.pageNumber()
	part := cut(all, page)
	return c.render(http.StatusOK, "analyses", "Analyses", analysesView{part, newPager(page, len(part), len(all))})
}

// analysisView is one analysis with its environment, without any value.
type analysisView struct {
	Analysis  access.Analysis
	Variables []pair // the value is its length
	Keys      []envKey
	Shadowed  []access.Grant
	Denied    []access.Grant
}

// envKey is one key of an environment and where it comes from.
type envKey struct {
	Key    string
	Origin access.Origin
}

func (c *call) showAnalysis() error {
	a, err := c.vault.Directory.Analysis(c.r.Context(), c.r.PathValue("id"))
	if err != nil {
		return err
	}
	found, err := c.vault.Directory.Resolve(c.r.Context(), a.ID)
	if err != nil {
		return err
	}
	v := analysisView{Analysis: a, Shadowed: found.Shadowed, Denied: found.Denied}
	for i, name := range found.Names {
		v.Keys = append(v.Keys, envKey{Key: name, Origin: found.Origins[i]})
	}
	return c.render(http.StatusOK, "analysis", a.Name, v)
}

// analysisFormView is the form of a new analysis or of a change.
type analysisFormView struct {
	ID          string // "" for a new one
	Version     int64
	Name        string
	Description string
	Active      bool
	RunOn       []option
	Runtimes    []option
	Tags        []pair
	Variables   []pair
	Faults      []string
}

func analysisForm(a access.Analysis) analysisFormView {
	v := analysisFormView{ID: a.ID, Version: a.Version, Name: a.Name, Description: a.Description, Active: a.Active, Tags: withSpare(pairsOf(a.Tags))}
	v.RunOn = []option{
		{Value: string(access.RunOnTago), Label: "Started here, by sealpost run", Chosen: a.RunOn != access.RunOnExternal},
		{Value: string(access.RunOnExternal), Label: "External: runs anywhere and listens", Chosen: a.RunOn == access.RunOnExternal},
	}
	v.Runtimes = options(a.Runtime, "node", "python", access.DefaultRuntime, "python-legacy", "deno-rt2025", "node-rt2025", "python-rt2025", "other")
	for _, variable := range a.Variables {
		v.Variables = append(v.Variables, pair{Key: variable.Key, Hint: "unchanged"})
	}
	v.Variables = withSpare(v.Variables)
	return v
}

func (c *call) newAnalysis() error {
	return c.render(http.StatusOK, "analysis_form", "New analysis", analysisForm(access.Analysis{Active: true, Runtime: "node"}))
}

// readAnalysis makes a change of a form. A variable that was there and whose
// value field is empty keeps its value, which no form ever shows.
func (c *call) readAnalysis(was access.Analysis) (access.AnalysisChange, analysisFormView) {
	form := c.r.PostForm
	name, description, active := form.Get("name"), unixLines(form.Get("description")), form.Get("active") != ""
	runOn, runtime := form.Get("run_on"), form.Get("runtime")
	tags := pairs(form, "tag-key", "tag-value")
	change := access.AnalysisChange{Name: &name, Description: &description, Active: &active, RunOn: &runOn, Tags: tagsOf(tags),
		Variables: []access.Variable{}}
	if was.ID == "" {
		change.Runtime = &runtime
	}
	kept := map[string]redact.String{}
	for _, v := range was.Variables {
		kept[v.Key] = v.Value
	}
	again := was
	again.Name, again.Description, again.Active, again.RunOn, again.Tags = name, description, active, access.RunOn(runOn), change.Tags
	view := analysisForm(again)
	view.Variables = nil
	for _, p := range pairs(form, "variable-key", "variable-value") {
		value, old := kept[p.Key]
		if p.Value != "" || !old {
			value = redact.New(p.Value)
		}
		change.Variables = append(change.Variables, access.Variable{Key: p.Key, Value: value})
		row := pair{Key: p.Key} // its value is not sent back
		if old {
			row.Hint = "unchanged"
		}
		view.Variables = append(view.Variables, row)
	}
	view.Variables = withSpare(view.Variables)
	if was.ID == "" {
		view.Runtimes = analysisForm(access.Analysis{Runtime: runtime}).Runtimes
	}
	return change, view
}

// tokenView shows a token, this once.
type tokenView struct {
	Analysis access.Analysis
	Token    string
	New      bool // the analysis is new
}

func (c *call) showToken(a access.Analysis, token redact.String, isNew bool) error {
	return c.render(http.StatusOK, "token", "Token of "+a.Name, tokenView{Analysis: a, Token: token.Reveal(), New: isNew})
}

func (c *call) createAnalysis() error {
	change, view := c.readAnalysis(access.Analysis{})
	made, token, err := c.vault.Directory.CreateAnalysis(c.r.Context(), c.actor(), change)
	if err == nil {
		return c.showToken(made, token, true)
	}
	if view.Faults = faultsOf(err); view.Faults == nil {
		return err
	}
	return c.render(http.StatusUnprocessableEntity, "analysis_form", "New analysis", view)
}

// withAnalysis runs f with the analysis that the address names.
func (c *call) withAnalysis(f func(a access.Analysis) error) error {
	a, err := c.vault.Directory.Analysis(c.r.Context(), c.r.PathValue("id"))
	if err != nil {
		return err
	}
	return f(a)
}

func (c *call) editAnalysisPage() error {
	return c.withAnalysis(func(a access.Analysis) error {
		return c.render(http.StatusOK, "analysis_form", "Edit "+a.Name, analysisForm(a))
	})
}

// editAnalysis saves a change. One that makes a new token shows it.
func (c *call) editAnalysis() error {
	return c.withAnalysis(func(a access.Analysis) error {
		if err := c.unchanged(a.Version); err != nil {
			return err
		}
		change, view := c.readAnalysis(a)
		saved, err := c.vault.Directory.EditAnalysis(c.r.Context(), c.actor(), a.ID, change)
		if err == nil && saved.RunOn != a.RunOn {
			token, err := c.vault.Directory.Token(c.r.Context(), a.ID)
			if err != nil {
				return err
			}
			return c.showToken(saved, token, false)
		}
		if err == nil {
			return c.redirect("/panel/analyses/"+a.ID, "saved")
		}
		if view.Faults = faultsOf(err); view.Faults == nil {
			return err
		}
		return c.render(http.StatusUnprocessableEntity, "analysis_form", "Edit "+a.Name, view)
	})
}

func (c *call) rotateTokenPage() error {
	return c.withAnalysis(func(a access.Analysis) error {
		return c.confirm(confirmView{Title: "New token", Question: "Make a new token for " + a.Name + "?", Button: "Make a new token", Danger: true,
			Text: "The token that it has now ends at once, wherever it is in use.", Back: "/panel/analyses/" + a.ID})
	})
}

func (c *call) rotateToken() error {
	return c.withAnalysis(func(a access.Analysis) error {
		token, err := c.vault.Directory.RotateToken(c.r.Context(), c.actor(), a.ID)
		if err != nil {
			return err
		}
		return c.showToken(a, token, false)
	})
}

func (c *call) deleteAnalysisPage() error {
	return c.withAnalysis(func(a access.Analysis) error {
		return c.confirm(confirmView{Title: "Delete " + a.Name, Question: "Delete the analysis " + a.Name + "?", Button: "Delete analysis", Danger: true,
			Text: "Its variables are lost and its token ends. The secrets stay.", Back: "/panel/analyses/" + a.ID})
	})
}

func (c *call) deleteAnalysis() error {
	if err := c.vault.Directory.DeleteAnalysis(c.r.Context(), c.actor(), c.r.PathValue("id")); err != nil {
		return err
	}
	return c.redirect("/panel/analyses", "deleted")
}
