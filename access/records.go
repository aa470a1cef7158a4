package access

import (
	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets"
)

const (
	// setName is the name of the set in Redis, in its manifest and in its MACs.
	setName = "access"

	macSize = 37 // bytes of a MAC: Tink's prefix and HMAC-SHA256
)

// recordSet holds policies and analyses, as JSON, in one secrets.RecordSet: the
// hash "access". What is about them and decides nothing lies beside it.
type recordSet struct {
	*secrets.RecordSet
	rdb  redis.UniversalClient
	base string // of all keys
}

func newRecordSet(rdb redis.UniversalClient, keyring *secrets.Keyring) *recordSet {
	return &recordSet{
		RecordSet: secrets.NewRecordSet(rdb, keyring, setName, "policies and analyses"),
		rdb:       rdb, base: keyring.Prefix() + ":{control}:",
	}
}
