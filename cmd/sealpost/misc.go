package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sealpost/sealpost/config"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version string

// buildInfo says what was built from what.
type buildInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

func build() buildInfo {
	b := buildInfo{Version: version, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Commit = s.Value
		}
	}
	return b
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := build()
			if a.asJSON() {
				return a.printJSON(b)
			}
			_, err := fmt.Fprintln(a.stdout, strings.TrimSpace("sealpost "+b.Version+" "+b.Commit), b.Go)
			return err
		},
	}
}

func (a *app) configCommand() *cobra.Command {
	check := &cobra.Command{
		Use: "check", Short: "Check the settings and report every mistake", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load(cmd)
			if err != nil {
				return err
			}
			warnings := append([]string{}, cfg.Warnings()...)
			if a.asJSON() {
				return a.printJSON(map[string]any{"ok": true, "warnings": warnings})
			}
			for _, w := range warnings {
				fmt.Fprintln(a.stderr, "sealpost: warning:", w)
			}
			_, err = fmt.Fprintln(a.stdout, "ok")
			return err
		},
	}
	show := &cobra.Command{
		Use: "print", Short: "Print the settings in force and where each came from, without secrets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load(cmd)
			if err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(cfg.Values())
			}
			return cfg.Print(a.stdout)
		},
	}
	settingFlags(check)
	settingFlags(show)
	return group("config", "Check and print the settings", check, show)
}

// healthTimeout is below the 5 s that container probes commonly give.
const healthTimeout = 4 * time.Second

func (a *app) healthcheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "healthcheck", Short: "Ask the ops listener of this machine if serve is ready, for container probes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load(cmd)
			if err != nil {
				return err
			}
			if cfg.OpsAddr == "" {
				return errors.New("SEALPOST_OPS_ADDR is off, so there is nothing to ask")
			}
			ready, text, err := askReady(cmd.Context(), cfg.OpsAddr)
			if err != nil {
				return err
			}
			if a.asJSON() {
				err = a.printJSON(map[string]any{"ready": ready, "text": text})
			} else {
				_, err = fmt.Fprintln(a.stdout, text)
			}
			if err == nil && !ready {
				return quietError{}
			}
			return err
		},
	}
	settingFlags(cmd, "SEALPOST_OPS_ADDR")
	return cmd
}

// askReady reads /readyz of the ops listener at addr.
func askReady(ctx context.Context, addr string) (ready bool, text string, err error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(addr)+"/readyz", nil)
	if err != nil {
		return false, "", fmt.Errorf("ask %s: %w", addr, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, "", fmt.Errorf("no answer from the ops listener at %s; is `sealpost serve` running?", addr)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return false, "", fmt.Errorf("read answer of %s: %w", addr, err)
	}
	return resp.StatusCode == http.StatusOK, strings.TrimSpace(string(body)), nil
}

// reachable turns an address to listen on into one to dial: all interfaces
// becomes this machine.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// secured reports whether the API of cfg speaks TLS.
func secured(cfg config.Config) bool { return cfg.APITLSCert != "" }
