package house_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/integration/house"
)

const (
	root    = "../.."
	reveals = "../../docs/reveals.txt"
)

var update = flag.Bool("update", false, "rewrite docs/reveals.txt")

func TestTheModuleKeepsTheRules(t *testing.T) {
	files, err := house.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("read only %d files", len(files))
	}
	rules := []struct {
		name string
		rule func([]house.File) []house.Finding
	}{
		{"imports point down", house.Imports},
		{"files and functions are short", house.Sizes},
		{"exported names have comments", house.Comments},
		{"no init and no changing globals", house.Globals},
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, f := range r.rule(files) {
				t.Error(f)
			}
		})
	}
}

func TestRevealsAreListed(t *testing.T) {
	files, err := house.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(house.Reveals(files), "\n") + "\n"
	if *update {
		if err := os.WriteFile(reveals, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(reveals)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("places that reveal a value (-listed +found); look at each, then make reveals:\n%s", diff)
	}
}

func TestEachRuleCanFail(t *testing.T) {
	long := "package queue\n\n// F is long.\nfunc F() {\n" + strings.Repeat("\tprintln()\n", 60) + "}\n"
	tests := []struct {
		name string
		path string
		text string
		rule func([]house.File) []house.Finding
		want string
	}{
		{"queue knows secrets", "queue/a.go", "package queue\nimport _ \"github.com/sealpost/sealpost/secrets\"", house.Imports, "imports point down"},
		{"a sender knows the server", "actions/email/a.go", "package email\nimport _ \"github.com/sealpost/sealpost/server\"", house.Imports, "layer 3 imports server of layer 4"},
		{"a sender knows another", "actions/email/a.go", "package email\nimport _ \"github.com/sealpost/sealpost/actions/sqs\"", house.Imports, "layer 3 imports actions/sqs of layer 3"},
		{"a test helper in the program", "server/a.go", "package server\nimport _ \"github.com/sealpost/sealpost/queue/queuetest\"", house.Imports, "for tests"},
		{"containers outside integration", "queue/a.go", "package queue\nimport _ \"github.com/testcontainers/testcontainers-go\"", house.Imports, "outside integration/"},
		{"a package without a layer", "util/a.go", "package util", house.Imports, "in no layer"},
		{"a command as a library", "integration/x/a.go", "package x\nimport _ \"github.com/sealpost/sealpost/cmd/sealpost\"", house.Imports, "imports a command"},
		{"a long file", "queue/a.go", "package queue\n" + strings.Repeat("\n", 400), house.Sizes, "401 lines"},
		{"a long function", "queue/a.go", long, house.Sizes, "F has 62 lines"},
		{"a long test", "queue/a_test.go", long, house.Sizes, "F has 62 lines"},
		{"a wide interface", "queue/a.go", "package queue\ntype i interface{ A(); B(); C(); D() }", house.Sizes, "4 methods"},
		{"an exported name alone", "queue/a.go", "// Package queue is.\npackage queue\nfunc Open() {}", house.Comments, "exported Open"},
		{"a package alone", "queue/a.go", "package queue", house.Comments, "package has no doc comment"},
		{"an init", "queue/a.go", "package queue\nfunc init() {}", house.Globals, "init function"},
		{"a changing global", "queue/a.go", "package queue\nvar n int\nfunc f() { n = 2 }", house.Globals, "package variable n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := house.Parse(tt.path, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			found := tt.rule([]house.File{f})
			if !slices.ContainsFunc(found, func(f house.Finding) bool { return strings.Contains(f.String(), tt.want) }) {
				t.Errorf("got %v, want one with %q", found, tt.want)
			}
		})
	}
}

func TestRightImportsPass(t *testing.T) {
	for path, imports := range map[string]string{
		"actions/a.go":         "queue",
		"secrets/a.go":         "secrets/redact",
		"actions/email/a.go":   "actions",
		"cmd/sealpost/a.go":    "server",
		"queue/queuetest/a.go": "queue",
	} {
		f, err := house.Parse(path, "package x\nimport _ \"github.com/sealpost/sealpost/"+imports+"\"")
		if err != nil {
			t.Fatal(err)
		}
		if found := house.Imports([]house.File{f}); len(found) != 0 {
			t.Errorf("%s importing %s got %v, want nothing", path, imports, found)
		}
	}
}

func TestRowsOfATestTableAreNoCode(t *testing.T) {
	rows := "package queue\n\nfunc TestF() {\n\t_ = []int{\n" + strings.Repeat("\t\t1,\n", 80) + "\t}\n}\n"
	f, err := house.Parse("queue/a_test.go", rows)
	if err != nil {
		t.Fatal(err)
	}
	if found := house.Sizes([]house.File{f}); len(found) != 0 {
		t.Errorf("got %v, want nothing", found)
	}
}

func TestRevealsNameTheFunction(t *testing.T) {
	f, err := house.Parse("secrets/a.go", "package secrets\nfunc (s *Store) open() { _ = s.v.Reveal() }\nfunc seal() { v.Reveal() }")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"secrets/a.go Store.open", "secrets/a.go seal"}
	if diff := cmp.Diff(want, house.Reveals([]house.File{f})); diff != "" {
		t.Errorf("Reveals (-want +got):\n%s", diff)
	}
}
