package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sealpost/sealpost/secrets/redact"
)

// maxValueInput bounds what is read as a value; the longest allowed is 2048
// characters.
const maxValueInput = 64 << 10 // bytes

func (a *app) secretCommand() *cobra.Command {
	return group("secret", "Store, list and try secrets",
		a.secretPut(), a.secretList(), a.secretInfo(), a.secretRemove(), a.secretTest(), a.secretUsage(),
		a.secretVersions(), a.secretPromote(), a.secretRollback(), a.secretDiscard())
}

// tag is a tag as the API has it.
type tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// secretInfo is what the API tells of a secret.
type secretInfo struct {
	ID          string            `json:"id"`
	Key         string            `json:"key"`
	Type        string            `json:"type"`
	Version     int64             `json:"version"`
	Tags        []tag             `json:"tags"`
	ValueLength int               `json:"value_length"`
	Destination map[string]string `json:"destination,omitempty"`
	CreatedAt   string            `json:"created_at"`
	UpdatedAt   string            `json:"updated_at"`
}

func (a *app) secretPut() *cobra.Command {
	var kind, file string
	var tags []string
	var force, stage bool
	cmd := &cobra.Command{
		Use:   "put KEY",
		Short: "Store a secret, or a new version of it; prints its id",
		Long: "The value is read from stdin, from --from-file, or typed without echo; never from the\n" +
			"command line, which others can see. A value of the types smtp and sqs is JSON. One line\n" +
			"break at its end is not part of it. With --stage it waits beside the current version, which\n" +
			"jobs go on using, until `secret promote`.",
		Example: "  sealpost secret put MAIL --from-file mail.json --tag team=ops\n" +
			"  sealpost secret put MAIL --stage --from-file new.json && sealpost secret test MAIL --staged && sealpost secret promote MAIL",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := parseTags(tags)
			if err != nil {
				return err
			}
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			value, err := a.readValue(file)
			if err != nil {
				return err
			}
			var id string
			err = a.unlessUsed(force, "Change its type all the same?", func(force bool) (err error) {
				id, err = putSecret(cmd.Context(), c, putValue{key: args[0], kind: kind, value: value, tags: list, force: force, stage: stage})
				return err
			})
			if err != nil {
				return err
			}
			a.repeat(c)
			if a.asJSON() {
				return a.printJSON(map[string]string{"id": id})
			}
			fmt.Fprintln(a.stdout, id)
			return nil
		},
	}
	cmd.Flags().StringVar(&kind, "type", "", "text, smtp or sqs; told by the value's fields unless given")
	cmd.Flags().StringVar(&file, "from-file", "", "read the value from this file")
	cmd.Flags().BoolVar(&force, "force", false, "change its type though it is in use")
	cmd.Flags().BoolVar(&stage, "stage", false, "store it beside the current version, to be tested and promoted")
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "k=v, may be repeated; replaces the tags of a secret that exists")
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// putValue is a value to store.
type putValue struct {
	key, kind string // kind "": the value's fields tell
	value     redact.String
	tags      []tag // nil: as they were
	force     bool  // also if that changes the type of a secret in use
	stage     bool  // beside the current version of a secret that is there
}

// putSecret creates the secret or stores a new version, and returns its id.
func putSecret(ctx context.Context, c *client, put putValue) (string, error) {
	// The API upper-cases keys, so the path must be the key as it is stored.
	path := "/secrets/" + url.PathEscape(strings.ToUpper(put.key))
	body := map[string]any{"value": put.value.Reveal()}
	if put.kind != "" {
		body["type"] = put.kind
	}
	if put.tags != nil {
		body["tags"] = put.tags
	}
	if put.stage {
		body["stage"] = true
	}
	err := c.call(ctx, http.MethodPut, path+"?force="+strconv.FormatBool(put.force), body, nil)
	if api, ok := errors.AsType[*apiError](err); ok && api.status == http.StatusNotFound && !put.stage {
		body["key"] = put.key
		var made struct {
			ID string `json:"id"`
		}
		if err := c.call(ctx, http.MethodPost, "/secrets", body, &made); err != nil {
			return "", err
		}
		return made.ID, nil
	}
	if err != nil {
		return "", err
	}
	said := c.said.Load()
	var info secretInfo
	if err := c.call(ctx, http.MethodGet, path, nil, &info); err != nil {
		return "", err
	}
	c.said.Store(said)
	return info.ID, nil
}

