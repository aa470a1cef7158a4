package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/sealpost/sealpost/config"
	"github.com/sealpost/sealpost/queue"
)

// fsckReport is what `fsck` has found.
type fsckReport struct {
	Queue queue.Report `json:"queue"`
	Seals finding      `json:"seals"`
}

func (a *app) fsckCommand() *cobra.Command {
	var repair bool
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "Look at every job and every seal in Redis for what was lost or changed",
		Long: "Reads only, and ends with 1 if something is wrong. --repair mends what needs no person:\n" +
			"jobs that nobody would get go on, leftovers go away. It never removes a job and may run\n" +
			"while `serve` works. A stop does no harm; run it again. Broken seals are never mended.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load(cmd)
			if err != nil {
				return err
			}
			rdb := redis.NewUniversalClient(cfg.Redis.Options())
			defer rdb.Close()
			report, err := a.fsck(cmd.Context(), rdb, cfg, repair)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), maintenanceTimeout)
			defer cancel()
			return a.printFsck(fsckReport{Queue: report, Seals: keyringFinding(ctx, cfg, rdb)}, repair)
		},
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "mend what can be mended without a person")
	settingFlags(cmd, append(redisSettings(), "SEALPOST_PARTITIONS", "SEALPOST_LOG_RETENTION")...)
	return cmd
}

// fsck checks the queue. How many jobs there are says how long it will take.
func (a *app) fsck(ctx context.Context, rdb redis.UniversalClient, cfg config.Config, repair bool) (queue.Report, error) {
	stats, err := queue.NewClient(rdb, queue.ClientOptions{Partitions: cfg.Partitions}).Stats(ctx)
	if err != nil {
		return queue.Report{}, err
	}
	total := stats.Jobs[queue.Ready] + 2*stats.Jobs[queue.Running] + 2*(stats.Jobs[queue.Delayed]+stats.Jobs[queue.Parked]+stats.Jobs[queue.Dead])
	bar := a.progress("checking", total)
	defer bar.end()
	return queue.Check(ctx, rdb, queue.CheckOptions{Partitions: cfg.Partitions, LogRetention: cfg.LogRetention, Repair: repair, Looked: func(n int64) error {
		bar.at(min(n, total), fmt.Sprintf("%d entries", n)) // the ids come after the jobs, and nobody knows how many
		return ctx.Err()
	}})
}

func (a *app) printFsck(r fsckReport, repair bool) error {
	var err error
	if a.asJSON() {
		err = a.printJSON(r)
	} else {
		err = a.printFindingsOf(r)
	}
	if err != nil {
		return err
	}
	left := r.Queue.Left()
	switch {
	case r.Seals.Result == "fail":
		return fmt.Errorf("%s: %s; %s", r.Seals.Check, r.Seals.Text, r.Seals.Advice)
	case left > 0 && !repair:
		return fmt.Errorf("%d things are wrong; --repair mends what needs no person", left)
	case left > 0:
		return fmt.Errorf("%d things need a person", left)
	}
	return nil
}

func (a *app) printFindingsOf(r fsckReport) error {
	var rows [][]string
	mended := int64(0)
	for _, f := range r.Queue.Findings {
		rows = append(rows, []string{f.Word, strconv.Itoa(f.Partition), f.ID, map[bool]string{true: "yes", false: "no"}[f.Mended], f.Text})
	}
	found := int64(0)
	for _, n := range r.Queue.Found {
		found, mended = found+n.Found, mended+n.Mended
	}
	if len(rows) > 0 {
		if err := a.printTable([]string{"FINDING", "PARTITION", "ID", "MENDED", "WHAT"}, rows); err != nil {
			return err
		}
	}
	if more := found - int64(len(rows)); more > 0 {
		fmt.Fprintf(a.stdout, "and %d more\n", more)
	}
	_, err := fmt.Fprintf(a.stdout, "queue: %d entries looked at, %d findings, %d mended\nseals: %s: %s\n",
		r.Queue.Looked, found, mended, r.Seals.Result, clean(r.Seals.Text))
	return err
}
