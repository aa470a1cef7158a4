// Package email sends mail through the SMTP server that a secret names.
//
// A job of type email-smtp is checked and its mail built before anything is
// sent. Connections are kept by secret and version, and every one of them is
// encrypted by TLS 1.2 or better and verified before the login goes out; there
// is no setting that weakens this. What the server answers is judged by the
// table in replies.go.
//
// go-mail builds the messages and makes connections, up to the login. The
// envelope, the text, the pool and the errors are ours: its client sends one
// command a round trip, hides which recipient was refused, keeps sockets open
// after a failed STARTTLS and cannot be cancelled.
package email

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/mailaddress"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// Kind is the type of jobs that this package does.
const Kind = "email-smtp"

// DefaultTimeout is how long one attempt may take, from the look-up of the
// secret to the server's last reply. Submission servers answer within seconds;
// the minutes of RFC 5321, section 4.5.3.2, are for relays between strangers.
const DefaultTimeout = 60 * time.Second

// Vault is the part of the secret store that the sender needs.
type Vault interface {
	// Lookup returns the current version of a secret by its id or key.
	Lookup(ctx context.Context, ref string) (secrets.Ref, error)
	// OpenSMTP unseals it. The sender calls it only to make a connection.
	OpenSMTP(ctx context.Context, ref secrets.Ref, use secrets.Use) (secrets.SMTP, error)
	// OpenText unseals a secret that holds the key of a DKIM signature. It is
	// called for each mail that is signed.
	OpenText(ctx context.Context, ref secrets.Ref, use secrets.Use) (secrets.Text, error)
}

// Config is what an [Action] needs.
type Config struct {
	Vault   Vault
	Guard   *netguard.Guard // nil: the public internet only
	Worker  string          // name of this worker in the audit log
	Logger  *slog.Logger    // nil: no log
	Timeout time.Duration   // one attempt; 0 means [DefaultTimeout]
	Refused actions.Refused // asked before each login; nil: nobody is asked
}

// Action sends mail. It keeps connections; Close ends them.
type Action struct {
	cfg  Config
	pool *pool
	now  func() time.Time

	refusals *actions.Refusals // of credentials that came with requests
}

// New returns an action. It connects to nothing yet.
func New(cfg Config) *Action {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &dialer{guard: cfg.Guard, hello: helloName()}
	return &Action{cfg: cfg, pool: newPool(cfg.Vault, d, cfg.Refused), now: time.Now, refusals: actions.NewRefusals(actions.DirectRefusal)}
}

// helloName returns the name for EHLO: the host's, or localhost when that is
// not fit for the line.
func helloName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	if name, err = mailaddress.ASCIIDomain(name); err != nil {
		return "localhost"
	}
	return name
}

// Kind returns "email-smtp".
func (a *Action) Kind() string { return Kind }

// SecretType returns the type of secrets that the action uses.
func (a *Action) SecretType() secrets.Type { return secrets.TypeSMTP }

// Close ends all kept connections. No Do is running then.
func (a *Action) Close() error {
	a.pool.close()
	return nil
}

// Stats counts connections.
type Stats struct {
	Idle    int // kept, waiting for a mail
	Busy    int // sending a mail
	Dialing int // being made, up to the end of the login
}

// Stats returns the connections of this moment.
func (a *Action) Stats() Stats { return a.pool.stats() }

// Prepare decodes and checks a job; see [Params].
func (a *Action) Prepare(job *queue.Job) (queue.Work, error) {
	pl, err := decode(job)
	if err != nil {
		return nil, err
	}
	return &work{action: a, plan: pl}, nil
}

// work is one checked job.
type work struct {
	action *Action
	plan   *plan
}

// Kind returns the action's kind.
func (w *work) Kind() string { return Kind }

// Lane is kind and secret: jobs for one server share its slots.
func (w *work) Lane() string { return Kind + "/" + w.plan.secret }

// Actions returns nil: it starts none.
func (w *work) Actions() []string { return nil }

// SecretRefs returns the ids or keys of all secrets that the job names.
func (w *work) SecretRefs() []string {
	if w.plan.dkim.secret == "" {
		return []string{w.plan.secret}
	}
	return []string{w.plan.secret, w.plan.dkim.secret}
}

// Recipients returns whom the mail goes to: to, cc and bcc.
func (w *work) Recipients() []string { return w.plan.envelope() }

// maxRedials is how often a mail moves to another connection because the kept
// one turned out to be closed. Nothing was sent then, so no attempt is used.
const maxRedials = 2

