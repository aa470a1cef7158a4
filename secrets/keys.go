package secrets

// DefaultPrefix begins every key of the store in Redis.
const DefaultPrefix = "sealpost"

// All keys of the store have the hash tag {control}: they are in one slot of a
// Redis Cluster, so that one script can change several of them.
//
//	keyring            hash    gen, store_id, data, record, kek_check, created
//	manifest:<kind>    hash    v, seal: what the set of records is
//	rev                string  random, new with every write of the store
//	audit              stream  who opened or changed what
//	names              zset    "<KEY> <id>", all with score 0, so sorted by key
//	changed            zset    ids by the manifest's version of their last write, the newest 4096;
//	                           catalogs read it, what is missing in it costs them one whole reading
//	s:<id>             hash    body, ct, mac: one secret
//	s:<id>:old         hash    the version before, for OldVersions
//	s:<id>:staged      hash    the version that waits to be promoted
type keys struct{ base string }

func keysFor(prefix string) keys { return keys{base: prefix + ":{control}:"} }

func (k keys) keyring() string             { return k.base + "keyring" }
func (k keys) manifest(kind string) string { return k.base + "manifest:" + kind }
func (k keys) rev() string                 { return k.base + "rev" }
func (k keys) audit() string               { return k.base + "audit" }
func (k keys) names() string               { return k.base + "names" }
func (k keys) changed() string             { return k.base + "changed" }
func (k keys) secret(id string) string     { return k.base + "s:" + id }
func (k keys) old(id string) string        { return k.base + "s:" + id + ":old" }
func (k keys) staged(id string) string     { return k.base + "s:" + id + ":staged" }
