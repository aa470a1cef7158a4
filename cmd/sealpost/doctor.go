package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/config"
	"github.com/sealpost/sealpost/secrets"
)

// finding is one line of the doctor. Result is "ok", "warn" or "fail".
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"`
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at Redis, the keyring and the API, with advice for what is wrong",
		Long:  "Changes nothing. Ends with 1 if a line says fail; warnings are for you to weigh.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), maintenanceTimeout)
			defer cancel()
			return a.printFindings(examine(ctx, cfg))
		},
	}
	settingFlags(cmd, append(redisSettings(), "SEALPOST_DURABILITY", "SEALPOST_URL", "SEALPOST_TOKEN", "SEALPOST_OPS_ADDR")...)
	return cmd
}

func (a *app) printFindings(list []finding) error {
	failed := 0
	var rows [][]string
	for _, f := range list {
		if f.Result == "fail" {
			failed++
		}
		rows = append(rows, []string{f.Check, f.Result, f.Text, f.Advice})
	}
	var err error
	if a.asJSON() {
		err = a.printJSON(list)
	} else {
		err = a.printTable([]string{"CHECK", "RESULT", "FOUND", "ADVICE"}, rows)
	}
	if err == nil && failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(list))
	}
	return err
}

// examine makes all checks.
func examine(ctx context.Context, cfg config.Config) []finding {
	var list []finding
	for _, warning := range cfg.Warnings() {
		name, text, _ := strings.Cut(warning, ": ")
		list = append(list, finding{Check: "settings", Result: "warn", Text: name, Advice: text})
	}
	rdb := redis.NewUniversalClient(cfg.Redis.Options())
	defer rdb.Close()
	facts, err := factsOfAll(ctx, rdb)
	if err != nil {
		list = append(list, finding{"redis", "fail", "no answer from " + cfg.Redis.String() + ": " + err.Error(),
			"start Redis there, or set SEALPOST_REDIS_URL"})
	} else {
		list = append(list, worstFindings(cfg, facts)...)
		list = append(list, levelFinding(ctx, cfg, rdb), auditFinding(ctx, rdb), clockFinding(ctx, rdb), keyringFinding(ctx, cfg, rdb))
	}
	return append(list, apiFinding(ctx, cfg), opsFinding(ctx, cfg))
}

func keyringFinding(ctx context.Context, cfg config.Config, rdb redis.UniversalClient) finding {
	kek, err := loadKEK(cfg)
	if err != nil {
		return finding{"keyring", "fail", "no usable master key", err.Error()}
	}
	keyring, err := secrets.OpenKeyring(ctx, rdb, kek)
	switch {
	case errors.Is(err, secrets.ErrSealed):
		return finding{"keyring", "fail", "sealed", sealedReason(err)}
	case err != nil:
		return finding{"keyring", "fail", "cannot be read", err.Error()}
	}
	store := secrets.NewStore(rdb, keyring, secrets.Options{})
	defer store.Close()
	report, err := store.Verify(ctx)
	if err != nil && !errors.Is(err, secrets.ErrSealBroken) {
		return finding{"secrets", "fail", "cannot be read: " + err.Error(), "see what Redis refuses, and why"}
	}
	if err != nil {
		text := err.Error()
		if len(report.Broken) > 0 {
			text += ": " + strings.Join(report.Broken, ", ")
		}
		return finding{"secrets", "fail", text, "somebody changed Redis behind Sealpost's back: compare with a backup"}
	}
	err = verifyRecords(ctx, rdb, keyring, store)
	if err != nil && !errors.Is(err, secrets.ErrSealBroken) {
		return finding{"records", "fail", "cannot be read: " + err.Error(), "see what Redis refuses, and why"}
	}
	if err != nil {
		return finding{"records", "fail", err.Error(), "somebody changed Redis behind Sealpost's back: restore a backup; until then nobody gets an environment"}
	}
	return finding{Check: "keyring", Result: "ok", Text: "opens under this master key (check value " + kek.Check() + "); all seals hold"}
}

// verifyRecords checks the seals of policies, analyses and stored actions.
func verifyRecords(ctx context.Context, rdb redis.UniversalClient, keyring *secrets.Keyring, store *secrets.Store) error {
	if _, _, err := access.NewDirectory(rdb, keyring, store).Verify(ctx); err != nil {
		return err
	}
	_, err := actions.NewStore(rdb, keyring, store, actions.NewCatalog()).Verify(ctx)
	return err
}

func apiFinding(ctx context.Context, cfg config.Config) finding {
	if cfg.Token.IsZero() {
		return finding{"api", "warn", "not tried", "set SEALPOST_TOKEN (`sealpost token create`) to have " + cfg.URL + " tried"}
	}
	var who struct {
		Name string `json:"name"`
		Kind string `json:"kind"`
	}
	err := newClient(cfg.URL, cfg.Token).call(ctx, http.MethodGet, "/info", nil, &who)
	if err != nil {
		return finding{"api", "fail", cfg.URL, err.Error()}
	}
	return finding{Check: "api", Result: "ok", Text: fmt.Sprintf("%s takes the token, which is of kind %s", cfg.URL, who.Kind)}
}

func opsFinding(ctx context.Context, cfg config.Config) finding {
	if cfg.OpsAddr == "" {
		return finding{"ready", "warn", "SEALPOST_OPS_ADDR is off", "without it nobody can ask whether a process is ready"}
	}
	ready, text, err := askReady(ctx, cfg.OpsAddr)
	switch {
	case err != nil:
		return finding{"ready", "warn", "no process on this machine at " + cfg.OpsAddr, "run `sealpost serve`"}
	case !ready:
		return finding{"ready", "fail", strings.ReplaceAll(text, "\n", "; "), "see the log of that process"}
	}
	return finding{Check: "ready", Result: "ok", Text: "the process at " + cfg.OpsAddr + " is ready"}
}
