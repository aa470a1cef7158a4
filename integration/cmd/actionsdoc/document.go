package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

const head = `<!-- Made by "make docs" from the descriptions in actions/*/spec.go. Do not edit. -->

# Actions

What the object ` + "`action`" + ` of a job, or of a stored action, may say. It has a ` + "`type`" + ` and the
fields of that type and no others; a field with a wrong name or form is refused with the
field's name. A secret is named by its id or its key, and must have the type in the table.
What a refusal leads to is in [jobs](jobs.md).

`

const variablesHead = `## Message variables

In the fields marked with *variables*, these are replaced by what the first datum of the job says:

`

const variablesTail = `
Each is filled once, escaped for the place where it lands (a line of a header, HTML, a text in
JSON, a URL), and what is filled in is not looked at again. A name without a value becomes empty.
In any other field they would stay as they are, so an action with one there is refused when it is
stored, as is a name in capital letters between dollar signs that is not in this list.
`

const keptHead = `## Kept and not done

Actions of these types can be stored, listed and changed, so that clients and scripts that
know them go on. Nothing here does them: a job of one is a dead letter at once.

`

// document is the whole page.
func document(r *actions.Registry) string {
	var b strings.Builder
	b.WriteString(head)
	writeSummary(&b, r)
	for _, s := range r.Specs() {
		writeType(&b, s)
	}
	writeVariables(&b)
	writeKept(&b, r)
	return b.String()
}

// writeSummary writes one row for each type.
func writeSummary(b *strings.Builder, r *actions.Registry) {
	b.WriteString("| type | secret | attempts | can arrive twice | told apart by |\n|---|---|---|---|---|\n")
	for _, s := range r.Specs() {
		n := attempts(s)
		fmt.Fprintf(b, "| [`%s`](#%s) | %s | %d | %s | %s |\n",
			s.Kind, s.Kind, secretsOf(s), n, cell(orDash(sentence(s.Duplicates))), cell(orDash(sentence(s.Key))))
	}
	b.WriteString("\n`SEALPOST_MAX_ATTEMPTS` changes the 12; `max_attempts` of a job goes before all.\n\n")
}

// attempts is how often a job of the type is tried that names no limit itself.
func attempts(s actions.Spec) int {
	if s.Attempts > 0 {
		return s.Attempts
	}
	return queue.DefaultMaxAttempts
}

// secretsOf is the types of secrets that an action can use.
func secretsOf(s actions.Spec) string {
	var list []string
	for _, f := range s.Fields {
		if text := "`" + string(f.Secret) + "`"; f.Secret != "" && !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// writeType writes the section of one type.
func writeType(b *strings.Builder, s actions.Spec) {
	n := attempts(s)
	fmt.Fprintf(b, "## %s\n\n%s\n\n| field | value | needed | |\n|---|---|---|---|\n", s.Kind, s.Title)
	for _, f := range s.Fields {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.Name, cell(formOf(f)), needOf(s, f), cell(f.Doc))
	}
	b.WriteByte('\n')
	if len(s.Either) > 0 {
		fmt.Fprintf(b, "At least one of %s must be there.\n\n", names(s.Either, "and"))
	}
	for _, row := range [][2]string{
		{"Limits", s.Limits}, {"Tried again", strings.TrimSpace(fmt.Sprintf("%s At most %d attempts.", s.Retries, n))},
		{"Can arrive twice", s.Duplicates}, {"Told apart by", s.Key},
	} {
		if row[1] != "" {
			fmt.Fprintf(b, "- **%s**: %s\n", row[0], row[1])
		}
	}
	b.WriteByte('\n')
}

// needOf says whether a field must be there.
func needOf(s actions.Spec, f actions.Field) string {
	switch {
	case f.Need:
		return "yes"
	case slices.Contains(s.Either, f.Name):
		others := slices.DeleteFunc(slices.Clone(s.Either), func(name string) bool { return name == f.Name })
		return "or " + names(others, "or")
	}
	return ""
}

// formOf says what a value looks like.
func formOf(f actions.Field) string {
	text := formWords(f)
	if f.Vars {
		text += ", *variables*"
	}
	return text
}

func formWords(f actions.Field) string {
	switch f.Form {
	case actions.TextForm:
		return "text"
	case actions.LineForm:
		if len(f.OneOf) > 0 {
			return names(f.OneOf, "or")
		}
		return "one line"
	case actions.LinesForm:
		return "one line, or an array of them"
	case actions.FlagForm:
		return "`true` or `false`"
	case actions.ScalarForm:
		return "text, number, `true` or `false`"
	case actions.HeadersForm:
		return "object of texts of one line"
	case actions.PairsForm:
		return "array of `{\"name\", \"value\"}`"
	case actions.ScriptsForm:
		return "array of ids of analyses"
	case actions.ActionForm:
		return "id of a stored action"
	case actions.SecretForm:
		return secretWords("id or key of a secret", f.Secret)
	case actions.SecretsForm:
		return secretWords("object of ids or keys of secrets", f.Secret)
	case actions.ObjectForm:
		if f.Secret != "" {
			return secretWords("object; its `secret` is the id or key of a secret", f.Secret)
		}
		return "object"
	case actions.ArrayForm:
		return "array"
	}
	return fmt.Sprintf("form %d", f.Form)
}

func secretWords(what string, typ secrets.Type) string {
	return fmt.Sprintf("%s of type `%s`", what, typ)
}

// writeVariables writes the list of message variables.
func writeVariables(b *strings.Builder) {
	b.WriteString(variablesHead)
	for _, name := range actions.VariableNames() {
		fmt.Fprintf(b, "- `$%s$`\n", name)
	}
	b.WriteString(variablesTail + "\n")
}

// writeKept writes the types that only the catalog knows.
func writeKept(b *strings.Builder, r *actions.Registry) {
	done := r.Kinds()
	b.WriteString(keptHead + "| type | fields, those that are needed in bold |\n|---|---|\n")
	for _, s := range r.Catalog().Specs() {
		if slices.Contains(done, s.Kind) {
			continue
		}
		var fields []string
		for _, f := range s.Fields {
			if f.Need {
				fields = append(fields, "**`"+f.Name+"`**")
			} else {
				fields = append(fields, "`"+f.Name+"`")
			}
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", s.Kind, strings.Join(fields, ", "))
	}
}

// names is a list of names in words.
func names(list []string, word string) string {
	var quoted []string
	for _, name := range list {
		quoted = append(quoted, "`"+name+"`")
	}
	if n := len(quoted); n > 1 {
		return strings.Join(quoted[:n-1], ", ") + " " + word + " " + quoted[n-1]
	}
	return strings.Join(quoted, "")
}

// sentence is the first sentence of a text, without its point.
func sentence(text string) string {
	first, _, _ := strings.Cut(text, ". ")
	return strings.TrimSuffix(first, ".")
}

// orDash is a dash for a text that says nothing.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// cell is a text that stands in a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(text)
}
