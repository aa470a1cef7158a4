package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const pkg = `"Package":"github.com/sealpost/sealpost/queue"`

func TestCount(t *testing.T) {
	tests := []struct {
		name       string
		events     []string
		want       string
		wantFailed bool
	}{
		{
			name: "a pass and a skip with its reason",
			events: []string{
				`{"Action":"run",` + pkg + `,"Test":"TestA"}`, `{"Action":"pass",` + pkg + `,"Test":"TestA"}`,
				`{"Action":"run",` + pkg + `,"Test":"TestB"}`,
				`{"Action":"output",` + pkg + `,"Test":"TestB","Output":"    a_test.go:7: skipped: no engine\n"}`,
				`{"Action":"output",` + pkg + `,"Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}`,
				`{"Action":"skip",` + pkg + `,"Test":"TestB"}`,
				`{"Action":"pass",` + pkg + `,"Elapsed":1.25}`,
			},
			want: "ok   queue                                       1.2s\nskip queue TestB: no engine\n1 passed, 0 failed, 1 skipped\n",
		},
		{
			name: "subtests count, their parent does not",
			events: []string{
				`{"Action":"run",` + pkg + `,"Test":"TestA"}`, `{"Action":"run",` + pkg + `,"Test":"TestA/x"}`,
				`{"Action":"output",` + pkg + `,"Test":"TestA/x","Output":"got 1\n"}`,
				`{"Action":"fail",` + pkg + `,"Test":"TestA/x"}`, `{"Action":"fail",` + pkg + `,"Test":"TestA"}`,
			},
			want:       "--- FAIL queue TestA/x\ngot 1\n--- FAIL queue TestA\n0 passed, 1 failed, 0 skipped\n",
			wantFailed: true,
		},
		{
			name: "the seeds of a fuzz target are one test",
			events: []string{
				`{"Action":"run",` + pkg + `,"Test":"FuzzA"}`, `{"Action":"run",` + pkg + `,"Test":"FuzzA/seed#0"}`,
				`{"Action":"pass",` + pkg + `,"Test":"FuzzA/seed#0"}`, `{"Action":"pass",` + pkg + `,"Test":"FuzzA"}`,
			},
			want: "1 passed, 0 failed, 0 skipped\n",
		},
		{
			name: "a package that does not build",
			events: []string{
				`{"ImportPath":"x","Action":"build-output","Output":"a.go:1: undefined\n"}`,
				`{"Action":"fail",` + pkg + `,"FailedBuild":"x"}`,
			},
			want:       "FAIL queue does not build\na.go:1: undefined\n0 passed, 1 failed, 0 skipped\n",
			wantFailed: true,
		},
		{
			name: "a panic that ends the package",
			events: []string{
				`{"Action":"run",` + pkg + `,"Test":"TestA"}`,
				`{"Action":"output",` + pkg + `,"Test":"TestA","Output":"panic: boom\n"}`,
				`{"Action":"fail",` + pkg + `,"Elapsed":1}`,
			},
			want:       "panic: boom\nFAIL queue                                       1.0s\n0 passed, 1 failed, 0 skipped\n",
			wantFailed: true,
		},
		{name: "nothing ran", events: nil, want: "0 passed, 0 failed, 0 skipped\n", wantFailed: true},
		{name: "text that is no event", events: []string{"go: trouble"}, want: "go: trouble\n0 passed, 0 failed, 0 skipped\n", wantFailed: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			failed, err := run(strings.NewReader(strings.Join(tt.events, "\n")), &out)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
			if failed != tt.wantFailed {
				t.Errorf("failed = %v, want %v", failed, tt.wantFailed)
			}
		})
	}
}
