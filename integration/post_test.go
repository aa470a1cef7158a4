package integration_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/actions/sink"
)

// receiver starts an HTTP sink with an answer of its own.
func receiver(t *testing.T, answer func(sink.HTTPRequest) sink.HTTPAnswer) *sink.HTTP {
	t.Helper()
	h, err := sink.StartHTTP(sink.HTTPConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	h.SetAnswer(answer)
	return h
}

func TestAPostThatIsRefusedGoesOnWithANewSecretOrToItsFallback(t *testing.T) {
	const good = "Bearer good-Token-0123456789"
	guarded := receiver(t, func(r sink.HTTPRequest) sink.HTTPAnswer {
		if r.Header.Get("Authorization") != good {
			return sink.HTTPAnswer{Status: 401, Body: "no: " + r.Header.Get("Authorization")}
		}
		return sink.HTTPAnswer{}
	})
	broken := receiver(t, func(sink.HTTPRequest) sink.HTTPAnswer { return sink.HTTPAnswer{Status: 503} })
	last := receiver(t, nil)
	s := newSite(t)
	s.serve()

	put := func(value string) {
		t.Helper()
		if _, err := s.PutSecret("HOOK", value); err != nil {
			t.Fatal(err)
		}
	}
	put("Bearer wrong-Token-9876543210")
	data := map[string]any{"data": []any{map[string]any{"variable": "temp", "value": 73}}}
	parked := s.send(job(map[string]any{"type": "post", "url": guarded.URL() + "/hook", "header_secrets": map[string]string{"Authorization": "HOOK"}}, data))[0]
	if st := s.becomes(parked, "parked"); st.AttemptCount != 0 || st.Last().Code != "401" || strings.Contains(fmt.Sprint(st), "wrong-Token") {
		t.Errorf("a refused token: %+v, want parked, no attempt used, and no token shown", st)
	}
	put(good)
	if st := s.becomes(parked, "done"); st.Last().SecretVersion != 2 {
		t.Errorf("after a new version: %+v", st)
	}

	created := s.Run(fmt.Sprintf(`{"name":"last","type":"interval","trigger":[{"interval":"3 minutes"}],"action":{"type":"post","url":%q}}`, last.URL()+"/last/$VALUE$"), "action", "create", "-")
	if err := created.Err(); err != nil {
		t.Fatal(err)
	}
	data["max_attempts"] = 1
	dead := s.send(job(map[string]any{
		"type": "post", "url": broken.URL() + "/token-in-the-path", "http_post_fallback_enabled": true, "fallback_action": strings.TrimSpace(created.Stdout),
	}, data))[0]
	s.becomes(dead, "dead")
	s.becomes(dead+"-fallback", "done")
	got := last.Requests()
	if len(got) != 1 {
		t.Fatalf("%d requests at the fallback, want one", len(got))
	}
	var body []struct{ Metadata map[string]any }
	if err := json.Unmarshal(got[0].Body, &body); err != nil || len(body) != 1 {
		t.Fatalf("body %s: %v", got[0].Body, err)
	}
	meta := body[0].Metadata
	if got[0].Path != "/last/73" || meta["_http_error"] != "HTTP 503, server-error" || meta["_http_url"] != broken.URL() || meta["_http_attempts"] != 1.0 {
		t.Errorf("the fallback got %s %s", got[0].Path, got[0].Body)
	}
	if broken.Count() != 1 {
		t.Errorf("%d requests before it, want one", broken.Count())
	}
	for _, token := range []string{"good-Token", "wrong-Token", "token-in-the-path"} {
		if strings.Contains(s.logs(), token) {
			t.Errorf("%s is in the log", token)
		}
	}
}
