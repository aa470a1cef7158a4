package builtin

import (
	"os"
	"path"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/actions"
)

// helpers are the folders below actions that send nothing.
var helpers = []string{"actionstest", "builtin", "mailaddress", "netguard", "provider", "sink", "timetable", "webclient"}

func TestEverySenderIsInTheList(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(helpers, e.Name()) && hasSource(t, e.Name()) {
			want = append(want, e.Name())
		}
	}
	var got []string
	for _, a := range New(Deps{}) {
		got = append(got, path.Base(reflect.TypeOf(a).Elem().PkgPath()))
	}
	slices.Sort(got)
	got = slices.Compact(got) // one folder may have several kinds
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("the list differs from the folders below actions:\n%s", d)
	}
}

// hasSource reports whether the folder is a package.
func hasSource(t *testing.T, dir string) bool {
	t.Helper()
	entries, err := os.ReadDir(path.Join("..", dir))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return path.Ext(e.Name()) == ".go" })
}

func TestTheListMakesARegistry(t *testing.T) {
	r := actions.NewRegistry(New(Deps{})...)
	if d := cmp.Diff(r.Kinds(), []string{"email-sendgrid", "email-smtp", "post", "queue-sqs", "script", "sms-twilio", "whatsapp-twilio"}); d != "" {
		t.Error(d)
	}
	for _, typ := range []string{"smtp", "sqs"} {
		found := false
		for _, a := range New(Deps{}) {
			tester, ok := a.(actions.Tester)
			found = found || ok && string(tester.SecretType()) == typ
		}
		if !found {
			t.Errorf("secrets of type %s cannot be tested", typ)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
