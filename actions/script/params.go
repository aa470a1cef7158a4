package script

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
)

// Params is the "action" object of a job.
type Params struct {
	Type   string   `json:"type"`   // "script"
	Script []string `json:"script"` // ids of 1 to 10 analyses
}

// maxScripts is how many analyses public clients give to one action.
const maxScripts = 10

// decode reads and checks the job, and returns the ids, each once.
func decode(job *queue.Job) ([]string, error) {
	var p Params
	if err := actions.Decode(Kind, job.Action, &p); err != nil {
		return nil, err
	}
	if len(p.Script) == 0 || len(p.Script) > maxScripts {
		return nil, queue.Permanent(fmt.Errorf(Kind+": field \"script\": want 1 to %d ids of analyses, got %d", maxScripts, len(p.Script)))
	}
	ids := make([]string, 0, len(p.Script))
	for i, id := range p.Script {
		// The text may be anything, a token too: it is not repeated.
		if len(id) != 24 || strings.Trim(id, "0123456789abcdef") != "" {
			return nil, queue.Permanent(fmt.Errorf(Kind+": field \"script\": element %d: want the id of an analysis, 24 hex digits", i+1))
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
