package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Limits of the routes for analyses.
const (
	analysisBody = 512 << 10 // bytes: 20 variables of 8 KiB, escaped
	runBody      = 256 << 10 // bytes: as much data as a job may have
	maxRunData   = 1000      // elements of the data of a run
)

// never is what clients know for an analysis that has not run.
const never = "never"

// analysisRow is an analysis with what only some answers show of it.
type analysisRow struct {
	access.Analysis
	lastRun time.Time // zero: never
	token   string
}

func (row analysisRow) run() string {
	if row.lastRun.IsZero() {
		return never
	}
	return stamp(row.lastRun)
}

// variableView is one variable of an analysis.
type variableView struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// viewVariables shows the variables to an admin, who has written them and edits
// them whole, and only their keys to others.
func viewVariables(list []access.Variable, who access.Principal) []variableView {
	views := make([]variableView, len(list))
	for i, v := range list {
		views[i] = variableView{Key: v.Key, Value: redact.Placeholder}
		if who.Kind == access.Admin {
			views[i].Value = v.Value.Reveal()
		}
	}
	return views
}

// analysisView is an analysis as clients know it.
type analysisView struct {
	ID          string            `json:"id"`
	Profile     string            `json:"profile"`
	Name        string            `json:"name"`
	Description *string           `json:"description"` // null for none
	Active      bool              `json:"active"`
	RunOn       access.RunOn      `json:"run_on"`
	Runtime     string            `json:"runtime"`
	Interval    string            `json:"interval"`
	FileName    string            `json:"file_name"`
	Variables   []variableView    `json:"variables"`
	Tags        []secrets.Tag     `json:"tags"`
	Token       string            `json:"token"` // "" unless it runs on external
	Console     []string          `json:"console"`
	LastRun     string            `json:"last_run"`
	LockedAt    *string           `json:"locked_at"`
	Version     int64             `json:"version"`
	Versions    map[string]string `json:"versions"` // of scripts, which are not kept here
	CreatedAt   string            `json:"created_at"`
	UpdatedAt   string            `json:"updated_at"`
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (a *API) showAnalysis(r *http.Request, who access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	ctx, id := r.Context(), r.PathValue("id")
	found, err := vault.Directory.Analysis(ctx, id)
	if err != nil {
		return nil, err
	}
	runs, err := vault.Directory.LastRuns(ctx, id)
	if err != nil {
		return nil, err
	}
	row := analysisRow{Analysis: found, lastRun: runs[0]}
	view := analysisView{
		ID: found.ID, Profile: profileID, Name: found.Name, Description: orNull(found.Description), Active: found.Active,
		RunOn: found.RunOn, Runtime: found.Runtime, Interval: found.Interval, FileName: found.FileName,
		Variables: viewVariables(found.Variables, who), Tags: notNil(found.Tags), Console: []string{}, LastRun: row.run(),
		Version: found.Version, Versions: map[string]string{}, CreatedAt: stamp(found.Created), UpdatedAt: stamp(found.Updated),
	}
	if who.Kind != access.Admin {
		return view, nil
	}
	if view.Token, err = vault.externalToken(ctx, found); err != nil {
		return nil, err
	}
	lines, err := vault.Directory.Console(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		view.Console = append(view.Console, stamp(line.At)+" "+line.Message)
	}
	return view, nil
}

// externalToken is the token of an analysis that runs on external, "" for
// others, as clients expect.
func (v *Vault) externalToken(ctx context.Context, found access.Analysis) (string, error) {
	if found.RunOn != access.RunOnExternal {
		return "", nil
	}
	token, err := v.Directory.Token(ctx, found.ID)
	return token.Reveal(), err
}

func (a *API) createAnalysis(r *http.Request, who access.Principal) (any, error) {
	change, err := readAnalysis(r)
	if err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	made, token, err := vault.Directory.CreateAnalysis(r.Context(), actor(who), change)
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": made.ID, "token": token.Reveal()}, nil
}

func (a *API) updateAnalysis(r *http.Request, who access.Principal) (any, error) {
	change, err := readAnalysis(r)
	if err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	if _, err := vault.Directory.EditAnalysis(r.Context(), actor(who), r.PathValue("id"), change); err != nil {
		return nil, err
	}
	return "Successfully Updated", nil
}

// readAnalysis reads the body of a create or an edit. A value that was never
// shown must not come back as the new one.
func readAnalysis(r *http.Request) (access.AnalysisChange, error) {
	body, err := readBody(r)
	if err != nil {
		return access.AnalysisChange{}, err
	}
	if body == nil {
		return access.AnalysisChange{}, refuse(http.StatusBadRequest, "A JSON body is required")
	}
	change, err := access.DecodeAnalysis(body)
	if err != nil {
		return access.AnalysisChange{}, err
	}
	for i, v := range change.Variables {
		if v.Value.Equal(redact.New(redact.Placeholder)) {
			return access.AnalysisChange{}, refuse(http.StatusBadRequest,
				"variables[%d].value: %s stands for a value that was not shown; send the value", i, redact.Placeholder)
		}
	}
	return change, nil
}

func (a *API) deleteAnalysis(r *http.Request, who access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	if err := vault.Directory.DeleteAnalysis(r.Context(), actor(who), r.PathValue("id")); err != nil {
		return nil, err
	}
	return "Successfully Removed", nil
}

// showAnalysisToken gives the token wherever the analysis runs: `sealpost run`
// starts those that do not run on external.
func (a *API) showAnalysisToken(r *http.Request, _ access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	token, err := vault.Directory.Token(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return map[string]string{"analysis_token": token.Reveal()}, nil
}

// runAnalysis tells who listens to run. Nobody may be listening: the answer only
// acknowledges, as clients expect, and its token is for nothing.
func (a *API) runAnalysis(r *http.Request, who access.Principal) (any, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	data, err := runData(body)
	if err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	use := secrets.Use{Actor: actor(who), Why: "run"}
	if err := vault.Directory.Run(r.Context(), use, r.PathValue("id"), data); err != nil {
		return nil, err
	}
	return map[string]string{"analysis_token": ""}, nil
}

// runData reads {"scope":[...]}: the data of the run, an array of objects. One
// object stands for an array with it, nothing for an empty one.
func runData(body []byte) (json.RawMessage, error) {
	var run struct {
		Scope json.RawMessage `json:"scope"`
	}
	if body != nil && json.Unmarshal(body, &run) != nil {
		return nil, refuse(http.StatusBadRequest, "A JSON object with a scope is required")
	}
	if len(run.Scope) == 0 || string(run.Scope) == "null" {
		return json.RawMessage("[]"), nil
	}
	if run.Scope[0] == '{' {
		run.Scope = append(append(json.RawMessage("["), run.Scope...), ']')
	}
	var list []map[string]json.RawMessage
	if json.Unmarshal(run.Scope, &list) != nil {
		return nil, refuse(http.StatusBadRequest, "scope: Expected array of objects")
	}
	if len(list) > maxRunData {
		return nil, refuse(http.StatusBadRequest, "scope: Array must contain at most %d element(s)", maxRunData)
	}
	return run.Scope, nil
}

// noScripts answers for the scripts of analyses, which Sealpost does not keep.
func (a *API) noScripts(*http.Request, access.Principal) (any, error) {
	return nil, refuse(http.StatusConflict,
		"Scripts are not kept here: run the analysis with run_on external, or by `sealpost run --analysis ID -- CMD`")
}

// analysisList is the list of analyses. Tokens and variables come only when
// they are asked for, and only to an admin.
func analysisList(who access.Principal) listSpec[analysisRow] {
	id := func(s analysisRow) string { return s.ID }
	name := func(s analysisRow) string { return s.Name }
	active := func(s analysisRow) string { return strconv.FormatBool(s.Active) }
	runOn := func(s analysisRow) string { return string(s.RunOn) }
	runtime := func(s analysisRow) string { return s.Runtime }
	return listSpec[analysisRow]{
		order: "name", id: id, tags: func(s analysisRow) []secrets.Tag { return s.Tags },
		columns: []column[analysisRow]{
			{name: "id", always: true, text: id, show: func(s analysisRow) any { return s.ID }},
			{name: "tags", always: true, show: func(s analysisRow) any { return notNil(s.Tags) }},
			{name: "last_run", always: true, show: func(s analysisRow) any { return s.run() },
				compare: func(a, b analysisRow) int { return a.lastRun.Compare(b.lastRun) },
				never:   func(s analysisRow) bool { return s.lastRun.IsZero() }},
			{name: "profile", show: func(analysisRow) any { return profileID }},
			{name: "name", text: name, compare: byText(name), show: func(s analysisRow) any { return s.Name }},
			{name: "description", show: func(s analysisRow) any { return orNull(s.Description) }},
			{name: "active", text: active, compare: byText(active), show: func(s analysisRow) any { return s.Active }},
			{name: "run_on", text: runOn, compare: byText(runOn), show: func(s analysisRow) any { return s.RunOn }},
			{name: "runtime", text: runtime, show: func(s analysisRow) any { return s.Runtime }},
			{name: "interval", show: func(s analysisRow) any { return s.Interval }},
			{name: "file_name", show: func(s analysisRow) any { return s.FileName }},
			{name: "variables", onDemand: true, show: func(s analysisRow) any { return viewVariables(s.Variables, who) }},
			{name: "token", onDemand: true, show: func(s analysisRow) any { return s.token }},
			{name: "locked_at", show: func(analysisRow) any { return (*string)(nil) }},
			{name: "version", show: func(s analysisRow) any { return s.Version }},
			{name: "created_at", compare: func(a, b analysisRow) int { return a.Created.Compare(b.Created) },
				show: func(s analysisRow) any { return stamp(s.Created) }},
			{name: "updated_at", compare: func(a, b analysisRow) int { return a.Updated.Compare(b.Updated) },
				show: func(s analysisRow) any { return stamp(s.Updated) }},
		},
	}
}
