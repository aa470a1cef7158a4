package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/sealpost/sealpost/secrets/redact"
)

// devTag joins the secret of the show to the policy that grants it.
var devTag = tag{Key: "for", Value: "analyses"}

// makeAnalysis stores a text secret, an analysis and the policy that lets the
// one see the other, and asks for the analysis' environment.
func (d *dev) makeAnalysis(ctx context.Context, admin *client, r *devResult) error {
	if _, err := putSecret(ctx, admin, putValue{key: "API_KEY", value: redact.New("dev-" + rand.Text()), tags: []tag{devTag}}); err != nil {
		return fmt.Errorf("store API_KEY: %w", err)
	}
	var made struct {
		ID    string `json:"id"`
		Token string `json:"token"`
	}
	analysis := map[string]any{
		"name": "dev", "run_on": "external",
		"variables": []variable{{Key: "MODE", Value: "trial"}},
	}
	if err := post(ctx, admin, "/analysis", analysis, &made); err != nil {
		return fmt.Errorf("make an analysis: %w", err)
	}
	r.Analysis, r.AnalysisToken = made.ID, made.Token
	// This one is a program that the worker itself starts.
	analysis["name"], analysis["run_on"] = "dev-script", "tago"
	var program struct {
		ID string `json:"id"`
	}
	if err := post(ctx, admin, "/analysis", analysis, &program); err != nil {
		return fmt.Errorf("make an analysis with a script: %w", err)
	}
	d.program = program.ID
	if err := d.sinks.putScript(program.ID); err != nil {
		return err
	}
	policy := map[string]any{
		"name":    "dev may read what is for analyses",
		"targets": [][]string{{"analysis", "id", made.ID}, {"analysis", "id", program.ID}},
		"permissions": []map[string]any{{
			"effect": "allow", "action": []string{"access"},
			"resource": []string{"secrets", "tag.key", devTag.Key, "tag.value", devTag.Value},
		}},
	}
	if err := post(ctx, admin, "/am", policy, nil); err != nil {
		return fmt.Errorf("make a policy: %w", err)
	}
	path := analysisPath(made.ID) + "/environment?explain=true"
	if err := admin.call(ctx, http.MethodGet, path, nil, &r.Environment); err != nil {
		return fmt.Errorf("ask for the environment: %w", err)
	}
	return nil
}

// post sends v as JSON.
func post(ctx context.Context, c *client, path string, v, result any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return c.call(ctx, http.MethodPost, path, body, result)
}
