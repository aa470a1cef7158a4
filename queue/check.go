package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	checkPage   = 100  // jobs that one script call looks at: a script blocks its Redis
	maxFindings = 1000 // told one by one; the others are counted
	scanPage    = 500  // keys of all kinds that one SCAN looks at
)

// CheckOptions say how to [Check].
type CheckOptions struct {
	Prefix     string // first part of every key; "" means DefaultPrefix
	Partitions int    // 0 means 1
	Repair     bool   // mend what can be mended without a person; false changes nothing
	// LogRetention is that of the workers: how long a job that has ended can be
	// told from one that was lost. 0 means DefaultLogRetention; below 0 there is no
	// log, and ids are not checked.
	LogRetention time.Duration
	// Looked is told how much was looked at so far, after each page; it may be
	// nil, and may wait to go easy on Redis. Its error ends the check.
	Looked func(n int64) error
}

// Report is what a check has found.
type Report struct {
	Looked   int64              `json:"looked"` // entries, members and fields
	Findings []Finding          `json:"findings"`
	Found    map[string]Counted `json:"found"` // by Finding.Word, of all, also those that Findings has no room for
}

// Counted is how often something was found.
type Counted struct {
	Found  int64 `json:"found"`
	Mended int64 `json:"mended"`
}

// Finding is one thing that the protocol never leaves.
type Finding struct {
	Word      string `json:"finding"`
	Partition int    `json:"partition"`
	ID        string `json:"id"` // of the job, or the name of a parked set
	Mended    bool   `json:"mended"`
	Text      string `json:"text"`
}

// Left is how much was found and not mended.
func (r *Report) Left() (n int64) {
	for _, c := range r.Found {
		n += c.Found - c.Mended
	}
	return n
}

// FindingWords are all words of a [Finding], in order.
func FindingWords() []string { return slices.Sorted(maps.Keys(findingTexts())) }

func findingText(word string) string { return findingTexts()[word] }

// findingTexts says what each word of check.lua means, and what mending does.
func findingTexts() map[string]string {
	return map[string]string{
		"stray":        "was given to a worker and is in no pending list; mending makes it ready",
		"two-places":   "the job is in two places; look at both before you cancel or remove one",
		"pending-left": "is pending without an entry; mending forgets it",
		"unreadable":   "its record is not ours; whoever wrote it must take it away, or it stops delayed jobs",
		"unlisted":     "a parked set that no list names; mending lists it",
		"body-left":    "the job is in the stream and its old record was left; mending removes the record",
		"no-place":     "the job is in no place; mending makes it due now",
		"member-left":  "the job is in the stream and its old place was left; mending removes that",
		"body-lost":    "the place of a job of which nothing is left; mending removes the place",
		"parks-left":   "an empty parked set in the list; mending takes it off",
		"moved-left":   "tells where an entry went that is gone; mending forgets it",
		"cancel-left":  "a cancellation of a job that is not in the stream; mending forgets it",
		"dedup-lost":   "its id is taken, and of the job nothing is left, nor a record of what became of it: ask its producer",
		"mark-left":    "the mark of a step of a job that is not in the stream; mending forgets it",
	}
}

// Check looks at every job of the queue for what the moves of DESIGN.md never
// leave: the trace of a Redis that lost a part of its data, of somebody who
// wrote to it, or of a mistake of ours. Each page is one atomic script, so jobs
// that move meanwhile are no findings. It can be stopped and run again.
func Check(ctx context.Context, rdb redis.UniversalClient, o CheckOptions) (Report, error) {
	c := checker{rdb: rdb, o: o, report: Report{Findings: []Finding{}, Found: map[string]Counted{}}}
	client := NewClient(rdb, ClientOptions{Prefix: o.Prefix, Partitions: o.Partitions})
	for p, k := range client.all(ctx) {
		last, err := client.delivered(ctx, p)
		if err != nil {
			return c.report, fmt.Errorf("check queue: %w", err)
		}
		if err := c.partition(ctx, k, last); err != nil {
			return c.report, fmt.Errorf("check queue: %w", err)
		}
	}
	if o.LogRetention >= 0 {
		if err := client.dedupKeys(ctx, func(k keys, page []string) error { return c.ids(ctx, k, page) }); err != nil {
			return c.report, fmt.Errorf("check queue: ids: %w", err)
		}
	}
	return c.report, nil
}

// ids checks a page of the ids of producers.
func (c *checker) ids(ctx context.Context, k keys, page []string) error {
	kept := c.o.LogRetention
	if kept == 0 {
		kept = DefaultLogRetention
	}
	args := []any{"dedup", "", checkPage, 0, k.parkedPrefix(), k.logPrefix(), kept.Milliseconds(), len(k.dedupPrefix())}
	_, err := c.page(ctx, k, k.with(append([]string{k.dropped()}, page...)...), args)
	return err
}

