package server

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// responder is a result that writes its own answer, without the envelope.
type responder interface {
	respond(w http.ResponseWriter, r *http.Request)
}

// plainAnswer is an answer without the envelope.
type plainAnswer struct {
	status int
	media  string // "" with an empty body
	etag   string
	body   []byte
}

func (p plainAnswer) respond(w http.ResponseWriter, _ *http.Request) {
	if p.etag != "" {
		w.Header().Set("ETag", p.etag)
	}
	if p.media != "" {
		w.Header().Set("Content-Type", p.media)
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(p.body) // the client has gone: nobody to tell
}

// variableName is what a POSIX shell takes as the name of a variable. Other
// keys are no variables: a key could hold a command.
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// shell writes lines for eval by a POSIX shell. In single quotes a shell takes
// every character as it is, but for the quote itself.
func shell(env []entryView) string {
	return lines(env, func(e entryView) string {
		return "export " + e.Key + "='" + strings.ReplaceAll(e.Value, "'", `'\''`) + "'\n"
	})
}

// plainValue needs no quotes in any dialect.
var plainValue = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,-]*$`)

// dotenv writes a file as the readers of such files take it, which is also right
// for a POSIX shell. They know no one rule: single quotes are taken as they are
// by all but for the quote itself; a value with one goes into double quotes, with
// the escapes of the shell.
func dotenv(env []entryView) string {
	escapes := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`")
	return lines(env, func(e entryView) string {
		switch {
		case plainValue.MatchString(e.Value):
			return e.Key + "=" + e.Value + "\n"
		case !strings.Contains(e.Value, "'"):
			return e.Key + "='" + e.Value + "'\n"
		}
		return e.Key + `="` + escapes.Replace(e.Value) + "\"\n"
	})
}

// lines writes a line for each key that can be a variable, and says how many
// cannot.
func lines(env []entryView, line func(entryView) string) string {
	var b strings.Builder
	left := 0
	for _, e := range env {
		if !variableName.MatchString(e.Key) {
			left++
			continue
		}
		b.WriteString(line(e))
	}
	if left > 0 {
		fmt.Fprintf(&b, "# %d more whose keys are no names of variables; format=json has them\n", left)
	}
	return b.String()
}
