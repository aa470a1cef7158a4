package server

import (
	"context"
	"net/http"
	"slices"

	"github.com/sealpost/sealpost/access"
)

func (a *API) listAnalyses(r *http.Request, who access.Principal) (any, error) {
	spec := analysisList(who)
	q, err := parseList(r, spec)
	if err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	all, err := vault.analysisRows(r.Context())
	if err != nil {
		return nil, err
	}
	page := spec.cut(q, all)
	if who.Kind == access.Admin && (slices.Contains(q.fields, "token") || slices.Contains(q.fields, "variables")) {
		if err := vault.openRows(r.Context(), page); err != nil {
			return nil, err
		}
	}
	return spec.rows(q, page), nil
}

// analysisRows returns all analyses with their last runs, and nothing opened.
func (v *Vault) analysisRows(ctx context.Context) ([]analysisRow, error) {
	all, err := v.Directory.Analyses(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(all))
	for i, s := range all {
		ids[i] = s.ID
	}
	runs, err := v.Directory.LastRuns(ctx, ids...)
	if err != nil {
		return nil, err
	}
	rows := make([]analysisRow, len(all))
	for i, s := range all {
		rows[i] = analysisRow{Analysis: s, lastRun: runs[i]}
	}
	return rows, nil
}

// openRows adds what is sealed: variables, and the tokens of those that run on
// external.
func (v *Vault) openRows(ctx context.Context, rows []analysisRow) error {
	for i, row := range rows {
		found, err := v.Directory.Analysis(ctx, row.ID)
		if err != nil {
			return err
		}
		rows[i].Variables = found.Variables
		if rows[i].token, err = v.externalToken(ctx, found); err != nil {
			return err
		}
	}
	return nil
}
