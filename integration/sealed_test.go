package integration_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/integration/program"
)

func TestWrongMasterKeySeals(t *testing.T) {
	s := newSite(t)
	s.serve("SEALPOST_ROLES=api")
	mails := s.mailSink()
	id := s.xadd(job(mailAction(nil), nil))

	wrong := filepath.Join(s.Dir, "wrong.key")
	if err := program.WriteKey(wrong); err != nil {
		t.Fatal(err)
	}
	sealed := s.serveAlive("SEALPOST_MASTER_KEY_FILE=" + wrong)
	unclaimed := func() error {
		if status, text, err := sealed.Get("/readyz"); err != nil || status != http.StatusServiceUnavailable {
			return fmt.Errorf("/readyz answers %d %q, %v, want 503", status, text, err)
		}
		if status, _, err := sealed.Get("/livez"); err != nil || status != http.StatusOK {
			return fmt.Errorf("/livez answers %d, %v, want 200", status, err)
		}
		// XPENDING without a group is an error: then there is no claim either.
		p, err := s.db.XPending(t.Context(), stream, "w").Result()
		if err == nil && p.Count != 0 {
			return fmt.Errorf("%d jobs are claimed", p.Count)
		}
		return nil
	}
	// Longer than the 5 s after which a sealed process tries again.
	holds(t, 7*time.Second, "a sealed process claims no job", unclaimed)

	site := *s.Site
	site.API = sealed.API
	if r := site.Run("", "secret", "list"); r.Code != 5 {
		t.Errorf("secret list on a sealed process: exit %d, want 5 (sealed): %s", r.Code, r.Stderr)
	}
	if n := mails.Counts().Connections; n != 0 {
		t.Errorf("the mail server saw %d connections, want none", n)
	}
	s.serve()
	s.becomes(id, "done")
}

func TestTwoInitsMakeOneKeyring(t *testing.T) {
	s := newSite(t) // has run init once
	r := s.Run("", "init")
	if r.Code != 1 {
		t.Errorf("the second init: exit %d, want 1: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	srv := s.serve()
	peers.Eventually(t, soon, "readiness after the second init", srv.Ready)
}
