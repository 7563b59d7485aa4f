package event

import (
	"encoding/hex"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// MaxGap is how far a version or counter may go above the one in force in one event. What was signed in
// vain uses some up; a server that says so of more than this lies, or a thief has it: whoever followed
// would use up all that a role has (DESIGN 1.5).
const MaxGap = 1 << 20

// checkGap refuses a leap of a version or counter.
func checkGap(p *proposed, what string, old, next int64) error {
	if next-old <= MaxGap {
		return nil
	}
	return reason.Errorf(reason.IntegerRange, "%s goes from %s %d to %d, wanted at most %d more", p, what, old, next, MaxGap).
		WithHint("nobody signed so many in vain: if the server says so, report it")
}

// versions carries out DESIGN 1.5: no version ever has two contents. Root is always base + 1, other
// roles base + 1 or, where a version was signed before and is used up, the next above it.
func (t *trial) versions() error {
	for _, p := range t.files {
		if p.version > metadata.MaxVersion {
			return reason.Errorf(reason.IntegerRange, "%s has version %d, wanted at most %d", p, p.version, int64(metadata.MaxVersion))
		}
		if !p.expires.After(t.opts.Now) {
			return reason.Errorf(reason.Expired, "%s expires on %s, which is past", p, p.expires.Format("2006-01-02 15:04:05Z"))
		}
		if p.role == metadata.Root {
			if p.version != p.oldVersion+1 {
				return reason.Errorf(reason.Profile, "%s has version %d, wanted %d", p, p.version, p.oldVersion+1)
			}
			continue
		}
		if p.version <= p.oldVersion {
			return reason.Errorf(reason.VersionUsed, "%s has version %d, %d is in force", p, p.version, p.oldVersion)
		}
		if err := checkGap(p, "version", p.oldVersion, p.version); err != nil {
			return err
		}
		if !t.opts.Opening {
			continue
		}
		// A person's machine cannot know what others signed; the server can, and refuses gaps too: a
		// signed version far above would lock the role for ever.
		next := max(p.oldVersion, t.used(p).Version) + 1
		if p.version < next {
			return reason.Errorf(reason.VersionUsed, "%s has version %d, which was signed before with other content, wanted %d", p, p.version, next)
		}
		if p.version > next {
			return reason.Errorf(reason.Profile, "%s has version %d, wanted %d", p, p.version, next)
		}
	}
	return nil
}

func (t *trial) used(p *proposed) Use {
	u := Use{Repository: p.repository, Role: p.role}
	if t.opts.Memory != nil {
		u.Version, u.Counter = t.opts.Memory.Used(p.repository, p.role)
	}
	return u
}

// nextCounter checks the counter of a release (DESIGN 1.3): above the highest one that the product
// ever used, and when it is opened exactly the next.
func (t *trial) nextCounter(p *proposed, old, counter int64) error {
	if counter <= old {
		return reason.Errorf(reason.CounterLow, "%s: counter %d, wanted above %d", p, counter, old)
	}
	if counter > metadata.MaxVersion {
		return reason.Errorf(reason.IntegerRange, "%s: counter %d, wanted at most %d", p, counter, int64(metadata.MaxVersion))
	}
	if err := checkGap(p, "counter", old, counter); err != nil {
		return err
	}
	if !t.opts.Opening {
		return nil
	}
	next := max(old, t.used(p).Counter) + 1
	if counter < next {
		return reason.Errorf(reason.CounterUsed, "%s: counter %d was signed before, wanted %d", p, counter, next)
	}
	if counter > next {
		return reason.Errorf(reason.Profile, "%s: counter %d, wanted %d", p, counter, next)
	}
	return nil
}

func hexOf(d [32]byte) string { return hex.EncodeToString(d[:]) }
