package secrets_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sealpost/sealpost/secrets"
)

// TestHardenProcess hardens a child, since it cannot be undone.
func TestHardenProcess(t *testing.T) {
	if os.Getenv("SEALPOST_TEST_HARDEN") != "" {
		check(t, secrets.HardenProcess(), "harden")
		dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		var core unix.Rlimit
		check(t, unix.Getrlimit(unix.RLIMIT_CORE, &core), "read limit")
		if err != nil || dumpable != 0 || core.Cur != 0 || core.Max != 0 {
			t.Errorf("dumpable %d, %v, core limit %+v, want all 0", dumpable, err, core)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestHardenProcess$", "-test.v")
	cmd.Env = append(os.Environ(), "SEALPOST_TEST_HARDEN=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestHardenProcess") {
		t.Errorf("%v:\n%s", err, out)
	}
}
