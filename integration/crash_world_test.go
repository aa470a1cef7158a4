package integration_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/crashpoint"
	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/integration/program"
	"github.com/sealpost/sealpost/queue"
)

// crashWorld is what all runs share: a redis-server with a database for each,
// the receivers, and an installation that is copied into each database.
type crashWorld struct {
	base    *site
	dir     string // of scripts
	env     string
	script  string // id of the analysis
	right   string // value of the secret PARK that works
	hook    *sink.HTTP
	queue   *sink.SQS
	values  map[string]any // of the secrets
	faulted sync.Map       // tags and names of mails that had their fault
	stalled sync.Map       // tags

	kills, twice atomic.Int64 // processes that killed themselves, jobs done again

	mu    sync.Mutex
	mails map[string][]string // arrivals by the tag: names, with the due time for those of the action
}

func newCrashWorld(t *testing.T) *crashWorld {
	t.Helper()
	peers.NewRedis(t) // skips where there is none
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	r, err := peers.StartRedis(peers.Dir(t), "--databases", strconv.Itoa(len(crashpoint.Names())+1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Kill() })
	p, err := program.New(path, peers.Dir(t), r.URL())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Init(); err != nil {
		t.Fatal(err)
	}
	w := &crashWorld{base: &site{Site: p, t: t, redis: r, db: r.Client()}, mails: map[string][]string{}, dir: scripts(t)}
	t.Cleanup(func() { _ = w.base.db.Close() })
	w.env = "SEALPOST_SCRIPT_DIR=" + w.dir
	w.receivers()
	srv := w.base.serve("SEALPOST_ROLES=api")
	w.seed()
	if err := srv.Stop(soon); err != nil {
		t.Fatal(err)
	}
	return w
}

// receivers starts what the jobs send to.
func (w *crashWorld) receivers() {
	t := w.base.t
	var err error
	if w.hook, err = sink.StartHTTP(sink.HTTPConfig{Keep: 100_000}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.hook.Close() })
	if w.queue, err = sink.StartSQS(sink.SQSConfig{Keep: 100_000}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.queue.Close() })
	mails, err := sink.StartSMTP(sink.SMTPConfig{Username: "sink", Password: password, Keep: 1, Choose: w.choose, OnMessage: w.arrived})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mails.Close() })
	id, key := w.queue.Keys()
	wrong, right := smtpSecret(mails.Addr(), "sink", "wrong-"+password, mails.CAPEM(), "starttls"), smtpSecret(mails.Addr(), "sink", password, mails.CAPEM(), "starttls")
	text, err := json.Marshal(right)
	if err != nil {
		t.Fatal(err)
	}
	w.right = string(text)
	w.values = map[string]any{"MAIL": right, "LIMIT": right, "CUT": right, "PARK": wrong, "QUEUE": map[string]any{"aws_region": w.queue.Region(), "queue_url": w.queue.CreateQueue("crash"),
		"access_key_id": id, "secret_access_key": key, "endpoint": w.queue.URL()}}
}

// seed stores the secrets and the analysis.
func (w *crashWorld) seed() {
	for key, value := range w.values {
		w.base.put(key, value)
	}
	w.script, _ = w.base.analysis("crash", onTago...)
	place(w.base.t, w.dir, w.script, `echo "$_job_id" >> `+filepath.Join(w.dir, "ran"))
}

// splitSender returns the parts of a sender, "<tag>.<name>@crash.test".
func splitSender(from string) (tag, name string) {
	local, _, _ := strings.Cut(from, "@")
	tag, name, _ = strings.Cut(local, ".")
	return tag, name
}

