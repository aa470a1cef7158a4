package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sealpost/sealpost/access/child"
	"github.com/sealpost/sealpost/secrets/redact"
)

// envFormats are the formats of `sealpost env`, as the API has them.
var envFormats = []string{"json", "dotenv", "shell"}

func (a *app) envCommand() *cobra.Command {
	var format string
	var explain bool
	cmd := &cobra.Command{
		Use:   "env ANALYSIS",
		Short: "Print the environment of an analysis, or where each key comes from",
		Long: "Prints the secrets that policies grant the analysis, and its own variables, which win.\n" +
			"With the token of the analysis itself, its own environment is printed.\n" +
			"--explain prints where each key came from, what was shadowed and what was denied, and no\n" +
			"values.",
		Example: "  sealpost env report --format shell\n  sealpost env report --explain",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(envFormats, format) {
				return usage("--format: want json, dotenv or shell")
			}
			if explain && cmd.Flags().Changed("format") {
				return usage("--explain has no --format; -o json gives it as JSON")
			}
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			id, err := c.findAnalysis(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			path := analysisPath(id) + "/environment"
			switch {
			case explain:
				return a.explainEnv(cmd.Context(), c, path)
			case a.asJSON() && !cmd.Flags().Changed("format"):
				return a.passJSON(cmd.Context(), c, path)
			}
			text, err := c.text(cmd.Context(), path+"?format="+format)
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&format, "format", "dotenv", "json, dotenv or shell")
	cmd.Flags().BoolVar(&explain, "explain", false, "where each key came from, what was shadowed or denied; no values")
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// text returns the answer to a GET that comes without the envelope. A refusal
// has the envelope.
func (c *client) text(ctx context.Context, path string) ([]byte, error) {
	req, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return body, nil
	}
	var envelope struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &envelope) != nil || envelope.Message == "" {
		return nil, fmt.Errorf("%s answered HTTP %d, but not as Sealpost does; is SEALPOST_URL right?", c.base, resp.StatusCode)
	}
	return nil, refusal(resp.StatusCode, envelope.Message)
}

func (a *app) runCommand() *cobra.Command {
	var analysis, data string
	var maskOwn bool
	cmd := &cobra.Command{
		Use:   "run --analysis ANALYSIS -- CMD [ARG]...",
		Short: "Run a command with the environment of an analysis, its output masked",
		Long: "Each key of the environment becomes a variable, and the whole is in T_ANALYSIS_ENV as the\n" +
			"public SDKs read it, with T_ANALYSIS_ID, _TOKEN, _DATA and _CONTEXT, TAGOIO_API and\n" +
			"TAGOIO_SSE. A key that changes how programs load or connect (PATH, LD_*, DYLD_*, *_PROXY,\n" +
			"NODE_OPTIONS, PYTHON*, SSL_CERT_FILE and others) never becomes a variable.\n" +
			"The child does not get SEALPOST_* variables, such as your token.\n\n" +
			"Values of secrets are masked in what the child writes, in base64 too; those of the\n" +
			"analysis' own variables with --mask-variables. Signals go to the child. The exit code is\n" +
			"the child's; 128 and the signal if one ended it, 127 if there is no such command.",
		Example: "  sealpost run --analysis report -- node report.mjs",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if analysis == "" {
				return usage("--analysis: want the id or the name of an analysis")
			}
			payload, err := a.readData(data)
			if err != nil {
				return err
			}
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			who, masked, err := c.analysisRun(cmd.Context(), analysis, maskOwn)
			if err != nil {
				return err
			}
			who.Data = payload
			vars, left, err := child.Variables(a.environ, who)
			if err != nil {
				return err
			}
			for _, reason := range left {
				fmt.Fprintf(a.stderr, "sealpost: %s; it is in T_ANALYSIS_ENV only\n", reason)
			}
			return a.runChild(args, vars, masked)
		},
	}
	cmd.Flags().StringVar(&analysis, "analysis", "", "id or name of the analysis")
	cmd.Flags().StringVar(&data, "data", "", "file with the JSON array that the analysis gets as data")
	cmd.Flags().BoolVar(&maskOwn, "mask-variables", false, "mask the values of the analysis' own variables too")
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// readData reads what the analysis gets as data; "" is none.
func (a *app) readData(file string) (string, error) {
	if file == "" {
		return "[]", nil
	}
	text, err := a.readInput(file)
	if err != nil {
		return "", err
	}
	var list []json.RawMessage
	if json.Unmarshal(text, &list) != nil {
		return "", usage("--data: %s does not hold a JSON array", file)
	}
	return string(text), nil
}

// analysisRun reads what a child of the analysis is told, and the values to
// mask: all but those that are the analysis' own before and after the reading.
func (c *client) analysisRun(ctx context.Context, ref string, maskOwn bool) (child.Run, []redact.String, error) {
	id, err := c.findAnalysis(ctx, ref)
	if err != nil {
		return child.Run{}, nil, err
	}
	who := child.Run{ID: id, Base: c.base}
	if who.Token, err = c.tokenFor(ctx, id); err != nil {
		return child.Run{}, nil, err
	}
	path := analysisPath(id) + "/environment"
	before, err := c.ownKeys(ctx, path)
	if err != nil {
		return child.Run{}, nil, err
	}
	if err := c.call(ctx, http.MethodGet, path, nil, &who.Env); err != nil {
		return child.Run{}, nil, err
	}
	after, err := c.ownKeys(ctx, path)
	if err != nil {
		return child.Run{}, nil, err
	}
	masked := []redact.String{who.Token, c.token}
	for _, e := range who.Env {
		if maskOwn || !before[e.Key] || !after[e.Key] {
			masked = append(masked, e.Value)
		}
	}
	return who, masked, nil
}

// ownKeys are the keys of the environment that are the analysis' own.
func (c *client) ownKeys(ctx context.Context, path string) (map[string]bool, error) {
	var e envExplained
	if err := c.call(ctx, http.MethodGet, path+"?explain=true", nil, &e); err != nil {
		return nil, err
	}
	own := map[string]bool{}
	for _, k := range e.Keys {
		own[k.Key] = k.own()
	}
	return own, nil
}

// isAnalysis reports whether our token is the one of an analysis.
func (c *client) isAnalysis() bool { return strings.HasPrefix(c.token.Reveal(), "a-") }

// tokenFor is the token that the child calls the API with: the analysis' own.
func (c *client) tokenFor(ctx context.Context, id string) (redact.String, error) {
	if c.isAnalysis() {
		return c.token, nil // we are the analysis
	}
	var made struct {
		Token redact.String `json:"analysis_token"`
	}
	err := c.call(ctx, http.MethodGet, analysisPath(id)+"/token", nil, &made)
	return made.Token, err
}

func analysisPath(id string) string { return "/analysis/" + url.PathEscape(id) }
