package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/config"
	"github.com/sealpost/sealpost/secrets"
)

// Exit codes, part of the public contract.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitNotFound = 3
	exitRefused  = 4 // by access
	exitSealed   = 5
)

// app is one run of the program.
type app struct {
	environ []string
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer

	format     string // of --output: "table" or "json"
	configFile string
	started    bool // the command line was right and the command has begun
}

// run does what args say and returns the exit code. Errors go to stderr.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	redis.SetLogger(silence{})
	a := &app{environ: environ, stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitCode(err)
	if !a.started {
		code = exitUsage
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(stderr, "sealpost:", strings.ReplaceAll(text, "\n", "\nsealpost: "))
	}
	return code
}

// silence takes what go-redis would print on stderr by itself; every error
// that it prints it returns too.
type silence struct{}

// Printf prints nothing.
func (silence) Printf(context.Context, string, ...any) {}

// quietError ends the program with exit code 1 after everything has been said.
type quietError struct{}

// Error is empty: what there was to say has been said.
func (quietError) Error() string { return "" }

// usageError is a mistake in the command line that the parser cannot see.
type usageError struct{ text string }

// Error says how the command line was wrong.
func (e usageError) Error() string { return e.text }

func usage(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

func exitCode(err error) int {
	if child, ok := errors.AsType[childExit](err); ok {
		return child.code
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if errors.Is(err, secrets.ErrSealed) {
		return exitSealed
	}
	if errors.Is(err, access.ErrNotFound) {
		return exitNotFound
	}
	api, ok := errors.AsType[*apiError](err)
	if !ok {
		return exitError
	}
	switch api.status {
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitRefused
	case http.StatusServiceUnavailable:
		if strings.HasPrefix(api.message, "sealed") {
			return exitSealed
		}
	}
	return exitError
}

// root returns the tree of all commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "sealpost",
		Short: "Keeps credentials sealed and does the work that needs them",
		Long: "Sealpost keeps credentials sealed and does the work that needs them: jobs in Redis\n" +
			"that send mail and queue messages with a secret which only the sender opens.\n\n" +
			"Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 refused, 5 sealed.",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.format != "table" && a.format != "json" {
				return usage("-o: want table or json")
			}
			a.started = true
			return nil
		},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.PersistentFlags().StringVarP(&a.format, "output", "o", "table", "table or json")
	root.PersistentFlags().StringVar(&a.configFile, "config", "", "YAML file with settings; SEALPOST_* variables and flags win over it")
	root.AddCommand(a.serveCommand(), a.devCommand(), a.initCommand(), a.tokenCommand(),
		a.analysisCommand(), a.policyCommand(), a.envCommand(), a.runCommand(), a.actionCommand(),
		a.secretCommand(), a.jobCommand(), a.parkedCommand(), a.deadCommand(), a.queueCommand(), a.deliveriesCommand(),
		a.doctorCommand(), a.fsckCommand(), a.drillCommand(), a.benchCommand(), a.configCommand(), a.healthcheckCommand(), a.versionCommand())
	return root
}

// group returns a command that only holds others.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		return usage("%s needs one of: %s", cmd.CommandPath(), strings.Join(names, ", "))
	}}
	cmd.AddCommand(commands...)
	return cmd
}

// settingFlags adds the flags of these settings, or of all when none is named.
func settingFlags(cmd *cobra.Command, names ...string) {
	for _, f := range config.Flags() {
		setting := strings.TrimSuffix(config.VariableName(f.Name), "_FILE")
		if len(names) == 0 || slices.Contains(names, setting) {
			cmd.Flags().String(f.Name, "", f.Usage)
		}
	}
}

// The settings of commands that work on Redis, and of clients of the API.
func redisSettings() []string {
	return []string{"SEALPOST_REDIS_URL", "SEALPOST_MASTER_KEY"}
}

func clientSettings() []string { return []string{"SEALPOST_URL", "SEALPOST_TOKEN"} }

// load reads the settings from the flags of cmd, the environment and the file.
func (a *app) load(cmd *cobra.Command) (config.Config, error) {
	flags := make(map[string]string)
	for _, known := range config.Flags() {
		if f := cmd.Flags().Lookup(known.Name); f != nil && f.Changed {
			flags[known.Name] = f.Value.String()
		}
	}
	return config.Load(config.Sources{Flags: flags, Environ: a.environ, File: a.configFile})
}

// getenv returns a variable that is not one of our settings.
func (a *app) getenv(name string) string {
	for _, entry := range a.environ {
		if key, value, ok := strings.Cut(entry, "="); ok && key == name {
			return value
		}
	}
	return ""
}
