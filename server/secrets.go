package server

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// secretView is what may be shown of a secret. It has no field for the value,
// so no handler can return one.
type secretView struct {
	ID          string            `json:"id"`
	Key         string            `json:"key"`
	Type        secrets.Type      `json:"type"`
	Version     int64             `json:"version"`
	Tags        []secrets.Tag     `json:"tags"`
	ValueLength int               `json:"value_length"`
	Destination map[string]string `json:"destination,omitempty"`
	CreatedAt   string            `json:"created_at"`
	UpdatedAt   string            `json:"updated_at"`
}

func viewSecret(s secrets.Secret) secretView {
	tags := s.Tags
	if tags == nil {
		tags = []secrets.Tag{}
	}
	return secretView{ID: s.ID, Key: s.Key, Type: s.Type, Version: s.Version, Tags: tags, ValueLength: s.Length,
		Destination: s.Meta, CreatedAt: stamp(s.Created), UpdatedAt: stamp(s.Updated)}
}

// secretBody is what a client sends to create or edit a secret. Key is
// ignored by edits, as clients expect: a key never changes.
type secretBody struct {
	Key   string        `json:"key"`
	Type  secrets.Type  `json:"type"`
	Value redact.String `json:"value"`
	Tags  []secrets.Tag `json:"tags"`
}

func (a *API) createSecret(r *http.Request, who access.Principal) (any, error) {
	var body secretBody
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	if body.Key == "" || body.Value.IsZero() {
		return nil, refuse(http.StatusBadRequest, "key and value are required")
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	req := secrets.PutRequest{Key: body.Key, Type: body.Type, Value: body.Value, Tags: body.Tags}
	made, err := vault.Secrets.Create(r.Context(), actor(who), req)
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": made.ID}, nil
}

func (a *API) updateSecret(r *http.Request, who access.Principal) (any, error) {
	var body secretBody
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	change := secrets.Change{Type: body.Type, Value: body.Value, Tags: body.Tags}
	if _, err := vault.Secrets.Update(r.Context(), actor(who), r.PathValue("id"), change); err != nil {
		return nil, err
	}
	return "Successfully Updated", nil
}

func (a *API) deleteSecret(r *http.Request, who access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	if err := vault.Secrets.Delete(r.Context(), actor(who), r.PathValue("id")); err != nil {
		return nil, err
	}
	return "Successfully Removed", nil
}

func (a *API) showSecret(r *http.Request, _ access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	found, err := vault.Secrets.Info(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return viewSecret(found), nil
}

func (a *API) listSecrets(r *http.Request, _ access.Principal) (any, error) {
	page, amount, descending, err := paging(r)
	if err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	found, err := listPage(r.Context(), vault.Secrets, page, amount, descending)
	if err != nil {
		return nil, err
	}
	views := make([]secretView, 0, len(found))
	for _, s := range found {
		views = append(views, viewSecret(s))
	}
	return views, nil
}

// listPage reads one page of secrets by key. In descending order the page is
// counted from the end, so the store is asked for its size first.
func listPage(ctx context.Context, store *secrets.Store, page, amount int, descending bool) ([]secrets.Secret, error) {
	offset := (page - 1) * amount
	if descending {
		all, err := store.List(ctx, 0, 1)
		if err != nil {
			return nil, err
		}
		end := all.Total - offset
		if end <= 0 {
			return nil, nil
		}
		offset = max(end-amount, 0)
		amount = end - offset
	}
	var found []secrets.Secret
	for len(found) < amount {
		part, err := store.List(ctx, offset+len(found), min(amount-len(found), secrets.MaxPage))
		if err != nil {
			return nil, err
		}
		found = append(found, part.Secrets...)
		if len(part.Secrets) == 0 {
			break
		}
	}
	if descending {
		slices.Reverse(found)
	}
	return found, nil
}

// paging reads page, amount and orderBy=key[,asc|desc].
func paging(r *http.Request) (page, amount int, descending bool, err error) {
	if page, err = queryInt(r, "page", 1, 1, 1_000_000); err != nil {
		return 0, 0, false, err
	}
	if amount, err = queryInt(r, "amount", defaultAmount, 1, maxAmount); err != nil {
		return 0, 0, false, err
	}
	field, direction, _ := strings.Cut(r.URL.Query().Get("orderBy"), ",")
	if (field != "" && field != "key") || (direction != "" && direction != "asc" && direction != "desc") {
		return 0, 0, false, refuse(http.StatusBadRequest, "Invalid orderBy parameter; want key,asc or key,desc")
	}
	for name := range r.URL.Query() {
		if strings.HasPrefix(name, "filter") {
			return 0, 0, false, refuse(http.StatusBadRequest, "This list cannot be filtered")
		}
	}
	return page, amount, direction == "desc", nil
}

// testView is the result of a test: all steps up to the first that failed.
type testView struct {
	OK    bool           `json:"ok"`
	Steps []actions.Step `json:"steps"`
}

func (a *API) testSecret(r *http.Request, who access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	ref, err := vault.Secrets.Lookup(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	tester, ok := a.actions.Tester(ref.Type)
	if !ok {
		return nil, refuse(http.StatusConflict, "A secret of type %s has no server that it could be tried on", ref.Type)
	}
	view := testView{OK: true, Steps: tester.Test(r.Context(), ref)}
	for _, step := range view.Steps {
		view.OK = view.OK && step.OK
	}
	return view, nil
}

// actor is the name of a principal in the audit stream.
func actor(who access.Principal) string { return string(who.Kind) + " " + who.ID }
