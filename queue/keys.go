package queue

import (
	"hash/fnv"
	"strconv"
	"strings"
	"time"
)

// DefaultPrefix is the first part of every key.
const DefaultPrefix = "sealpost"

// group is the one consumer group of every stream.
const group = "w"

// DefaultLogRetention is how long the record of an attempt is kept.
const DefaultLogRetention = 24 * time.Hour

// StreamKey returns the stream of a partition, to which any Redis client may
// XADD a job as the field "job". An empty prefix means [DefaultPrefix].
func StreamKey(prefix string, partition int) string { return newKeys(prefix, partition).jobs() }

// keys makes the keys of one partition. All of them carry the hash tag
// {q<partition>}, so that they share one slot of a Redis Cluster.
type keys struct {
	partition int
	base      string   // "sealpost:{q0}:"
	places    []string // KEYS[1..9] of every script, in the order of common.lua
}

func newKeys(prefix string, partition int) keys {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	k := keys{partition: partition, base: prefix + ":{q" + strconv.Itoa(partition) + "}:"}
	k.places = []string{k.jobs(), k.due(), k.body(), k.dead(), k.moved(), k.cancel(), k.mark(), k.parks(), k.versions()}
	return k
}

// highest is a string, of partition 0 only: the highest number of partitions that
// any process ever had.
func (k keys) highest() string { return k.base + "partitions" }

// with returns the places followed by the keys that one script needs more.
func (k keys) with(more ...string) []string {
	return append(append(make([]string, 0, len(k.places)+len(more)), k.places...), more...)
}

// jobs is the stream: ready and running jobs. Fields: job, and meta if the job
// has been in another place before.
func (k keys) jobs() string { return k.base + "jobs" }

// due is a sorted set: due ms -> jid of delayed jobs.
func (k keys) due() string { return k.base + "due" }

// body is a hash: jid -> "<meta JSON>\n<job JSON>" of delayed, parked and dead jobs.
func (k keys) body() string { return k.base + "body" }

// dead is a sorted set: died ms -> jid of dead letters.
func (k keys) dead() string { return k.base + "dead" }

// moved is a hash: jid -> entry id, for jobs in the stream whose entry id is
// no longer their jid.
func (k keys) moved() string { return k.base + "moved" }

// cancel is a hash: jid -> ms, for running jobs that shall not be tried again.
func (k keys) cancel() string { return k.base + "cancel" }

// mark is a hash: jid -> claim that began a step which cannot be taken back;
// only for jobs with on_ambiguous=park.
func (k keys) mark() string { return k.base + "mark" }

// parks is a hash: "<secret>:<version>" -> ms of its first parked job. It is
// the list of the parked sets.
func (k keys) parks() string { return k.base + "parks" }

// versions is a hash: secret id -> newest version that the queue was told of.
func (k keys) versions() string { return k.base + "versions" }

// parkedPrefix is what every parked set's key begins with.
func (k keys) parkedPrefix() string { return k.base + "parked:" }

// parked is a sorted set: enqueued ms -> jid of jobs that wait for a newer
// version than this one. name is "<secret>:<version>".
func (k keys) parked(name string) string { return k.parkedPrefix() + name }

// dedup is a string: "<jid> <enqueued ms>" of the producer's id.
func (k keys) dedup(id string) string { return k.base + dedupName + id }

const dedupName = "dedup:"

// dedupPrefix is what every dedup key of the partition begins with.
func (k keys) dedupPrefix() string { return k.base + dedupName }

// anyDedup is a pattern of the dedup keys of all partitions.
func (k keys) anyDedup() string {
	before, _, _ := strings.Cut(k.base, "{")
	var escaped strings.Builder
	for _, b := range []byte(before) {
		if strings.IndexByte(`*?[]\^`, b) >= 0 {
			escaped.WriteByte('\\')
		}
		escaped.WriteByte(b)
	}
	return escaped.String() + "{q*}:" + dedupName + "*"
}

// partitionOf returns the partition of a key that anyDedup has found.
func (k keys) partitionOf(key string) (int, bool) {
	before, _, _ := strings.Cut(k.base, "{")
	rest, found := strings.CutPrefix(key, before+"{q")
	number, rest, closed := strings.Cut(rest, "}")
	p, err := strconv.Atoi(number)
	return p, found && closed && err == nil && p >= 0 && strings.HasPrefix(rest, ":"+dedupName)
}

// log is a hash: "<jid>/<n>" -> record of an attempt, for all jobs whose jid
// was minted in that minute since the epoch.
func (k keys) log(minute int64) string { return k.logPrefix() + strconv.FormatInt(minute, 10) }

// logPrefix is what every log's key begins with.
func (k keys) logPrefix() string { return k.base + "log:" }

// dropped is a string: the minute before which the logs were dropped because
// they had too many records.
func (k keys) dropped() string { return k.base + "dropped" }

// logOf is the log that holds the records of jid.
func (k keys) logOf(jid string) string { return k.log(jidMillis(jid) / time.Minute.Milliseconds()) }

// shared makes the keys of what all processes know of the other side. They have
// a slot of their own in a Redis Cluster.
type shared struct{ base string } // "sealpost:{shared}:"

func newShared(prefix string) shared {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return shared{base: prefix + ":{shared}:"}
}

// refused is a hash: "<secret>:<version>" -> JSON of a refusal, for credentials
// that the other side refused; see gate.go.
func (k shared) refused() string { return k.base + "refused" }

// paused is a hash: "all", "kind:<kind>" or "lane:<lane>" -> ms, of what an
// operator holds back; see pause.go.
func (k shared) paused() string { return k.base + "paused" }

// audit is a hash: whose turn it is to check the queue, and what the last check
// found; see audit.go.
func (k shared) audit() string { return k.base + "audit" }

// pace is a hash: lane -> JSON of what its destination bears, for lanes that are
// limited, held or broken; see pace.go.
func (k shared) pace() string { return k.base + "pace" }

// jidMillis returns the time part of a stream entry id, 0 if it has none.
func jidMillis(jid string) int64 {
	var ms int64
	for i := range len(jid) {
		c := jid[i]
		if c == '-' && i > 0 {
			return ms
		}
		if c < '0' || c > '9' || i > 17 {
			return 0
		}
		ms = ms*10 + int64(c-'0')
	}
	return 0
}

// isEntryID reports whether s has the form of a stream entry id, "<ms>-<seq>".
func isEntryID(s string) bool {
	dash := -1
	for i := range len(s) {
		switch c := s[i]; {
		case c == '-' && dash < 0 && i > 0:
			dash = i
		case c < '0' || c > '9':
			return false
		}
	}
	return dash > 0 && dash <= 17 && dash < len(s)-1 && len(s)-dash <= 18
}

// partitionOf returns the partition of a producer's id.
func partitionOf(id string, partitions int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // a hash never fails to write
	return int(h.Sum32() % uint32(partitions))
}

// publicID is how users name a job that its producer gave no id.
func publicID(partition int, jid string) string {
	return "q" + strconv.Itoa(partition) + "-" + jid
}

// splitPublicID is the reverse of publicID.
func splitPublicID(id string) (partition int, jid string, ok bool) {
	if len(id) < 2 || id[0] != 'q' {
		return 0, "", false
	}
	i := 1
	for i < len(id) && i < 6 && id[i] >= '0' && id[i] <= '9' {
		partition = partition*10 + int(id[i]-'0')
		i++
	}
	if i == 1 || i >= len(id) || id[i] != '-' || !isEntryID(id[i+1:]) {
		return 0, "", false
	}
	return partition, id[i+1:], true
}
