// Command actionsdoc writes docs/actions.md: what each type of action takes and
// promises, from the descriptions by which stored actions are checked.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/builtin"
)

func main() {
	out := flag.String("out", "docs/actions.md", "the file to write")
	flag.Parse()
	if err := write(*out); err != nil {
		fmt.Fprintln(os.Stderr, "actionsdoc:", err)
		os.Exit(1)
	}
}

func write(path string) error {
	text := document(actions.NewRegistry(builtin.New(builtin.Deps{})...))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	return nil
}
