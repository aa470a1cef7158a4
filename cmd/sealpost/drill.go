package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/spf13/cobra"

	"github.com/sealpost/sealpost/drill"
)

func (a *app) drillCommand() *cobra.Command {
	var c drill.Config
	var minutes float64
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Break an installation on this machine on purpose, and count what is lost",
		Long: "Starts a redis-server, a mail server that spoils three mails of ten, and worker processes of\n" +
			"this program, all on this machine; sends mails; kills a worker with kill -9 each second and\n" +
			"redis-server each five seconds, cuts and stalls connections between all of them, and changes the\n" +
			"password in the middle. At the end it compares what was accepted with what arrived, and names the cause of each duplicate. Exit code 1 if a\n" +
			"job is lost or a duplicate has no cause. Without redis-server on PATH it uses Redis in memory,\n" +
			"which is not killed. Nothing is kept.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.Limit = time.Duration(minutes * float64(time.Minute))
			switch {
			case c.Limit <= 0:
				return usage("--minutes: want more than 0")
			case c.Jobs < 0:
				return usage("--jobs: want 0 or more")
			}
			return a.drill(cmd.Context(), c)
		},
	}
	cmd.Flags().IntVar(&c.Jobs, "jobs", 0, "mails to send; 0: as many as the time allows")
	cmd.Flags().Float64Var(&minutes, "minutes", 2, "how long it may take")
	cmd.Flags().Uint64Var(&c.Seed, "seed", 1, "which mails are spoilt and which workers are killed")
	cmd.Flags().IntVar(&c.Workers, "workers", 2, "processes that work at once")
	return cmd
}

// drill does one run and prints what came of it.
func (a *app) drill(ctx context.Context, c drill.Config) (err error) {
	if c.Binary, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if c.Dir, err = os.MkdirTemp("", "sealpost-drill-"); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.Dir)) }()
	if drill.RedisServer() == "" {
		memory, err := miniredis.Run()
		if err != nil {
			return fmt.Errorf("start in-memory Redis: %w", err)
		}
		defer memory.Close()
		ticking, stop := context.WithCancel(context.Background())
		defer stop()
		go keepTime(ticking, memory)
		c.RedisURL = "redis://" + memory.Addr() + "/0"
		fmt.Fprintln(a.stderr, "no redis-server on PATH: using Redis in memory, which is not killed")
	}
	bar := a.progress("drill", int64(c.Jobs))
	c.Progress = func(p drill.Progress) {
		bar.at(int64(p.Delivered), fmt.Sprintf("%.0f s, %d accepted, %d delivered, %d workers and %d redis-servers killed",
			p.Seconds, p.Accepted, p.Delivered, p.Kills, p.RedisKills))
	}
	result, err := drill.Run(ctx, c)
	bar.end()
	if err != nil {
		return err
	}
	return errors.Join(a.printDrill(result), result.Err())
}

// printDrill prints the account.
func (a *app) printDrill(r drill.Result) error {
	if a.asJSON() {
		return a.printJSON(r)
	}
	err := a.printPairs(
		[2]string{"accepted", strconv.Itoa(r.Accepted)}, [2]string{"delivered", strconv.Itoa(r.Delivered)},
		[2]string{"dead letters", fmt.Sprintf("%d (the server refused %d for good)", r.Dead, r.Faults[drill.Refused])},
		[2]string{"still queued", strconv.Itoa(r.Left)}, [2]string{"lost", strconv.Itoa(r.Lost)},
		[2]string{"duplicated", strconv.Itoa(r.Duplicated)}, [2]string{"unexplained", strconv.Itoa(r.Unexplained)},
		[2]string{"killed with -9", fmt.Sprintf("%d workers, %d redis-servers", r.Kills, r.RedisKills)},
		[2]string{"wrong password", fmt.Sprintf("%d refused logins, %d jobs parked", r.Refused, r.Parked)},
		[2]string{"took", fmt.Sprintf("%.1f s, seed %d", r.Seconds, r.Seed)},
	)
	if err != nil {
		return err
	}
	for _, table := range []struct {
		title string
		rows  map[string]int
	}{{"CAUSE OF A DUPLICATE", r.Causes}, {"FAULT OF THE MAIL SERVER", r.Faults}, {"FAULT OF A LINE", r.LineFaults}} {
		if len(table.rows) == 0 {
			continue
		}
		fmt.Fprintln(a.stdout)
		if err := a.printTable([]string{table.title, "TIMES"}, byCount(table.rows)); err != nil {
			return err
		}
	}
	return nil
}

// byCount are rows of names and numbers, the highest number first.
func byCount(counts map[string]int) [][]string {
	var rows [][]string
	for name, n := range counts {
		rows = append(rows, []string{name, strconv.Itoa(n)})
	}
	slices.SortFunc(rows, func(x, y []string) int {
		if d := counts[y[0]] - counts[x[0]]; d != 0 {
			return d
		}
		if x[0] < y[0] {
			return -1
		}
		return 1
	})
	return rows
}
