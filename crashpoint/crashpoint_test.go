package crashpoint

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var call = regexp.MustCompile(`crashpoint\.Point\(([^)]*)\)`)

// TestNamesAreThoseOfTheSource compares the list with the calls, which must all
// have a literal for a name. A step that can be made in two ways, as a mail by DATA and
// by BDAT, has one name.
func TestNamesAreThoseOfTheSource(t *testing.T) {
	var found []string
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range call.FindAllStringSubmatch(string(text), -1) {
			found = append(found, strings.Trim(m[1], `"`))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	found = slices.Compact(found)
	if diff := cmp.Diff(found, Names()); diff != "" {
		t.Errorf("names (-source +names.go):\n%s", diff)
	}
	if len(found) < 40 {
		t.Errorf("%d places, want 40 at least", len(found))
	}
}

func TestArmRefuses(t *testing.T) {
	for _, spec := range []string{"nowhere", "do-before:0", "do-before:x", ":1", "do-before:"} {
		if Arm(spec) == nil {
			t.Errorf("Arm(%q) took it", spec)
		}
	}
	if armed.Load() != nil {
		t.Error("a refused name has armed a place")
	}
}

// TestTheThirdPassKills runs itself as a child, which dies by its own hand.
func TestTheThirdPassKills(t *testing.T) {
	if spec := os.Getenv("SEALPOST_TEST_CRASH"); spec != "" {
		if err := Arm(spec); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			Point("do-after")
			Point("do-before")
			_, _ = os.Stdout.WriteString("passed\n")
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestTheThirdPassKills$")
	cmd.Env = append(os.Environ(), "SEALPOST_TEST_CRASH=do-before:3")
	out, _ := cmd.Output() // how it ended is looked at below
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Errorf("the child ended with %v, want SIGKILL", cmd.ProcessState)
	}
	if n := strings.Count(string(out), "passed\n"); n != 2 {
		t.Errorf("it passed %d times before, want 2", n)
	}
}

func BenchmarkPointOff(b *testing.B) {
	for b.Loop() {
		Point("do-before")
	}
}
