package email

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"path"
	"regexp"
	"strings"

	"github.com/wneessen/go-mail"

	"github.com/sealpost/sealpost/actions"
)

// Limits of attachments. Their sum is bounded by the size of a job, 256 KiB.
const (
	maxFiles    = 20  // ours: nobody reads a mail with more
	maxFileName = 255 // bytes; what file systems take
)

// Attachment is a file that goes with a mail.
type Attachment struct {
	FileName string `json:"filename"`
	Content  string `json:"content"` // base64 (RFC 4648, section 4)
	Type     string `json:"type"`    // media type; "" means that of the name's extension
}

// file is an attachment, ready to go.
type file struct {
	name, media string
	content     []byte
}

// readFiles checks the attachments of a job and decodes them.
func readFiles(list []json.RawMessage) ([]file, error) {
	if len(list) > maxFiles {
		return nil, fmt.Errorf("field \"attachments\": more than %d files", maxFiles)
	}
	var out []file
	for i, raw := range list {
		place := fmt.Sprintf("field \"attachments\": file %d", i+1)
		var a Attachment
		if err := actions.Decode(place, raw, &a); err != nil {
			return nil, err
		}
		f, err := a.file()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", place, err)
		}
		out = append(out, f)
	}
	return out, nil
}

// file decodes the attachment.
func (a *Attachment) file() (file, error) {
	content, err := base64.StdEncoding.DecodeString(a.Content)
	if err != nil {
		return file{}, errors.New("content: is not base64")
	}
	media, err := mediaType(a.Type)
	if err != nil {
		return file{}, fmt.Errorf("type: %w", err)
	}
	f, err := newFile(a.FileName, media, content)
	if errors.Is(err, errEmptyFile) {
		return file{}, fmt.Errorf("content: %w", err)
	}
	return f, err
}

var errEmptyFile = errors.New("is empty")

// newFile checks name and content. Without a media type that of the name's
// extension counts.
func newFile(name, media string, content []byte) (file, error) {
	if err := actions.CheckLine(name); err != nil {
		return file{}, fmt.Errorf("filename: %w", err)
	}
	if name == "" || len(name) > maxFileName || strings.ContainsAny(name, `/\`) {
		return file{}, fmt.Errorf("filename: want a name without / and \\, of at most %d bytes", maxFileName)
	}
	if len(bytes.TrimSpace(content)) == 0 {
		return file{}, errEmptyFile
	}
	if media == "" {
		media, _ = mediaType(mime.TypeByExtension(path.Ext(name)))
	}
	if media == "" {
		media = "application/octet-stream"
	}
	return file{name: name, media: media, content: content}, nil
}

// mediaPattern is a media type (RFC 6838, section 4.2).
var mediaPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$`)

// charsetPattern is the name of a charset that needs no quotes.
var charsetPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:+-]{0,39}$`)

// mediaType returns a media type with its charset, if it has one, and without
// other parameters: go-mail writes it to a header as it is. "" stays "".
func mediaType(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	media, params, err := mime.ParseMediaType(text)
	if err != nil || !mediaPattern.MatchString(media) {
		return "", errors.New("want a media type such as text/csv")
	}
	// Those may not be in base64 (RFC 2046, sections 5.1 and 5.2.1).
	if strings.HasPrefix(media, "multipart/") || strings.HasPrefix(media, "message/") {
		return "", errors.New("want a media type that is neither multipart nor message")
	}
	if charset := params["charset"]; charsetPattern.MatchString(charset) {
		media += "; charset=" + charset
	}
	return media, nil
}

// attach adds the file to m. The headers are ours: go-mail writes a name beyond
// ASCII as an encoded word in quotes, which RFC 2047, section 5, rule 3,
// forbids, and replaces ? and : in it.
func (f file) attach(m *mail.Msg) error {
	return m.AttachReader(f.name, bytes.NewReader(f.content), func(to *mail.File) {
		to.Header.Set("Content-Type", f.media)
		to.Header.Set("Content-Disposition", disposition(f.name))
	})
}

// disposition writes a file name as RFC 2183 does, and beyond ASCII as RFC 2231
// does.
func disposition(name string) string {
	for _, r := range name {
		if r >= 0x7f {
			return strings.Replace(mime.FormatMediaType("attachment", map[string]string{"filename": name}), "; ", ";\r\n ", 1)
		}
	}
	return "attachment;\r\n filename=\"" + strings.ReplaceAll(name, `"`, `\"`) + `"`
}

// size is how much room the files take in base64, with line ends.
func size(files []file) int {
	n := 0
	for _, f := range files {
		n += len(f.content)*3/2 + 512
	}
	return n
}
