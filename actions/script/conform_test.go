package script

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/actions/actionstest"
)

func TestConform(t *testing.T) { actionstest.Conform(t, fixture) }

// fixture is an analysis whose script is the peer: it writes down the job's id,
// and does as the files beside it say.
func fixture(t *testing.T) actionstest.Fixture {
	w := newWorld(t)
	state := t.TempDir()
	w.nodes.env = map[string]string{"OWN_STATE": state, "API_KEY": "canary/Secret+4711=", "PASSWORD": "hunter2-conform-canary"}
	w.script(idA+".sh", `echo "$_job_id" >> "$OWN_STATE/keys"
[ -e "$OWN_STATE/hang" ] && exec sleep 60
[ -e "$OWN_STATE/echo" ] && { env; echo "$API_KEY $PASSWORD $T_ANALYSIS_TOKEN"; echo "$API_KEY" | base64; exit 3; }
exit 0`)
	touch := func(name string) {
		if err := os.WriteFile(filepath.Join(state, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return actionstest.Fixture{
		Action: w.action, Job: job("conform", idA), NoSecret: true,
		Secrets: []string{"canary/Secret+4711=", "hunter2-conform-canary", token},
		Keys: func() []string {
			text, err := os.ReadFile(filepath.Join(state, "keys"))
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			return strings.Fields(string(text))
		},
		Hang: func() { touch("hang") },
		Echo: func() { touch("echo") },
	}
}