// parseTags reads k=v pairs. No tags at all is nil: they stay as they are.
func parseTags(pairs []string) ([]tag, error) {
	var list []tag
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, usage("--tag: want k=v")
		}
		list = append(list, tag{Key: key, Value: value})
	}
	return list, nil
}

// readValue reads a secret's value from the file, or a prompt, or stdin.
func (a *app) readValue(file string) (redact.String, error) {
	var value []byte
	var err error
	stdin, _ := a.stdin.(*os.File)
	switch {
	case file != "":
		value, err = readFile(file)
	case isTerminal(a.stdin):
		fmt.Fprint(a.stderr, "Value (not shown): ")
		value, err = term.ReadPassword(int(stdin.Fd()))
		fmt.Fprintln(a.stderr)
	default:
		value, err = io.ReadAll(io.LimitReader(a.stdin, maxValueInput+1))
	}
	if err != nil {
		return redact.String{}, fmt.Errorf("read value: %w", err)
	}
	if len(value) > maxValueInput {
		return redact.String{}, fmt.Errorf("the value has more than %d bytes", maxValueInput)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(value), "\n"), "\r")
	if text == "" {
		return redact.String{}, errors.New("the value is empty; give it on stdin or with --from-file")
	}
	return redact.New(text), nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxValueInput+1))
}

func (a *app) secretList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the secrets, without values", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			list, err := allSecrets(cmd.Context(), c)
			if err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(list)
			}
			var rows [][]string
			for _, s := range list {
				rows = append(rows, []string{s.ID, s.Key, s.Type, strconv.FormatInt(s.Version, 10), joinTags(s.Tags), s.UpdatedAt})
			}
			return a.printTable([]string{"ID", "KEY", "TYPE", "VERSION", "TAGS", "UPDATED"}, rows)
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// allSecrets reads page after page.
func allSecrets(ctx context.Context, c *client) ([]secretInfo, error) {
	const amount = 1000 // secrets a page
	all := []secretInfo{}
	for page := 1; ; page++ {
		var list []secretInfo
		path := fmt.Sprintf("/secrets?page=%d&amount=%d&orderBy=key,asc", page, amount)
		if err := c.call(ctx, http.MethodGet, path, nil, &list); err != nil {
			return nil, err
		}
		all = append(all, list...)
		if len(list) < amount {
			return all, nil
		}
	}
}

func joinTags(tags []tag) string {
	var list []string
	for _, t := range tags {
		list = append(list, t.Key+"="+t.Value)
	}
	return strings.Join(list, ",")
}

func (a *app) secretInfo() *cobra.Command {
	cmd := &cobra.Command{
		Use: "info KEY|ID", Short: "Show a secret, without its value", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			var s secretInfo
			if err := c.call(cmd.Context(), http.MethodGet, secretPath(args[0]), nil, &s); err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(s)
			}
			pairs := [][2]string{{"id", s.ID}, {"key", s.Key}, {"type", s.Type}, {"version", strconv.FormatInt(s.Version, 10)},
				{"tags", joinTags(s.Tags)}, {"length", strconv.Itoa(s.ValueLength)}}
			for _, name := range sorted(s.Destination) {
				pairs = append(pairs, [2]string{name, s.Destination[name]})
			}
			return a.printPairs(append(pairs, [2]string{"created", s.CreatedAt}, [2]string{"updated", s.UpdatedAt})...)
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// secretPath is the route of a secret named by id or key: ids are lower-case
// hex, keys are stored in upper case.
func secretPath(ref string) string {
	if !isID(ref) {
		ref = strings.ToUpper(ref)
	}
	return "/secrets/" + url.PathEscape(ref)
}

// isID reports whether ref has the form of an id: 24 lower-case hex digits.
func isID(ref string) bool {
	return len(ref) == 24 && strings.Trim(ref, "0123456789abcdef") == ""
}

func sorted(m map[string]string) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (a *app) secretRemove() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "rm KEY|ID", Short: "Remove a secret; jobs that name it will be dead letters", Args: cobra.ExactArgs(1),
		Long: "Refuses to remove a secret that stored actions or waiting jobs name, or that analyses have\n" +
			"in their environment, unless --force says so. `secret usage` lists them.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			return a.unlessUsed(force, "Remove it all the same?", func(force bool) error {
				return c.call(cmd.Context(), http.MethodDelete, secretPath(args[0])+"?force="+strconv.FormatBool(force), nil, nil)
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove it though it is in use")
	settingFlags(cmd, clientSettings()...)
	return cmd
}
