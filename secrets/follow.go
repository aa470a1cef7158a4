package secrets

import "fmt"

// Follower is what a process knows of a set of records that it keeps a copy
// of: which records there are, and that they are all, and no others. Its use
// makes a copy in memory as trustworthy as the manifest. The zero Follower knows
// nothing and takes any manifest that opens. It does no I/O and is not safe for
// concurrent use.
type Follower struct {
	manifest Manifest
	macs     map[string]string // of each record by id; nil before the first whole copy
}

// Step is what was read of a set in one moment: its manifest and records.
type Step struct {
	Version int64
	Seal    []byte            // of the manifest; nil: there is none, which only an empty new set may have
	Whole   bool              // Records are all of the set, not only those that changed
	Records map[string]string // id -> the bytes that the manifest's hash covers; "" if the record is gone
}

// Manifest returns the manifest of the last step taken.
func (f *Follower) Manifest() Manifest { return f.manifest }

// Known reports whether a whole copy was ever taken.
func (f *Follower) Known() bool { return f.macs != nil }

// Forget forgets the records, for a user who could not take them over. The
// next step has to be a whole one; an older manifest is still refused.
func (f *Follower) Forget() { f.macs = nil }

// MAC returns the bytes known of a record, "" if it is not in the set.
func (f *Follower) MAC(id string) string { return f.macs[id] }

// Len is the number of records in the set.
func (f *Follower) Len() int { return len(f.macs) }

// Take makes the step if the records add up to the manifest, and says whether
// they did. If they did not, nothing changed: after changes only, read the whole
// set; after a whole set, records were added, removed or put back in Redis. The
// error is ErrSealBroken for a manifest that does not open or is older than the
// one taken before.
func (f *Follower) Take(k *Keyring, kind string, s Step) (bool, error) {
	next := Manifest{}
	if s.Seal != nil || s.Version != 0 {
		var err error
		if next, err = k.OpenManifest(kind, s.Version, s.Seal); err != nil {
			return false, err
		}
	}
	if next.Version < f.manifest.Version {
		return false, fmt.Errorf("%w: the manifest of %s is older than this process has seen it; if Redis was restored on purpose, restart", ErrSealBroken, kind)
	}
	if !s.Whole && f.macs == nil {
		return false, nil
	}
	sum := f.manifest
	if s.Whole {
		sum = Manifest{}
	}
	for id, mac := range s.Records {
		old := f.macs[id]
		if s.Whole {
			old = ""
		}
		sum = k.Next(sum, kind, id, bytesOf(old), bytesOf(mac))
	}
	if sum.Digest != next.Digest || sum.Count != next.Count {
		return false, nil
	}
	f.take(s, next)
	return true, nil
}

func (f *Follower) take(s Step, next Manifest) {
	f.manifest = next
	if s.Whole || f.macs == nil {
		f.macs = make(map[string]string, len(s.Records))
	}
	for id, mac := range s.Records {
		if mac == "" {
			delete(f.macs, id)
		} else {
			f.macs[id] = mac
		}
	}
}

// bytesOf returns nil for "", which stands for no record.
func bytesOf(mac string) []byte {
	if mac == "" {
		return nil
	}
	return []byte(mac)
}
