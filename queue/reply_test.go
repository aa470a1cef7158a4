package queue

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lines is a reply of Redis, one line a word.
func lines(words string) string { return strings.ReplaceAll(words, " ", "\r\n") + "\r\n" }

func TestEntriesOf(t *testing.T) {
	one := []entry{{id: "1-0", job: []byte("{}")}}
	two := append(one, entry{id: "2-0", meta: "m", job: []byte(`"a`)})
	tests := []struct {
		name, reply string
		want        []entry
		err         error
	}{
		{name: "RESP2", reply: lines("*1 *2 $1 s *1 *2 $3 1-0 *2 $3 job $2 {}"), want: one},
		{name: "RESP3", reply: lines("%1 $1 s *1 *2 $3 1-0 *2 $3 job $2 {}"), want: one},
		{name: "RESP3 with fields as a map", reply: lines("%1 $1 s *1 *2 $3 1-0 %1 $3 job $2 {}"), want: one},
		{name: "two entries", reply: lines("%1 $1 s *2 *2 $3 1-0 *2 $3 job $2 {} *2 $3 2-0 *4 $4 meta $1 m $3 job $2 \"a"), want: two},
		{name: "a field of others", reply: lines("%1 $1 s *1 *2 $3 1-0 *4 $1 x $0  $3 job $2 {}"), want: one},
		{name: "an entry that was deleted, RESP2", reply: lines("*1 *2 $1 s *1 *2 $3 1-0 *-1"), want: []entry{{id: "1-0"}}},
		{name: "an entry that was deleted, RESP3", reply: lines("%1 $1 s *1 *2 $3 1-0 _"), want: []entry{{id: "1-0"}}},
		{name: "a line break in a job", reply: lines("%1 $1 s *1 *2 $3 1-0 *2 $3 job $4 \r\n\r\n"), want: []entry{{id: "1-0", job: []byte("\r\n\r\n")}}},
		{name: "no entries", reply: lines("%1 $1 s *0"), want: []entry{}},
		{name: "nothing, RESP2", reply: lines("*-1")},
		{name: "nothing, RESP3", reply: lines("_")},
		{name: "an error", reply: "-MOVED 7 127.0.0.1:7000\r\n", err: errRefused},
		{name: "a long error", reply: lines("!3 ERR"), err: errRefused},
		{name: "no reply", reply: "", err: errReplyForm},
		{name: "a reply that breaks off", reply: lines("%1 $1 s *1 *2 $3 1-0 *2 $3 job $2"), err: errReplyForm},
		{name: "a reply with more behind it", reply: lines("%1 $1 s *1 *2 $3 1-0 *2 $3 job $2 {} _"), err: errReplyForm},
		{name: "a text that is too long", reply: lines("%1 $1 s *1 *2 $3 1-0 *2 $3 job $1 {}"), err: errReplyForm},
		{name: "a field without a value", reply: lines("%1 $1 s *1 *2 $3 1-0 *1 $3 job"), err: errReplyForm},
		{name: "an entry of three", reply: lines("%1 $1 s *1 *3 $3 1-0 *2 $3 job $2 {} :1"), err: errReplyForm},
		{name: "two streams", reply: lines("%2 $1 s *0 $1 t *0"), err: errReplyForm},
		{name: "a number", reply: lines(":1"), err: errReplyForm},
		{name: "more entries than bytes", reply: lines("%1 $1 s *999999999"), err: errReplyForm},
		{name: "a length that is no number", reply: lines("%1 $1 s *1 *2 $+3 1-0 _"), err: errReplyForm},
		{name: "a length that overflows", reply: lines("%1 $1 s *18446744073709551617"), err: errReplyForm},
		{name: "a length below -1", reply: lines("%1 $1 s *1 *2 $-2 _"), err: errReplyForm},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := entriesOf([]byte(tt.reply))
			if err != tt.err {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if tt.err == nil {
				if diff := cmp.Diff(got, tt.want, cmp.AllowUnexported(entry{})); diff != "" {
					t.Errorf("entries (-got +want):\n%s", diff)
				}
			}
		})
	}
}

// The buffer of a reply is used again, so an entry must not be a part of it.
func TestEntriesAreCopies(t *testing.T) {
	raw := []byte(lines("%1 $1 s *1 *2 $3 1-0 *4 $4 meta $1 m $3 job $2 {}"))
	got, err := entriesOf(raw)
	clear(raw)
	want := []entry{{id: "1-0", meta: "m", job: []byte("{}")}}
	if diff := cmp.Diff(got, want, cmp.AllowUnexported(entry{})); err != nil || diff != "" {
		t.Errorf("after the buffer was cleared: %v (-got +want):\n%s", err, diff)
	}
}

func FuzzEntriesOf(f *testing.F) {
	for _, s := range []string{
		"*1 *2 $1 s *1 *2 $3 1-0 *2 $3 job $2 {}", "%1 $1 s *2 *2 $3 1-0 *2 $3 job $2 {} *2 $3 2-0 _", "%1 $1 s *0", "*-1", "_", "-NOGROUP",
	} {
		f.Add([]byte(lines(s)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := entriesOf(raw)
		size := 0
		for _, e := range entries {
			size += len(e.id) + len(e.meta) + len(e.job)
		}
		if size > len(raw) {
			t.Fatalf("%d bytes of entries from %d", size, len(raw))
		}
		if err == nil && len(raw) > 0 { // a reply has one length: one byte less or more is none
			for _, other := range [][]byte{raw[:len(raw)-1], append(raw[:len(raw):len(raw)], '_')} {
				if _, err := entriesOf(other); err == nil {
					t.Fatalf("%q and %q are both replies", raw, other)
				}
			}
		}
	})
}
