package panel

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets"
)

// mostChoices is how many analyses or secrets a list to choose from shows;
// beyond it the form takes an id or key.
const mostChoices = 300

// explainView asks and answers: may this analysis do this with that secret,
// and by which rule.
type explainView struct {
	Analyses []option // nil: too many, an id is typed
	Secrets  []option // nil: too many, a key is typed
	Analysis string
	Secret   string
	Action   []option
	Problem  string

	Asked  bool
	Who    access.Analysis
	What   secrets.Secret
	Doing  string
	Answer access.Explanation
}

func (c *call) explain() error {
	query := c.r.URL.Query()
	v := explainView{Analysis: strings.TrimSpace(query.Get("analysis")), Secret: strings.TrimSpace(query.Get("secret")), Doing: query.Get("action")}
	switch v.Doing {
	case access.ActionCreate, access.ActionEdit, access.ActionDelete:
	default:
		v.Doing = access.ActionAccess
	}
	v.Action = options(v.Doing, access.ActionAccess, access.ActionCreate, access.ActionEdit, access.ActionDelete)
	if err := c.choices(&v); err != nil {
		return err
	}
	if v.Analysis == "" || v.Secret == "" {
		return c.render(http.StatusOK, "explain", "Explain", v)
	}
	err := c.answer(&v)
	status := http.StatusOK
	switch {
	case errors.Is(err, access.ErrAnalysisNotFound):
		status, v.Problem = http.StatusNotFound, "There is no such analysis."
	case errors.Is(err, secrets.ErrNotFound):
		status, v.Problem = http.StatusNotFound, "There is no such secret."
	case err != nil:
		return err
	default:
		v.Asked = true
	}
	return c.render(status, "explain", "Explain", v)
}

// choices fills the lists to choose from, where they are short enough.
func (c *call) choices(v *explainView) error {
	all, err := c.vault.Directory.Analyses(c.r.Context())
	if err != nil {
		return err
	}
	if len(all) <= mostChoices {
		v.Analyses = []option{{Label: "Choose an analysis"}}
		for _, a := range all {
			v.Analyses = append(v.Analyses, option{a.ID, a.Name, a.ID == v.Analysis})
		}
	}
	page, err := c.vault.Secrets.List(c.r.Context(), 0, mostChoices)
	if err != nil {
		return err
	}
	if page.Total <= mostChoices {
		v.Secrets = []option{{Label: "Choose a secret"}}
		for _, s := range page.Secrets {
			v.Secrets = append(v.Secrets, option{s.Key, s.Key, s.Key == v.Secret || s.ID == v.Secret})
		}
	}
	return nil
}

func (c *call) answer(v *explainView) error {
	var err error
	if v.Who, err = c.vault.Directory.Analysis(c.r.Context(), v.Analysis); err != nil {
		return err
	}
	if v.What, err = c.vault.Secrets.Info(c.r.Context(), v.Secret); err != nil {
		return err
	}
	v.Answer, err = c.vault.Directory.Explain(c.r.Context(), v.Who.ID, resource(v.What), v.Doing)
	return err
}

// inWords says what a tuple selects. An unknown shape is shown as it is.
func inWords(t access.Tuple) string {
	kind := map[string]string{access.KindAnalysis: "analyses", access.KindRunUser: "run users", access.KindSecrets: "secrets"}
	s := readTuple(t, access.KindAnalysis, access.KindRunUser, access.KindSecrets)
	things := kind[s.Kind]
	switch s.How {
	case howAny:
		return "all " + things
	case howID:
		return things + " with the id " + s.A
	case howTag:
		return things + " with the tag " + s.A + " = " + s.B
	case howMatch:
		if s.Kind == access.KindSecrets {
			return things + " sharing the asker's value of the tag " + s.A
		}
		return things + " with any value of the tag " + s.A
	}
	raw, err := json.Marshal(t)
	if err != nil {
		return "nothing"
	}
	return "as written: " + string(raw)
}