// Do sends the mail once.
func (w *work) Do(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, w.action.cfg.Timeout)
	defer cancel()
	ref, err := w.action.cfg.Vault.Lookup(ctx, w.plan.secret)
	if err == nil && ref.Type != secrets.TypeSMTP {
		err = secrets.ErrWrongType
	}
	if err != nil {
		return actions.SecretError(w.plan.secret, secrets.TypeSMTP, err)
	}
	use := secrets.Use{Actor: "worker " + w.action.cfg.Worker, Why: "job " + c.Job.ID}
	key, err := w.findKey(ctx)
	if err != nil {
		return w.refused(ref, err)
	}
	todo := pending(w.plan.recipients(), c.Parts)
	if len(todo) == 0 { // an earlier attempt got as far, and its worker no further
		return w.concluded(ref, c.Parts, &delivery{})
	}
	w.action.pool.account(ref).obey(c.Limit)
	s := &sending{work: w, job: c.Job, to: todo, key: key, use: use}
	for redial := 0; ; redial++ {
		conn, err := w.action.pool.get(ctx, ref, use, redial > 0, s.early)
		if err != nil {
			return w.refused(ref, err)
		}
		l, err := s.write(ctx, conn.account)
		if err != nil {
			conn.release(nil)
			return w.refused(ref, err)
		}
		d, failed := conn.transact(ctx, c.Begin, l)
		conn.finish(l, failed)
		if failed == nil || !d.empty() {
			return w.concluded(conn.account.ref, c.Parts, &d)
		}
		if failed.stale && redial < maxRedials {
			continue
		}
		return w.refused(conn.account.ref, failed)
	}
}

// sending is one attempt, whose mail is built once for each account.
type sending struct {
	*work
	job *queue.Job
	to  []recipient
	key secrets.Ref
	use secrets.Use

	letter *letter
	by     *account // that the letter is for: it may name the sender
}

// write builds the mail for the sender of a, unless that was done.
func (s *sending) write(ctx context.Context, a *account) (*letter, error) {
	if s.letter != nil && s.by == a {
		return s.letter, nil
	}
	key, err := s.openKey(ctx, s.key, s.use)
	if err != nil {
		return nil, err
	}
	l, err := s.work.letter(s.job, a.sender, s.to, key)
	if err != nil {
		return nil, newFailure(ctx, a.ref, stageParams, err, nil)
	}
	s.letter, s.by = l, a
	return l, nil
}

// early builds a mail that waits, if it is small.
func (s *sending) early(ctx context.Context, a *account) (*letter, error) {
	if len(s.plan.text)+len(s.plan.html)+size(s.plan.files) > rideMax {
		return nil, nil
	}
	return s.write(ctx, a)
}

// letter builds the mail. own is the sender of the login.
func (w *work) letter(job *queue.Job, own string, to []recipient, by *dkim.SignOptions) (*letter, error) {
	from, err := w.plan.sender(own)
	if err != nil {
		return nil, err
	}
	raw, err := w.plan.render(job, from, w.action.now(), by)
	if err != nil {
		return nil, err
	}
	return &letter{from: from.Address, to: to, raw: raw, utf8: w.plan.needsUTF8(from), sure: job.OnAmbiguous == "park"}, nil
}

// accepted is the reply of a mail that the server took.
func accepted(ref secrets.Ref, text string) queue.Reply {
	return queue.Reply{
		Secret: ref.ID, SecretVersion: ref.Version, Stage: stageDone, Code: "250",
		Text: text, Certainty: queue.Accepted,
	}
}

// refused turns what went wrong into the outcome of the job.
func (w *work) refused(ref secrets.Ref, err error) (queue.Reply, error) {
	if bad, ok := errors.AsType[*keyError](err); ok {
		return w.badKey(ref, bad)
	}
	f, ok := errors.AsType[*failure](err)
	if !ok {
		if errors.Is(err, errBusy) {
			return queue.Reply{Stage: stageDial, Rule: "pool-busy", Reason: string(actions.Destination)},
				&queue.HandbackError{After: busyDelay, Err: err}
		}
		return actions.SecretError(w.plan.secret, secrets.TypeSMTP, err)
	}
	reply := queue.Reply{
		Secret: f.ref.ID, SecretVersion: f.ref.Version, Stage: f.answer.Stage, Code: f.code(),
		Text: f.text, Rule: f.verdict.Rule, Reason: string(f.verdict.Reason), Certainty: queue.Rejected,
	}
	if reply.Secret == "" {
		reply.Secret, reply.SecretVersion = ref.ID, ref.Version
	}
	if f.verdict.Reason == actions.Ambiguous {
		reply.Certainty = queue.Unknown
	}
	if errors.Is(f, queue.ErrLeaseLost) {
		reply.Reason, reply.Rule = "", ""
		return reply, queue.ErrLeaseLost
	}
	err = actions.Outcome(f.verdict, reply.Secret, reply.SecretVersion, fmt.Errorf("send mail: %w", f))
	return reply, w.action.pool.counted(f, err)
}
