package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// Bounds of one request: what POST /jobs takes.
const (
	batchJobs  = 1000
	batchBytes = 8 << 20
	waiters    = 8 // questions at once of --wait
)

// sent is what became of one job of the input.
type sent struct {
	ID        string `json:"id"`
	Duplicate bool   `json:"duplicate,omitempty"`
	State     string `json:"state,omitempty"` // with --wait
	Reason    string `json:"reason,omitempty"`
}

func (a *app) jobSend() *cobra.Command {
	var wait time.Duration
	var skip int
	cmd := &cobra.Command{
		Use:   "send FILE|-",
		Short: "Enqueue one JSON job, or JSON lines; prints the ids",
		Long: "Reads one JSON job or any number of them, one after the other, and prints an id for each\n" +
			"when it has been accepted. Jobs with an \"id\" of their own may be sent again: they are not\n" +
			"done twice. With --wait the exit code is 0 if all are done by then, and 1 otherwise.",
		Example: "  sealpost job send order.json --wait 30s\n  sealpost job send - < jobs.jsonl",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait < 0 || skip < 0 {
				return usage("--wait and --skip must not be negative")
			}
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			in, size, err := a.open(args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			s := &sender{app: a, client: c, in: json.NewDecoder(in), skip: skip, bar: a.progress("send", size)}
			if err := s.all(cmd.Context()); err != nil {
				return err
			}
			return s.finish(cmd.Context(), wait)
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait this long for the jobs to end, such as 30s")
	cmd.Flags().IntVar(&skip, "skip", 0, "leave out this many jobs at the start: go on after an error")
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// open returns the named file, or stdin for "-", and its size if it is known.
func (a *app) open(name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(a.stdin), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, fmt.Errorf("open input: %w", err)
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return f, 0, nil
	}
	return f, info.Size(), nil
}

// sender sends the jobs of one input in batches.
type sender struct {
	app    *app
	client *client
	in     *json.Decoder
	skip   int
	bar    *progress

	batch    []json.RawMessage
	bytes    int
	read     int // jobs read, with the skipped ones
	accepted []sent
}

// all reads and sends until the input ends.
func (s *sender) all(ctx context.Context) error {
	defer s.bar.end()
	for {
		var job json.RawMessage
		err := s.in.Decode(&job)
		if errors.Is(err, io.EOF) {
			return s.flush(ctx)
		}
		if err != nil {
			if err := s.flush(ctx); err != nil {
				return err
			}
			return s.stopped(fmt.Errorf("job %d of the input, near byte %d, is not JSON", s.read+1, s.in.InputOffset()))
		}
		s.read++
		if s.read <= s.skip {
			continue
		}
		if len(s.batch) == batchJobs || s.bytes+len(job) > batchBytes {
			if err := s.flush(ctx); err != nil {
				return err
			}
		}
		s.batch = append(s.batch, job)
		s.bytes += len(job) + 1
	}
}

// flush sends the batch and prints the ids.
func (s *sender) flush(ctx context.Context) error {
	if len(s.batch) == 0 {
		return nil
	}
	body := make([]byte, 0, s.bytes+2)
	for _, job := range s.batch {
		body = append(append(body, ','), job...)
	}
	body[0] = '['
	body = append(body, ']')
	var got []sent
	if err := s.client.call(ctx, http.MethodPost, "/jobs", body, &got); err != nil {
		return s.stopped(err)
	}
	s.batch, s.bytes = s.batch[:0], 0
	s.accepted = append(s.accepted, got...)
	if !s.app.asJSON() {
		s.bar.end()
		var ids bytes.Buffer
		for _, job := range got {
			ids.WriteString(job.ID + "\n")
		}
		if _, err := s.app.stdout.Write(ids.Bytes()); err != nil {
			return s.stopped(fmt.Errorf("write ids: %w", err))
		}
	}
	s.bar.at(s.in.InputOffset(), strconv.Itoa(len(s.accepted))+" jobs")
	return nil
}

// stopped adds how to go on to an error in the middle of the input.
func (s *sender) stopped(err error) error {
	done := len(s.accepted)
	if done == 0 && s.skip == 0 {
		return err
	}
	return fmt.Errorf("%w; %d jobs were accepted before it: go on with --skip %d", err, done, s.skip+done)
}

// finish waits, if asked to, and says what did not get done.
func (s *sender) finish(ctx context.Context, wait time.Duration) error {
	if s.read == 0 {
		return errors.New("the input holds no job")
	}
	var failed error
	if wait > 0 {
		failed = s.wait(ctx, time.Now().Add(wait))
	}
	if s.app.asJSON() {
		var err error
		if s.read == 1 && len(s.accepted) == 1 {
			err = s.app.printJSON(s.accepted[0])
		} else {
			err = s.app.printJSON(append([]sent{}, s.accepted...))
		}
		if err != nil {
			return err
		}
	}
	return failed
}

// wait asks for the state of all jobs until they end or the deadline is over.
func (s *sender) wait(ctx context.Context, deadline time.Time) error {
	bar := s.app.progress("wait", int64(len(s.accepted)))
	errs := make([]error, len(s.accepted))
	next := make(chan int)
	var group sync.WaitGroup
	for range min(waiters, len(s.accepted)) {
		group.Go(func() {
			for i := range next {
				status, err := waitFor(ctx, s.client, s.accepted[i].ID, deadline)
				s.accepted[i].State, errs[i] = status.State, err
				if status.State != "done" {
					s.accepted[i].Reason = status.last()
				}
			}
		})
	}
	for i := range s.accepted {
		next <- i
		bar.at(int64(i), fmt.Sprintf("%d jobs have ended", i))
	}
	close(next)
	group.Wait()
	bar.end()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("wait: %w", errs[firstOf(errs)])
	}
	return s.report()
}

func firstOf(errs []error) int {
	for i, err := range errs {
		if err != nil {
			return i
		}
	}
	return 0
}

// shown is how many jobs that are not done are named one by one.
const shown = 20

// report names the jobs that are not done.
func (s *sender) report() error {
	left := 0
	for _, job := range s.accepted {
		if job.State == "done" {
			continue
		}
		if left++; left <= shown {
			fmt.Fprintf(s.app.stderr, "sealpost: %s: %s: %s\n", job.ID, job.State, clean(job.Reason))
		}
	}
	if left == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d jobs are not done; `sealpost job show ID` tells why", left, len(s.accepted))
}
