package panel

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets"
)

// Rows of a form without scripts: those that are there and some empty ones.
const (
	spareRows = 3
	mostRows  = 250 // more than any list may have; the stores check the limits
)

// pair is one row of two fields.
type pair struct {
	Key, Value string
	Hint       string // shown in the empty value field
}

// pairs reads the rows of two columns. A row whose key is empty is left out,
// which is how a row is removed; a value without a key is kept as a fault.
func pairs(form url.Values, keys, values string) []pair {
	k, v := form[keys], form[values]
	list := []pair{}
	for i := range min(len(k), len(v), mostRows) {
		if key := strings.TrimSpace(k[i]); key != "" || v[i] != "" {
			list = append(list, pair{Key: key, Value: v[i]})
		}
	}
	return list
}

// withSpare adds the empty rows.
func withSpare(list []pair) []pair { return append(list, make([]pair, spareRows)...) }

func tagsOf(list []pair) []secrets.Tag {
	tags := make([]secrets.Tag, 0, len(list))
	for _, p := range list {
		tags = append(tags, secrets.Tag{Key: p.Key, Value: p.Value})
	}
	return tags
}

func pairsOf(tags []secrets.Tag) []pair {
	list := make([]pair, 0, len(tags)+spareRows)
	for _, t := range tags {
		list = append(list, pair{Key: t.Key, Value: t.Value})
	}
	return list
}

// faultsOf returns what a form has wrong, in sentences, or nil when err is
// nothing that its user can mend there.
func faultsOf(err error) []string {
	if invalid, ok := errors.AsType[*access.InvalidError](err); ok {
		var list []string
		for _, f := range invalid.Fields {
			list = append(list, strings.TrimPrefix(f.Field+": "+f.Message, ": "))
		}
		return list
	}
	switch {
	case errors.Is(err, secrets.ErrInvalid):
		return []string{plain(err, secrets.ErrInvalid)}
	case errors.Is(err, secrets.ErrExists):
		return []string{"A secret with this key exists. Give it a new value, or choose another key."}
	case errors.Is(err, access.ErrLimit):
		return []string{"There are as many of these as there may be. Delete one that is not needed."}
	}
	return nil
}

// unchanged refuses a form that was made from an older version than the one
// there is: saving it would undo what somebody else did.
func (c *call) unchanged(version int64) error {
	if c.r.PostForm.Get("version") == fmt.Sprint(version) {
		return nil
	}
	return refuse(http.StatusConflict, "Somebody else changed it in between", "Nothing was changed by you. Open the page again and look.")
}

// option is one choice of a list.
type option struct {
	Value, Label string
	Chosen       bool
}

// options makes choices that are their own labels.
func options(chosen string, values ...string) []option {
	list := make([]option, 0, len(values))
	for _, v := range values {
		list = append(list, option{Value: v, Label: v, Chosen: v == chosen})
	}
	return list
}

// pageSize is how many rows a list shows at once.
const pageSize = 100

// pager leads through a long list.
type pager struct {
	From, To, Total int // From counts from 1
	Prev, Next      int // numbers of pages, 0 for none
}

// pageNumber is the page that the address asks for, from 1.
func (c *call) pageNumber() int {
	n := 0
	if _, err := fmt.Sscanf(c.r.URL.Query().Get("page"), "%d", &n); err != nil || n < 1 || n > 1_000_000 {
		return 1
	}
	return n
}

// newPager describes the page with shown of total rows.
func newPager(page, shown, total int) pager {
	p := pager{From: (page-1)*pageSize + 1, Total: total}
	p.To = p.From + shown - 1
	if page > 1 {
		p.Prev = page - 1
	}
	if p.To < total && shown > 0 {
		p.Next = page + 1
	}
	return p
}

// cut returns the rows of one page of a list that is all in memory.
func cut[T any](list []T, page int) []T {
	from := min((page-1)*pageSize, len(list))
	return list[from:min(from+pageSize, len(list))]
}
