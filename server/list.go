package server

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sealpost/sealpost/secrets"
)

// Limits of a list's query. Amounts: what existing clients send and the most
// they may; the others are ours.
const (
	defaultAmount = 20
	maxAmount     = 10_000
	maxPageNumber = 1_000_000_000
	maxPattern    = 512 // characters of a filter
	maxTagFilters = 30  // as many as a resource has tags
)

// column is one field of the rows of a list.
type column[T any] struct {
	name string
	show func(T) any // what answers hold; never nil

	// text is what a filter on the field is compared with; nil: no filter.
	text func(T) string
	// compare orders rows by the field; nil: no order by it.
	compare func(a, b T) int
	// never, if set, tells rows without the field: they come last in both
	// directions, as clients expect of last_triggered and last_run.
	never func(T) bool

	always   bool // comes whether it is asked for or not
	onDemand bool // does not come when a request names no fields
}

// listSpec says what the list of one kind of resource takes.
type listSpec[T any] struct {
	columns []column[T]
	order   string                // the column that orders rows unless the request names one
	id      func(T) string        // makes the order of equal rows fixed
	tags    func(T) []secrets.Tag // nil: no filter by tags
}

// listQuery is what a request wants of a list. It is of no use without the
// listSpec that it was read with.
type listQuery struct {
	page, amount int
	fields       []string          // nil: all but the onDemand ones
	filter       map[string]string // column -> pattern, where * stands for any text
	tags         []secrets.Tag     // each must be there; an empty key or value is any
	order        string
	descending   bool
}

// parseList reads the query of a list in the dialects of both public clients:
//
//	fields[0]=id&fields[1]=key   or   fields=id&fields=key
//	filter[key]=*MAIL*&filter[tags][0][key]=team&filter[tags][0][value]=ops
//	page=1&amount=20&orderBy=key,asc
//
// Fields that the resource has not are left out, as clients expect. Filters
// that it has not are refused: a script that gets more rows than it asked for
// may delete them. A filter without text is none. Error: a 400 that says what
// to send.
func parseList[T any](r *http.Request, spec listSpec[T]) (listQuery, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return listQuery{}, refuse(http.StatusBadRequest, "Invalid query; a %% must be followed by two hex digits")
	}
	q := listQuery{filter: map[string]string{}}
	if q.page, err = queryInt(r, "page", 1, 1, maxPageNumber); err != nil {
		return listQuery{}, err
	}
	if q.amount, err = queryInt(r, "amount", defaultAmount, 1, maxAmount); err != nil {
		return listQuery{}, err
	}
	if q.order, q.descending, err = spec.parseOrder(values.Get("orderBy")); err != nil {
		return listQuery{}, err
	}
	q.fields = parseFields(values)
	if err := spec.parseFilter(values, &q); err != nil {
		return listQuery{}, err
	}
	return q, nil
}

// parseOrder reads orderBy=field[,asc|desc].
func (spec listSpec[T]) parseOrder(text string) (order string, descending bool, err error) {
	if text == "" {
		return spec.order, false, nil
	}
	field, direction, _ := strings.Cut(text, ",")
	col, ok := spec.column(field)
	if !ok || col.compare == nil || !slices.Contains([]string{"", "asc", "desc"}, direction) {
		return "", false, refuse(http.StatusBadRequest, "Invalid orderBy parameter; want FIELD,asc or FIELD,desc with a FIELD of %s",
			spec.names(func(c column[T]) bool { return c.compare != nil }))
	}
	return field, direction == "desc", nil
}

// fieldsKey is fields, fields[] or fields[3].
var fieldsKey = regexp.MustCompile(`^fields(\[\d{0,9}\])?$`)

// parseFields returns nil when the query names no fields.
func parseFields(values url.Values) []string {
	var fields []string
	for key, list := range values {
		if fieldsKey.MatchString(key) {
			fields = append(fields, list...)
		}
	}
	return fields
}

// filterKey is filter[name] or filter[tags][0][key].
var filterKey = regexp.MustCompile(`^filter\[([^\[\]]*)\](?:\[(\d{1,9})\]\[(key|value)\])?$`)

// parseFilter reads all parameters that begin with filter.
func (spec listSpec[T]) parseFilter(values url.Values, q *listQuery) error {
	byIndex := map[int]secrets.Tag{}
	for key, list := range values {
		if !strings.HasPrefix(key, "filter") {
			continue
		}
		text := list[len(list)-1]
		part := filterKey.FindStringSubmatch(key)
		switch {
		case text == "": // what the clients make of null and undefined
		case part == nil:
			return spec.noFilter()
		case utf8.RuneCountInString(text) > maxPattern:
			return refuse(http.StatusBadRequest, "Invalid filter parameter; a filter has at most %d characters", maxPattern)
		case part[1] == "tags" && part[2] != "" && spec.tags != nil:
			setTagPart(byIndex, part[2], part[3], text)
		default:
			col, ok := spec.column(part[1])
			if !ok || col.text == nil || part[2] != "" {
				return spec.noFilter()
			}
			q.filter[col.name] = text
		}
	}
	if len(byIndex) > maxTagFilters {
		return refuse(http.StatusBadRequest, "Invalid filter parameter; at most %d tags", maxTagFilters)
	}
	for _, tag := range byIndex {
		q.tags = append(q.tags, tag)
	}
	return nil
}

func setTagPart(byIndex map[int]secrets.Tag, index, part, text string) {
	n, _ := strconv.Atoi(index) // at most nine digits, see filterKey
	tag := byIndex[n]
	if part == "key" {
		tag.Key = text
	} else {
		tag.Value = text
	}
	byIndex[n] = tag
}

func (spec listSpec[T]) noFilter() error {
	names := spec.names(func(c column[T]) bool { return c.text != nil })
	if spec.tags != nil {
		names += ", tags"
	}
	return refuse(http.StatusBadRequest, "Invalid filter parameter; want filter[FIELD]=TEXT with a FIELD of %s", names)
}

func (spec listSpec[T]) column(name string) (column[T], bool) {
	i := slices.IndexFunc(spec.columns, func(c column[T]) bool { return c.name == name })
	if i < 0 {
		return column[T]{}, false
	}
	return spec.columns[i], true
}

// names lists the columns that want holds for.
func (spec listSpec[T]) names(want func(column[T]) bool) string {
	var names []string
	for _, c := range spec.columns {
		if want(c) {
			names = append(names, c.name)
		}
	}
	return strings.Join(names, ", ")
}

// queryInt reads a number from the query, within its bounds.
func queryInt(r *http.Request, name string, missing, least, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, refuse(http.StatusBadRequest, "%s must be a number from %d to %d", name, least, most)
	}
	return n, nil
}

// queryFlag reads true or false from the query string.
func queryFlag(r *http.Request, name string, missing bool) (bool, error) {
	switch r.URL.Query().Get(name) {
	case "":
		return missing, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, refuse(http.StatusBadRequest, "%s must be true or false", name)
}
