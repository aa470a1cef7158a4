package panel

import (
	"errors"
	"net/http"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

// testSecret opens the current version, or with the field staged the staged one,
// connects and logs in as a sender would, sends nothing, keeps what came of it
// with the version and shows each step.
func (c *call) testSecret() error {
	return c.withSecret(func(s secrets.Secret) error {
		tester, ok := c.panel.testers.Tester(s.Type)
		if !ok {
			return refuse(http.StatusConflict, "Nothing to try", "A secret of type "+string(s.Type)+" has no server that it could be tried on.")
		}
		ref, err := s.Ref, error(nil)
		if c.r.PostForm.Get("staged") != "" {
			ref, err = c.vault.Secrets.Staged(c.r.Context(), s.ID)
		}
		if err != nil {
			return err
		}
		steps := tester.Test(c.r.Context(), ref)
		verdict := actions.VerdictOf(steps)
		// A conflict: another version took its place during the test.
		if err := c.vault.Secrets.NoteVerdict(c.r.Context(), c.actor(), ref, verdict); err != nil && !errors.Is(err, secrets.ErrConflict) {
			return err
		}
		v, err := c.viewSecret(s)
		if err != nil {
			return err
		}
		v.Tested, v.Passed, v.Steps, v.TestedVersion = true, verdict.OK, steps, ref.Version
		return c.render(http.StatusOK, "secret", s.Key, v)
	})
}

// promoteSecret makes the staged version current if its last test passed. Whoever
// wants it without uses the command.
func (c *call) promoteSecret() error {
	made, err := c.vault.Secrets.Promote(c.r.Context(), c.actor(), c.r.PathValue("id"), false)
	if errors.Is(err, secrets.ErrNotReady) || errors.Is(err, secrets.ErrOtherType) {
		return refuse(http.StatusConflict, "Not promoted", plain(err, secrets.ErrNotReady)+". Force it by sealpost secret promote --force.")
	}
	if err != nil {
		return err
	}
	return c.redirect("/panel/secrets/"+made.ID, "version")
}

func (c *call) rollbackSecretPage() error {
	return c.withSecret(func(s secrets.Secret) error {
		old, err := c.vault.Secrets.Previous(c.r.Context(), s.ID)
		if errors.Is(err, secrets.ErrNotFound) {
			return refuse(http.StatusNotFound, "Nothing to roll back to", "The version before is kept for 7 days.")
		}
		if err != nil {
			return err
		}
		return c.confirm(confirmView{Title: "Roll back " + s.Key, Question: "Roll " + s.Key + " back?", Button: "Roll back", Back: "/panel/secrets/" + s.ID,
			Text: "The value of the version before, stored " + old.Updated.Format("2006-01-02 15:04") + " UTC, becomes current again, as a new version. Parked jobs go on with it."})
	})
}

func (c *call) rollbackSecret() error {
	made, err := c.vault.Secrets.Rollback(c.r.Context(), c.actor(), c.r.PathValue("id"))
	if err != nil {
		return err
	}
	return c.redirect("/panel/secrets/"+made.ID, "version")
}

func (c *call) discardSecretPage() error {
	return c.withSecret(func(s secrets.Secret) error {
		return c.confirm(confirmView{Title: "Discard the staged version of " + s.Key, Question: "Discard the staged version of " + s.Key + "?",
			Button: "Discard", Danger: true, Back: "/panel/secrets/" + s.ID, Text: "Its value is lost for good. The current version stays."})
	})
}

func (c *call) discardSecret() error {
	id := c.r.PathValue("id")
	if err := c.vault.Secrets.Discard(c.r.Context(), c.actor(), id); err != nil {
		return err
	}
	return c.redirect("/panel/secrets/"+id, "deleted")
}
