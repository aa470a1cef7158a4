package sendgrid

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// directRequest is a mail that an analysis sends with a key of its own. Other
// fields are ignored, as the clients that send them expect.
type directRequest struct {
	From        string          `json:"from"`
	To          string          `json:"to"`
	Subject     string          `json:"subject"`
	Message     string          `json:"message"`
	HTML        string          `json:"html"` // goes before Message
	Attachment  *directFile     `json:"attachment"`
	Attachments *directFile     `json:"attachments"` // the name in the client's own example
	Template    json.RawMessage `json:"template"`
}

// directFile is an attachment: text, or base64 when Type says so.
type directFile struct {
	Archive  string `json:"archive"`
	FileName string `json:"filename"`
	Type     string `json:"type"` // "base64", or a media type such as "text/csv", or ""
}

// decodeDirect reads and checks a direct request. Its errors quote nothing.
func decodeDirect(raw json.RawMessage) (*plan, error) {
	var d directRequest
	if err := json.Unmarshal(raw, &d); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
			return nil, fmt.Errorf("field %q: want %s", wrong.Field, wrong.Type)
		}
		return nil, errors.New("want a JSON object")
	}
	if len(d.Template) > 0 && string(d.Template) != "null" {
		return nil, errors.New("field \"template\": there are no templates here; send \"message\" or \"html\"")
	}
	p := Params{From: d.From, To: d.To, Subject: d.Subject, Message: d.Message, HTML: d.HTML}
	if p.HTML != "" {
		p.Message = ""
	}
	pl, err := p.addresses()
	if err != nil {
		return nil, err
	}
	if err := pl.fill(&p, asIs{}); err != nil {
		return nil, err
	}
	for name, a := range map[string]*directFile{"attachment": d.Attachment, "attachments": d.Attachments} {
		if a == nil {
			continue
		}
		f, err := a.file()
		if err != nil {
			return nil, fmt.Errorf("field %q: %w", name, err)
		}
		pl.files = append(pl.files, f)
	}
	return pl, nil
}

// file checks the attachment and decodes it.
func (d *directFile) file() (file, error) {
	content := []byte(d.Archive)
	media := ""
	if strings.EqualFold(d.Type, "base64") {
		var err error
		if content, err = base64.StdEncoding.DecodeString(d.Archive); err != nil {
			return file{}, errors.New("archive: is not base64")
		}
	} else if known, err := mediaType(d.Type); err == nil {
		media = known
	}
	return newFile(d.FileName, media, content)
}
