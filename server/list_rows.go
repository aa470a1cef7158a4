package server

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sealpost/sealpost/secrets"
)

// listRow is one row of an answer: the fields that were asked for.
type listRow map[string]any

// page returns the rows of one page of all: those that the filters let through,
// in order, with the fields that were asked for. Beyond the last page it is
// empty, never nil. all is left as it is.
func (spec listSpec[T]) page(q listQuery, all []T) []listRow {
	return spec.rows(q, spec.cut(q, all))
}

// cut returns the items of the page.
func (spec listSpec[T]) cut(q listQuery, all []T) []T {
	match := spec.matcher(q)
	found := make([]T, 0, min(len(all), q.amount))
	for _, item := range all {
		if match(item) {
			found = append(found, item)
		}
	}
	spec.sort(q, found)
	start := min((q.page-1)*q.amount, len(found))
	return found[start:min(start+q.amount, len(found))]
}

// rows shows the items with the fields that were asked for.
func (spec listSpec[T]) rows(q listQuery, items []T) []listRow {
	var shown []column[T]
	for _, c := range spec.columns {
		if c.always || (q.fields == nil && !c.onDemand) || slices.Contains(q.fields, c.name) {
			shown = append(shown, c)
		}
	}
	rows := make([]listRow, len(items))
	for i, item := range items {
		rows[i] = make(listRow, len(shown))
		for _, c := range shown {
			rows[i][c.name] = c.show(item)
		}
	}
	return rows
}

// matcher returns whether an item gets through all filters.
func (spec listSpec[T]) matcher(q listQuery) func(T) bool {
	var tests []func(T) bool
	for _, c := range spec.columns {
		if pattern, ok := q.filter[c.name]; ok {
			p := parsePattern(pattern)
			tests = append(tests, func(item T) bool { return p.matches(c.text(item)) })
		}
	}
	if len(q.tags) > 0 {
		tests = append(tests, func(item T) bool { return hasTags(spec.tags(item), q.tags) })
	}
	return func(item T) bool {
		for _, test := range tests {
			if !test(item) {
				return false
			}
		}
		return true
	}
}

// hasTags reports whether each wanted tag is there. Tags are compared exactly,
// as policies do; an empty key or value is any.
func hasTags(tags, wanted []secrets.Tag) bool {
	for _, w := range wanted {
		if !slices.ContainsFunc(tags, func(t secrets.Tag) bool {
			return (w.Key == "" || w.Key == t.Key) && (w.Value == "" || w.Value == t.Value)
		}) {
			return false
		}
	}
	return true
}

// sort puts the items in the order of the query; equal ones by id.
func (spec listSpec[T]) sort(q listQuery, items []T) {
	col, _ := spec.column(q.order)
	slices.SortFunc(items, func(a, b T) int {
		if col.never != nil && col.never(a) != col.never(b) {
			if col.never(a) {
				return 1
			}
			return -1
		}
		n := col.compare(a, b)
		if q.descending {
			n = -n
		}
		if n == 0 {
			n = strings.Compare(spec.id(a), spec.id(b))
		}
		return n
	})
}

// pattern is a filter's text: pieces between which anything may stand. Letter
// case does not count.
type pattern []string

func parsePattern(text string) pattern { return strings.Split(strings.ToLower(text), "*") }

// matches takes time proportional to the text for each piece.
func (p pattern) matches(text string) bool {
	text = strings.ToLower(text)
	first, last := p[0], p[len(p)-1]
	if len(p) == 1 {
		return text == first
	}
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, piece := range p[1 : len(p)-1] {
		at := strings.Index(text, piece)
		if at < 0 {
			return false
		}
		text = text[at+len(piece):]
	}
	return true
}

// byText orders rows by a text, whatever its letter case.
func byText[T any](text func(T) string) func(a, b T) int {
	return func(a, b T) int { return compareFold(text(a), text(b)) }
}

// compareFold compares as strings.Compare does in lower case, without making
// the lower case of every row at every comparison.
func compareFold(a, b string) int {
	for a != "" && b != "" {
		x, n := utf8.DecodeRuneInString(a)
		y, m := utf8.DecodeRuneInString(b)
		if x != y {
			if x, y = unicode.ToLower(x), unicode.ToLower(y); x != y {
				return cmp.Compare(x, y)
			}
		}
		a, b = a[n:], b[m:]
	}
	return cmp.Compare(len(a), len(b))
}
