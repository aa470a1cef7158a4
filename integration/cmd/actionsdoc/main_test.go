package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/builtin"
)

func builtins() *actions.Registry { return actions.NewRegistry(builtin.New(builtin.Deps{})...) }

func TestTheDocumentIsOfTheseActions(t *testing.T) {
	want := document(builtins())
	got, err := os.ReadFile("../../../docs/actions.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("docs/actions.md is old, run make docs (-file +actions):\n%s", diff)
	}
}

func TestEveryTypeSaysAllThatPeopleAsk(t *testing.T) {
	for _, s := range builtins().Specs() {
		for name, text := range map[string]string{
			"title": s.Title, "limits": s.Limits, "retries": s.Retries, "duplicates": s.Duplicates, "key": s.Key,
		} {
			if !strings.HasSuffix(text, ".") {
				t.Errorf("%s: %s: got %q, want a sentence", s.Kind, name, text)
			}
		}
		for _, f := range s.Fields {
			if f.Doc == "" || strings.HasPrefix(formWords(f), "form ") {
				t.Errorf("%s: field %s: got the words %q and %q", s.Kind, f.Name, f.Doc, formWords(f))
			}
		}
		for _, name := range s.Either {
			if !strings.Contains(needOf(s, actions.Field{Name: name}), "or ") {
				t.Errorf("%s: %s is not said to be one of several", s.Kind, name)
			}
		}
	}
}

func TestTheTablesAreTables(t *testing.T) {
	text := document(builtins())
	columns := 0
	for i, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if columns != 0 && n != columns || !strings.HasSuffix(line, "|") {
			t.Errorf("line %d has %d bars, want %d: %s", i+1, n, columns, line)
		}
		columns = n
	}
	for _, kind := range builtins().Catalog().Kinds() {
		if !strings.Contains(text, "`"+kind+"`") {
			t.Errorf("%s is not in the document", kind)
		}
	}
}
