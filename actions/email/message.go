package email

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/wneessen/go-mail"

	"github.com/sealpost/sealpost/actions/mailaddress"
	"github.com/sealpost/sealpost/queue"
)

// render builds the whole mail in memory. go-mail writes straight to a
// connection otherwise, and an error halfway then ends a cut mail with a dot
// that the server takes for the end: it would be delivered. by may be nil.
func (pl *plan) render(job *queue.Job, from *netmail.Address, now time.Time, by *dkim.SignOptions) ([]byte, error) {
	bare := pl.bare()
	encoding := mail.EncodingQP
	if bare {
		encoding = mail.NoEncoding
	}
	m := mail.NewMsg(mail.WithNoDefaultUserAgent(), mail.WithCharset(mail.CharsetUTF8), mail.WithEncoding(encoding))
	m.FromMailAddress(from)
	if len(pl.to) > 0 {
		m.ToMailAddress(pl.to...)
	}
	if len(pl.cc) > 0 {
		m.CcMailAddress(pl.cc...)
	}
	if len(pl.replyTo) > 0 {
		m.ReplyToMailAddress(pl.replyTo...)
	}
	if pl.subject != "" {
		m.Subject(literal(pl.subject))
	}
	m.SetMessageIDWithValue(MessageID(job, from.Address))
	m.SetDateWithValue(now)
	switch {
	case pl.html == "":
		m.SetBodyString(mail.TypeTextPlain, pl.text)
	case pl.text == "":
		m.SetBodyString(mail.TypeTextHTML, pl.html)
	default: // the best form comes last (RFC 2046, section 5.1.4)
		m.SetBodyString(mail.TypeTextPlain, pl.text)
		m.AddAlternativeString(mail.TypeTextHTML, pl.html)
	}
	for _, f := range pl.files {
		if err := f.attach(m); err != nil {
			return nil, errors.New("build mail: the attachment cannot be written")
		}
	}
	pl.addHeaders(m)
	var b bytes.Buffer
	b.Grow(1024 + 2*(len(pl.text)+len(pl.html)) + size(pl.files))
	if _, err := m.WriteTo(&b); err != nil {
		return nil, errors.New("build mail: the mail cannot be written") // err may hold addresses
	}
	if bare {
		if err := labelBare(b.Bytes()); err != nil {
			return nil, err
		}
	}
	if by == nil {
		return b.Bytes(), nil
	}
	return sign(b.Bytes(), by)
}

// bare reports whether the mail is one text that any server passes on as it stands.
// It needs no encoding, which was a tenth of the work for a mail.
func (pl *plan) bare() bool {
	return (pl.text == "" || pl.html == "") && len(pl.files) == 0 && passes(pl.text) && passes(pl.html)
}

// labelEight is what go-mail says of a text that it leaves alone. Its "7bit" encodes
// the text all the same (v0.8.1, msgwriter.go:553).
var labelEight = []byte("\r\nContent-Transfer-Encoding: 8bit\r\n")

// labelBare makes the label of a bare mail say 7bit: a server may encode anew what
// says 8bit, which would break its signature. No value of a header has a line
// end that is not folded, so the first such line is the label.
func labelBare(raw []byte) error {
	i := bytes.Index(raw, labelEight)
	if i < 0 {
		return errors.New("build mail: the mail has no encoding")
	}
	raw[i+len(labelEight)-len("8bit\r\n")] = '7'
	return nil
}

// maxLine is the length of lines that readers show without breaking them (RFC 5322,
// section 2.1.1).
const maxLine = 78

// passes reports whether a text is ASCII in short lines without blanks at their
// ends, which some servers take off, and without "From ", which some change.
func passes(text string) bool {
	for line := range strings.SplitSeq(text, "\r\n") {
		n := len(line)
		if n > maxLine || n > 0 && (line[n-1] == ' ' || line[n-1] == '\t') || strings.HasPrefix(line, "From ") {
			return false
		}
		for i := range n {
			if c := line[i]; c >= 0x7f || c < ' ' && c != '\t' {
				return false
			}
		}
	}
	return true
}

// addHeaders adds what the job asks for beside the usual headers.
func (pl *plan) addHeaders(m *mail.Msg) {
	for _, h := range pl.headers {
		m.SetGenHeader(mail.Header(h.name), h.value)
	}
	if len(pl.unsubscribe) == 0 {
		return
	}
	uris := make([]string, len(pl.unsubscribe))
	for i, uri := range pl.unsubscribe {
		uris[i] = "<" + uri + ">"
	}
	m.SetGenHeader(mail.HeaderListUnsubscribe, uris...) // with ", " between
	if pl.oneClick {
		m.SetGenHeader(mail.HeaderListUnsubscribePost, "List-Unsubscribe=One-Click")
	}
}

// literal returns a free text for a header that reads as it stands. go-mail encodes what is not
// ASCII; text that looks like an encoded word would pass and be decoded by the
// reader, so it is encoded here.
func literal(value string) string {
	if !strings.Contains(value, "=?") {
		return value
	}
	var words []string
	for len(value) > 0 {
		n := min(maxWord, len(value))
		for n < len(value) && !utf8.RuneStart(value[n]) {
			n--
		}
		words = append(words, "=?utf-8?b?"+base64.StdEncoding.EncodeToString([]byte(value[:n]))+"?=")
		value = value[n:]
	}
	return strings.Join(words, " ")
}

// maxWord is how many bytes go into an encoded word: 60 characters of base64
// and 12 around them stay below the 75 of RFC 2047, section 2.
const maxWord = 45

// sender returns the From address: the job's, or the secret's with the job's
// name if it has one.
func (pl *plan) sender(fallback string) (*netmail.Address, error) {
	if pl.from != nil {
		return pl.from, nil
	}
	list, err := mailaddress.ParseList(fallback)
	if err != nil || len(list) != 1 {
		return nil, errors.New("no sender: the job gives no address in \"from\", and neither the secret's \"from\" nor its username is one")
	}
	from := *list[0]
	if pl.fromName != "" {
		from.Name = pl.fromName
	}
	return &from, nil
}

// MessageID returns the Message-ID of a job's mail, without angle brackets. It
// is the same for every attempt, so that receivers that look for duplicates
// (RFC 7352) drop a second copy. It holds the job's id, and of the JID eight
// hex digits of its SHA-256, since an id may be used again after a day.
func MessageID(job *queue.Job, from string) string {
	sum := sha256.Sum256([]byte(job.ID + "\n" + job.JID))
	_, domain, _ := strings.Cut(from, "@")
	return fmt.Sprintf("%s.%s@%s", dotAtom(job.ID), hex.EncodeToString(sum[:4]), domain)
}

// dotAtom makes a job's id fit for a Message-ID (RFC 5322, section 3.6.4), which
// takes no colon, and no dot at an end or after a dot.
func dotAtom(id string) string {
	b := []byte(id[:min(len(id), queue.MaxIDLength)])
	for i, c := range b {
		if c == '.' && i > 0 && i < len(b)-1 && b[i-1] != '.' {
			continue
		}
		if !mailaddress.IsAtom(c) {
			b[i] = '-'
		}
	}
	if len(b) == 0 {
		return "job"
	}
	return string(b)
}
