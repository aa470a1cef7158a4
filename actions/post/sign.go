package post

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sealpost/sealpost/secrets/redact"
)

// keyPrefix begins a key in base64 (Standard Webhooks, "Signature scheme").
const keyPrefix = "whsec_"

// sign returns the headers of Standard Webhooks 1.0.0. secret holds one key, or
// several with white space between while keys are changed: each gives a
// signature. A key is "whsec_" and base64, or else its own bytes.
func sign(secret redact.String, id string, now time.Time, body []byte) (map[string]string, error) {
	keys := strings.Fields(secret.Reveal())
	if len(keys) == 0 {
		return nil, errors.New("secret for signing holds no key")
	}
	timestamp := strconv.FormatInt(now.Unix(), 10)
	signatures := make([]string, len(keys))
	for i, text := range keys {
		key := []byte(text)
		if rest, ok := strings.CutPrefix(text, keyPrefix); ok {
			var err error
			if key, err = base64.StdEncoding.DecodeString(rest); err != nil || len(key) == 0 {
				return nil, fmt.Errorf("secret for signing: key %d begins with %q and what follows is not base64", i+1, keyPrefix)
			}
		}
		mac := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(mac, "%s.%s.", id, timestamp) // never fails
		_, _ = mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return map[string]string{"Webhook-Id": id, "Webhook-Timestamp": timestamp, "Webhook-Signature": strings.Join(signatures, " ")}, nil
}
