package server

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets"
)

// fruit is a resource with a column of every sort.
type fruit struct {
	id, name string
	weight   int // 0: never weighed
	tags     []secrets.Tag
}

func fruitList() listSpec[fruit] {
	id := func(f fruit) string { return f.id }
	name := func(f fruit) string { return f.name }
	return listSpec[fruit]{
		order: "name", id: id, tags: func(f fruit) []secrets.Tag { return f.tags },
		columns: []column[fruit]{
			{name: "id", always: true, text: id, show: func(f fruit) any { return f.id }},
			{name: "name", text: name, compare: byText(name), show: func(f fruit) any { return f.name }},
			{name: "weight", compare: func(a, b fruit) int { return a.weight - b.weight }, never: func(f fruit) bool { return f.weight == 0 },
				show: func(f fruit) any { return f.weight }},
			{name: "price", onDemand: true, show: func(fruit) any { return "1.00" }},
		},
	}
}

func fruits() []fruit {
	red, green := secrets.Tag{Key: "colour", Value: "red"}, secrets.Tag{Key: "colour", Value: "green"}
	sweet := secrets.Tag{Key: "taste", Value: "sweet"}
	return []fruit{
		{"3", "cherry", 5, []secrets.Tag{red, sweet}},
		{"1", "Apple", 150, []secrets.Tag{red}},
		{"2", "banana", 0, []secrets.Tag{sweet}},
		{"5", "apple", 120, []secrets.Tag{green}},
		{"4", "Grape*", 0, nil},
	}
}

