package sendgrid

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"path"
	"strings"

	"github.com/sealpost/sealpost/actions"
)

// Limits of attachments. Their sum is bounded by the size of a job.
const (
	maxFiles    = 20  // ours: nobody reads a mail with more
	maxFileName = 255 // bytes; what file systems take
	maxMedia    = 127 // bytes of a media type's halves (RFC 6838, section 4.2)
)

// Attachment is a file that goes with a mail.
type Attachment struct {
	FileName string `json:"filename"`
	Content  string `json:"content"` // base64 (RFC 4648, section 4)
	Type     string `json:"type"`    // media type; "" means that of the name's extension
}

// file is an attachment as SendGrid takes it.
type file struct {
	Content     string `json:"content"` // base64
	Type        string `json:"type"`
	FileName    string `json:"filename"`
	Disposition string `json:"disposition"`
}

// readFiles checks the attachments of a job.
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
		content, err := base64.StdEncoding.DecodeString(a.Content)
		if err != nil {
			return nil, fmt.Errorf("%s: content: is not base64", place)
		}
		media, err := mediaType(a.Type)
		if err != nil {
			return nil, fmt.Errorf("%s: type: %w", place, err)
		}
		f, err := newFile(a.FileName, media, content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", place, err)
		}
		out = append(out, f)
	}
	return out, nil
}

// newFile checks name and content. Without a media type that of the name's
// extension counts.
func newFile(name, media string, content []byte) (file, error) {
	if err := actions.CheckLine(name); err != nil {
		return file{}, fmt.Errorf("filename: %w", err)
	}
	if name == "" || len(name) > maxFileName || strings.ContainsAny(name, `/\`) {
		return file{}, fmt.Errorf("filename: want a name without / and \\, of at most %d bytes", maxFileName)
	}
	if len(content) == 0 {
		return file{}, errors.New("content: is empty")
	}
	if media == "" {
		media, _ = mediaType(mime.TypeByExtension(path.Ext(name)))
	}
	if media == "" {
		media = "application/octet-stream"
	}
	return file{Content: base64.StdEncoding.EncodeToString(content), Type: media, FileName: name, Disposition: "attachment"}, nil
}

// mediaType returns a media type without its parameters: SendGrid refuses ; in
// it. "" stays "".
func mediaType(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	media, _, err := mime.ParseMediaType(text)
	kind, sub, ok := strings.Cut(media, "/")
	if err != nil || !ok || kind == "" || sub == "" || len(kind) > maxMedia || len(sub) > maxMedia {
		return "", errors.New("want a media type such as text/csv")
	}
	return media, nil
}
