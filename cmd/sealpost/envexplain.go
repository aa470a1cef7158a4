package main

import (
	"context"
	"net/http"
	"strconv"
)

// envExplained is the environment of an analysis without values.
type envExplained struct {
	Keys     []envOrigin `json:"keys"`
	Shadowed []envOrigin `json:"shadowed"`
	Denied   []envOrigin `json:"denied"`
}

// envOrigin says where a key comes from, or why it is not there.
type envOrigin struct {
	Key     string `json:"key"`
	Origin  string `json:"origin"`
	Version int64  `json:"version"`
	Policy  *rule  `json:"policy"`
}

// own reports whether the key is a variable of the analysis itself.
func (e envOrigin) own() bool { return e.Origin == "variable" }

// explainEnv prints where each key came from.
func (a *app) explainEnv(ctx context.Context, c *client, path string) error {
	if a.asJSON() {
		return a.passJSON(ctx, c, path+"?explain=true")
	}
	var e envExplained
	if err := c.call(ctx, http.MethodGet, path+"?explain=true", nil, &e); err != nil {
		return err
	}
	var rows [][]string
	for _, part := range []struct {
		result string
		list   []envOrigin
	}{{"given", e.Keys}, {"shadowed", e.Shadowed}, {"denied", e.Denied}} {
		for _, k := range part.list {
			version, policy := "", ""
			if k.Version > 0 {
				version = strconv.FormatInt(k.Version, 10)
			}
			if k.Policy != nil {
				policy = k.Policy.Name + " rule " + strconv.Itoa(k.Policy.Permission+1)
			}
			rows = append(rows, []string{k.Key, part.result, k.Origin, version, policy})
		}
	}
	return a.printTable([]string{"KEY", "RESULT", "ORIGIN", "VERSION", "POLICY"}, rows)
}
