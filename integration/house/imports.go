package house

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Module is the import path that all packages here share.
const Module = "github.com/sealpost/sealpost"

// layer is one row of the table of who may import whom.
type layer struct {
	dir  string // a package, or with /... all below it
	rank int
}

// layers is the whole module. A package imports only packages of a smaller
// rank, so that the import graph points down and no two packages of one rank
// know each other. First match wins.
func layers() []layer {
	return []layer{
		{"cmd/sealpost", 6},
		{"drill", 5},
		{"bench", 5},
		{"server/...", 4},
		{"actions/builtin", 4},
		{"access", 3},
		{"actions/actionstest", 3},
		{"access/child", 0},
		{"actions/netguard", 0},
		{"actions", 1},
		{"actions/webclient", 2}, // what HTTP senders share
		{"actions/mailaddress", 2},
		{"actions/provider", 2},
		{"actions/...", 3}, // one folder for each sender, and the sinks
		{"config", 1},
		{"queue", 0},
		{"queue/model", 0},     // knows nothing of the queue
		{"faultline", -1},      // a TCP line that goes wrong, for tests and the drill
		{"jsonscan", -1},       // takes JSON apart, once
		{"crashpoint", -1},     // places where tests kill a process
		{"secrets/redact", -1}, // the type that never prints; everybody has values
		{"secrets", 0},
		{"queue/queuetest", 1},
		{"queue/spool", 1},
		{"secrets/secretstest", 1},
		{"access/accesstest", 4},
		{"examples/...", 7},
		{"integration/...", 7},
	}
}

// rank is the layer of a package, and whether the table has it.
func rank(dir string) (int, bool) {
	for _, l := range layers() {
		below, whole := strings.CutSuffix(l.dir, "/...")
		if dir == l.dir || whole && (dir == below || strings.HasPrefix(dir, below+"/")) {
			return l.rank, true
		}
	}
	return 0, false
}

// testOnly says whether a package exists for tests: its name ends in "test",
// as in httptest.
func testOnly(dir string) bool { return strings.HasSuffix(path.Base(dir), "test") }

// restricted are modules that only one part of the source may import.
func restricted() []struct{ module, only, why string } {
	return []struct{ module, only, why string }{
		{"github.com/testcontainers/", "integration/", "it is for tests in containers"},
		{"github.com/spf13/cobra", "cmd/", "commands live there"},
		{"github.com/alicebob/miniredis", "cmd/", "only dev mode runs on memory"},
		{"github.com/prometheus/", "server", "metrics live there"},
		{"github.com/tink-crypto/", "secrets", "all cryptography of values lives there"},
		{"github.com/wneessen/go-mail", "actions/email", "mail is sent there"},
		{"github.com/emersion/go-msgauth", "actions/email", "mail is signed there"},
		{"github.com/aws/", "actions/sqs", "SQS is spoken there"},
		{"github.com/hashicorp/go-retryablehttp", "actions/webclient", "requests of senders are made there"},
		{"github.com/robfig/cron", "actions/", "expressions are parsed there, and due times are ours"},
	}
}

// Imports finds imports that do not point down, packages that the table lacks,
// and modules outside their place. Tests may import what they like, but for
// modules outside their place in integration.
func Imports(files []File) []Finding {
	var found []Finding
	for _, f := range files {
		if f.test() {
			continue
		}
		from, ok := rank(f.dir())
		if !ok {
			found = append(found, Finding{f.dir(), "is in no layer: add it to layers in integration/house/imports.go"})
			continue
		}
		for _, spec := range f.ast.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue // the parser has checked it
			}
			if says := f.wrongImport(name, from); says != "" {
				found = append(found, Finding{f.at(spec), says})
			}
		}
	}
	return found
}

// wrongImport says what is wrong with one import, "" if nothing.
func (f File) wrongImport(name string, from int) string {
	dir, ours := strings.CutPrefix(name, Module+"/")
	if !ours {
		return f.outOfPlace(name)
	}
	to, ok := rank(dir)
	integration := strings.HasPrefix(f.Path, "integration/")
	switch {
	case !ok:
		return "imports " + dir + ", which is in no layer"
	case integration && strings.HasPrefix(dir, "integration/"):
		return "" // one room
	case strings.HasPrefix(dir, "cmd/"):
		return "imports a command"
	case testOnly(dir) && !testOnly(f.dir()) && !integration:
		return "imports " + dir + ", which is for tests"
	case to >= from:
		return fmt.Sprintf("layer %d imports %s of layer %d: imports point down", from, dir, to)
	}
	return ""
}

// outOfPlace says what is wrong with the import of another module. Packages
// for tests and integration build peers of their own and are free.
func (f File) outOfPlace(name string) string {
	if testOnly(f.dir()) || strings.HasPrefix(f.Path, "integration/") {
		return ""
	}
	for _, r := range restricted() {
		if strings.HasPrefix(name, r.module) && !strings.HasPrefix(f.Path, r.only) {
			return "imports " + name + " outside " + r.only + ": " + r.why
		}
	}
	return ""
}