// choose spoils the mails whose names say so.
func (w *crashWorld) choose(stage, from string, _ []string) (sink.Fault, bool) {
	tag, name := splitSender(from)
	switch {
	case stage == "rcpt" && name == "dead":
		return sink.Fault{Stage: stage, Code: 550, Text: "5.1.1 no such mailbox"}, true
	case stage == "dot" && strings.HasPrefix(name, "again"):
		_, before := w.faulted.LoadOrStore(tag+name, true)
		return sink.Fault{Stage: stage, Code: 451, Text: "4.3.0 local error"}, !before
	case stage == "rcpt" && name == "many":
		_, before := w.faulted.LoadOrStore(tag+name, true)
		return sink.Fault{Stage: stage, Code: 450, Text: "4.7.1 too much mail"}, !before
	case stage == "mail" && strings.HasPrefix(name, "cut"): // nobody answers for a while
		first, _ := w.faulted.LoadOrStore(tag+"cut", time.Now())
		since, ok := first.(time.Time)
		return sink.Fault{Stage: stage, Cut: true}, ok && time.Since(since) < 4*time.Second
	case stage == "mail" && name == "slow": // surely not sent, so that a drain releases it
		_, before := w.stalled.LoadOrStore(tag, true)
		return sink.Fault{Stage: stage, Stall: longest}, !before
	case stage == "dot": // mails that take their time are settled one by one
		return sink.Fault{Stage: stage, Stall: 20 * time.Millisecond}, true
	}
	return sink.Fault{}, false
}

// arrived keeps who has come.
func (w *crashWorld) arrived(m sink.Message) {
	tag, name := splitSender(m.From)
	if name == "tick" {
		_, rest, _ := strings.Cut(string(m.Raw), "Subject: ")
		due, _, _ := strings.Cut(rest, "\r\n")
		name = "tick " + due
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mails[tag] = append(w.mails[tag], name)
}

// seconds returns how often the mail of each due time came.
func (w *crashWorld) seconds(tag string) map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := map[string]int{}
	for _, name := range w.mails[tag] {
		if due, ok := strings.CutPrefix(name, "tick "); ok {
			found[due]++
		}
	}
	return found
}

// run makes a run in a database of its own, with a copy of the installation.
func (w *crashWorld) run(t *testing.T, database, round int, place string, pass int) *crashRun {
	t.Helper()
	p := *w.base.Site
	p.RedisURL = "redis://" + w.base.redis.Addr + "/" + strconv.Itoa(database)
	p.Dir, p.API = peers.Dir(t), ""
	db := redis.NewClient(&redis.Options{Addr: w.base.redis.Addr, DB: database, MaxRetries: -1, DisableIdentity: true})
	t.Cleanup(func() { _ = db.Close() })
	keys, err := w.base.db.Keys(t.Context(), "*").Result()
	if err = errors.Join(err, db.FlushDB(t.Context()).Err()); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if err := w.base.db.Copy(t.Context(), key, key, database, true).Err(); err != nil {
			t.Fatal(err)
		}
	}
	return &crashRun{site: &site{Site: &p, t: t, redis: w.base.redis, db: db}, world: w, queue: queue.NewClient(db, queue.ClientOptions{}),
		place: place, pass: pass, tag: fmt.Sprintf("r%dp%d", round, database)}
}

// counts returns how often each job of a run arrived, by its name.
func (w *crashWorld) counts(t *testing.T, tag string) map[string]int {
	t.Helper()
	found := map[string]int{}
	w.mu.Lock()
	for _, name := range w.mails[tag] {
		if !strings.HasPrefix(name, "tick ") {
			found[name]++
		}
	}
	w.mu.Unlock()
	note := func(id string) {
		if got, name, _ := strings.Cut(id, "."); got == tag {
			found[name]++
		}
	}
	for _, m := range w.queue.Messages("crash") {
		note(m.Attributes["sealpost-job-id"])
	}
	for _, r := range w.hook.Requests() {
		note(strings.Trim(r.Header.Get("Idempotency-Key"), `"`))
	}
	ran, err := os.ReadFile(filepath.Join(w.dir, "ran"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for id := range strings.Lines(string(ran)) {
		note(strings.TrimSpace(id))
	}
	return found
}

// idIn is the id in the result of a POST.
func idIn(t *testing.T, result json.RawMessage) string {
	t.Helper()
	var made struct {
		ID     string `json:"id"`
		Action string `json:"action"`
	}
	if err := json.Unmarshal(result, &made); err != nil {
		t.Fatal(err)
	}
	return made.ID + made.Action // one of them is there
}
