package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) actionCommand() *cobra.Command {
	return group("action", "Store, list and trigger actions",
		a.actionCreate(), a.actionList(), a.actionInfo(), a.actionEdit(), a.actionRemove(), a.actionTrigger())
}

// actionRow is an action in a list, which says of what it does only the type.
type actionRow struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Active bool   `json:"active"`
	Type   string `json:"type"`
	Action struct {
		Type string `json:"type"`
	} `json:"action"`
	Tags          []tag  `json:"tags"`
	LastTriggered string `json:"last_triggered"`
	CreatedAt     string `json:"created_at"`
	UpdatedAt     string `json:"updated_at"`
}

func actionPath(id string) string { return "/action/" + url.PathEscape(id) }

// maxInput bounds what is read of a file for one request: the largest that the
// API takes of these is half as large.
const maxInput = 1 << 20 // bytes

// readInput reads a file, or stdin for "-".
func (a *app) readInput(name string) ([]byte, error) {
	in, _, err := a.open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > maxInput {
		return nil, usage("%s has more than %d bytes", name, maxInput)
	}
	return text, nil
}

// readObject reads a file, or stdin for "-", that holds one JSON object.
func (a *app) readObject(file string) ([]byte, error) {
	text, err := a.readInput(file)
	if err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(text, &object) != nil {
		return nil, usage("%s does not hold a JSON object", file)
	}
	return text, nil
}

func (a *app) actionCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create FILE|-", Short: "Store an action; prints its id",
		Long: "FILE holds the action as the API takes it: name, type, trigger, action, and more. Secrets\n" +
			"are named by their id or key.",
		Example: `  echo '{"name": "start", "action": {"type": "script", "script": ["ID"]}}' | sealpost action create -`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := a.readObject(args[0])
			if err != nil {
				return err
			}
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			var made struct {
				ID string `json:"action"`
			}
			if err := c.call(cmd.Context(), http.MethodPost, "/action", body, &made); err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(map[string]string{"id": made.ID})
			}
			_, err = fmt.Fprintln(a.stdout, made.ID)
			return err
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}

func (a *app) actionList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List all actions", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			query := url.Values{"fields": {"id", "name", "active", "type", "tags", "last_triggered", "created_at", "updated_at"}}
			list, err := listAll[actionRow](cmd.Context(), c, "/action", query)
			if err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(list)
			}
			var rows [][]string
			for _, s := range list {
				rows = append(rows, []string{s.ID, s.Name, yesNo(s.Active), s.Type, s.Action.Type, joinTags(s.Tags), s.LastTriggered})
			}
			return a.printTable([]string{"ID", "NAME", "ACTIVE", "TRIGGER", "ACTION", "TAGS", "LAST TRIGGERED"}, rows)
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}

func (a *app) actionInfo() *cobra.Command {
	return a.onAction("info ACTION", "Show an action", func(ctx context.Context, c *client, id string) error {
		if a.asJSON() {
			return a.passJSON(ctx, c, actionPath(id))
		}
		var s struct {
			actionRow
			Description string          `json:"description"`
			Trigger     json.RawMessage `json:"trigger"`
			Action      json.RawMessage `json:"action"`
		}
		if err := c.call(ctx, http.MethodGet, actionPath(id), nil, &s); err != nil {
			return err
		}
		return a.printPairs([2]string{"id", s.ID}, [2]string{"name", s.Name}, [2]string{"description", s.Description},
			[2]string{"active", yesNo(s.Active)}, [2]string{"type", s.Type}, [2]string{"trigger", string(s.Trigger)},
			[2]string{"action", string(s.Action)}, [2]string{"tags", joinTags(s.Tags)}, [2]string{"last triggered", s.LastTriggered},
			[2]string{"created", s.CreatedAt}, [2]string{"updated", s.UpdatedAt})
	})
}

func (a *app) actionEdit() *cobra.Command {
	var file, name string
	var active bool
	var cmd *cobra.Command
	cmd = a.onAction("edit ACTION", "Change the given fields of an action", func(ctx context.Context, c *client, id string) error {
		body := map[string]any{}
		if file != "" {
			if cmd.Flags().Changed("name") || cmd.Flags().Changed("active") {
				return usage("--from-file holds all that changes; give no other flags with it")
			}
			text, err := a.readObject(file)
			if err != nil {
				return err
			}
			return c.call(ctx, http.MethodPut, actionPath(id), text, nil)
		}
		if cmd.Flags().Changed("name") {
			body["name"] = name
		}
		if cmd.Flags().Changed("active") {
			body["active"] = active
		}
		if len(body) == 0 {
			return usage("nothing to change: give --name, --active or --from-file")
		}
		return c.call(ctx, http.MethodPut, actionPath(id), body, nil)
	})
	cmd.Flags().StringVar(&name, "name", "", "another name")
	cmd.Flags().BoolVar(&active, "active", true, "an inactive action is not triggered")
	cmd.Flags().StringVar(&file, "from-file", "", "JSON file, or -, with the fields to change; action and trigger are replaced whole")
	return cmd
}

func (a *app) actionRemove() *cobra.Command {
	return a.onAction("rm ACTION", "Remove an action", func(ctx context.Context, c *client, id string) error {
		return c.call(ctx, http.MethodDelete, actionPath(id), nil, nil)
	})
}

func (a *app) actionTrigger() *cobra.Command {
	var file string
	var wait time.Duration
	cmd := a.onAction("trigger ACTION", "Send a job of a stored action; prints the job's id", func(ctx context.Context, c *client, id string) error {
		data, err := a.readData(file)
		if err != nil {
			return err
		}
		var job sent
		body := map[string]json.RawMessage{"data": json.RawMessage(data)}
		if err := c.call(ctx, http.MethodPost, actionPath(id)+"/trigger", body, &job); err != nil {
			return err
		}
		if !a.asJSON() {
			if _, err := fmt.Fprintln(a.stdout, job.ID); err != nil {
				return fmt.Errorf("write id: %w", err)
			}
		}
		s := &sender{app: a, client: c, read: 1, accepted: []sent{job}}
		return s.finish(ctx, wait)
	})
	cmd.Flags().StringVar(&file, "data", "", "file with the job's data, a JSON array")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait this long for the job to end, such as 30s")
	return cmd
}

// onAction is a command about one action, named by its id or its name.
func (a *app) onAction(use, short string, do func(context.Context, *client, string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			id := args[0]
			if !isID(id) {
				// A producer may trigger and not list, so it has to give the id.
				if id, err = c.findByName(cmd.Context(), "/action", "action", id); err != nil {
					return err
				}
			}
			return do(cmd.Context(), c, id)
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}
