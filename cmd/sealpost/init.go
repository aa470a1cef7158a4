package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/builtin"
	"github.com/sealpost/sealpost/config"
	"github.com/sealpost/sealpost/secrets"
)

// maintenanceTimeout bounds commands that work on Redis themselves.
const maintenanceTimeout = 30 * time.Second

// errNoMasterKey says how to make what is missing.
var errNoMasterKey = errors.New("no master key: make one with `head -c 32 /dev/urandom | base64 > master.key`, " +
	"keep a copy in a safe place, and set SEALPOST_MASTER_KEY_FILE=master.key")

// loadKEK reads the master key of cfg.
func loadKEK(cfg config.Config) (*secrets.KEK, error) {
	if cfg.MasterKey.IsZero() {
		return nil, errNoMasterKey
	}
	return secrets.LoadKEK(cfg.MasterKey)
}

func (a *app) initCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the keyring, once for each store",
		Long: "Makes the keys that seal the secrets, wraps them with the master key and writes them to\n" +
			"Redis. Ends with 1 if there is a keyring. Redis without the master key, or the master key\n" +
			"without Redis, opens nothing: back both up, apart.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load(cmd)
			if err != nil {
				return err
			}
			kek, err := loadKEK(cfg)
			if err != nil {
				return err
			}
			rdb := redis.NewUniversalClient(cfg.Redis.Options())
			defer rdb.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), maintenanceTimeout)
			defer cancel()
			if _, err := secrets.Init(ctx, rdb, kek); err != nil {
				return redisAdvice(cfg, err)
			}
			if a.asJSON() {
				return a.printJSON(map[string]string{"master_key_check": kek.Check()})
			}
			_, err = fmt.Fprintf(a.stdout, "The keyring is made; the check value of its master key is %s.\n"+
				"Next: sealpost token create --kind admin --name you\n", kek.Check())
			return err
		},
	}
	settingFlags(cmd, redisSettings()...)
	return cmd
}

// redisAdvice adds where Redis was looked for when it did not answer.
func redisAdvice(cfg config.Config, err error) error {
	if isNetwork(err) {
		return fmt.Errorf("%w; Redis was expected at %s: SEALPOST_REDIS_URL says where", err, cfg.Redis)
	}
	return err
}

func (a *app) tokenCommand() *cobra.Command {
	return group("token", "Make, list and revoke tokens of the API", a.tokenCreate(), a.tokenList(), a.tokenRevoke())
}

// withTokens runs work on the token store of the settings of cmd.
func (a *app) withTokens(cmd *cobra.Command, work func(ctx context.Context, tokens *access.Store) error) error {
	cfg, err := a.load(cmd)
	if err != nil {
		return err
	}
	kek, err := loadKEK(cfg)
	if err != nil {
		return err
	}
	rdb := redis.NewUniversalClient(cfg.Redis.Options())
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), maintenanceTimeout)
	defer cancel()
	keyring, err := secrets.OpenKeyring(ctx, rdb, kek)
	if err != nil {
		return redisAdvice(cfg, err)
	}
	return redisAdvice(cfg, work(ctx, access.NewStore(rdb, keyring)))
}

func (a *app) tokenCreate() *cobra.Command {
	var kind, name string
	var options access.TokenOptions
	cmd := &cobra.Command{
		Use:   "create --kind admin|producer|reader --name N",
		Short: "Make a token and print it, this once",
		Long: "Prints only the token, which is stored nowhere: who loses it makes another.\n" +
			"admin does everything, producer sends jobs and follows them, reader looks.\n" +
			"A producer can be narrowed to kinds of jobs, to secrets and to domains of recipients.",
		Example: "  sealpost token create --kind producer --name shop --allow-kind email-smtp --allow-secret MAIL --allow-domain '*.example.com'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if kind == "" || name == "" {
				return usage("--kind (admin, producer or reader) and --name are required")
			}
			if err := knownKinds(options.Scopes.Kinds); err != nil {
				return err
			}
			return a.withTokens(cmd, func(ctx context.Context, tokens *access.Store) error {
				presented, token, err := tokens.Create(ctx, access.Kind(kind), name, options)
				if err != nil {
					return err
				}
				if a.asJSON() {
					return a.printJSON(map[string]string{"id": token.ID, "kind": kind, "name": name, "token": presented.Reveal()})
				}
				_, err = fmt.Fprintln(a.stdout, presented.Reveal())
				return err
			})
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "admin, producer or reader")
	cmd.Flags().StringVar(&name, "name", "", "whose it is: for the audit trail")
	cmd.Flags().DurationVar(&options.TTL, "ttl", 0, "how long it is good for, such as 2160h; 0 for ever")
	cmd.Flags().StringArrayVar(&options.Scopes.Kinds, "allow-kind", nil, "kind of jobs that a producer may send, such as email-smtp; may be repeated; all unless given")
	cmd.Flags().StringArrayVar(&options.Scopes.Secrets, "allow-secret", nil, "key or id of a secret that its jobs may use; may be repeated; all unless given")
	cmd.Flags().StringArrayVar(&options.Scopes.Domains, "allow-domain", nil, "domain that its mail may go to, *.example.com for all below; may be repeated; all unless given")
	settingFlags(cmd, redisSettings()...)
	return cmd
}

// knownKinds refuses a kind that no job has: a typing error would make a token
// that is good for nothing.
func knownKinds(kinds []string) error {
	known := actions.NewRegistry(builtin.New(builtin.Deps{})...).Kinds()
	for _, kind := range kinds {
		if !slices.Contains(known, kind) {
			return usage("--allow-kind: want one of %s", strings.Join(known, ", "))
		}
	}
	return nil
}

// tokenInfo is a token as the CLI prints it.
type tokenInfo struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Expires string `json:"expires,omitempty"`

	Scopes access.Scopes `json:"scopes,omitzero"`
}

func (a *app) tokenList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the tokens, without the tokens themselves", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withTokens(cmd, func(ctx context.Context, tokens *access.Store) error {
				list, err := tokens.List(ctx)
				if err != nil {
					return err
				}
				infos, rows := []tokenInfo{}, [][]string{}
				for _, t := range list {
					info := tokenInfo{ID: t.ID, Kind: string(t.Kind), Name: t.Name, Scopes: t.Scopes}
					if !t.Expires.IsZero() {
						info.Expires = t.Expires.UTC().Format(time.RFC3339)
					}
					infos = append(infos, info)
					rows = append(rows, []string{info.ID, info.Kind, info.Name, orWord(info.Expires, "never"), orWord(t.Scopes.String(), "-")})
				}
				if a.asJSON() {
					return a.printJSON(infos)
				}
				return a.printTable([]string{"ID", "KIND", "NAME", "EXPIRES", "SCOPES"}, rows)
			})
		},
	}
	settingFlags(cmd, redisSettings()...)
	return cmd
}

func (a *app) tokenRevoke() *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke ID", Short: "Revoke a token at once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withTokens(cmd, func(ctx context.Context, tokens *access.Store) error {
				return tokens.Revoke(ctx, args[0])
			})
		},
	}
	settingFlags(cmd, redisSettings()...)
	return cmd
}
