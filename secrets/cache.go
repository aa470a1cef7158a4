package secrets

import (
	"math"
	"sync"
)

// cacheMax bounds the records that a process keeps: at about 1 KB each 10 MB.
// Over it the cache starts anew, which costs one read for each secret in use.
const cacheMax = 10_000

// cache keeps checked records of one revision of the store, sealed as they
// are, and the lowest edits and manifest version that are still acceptable.
type cache struct {
	mu     sync.RWMutex
	rev    string
	byID   map[string]*record
	byKey  map[string]*record
	floors map[string]int64 // by id: the highest edit seen
	set    int64            // the highest manifest version seen
}

// get returns the record of ref if it is known for this revision.
func (c *cache) get(rev, ref string) *record {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.rev != rev {
		return nil
	}
	if r := c.byID[ref]; r != nil {
		return r
	}
	return c.byKey[ref]
}

// peek returns the record of id in whatever revision is kept, and that
// revision. Whoever uses it has to see that revision again afterwards.
func (c *cache) peek(id string) (*record, string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byID[id], c.rev
}

// put keeps a record that was read after rev was seen.
func (c *cache) put(rev string, r *record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID == nil || c.rev != rev || len(c.byID) >= cacheMax {
		c.rev = rev
		c.byID, c.byKey = map[string]*record{}, map[string]*record{}
	}
	c.byID[r.ID], c.byKey[r.Key] = r, r
}

// floor returns the lowest acceptable edit of id. It must be asked before the
// record is read: a record that was read before somebody wrote a newer one is
// old, not rolled back.
func (c *cache) floor(id string) int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.floors[id]
}

// raise notes that this edit of id was seen.
func (c *cache) raise(id string, edit int64) {
	c.mu.RLock()
	known := c.floors[id] >= edit
	c.mu.RUnlock()
	if known {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.floors == nil {
		c.floors = map[string]int64{}
	}
	c.floors[id] = max(c.floors[id], edit)
}

// bury notes that id was deleted: no edit of it is acceptable any more.
func (c *cache) bury(id string) { c.raise(id, math.MaxInt64) }

// setFloor returns the lowest acceptable manifest version.
func (c *cache) setFloor() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.set
}

// raiseSet notes that this manifest version was seen.
func (c *cache) raiseSet(version int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set = max(c.set, version)
}