func TestListsInBothDialects(t *testing.T) {
	tests := []struct{ name, query, want string }{
		{"nothing asked", "", "1 5 2 3 4"},
		{"one client's first page", "page=1&fields%5B0%5D=id&fields%5B1%5D=name&amount=2&orderBy=name%2Casc", "1 5"},
		{"the other's first page", "page=1&fields=id&fields=name&amount=2&orderBy=name,asc", "1 5"},
		{"last page", "page=3&amount=2", "4"},
		{"beyond the last page", "page=4&amount=2", ""},
		{"far beyond the last page", "page=1000000000&amount=10000", ""},
		{"descending, equal names still by id", "orderBy=name,desc", "4 3 2 1 5"},
		{"order without a direction", "orderBy=weight", "3 5 1 2 4"},
		{"never comes last in both directions", "orderBy=weight,desc", "1 5 3 2 4"},
		{"equality whatever the case", "filter[name]=APPLE", "1 5"},
		{"equality in brackets that are escaped", "filter%5Bname%5D=banana", "2"},
		{"wildcards on both sides", "filter[name]=*AN*", "2"},
		{"wildcard in the middle", "filter[name]=b*a", "2"},
		{"wildcard at the end", "filter[name]=app*", "1 5"},
		{"two wildcards need both pieces", "filter[name]=*p*e", "1 5"},
		{"only wildcards", "filter[name]=***", "1 5 2 3 4"},
		{"pieces may not overlap", "filter[name]=ch*herry", ""},
		{"no match without wildcards", "filter[name]=ppl", ""},
		{"two filters", "filter[name]=*a*&filter[id]=5", "5"},
		{"filter without text is none", "filter[name]=", "1 5 2 3 4"},
		{"tag pair", "filter[tags][0][key]=colour&filter[tags][0][value]=red", "1 3"},
		{"tag pair escaped", "filter%5Btags%5D%5B0%5D%5Bkey%5D=colour&filter%5Btags%5D%5B0%5D%5Bvalue%5D=green", "5"},
		{"tag key alone", "filter[tags][0][key]=colour", "1 5 3"},
		{"tag value alone", "filter[tags][0][value]=sweet", "2 3"},
		{"two tags must both be there", "filter[tags][0][key]=colour&filter[tags][1][key]=taste&filter[tags][1][value]=sweet", "3"},
		{"indexes need not be in order", "filter[tags][999999999][key]=taste&filter[tags][7][key]=colour", "3"},
		{"tags of another case do not match", "filter[tags][0][key]=COLOUR", ""},
		{"parameters that are no ours", "__proto__=1&constructor[prototype]=2&x[y]=z", "1 5 2 3 4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, all := fruitList(), fruits()
			q, err := parseList(httptest.NewRequest("GET", "/fruits?"+tt.query, nil), spec)
			if err != nil {
				t.Fatalf("parseList: %v", err)
			}
			rows := spec.page(q, all)
			var ids []string
			for _, row := range rows {
				ids = append(ids, row["id"].(string))
			}
			if got := strings.Join(ids, " "); got != tt.want || rows == nil {
				t.Errorf("got %q (nil: %v), want %q", got, rows == nil, tt.want)
			}
			if diff := cmp.Diff(fruits(), all, cmp.AllowUnexported(fruit{})); diff != "" {
				t.Errorf("the list was changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFieldsOfRows(t *testing.T) {
	tests := []struct{ name, query, want string }{
		{"none named", "", "id name weight"},
		{"bracketed", "fields[0]=name", "id name"},
		{"repeated", "fields=name&fields=price", "id name price"},
		{"empty brackets", "fields[]=weight", "id weight"},
		{"a field that is not there", "fields[0]=value&fields[1]=__proto__", "id"},
		{"other brackets are no fields", "fields[a]=price&fields[0][0]=price", "id name weight"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := fruitList()
			q, err := parseList(httptest.NewRequest("GET", "/fruits?"+tt.query, nil), spec)
			if err != nil {
				t.Fatalf("parseList: %v", err)
			}
			var names []string
			for name := range spec.page(q, fruits())[0] {
				names = append(names, name)
			}
			slices.Sort(names)
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestListsRefuse(t *testing.T) {
	s := newSite(t)
	var many strings.Builder
	for i := range maxTagFilters + 1 {
		fmt.Fprintf(&many, "&filter[tags][%d][key]=k", i)
	}
	tests := []struct{ name, query, message string }{
		{"page zero", "page=0", "page must be"},
		{"page that overflows", "page=99999999999999999999", "page must be"},
		{"page below zero", "page=-1", "page must be"},
		{"amount over the most", "amount=10001", "amount must be"},
		{"amount that is no number", "amount=NaN", "amount must be"},
		{"order by a field that is not orderable", "orderBy=value_length,asc", "Invalid orderBy parameter"},
		{"order by the prototype", "orderBy=__proto__,asc", "Invalid orderBy parameter"},
		{"order in a third direction", "orderBy=key,up", "Invalid orderBy parameter"},
		{"filter on a field that is not there", "filter[value]=x", "Invalid filter parameter"},
		{"filter on the prototype", "filter[__proto__]=x", "Invalid filter parameter"},
		{"filter on a field of the prototype", "filter[__proto__][key]=x", "Invalid filter parameter"},
		{"filter without a field", "filter=x", "Invalid filter parameter"},
		{"filter with brackets that do not close", "filter[key=x", "Invalid filter parameter"},
		{"tags without an index", "filter[tags]=x", "Invalid filter parameter"},
		{"tags with another part", "filter[tags][0][colour]=x", "Invalid filter parameter"},
		{"index of a tag that overflows", "filter[tags][99999999999999999999][key]=x", "Invalid filter parameter"},
		{"index below zero", "filter[tags][-1][key]=x", "Invalid filter parameter"},
		{"index on another field", "filter[key][0][key]=x", "Invalid filter parameter"},
		{"more tags than a resource has", many.String()[1:], "Invalid filter parameter"},
		{"filter that is too long", "filter[key]=" + strings.Repeat("*a", maxPattern), "Invalid filter parameter"},
		{"escape that is none", "filter[key]=%zz", "Invalid query"},
	}
	for _, path := range []string{"/secrets", "/am"} {
		for _, tt := range tests {
			t.Run(path+" "+tt.name, func(t *testing.T) {
				got := s.do(access.Admin, "GET", path+"?"+tt.query, "")
				if got.status != 400 || !strings.HasPrefix(got.message, tt.message) {
					t.Errorf("got %d %s, want 400 %s", got.status, got.body, tt.message)
				}
			})
		}
	}
}

func TestAPatternOfManyPiecesAllocatesLittle(t *testing.T) {
	p := parsePattern(strings.Repeat("a*", maxPattern/2) + "b")
	text := strings.Repeat("a", 100_000)
	if testing.AllocsPerRun(1, func() {
		for range 100 {
			if p.matches(text) {
				t.Fatal("matches, want not")
			}
		}
	}) > 1000 {
		t.Error("matching allocates for each piece")
	}
}

func FuzzParseList(f *testing.F) {
	for _, seed := range []string{"", "page=2&amount=3", "fields[0]=id&fields=name", "filter[tags][0][key]=k&filter[name]=*a*",
		"orderBy=weight,desc", "filter[__proto__]=1", "filter%5Bname%5D=%2A", "page=1;x=2", "%", "filter[tags][1][value]=red"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", "/fruits", nil)
		r.URL = &url.URL{Path: "/fruits", RawQuery: query}
		spec := fruitList()
		q, err := parseList(r, spec)
		if err != nil {
			if status, message, known := answerFor(err); status != 400 || !known || message == "" {
				t.Fatalf("%q: got %d %q, want 400", query, status, message)
			}
			return
		}
		if q.page < 1 || q.amount < 1 || q.amount > maxAmount || len(q.tags) > maxTagFilters {
			t.Fatalf("%q: got %+v, which is out of bounds", query, q)
		}
		rows := spec.page(q, fruits())
		if rows == nil || len(rows) > min(q.amount, len(fruits())) {
			t.Fatalf("%q: got %d rows, want at most the amount", query, len(rows))
		}
		for _, row := range rows {
			if row["id"] == nil || len(row) > len(spec.columns) {
				t.Fatalf("%q: got %v, want an id and known fields only", query, row)
			}
		}
	})
}

func FuzzCompareFold(f *testing.F) {
	for _, seed := range [][2]string{{"", ""}, {"a", "A"}, {"ab", "a"}, {"Ä", "ä"}, {"B", "a"}, {"\xff", "é"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			t.Skip("keys and names are UTF-8")
		}
		if got, want := compareFold(a, b), strings.Compare(strings.ToLower(a), strings.ToLower(b)); got != want {
			t.Errorf("%q and %q: got %d, want %d", a, b, got, want)
		}
		if compareFold(a, b) != -compareFold(b, a) {
			t.Errorf("%q and %q: the order depends on which comes first", a, b)
		}
	})
}

// One page of 100,000 rows through two filters, in order.
func BenchmarkListPage(b *testing.B) {
	spec := fruitList()
	all := make([]fruit, 100_000)
	for i := range all {
		all[i] = fruit{id: fmt.Sprintf("%024x", i), name: fmt.Sprintf("Fruit-%d", i%7919), tags: []secrets.Tag{{Key: "colour", Value: "red"}}}
	}
	q, err := parseList(httptest.NewRequest("GET", "/fruits?filter[name]=*9*&filter[tags][0][key]=colour&fields=name", nil), spec)
	if err != nil {
		b.Fatalf("parseList: %v", err)
	}
	for b.Loop() {
		if rows := spec.page(q, all); len(rows) != defaultAmount {
			b.Fatalf("got %d rows, want %d", len(rows), defaultAmount)
		}
	}
}

func BenchmarkOpenAPI(b *testing.B) {
	for b.Loop() {
		if _, err := (&API{}).openAPI(nil, access.Principal{}); err != nil {
			b.Fatal(err)
		}
	}
}