// dedupKeys calls f with the dedup keys of a page of the keyspace, by partition, until
// all primaries were gone through. Keys that come or go meanwhile may be missing.
func (c *Client) dedupKeys(ctx context.Context, f func(keys, []string) error) error {
	nodes, err := c.primaries(ctx)
	if err != nil {
		return err
	}
	all := c.all(ctx)
	for _, node := range nodes {
		for cursor := uint64(0); ; {
			page, next, err := node.Scan(ctx, cursor, all[0].anyDedup(), scanPage).Result()
			if err != nil {
				return err
			}
			byPartition := map[int][]string{}
			for _, key := range page {
				if p, ok := all[0].partitionOf(key); ok && p < len(all) {
					byPartition[p] = append(byPartition[p], key)
				}
			}
			for p := range all {
				for list := byPartition[p]; len(list) > 0; {
					n := min(len(list), checkPage)
					if err := f(all[p], list[:n]); err != nil {
						return err
					}
					list = list[n:]
				}
			}
			if cursor = next; cursor == 0 {
				break
			}
		}
	}
	return nil
}

// primaries lists the nodes that have the keys.
func (c *Client) primaries(ctx context.Context) (list []*redis.Client, err error) {
	var mu sync.Mutex
	err = c.eachPrimary(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		list = append(list, node)
		return nil
	})
	return list, err
}

// checker is one run of Check.
type checker struct {
	rdb    redis.UniversalClient
	o      CheckOptions
	report Report
}

// partition checks the bodies before the sets: a set that is not listed is
// found by the bodies of its jobs.
func (c *checker) partition(ctx context.Context, k keys, last string) error {
	for _, what := range []string{"stream", "pending", "body"} {
		if err := c.place(ctx, k, what, k.jobs(), last); err != nil {
			return err
		}
	}
	names, err := c.rdb.HKeys(ctx, k.parks()).Result()
	if err != nil {
		return err
	}
	sets := []string{k.due(), k.dead()}
	for _, name := range slices.Sorted(slices.Values(names)) {
		sets = append(sets, k.parked(name))
	}
	for _, set := range sets {
		if err := c.place(ctx, k, "set", set, last); err != nil {
			return err
		}
	}
	for _, what := range []string{"parks", "moved", "cancel", "mark"} {
		if err := c.place(ctx, k, what, k.jobs(), last); err != nil {
			return err
		}
	}
	return nil
}

// place checks one place page by page.
func (c *checker) place(ctx context.Context, k keys, what, set, last string) error {
	mend := 0
	if c.o.Repair {
		mend = 1
	}
	for cursor := ""; ; {
		args := []any{what, cursor, checkPage, mend, k.parkedPrefix(), last}
		next, err := c.page(ctx, k, k.with(set), args)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if cursor = next; cursor == "" {
			return nil
		}
	}
}

// page is one call of the script. It returns where the next one goes on.
func (c *checker) page(ctx context.Context, k keys, names []string, args []any) (next string, err error) {
	reply, err := scriptCheck.Run(ctx, c.rdb, names, args...).Slice()
	if err != nil {
		return "", err
	}
	const head, each = 2, 3
	if len(reply) < head || (len(reply)-head)%each != 0 {
		return "", errors.New("answer of another form")
	}
	looked, _ := reply[1].(int64)
	c.report.Looked += looked
	for i := head; i < len(reply); i += each {
		word, _ := reply[i].(string)
		id, _ := reply[i+1].(string)
		mended, _ := reply[i+2].(int64)
		c.found(k.partition, word, id, mended == 1)
	}
	next, _ = reply[0].(string)
	if c.o.Looked == nil {
		return next, nil
	}
	return next, c.o.Looked(c.report.Looked)
}

func (c *checker) found(p int, word, id string, mended bool) {
	n := c.report.Found[word]
	n.Found++
	if mended {
		n.Mended++
	}
	c.report.Found[word] = n
	if len(c.report.Findings) == maxFindings {
		return
	}
	if isEntryID(id) {
		id = publicID(p, id)
	}
	c.report.Findings = append(c.report.Findings, Finding{Word: word, Partition: p, ID: clip(id), Mended: mended, Text: findingText(word)})
}

// String is one line for a log: each word and how often it was found.
func (r Report) String() string {
	found := map[string]int64{}
	for word, n := range r.Found {
		found[word] = n.Found
	}
	return words(found)
}

func words(found map[string]int64) string {
	var list []string
	for _, word := range slices.Sorted(maps.Keys(found)) {
		list = append(list, fmt.Sprintf("%s %d", word, found[word]))
	}
	return strings.Join(list, ", ")
}
