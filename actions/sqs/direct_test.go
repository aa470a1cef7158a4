package sqs

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets/redact"
)

var _ actions.Direct = (*Action)(nil)

// value is the world's secret as a request carries it.
func (w *world) value(t *testing.T, key string) redact.String {
	t.Helper()
	s := w.vault.secret
	if key == "" {
		key = s.SecretAccessKey.Reveal()
	}
	raw, err := json.Marshal(map[string]string{"aws_region": s.Region, "queue_url": s.QueueURL, "endpoint": s.Endpoint,
		"access_key_id": s.AccessKeyID.Reveal(), "secret_access_key": key})
	if err != nil {
		t.Fatal(err)
	}
	return redact.New(string(raw))
}

func TestADirectRequestPutsEachDatumIntoTheQueue(t *testing.T) {
	w := start(t, "direct.fifo")
	var list, want []string
	for range 25 {
		list = append(list, `{"variable": "t", "value": 1}`)
		want = append(want, `{"variable":"t","value":1}`)
	}
	request := `{"dataList":[` + strings.Join(list, ",") + `],"batch_enabled":true}`
	reply, err := w.action.SendWith(t.Context(), w.value(t, ""), json.RawMessage(request))
	if err != nil {
		t.Fatalf("SendWith: %+v, %v", reply, err)
	}
	if diff := cmp.Diff(w.bodies(), want); diff != "" {
		t.Errorf("messages (-got +want):\n%s", diff)
	}
	if w.vault.opens != 0 || len(w.action.accounts) != 0 {
		t.Errorf("opened %d secrets, keeps %d accounts: want neither", w.vault.opens, len(w.action.accounts))
	}
}

func TestADirectRequestThatIsWrongIsRefused(t *testing.T) {
	w := start(t, "direct")
	tests := []struct {
		name, request string
		value         redact.String
		outcome, want string
	}{
		{"no data", `{"dataList":[null]}`, w.value(t, ""), "dead", "want an object"},
		{"an empty list", `{"dataList":[]}`, w.value(t, ""), "dead", "nothing to send"},
		{"no list", `{}`, w.value(t, ""), "dead", "nothing to send"},
		{"no object", `[]`, w.value(t, ""), "dead", "JSON object"},
		{"no credential", `{"dataList":[{}]}`, redact.New("{}"), "dead", "aws_region"},
		{"a wrong key", `{"dataList":[{}]}`, w.value(t, "canary-wrong-secret-key"), "parked", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.action.SendWith(t.Context(), tt.value, json.RawMessage(tt.request))
			if got := outcomeOf(err); got != tt.outcome || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %s %v, want %s with %q", got, err, tt.outcome, tt.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the key is shown: %v", err)
			}
		})
	}
	if got := w.bodies(); len(got) != 0 {
		t.Errorf("messages: got %v, want none", got)
	}
}
