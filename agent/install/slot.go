package install

import (
	"context"
	"os"

	"github.com/countersign-ota/countersign/proto/reason"
)

// SlotConfig describes a pair of slots.
type SlotConfig struct {
	// A and B are the two slots, block devices or files. Boot control knows them as "a" and "b".
	A, B string
	Boot Boot
	// State is the file for the installer's record.
	State string
}

// Slot writes the slot that does not run and lets the boot loader try it. What runs is never written,
// and a slot that is not whole is never bootable: it is marked unbootable, durably, before the first
// byte, and on trial only after the bytes were read back from the medium.
type Slot struct {
	c SlotConfig
}

// NewSlot returns the installer for c. It touches nothing.
func NewSlot(c SlotConfig) *Slot { return &Slot{c: c} }

// slotRecord says which image is whole in which slot. A slot without an entry holds what the factory
// put there, or something half-written; boot control knows which.
type slotRecord struct {
	Version int               `json:"countersign_slots"`
	Slots   map[string]*entry `json:"slots"`
}

// Name is the installer's name in firmware documents.
func (s *Slot) Name() string { return "slot" }

// device returns the path of a slot.
func (s *Slot) device(slot string) string {
	if slot == "a" {
		return s.c.A
	}
	return s.c.B
}

// slots asks which slot runs.
func (s *Slot) slots(ctx context.Context) (current, other string, err error) {
	current, err = s.c.Boot.Current(ctx)
	if err != nil {
		return "", "", err
	}
	switch current {
	case "a":
		return "a", "b", nil
	case "b":
		return "b", "a", nil
	}
	return "", "", reason.Errorf(reason.InstallFailed, "boot control says slot %q runs, want a or b", current)
}

// record reads the record; a damaged one says nothing about either slot.
func (s *Slot) record() slotRecord {
	var r slotRecord
	if err := loadRecord(s.c.State, &r); err != nil || r.Version != recordVersion {
		r = slotRecord{}
	}
	r.Version = recordVersion
	if r.Slots == nil {
		r.Slots = map[string]*entry{}
	}
	return r
}

// Install writes img into the slot that does not run. It does nothing if img runs, or is whole in the
// other slot and on trial already. The slot that runs must be good, so that there is a way back.
func (s *Slot) Install(ctx context.Context, img Image) error {
	current, other, err := s.slots(ctx)
	if err != nil {
		return err
	}
	r := s.record()
	if r.Slots[current].is(img) {
		return nil
	}
	state, err := s.c.Boot.State(ctx, other)
	if err != nil {
		return err
	}
	if r.Slots[other].is(img) && state == OnTrial {
		return nil
	}
	if err := s.mustBeGood(ctx, current); err != nil {
		return err
	}
	if err := s.differ(); err != nil {
		return err
	}
	if err := s.c.Boot.Mark(ctx, other, Unbootable); err != nil {
		return err
	}
	delete(r.Slots, other)
	if err := saveRecord(s.c.State, r); err != nil {
		return err
	}
	if err := write(ctx, s.device(other), img); err != nil {
		return err
	}
	r.Slots[other] = entryOf(img)
	return saveRecord(s.c.State, r)
}

// Activate reads back what Install wrote and lets the next boot try it.
func (s *Slot) Activate(ctx context.Context, img Image) error {
	current, other, err := s.slots(ctx)
	if err != nil {
		return err
	}
	r := s.record()
	if r.Slots[current].is(img) {
		return nil
	}
	if !r.Slots[other].is(img) {
		return reason.Errorf(reason.InstallFailed, "slot %q holds sha256 %x, not %x of %q", other, r.Slots[other].sum(), img.SHA256, img.Path)
	}
	state, err := s.c.Boot.State(ctx, other)
	if err != nil || state == OnTrial {
		return err
	}
	if err := s.mustBeGood(ctx, current); err != nil {
		return err
	}
	if err := readBack(ctx, s.device(other), img); err != nil {
		return err
	}
	return s.c.Boot.Mark(ctx, other, OnTrial)
}

// Confirm makes the slot that runs good.
func (s *Slot) Confirm(ctx context.Context) error {
	current, _, err := s.slots(ctx)
	if err != nil {
		return err
	}
	state, err := s.c.Boot.State(ctx, current)
	if err != nil || state == Good {
		return err
	}
	return s.c.Boot.Good(ctx, current)
}

// Revert makes the next boot take the slot that was good before the trial. If the trial runs, only a
// reboot ends it. Without a good slot to go back to it is stuck and changes nothing.
func (s *Slot) Revert(ctx context.Context) error {
	current, other, err := s.slots(ctx)
	if err != nil {
		return err
	}
	here, err := s.c.Boot.State(ctx, current)
	if err != nil {
		return err
	}
	there, err := s.c.Boot.State(ctx, other)
	if err != nil {
		return err
	}
	switch {
	case here == Good && there == OnTrial: // not booted yet
		return s.c.Boot.Mark(ctx, other, Unbootable)
	case here == Good: // the boot loader went back by itself
		return nil
	case there != Good:
		return reason.Errorf(reason.Stuck, "slot %q is %s and slot %q is %s: nothing to go back to", current, here, other, there)
	case here == Unbootable:
		return nil
	}
	return s.c.Boot.Mark(ctx, current, Unbootable)
}

// Running asks boot control which slot runs and returns what Install recorded for it.
func (s *Slot) Running(ctx context.Context) (Running, error) {
	current, other, err := s.slots(ctx)
	if err != nil {
		return Running{}, err
	}
	here, err := s.c.Boot.State(ctx, current)
	if err != nil {
		return Running{}, err
	}
	there, err := s.c.Boot.State(ctx, other)
	if err != nil {
		return Running{}, err
	}
	run := Running{SHA256: s.record().Slots[current].sum(), Slot: current, Trial: here == OnTrial}
	if here == Unbootable || here == Good && there == OnTrial {
		run.Next, run.NeedsReboot = other, true
	}
	return run, nil
}

// Fallback returns the hash of the image in the other slot, if that slot is good. The hash is zero
// for what the installer did not put there.
func (s *Slot) Fallback(ctx context.Context) (sha [32]byte, ok bool, err error) {
	_, other, err := s.slots(ctx)
	if err != nil {
		return sha, false, err
	}
	state, err := s.c.Boot.State(ctx, other)
	if err != nil || state != Good {
		return sha, false, err
	}
	return s.record().Slots[other].sum(), true, nil
}

// MarkUnbootable keeps the other slot from booting, if it holds the image sha; zero stands for an
// image that the installer did not put there. It is for images below the floor or stopped ones. The
// slot that runs is never marked, and while it is not good the other one is the way back: both are
// stuck.
func (s *Slot) MarkUnbootable(ctx context.Context, sha [32]byte) error {
	current, other, err := s.slots(ctx)
	if err != nil {
		return err
	}
	r := s.record()
	if r.Slots[other].sum() != sha {
		if r.Slots[current].sum() == sha {
			return reason.Errorf(reason.Stuck, "sha256 %x runs in slot %q, which is not marked unbootable", sha, current)
		}
		return nil
	}
	state, err := s.c.Boot.State(ctx, other)
	if err != nil || state == Unbootable {
		return err
	}
	if here, err := s.c.Boot.State(ctx, current); err != nil {
		return err
	} else if here != Good {
		return reason.Errorf(reason.Stuck, "slot %q is %s, so slot %q must stay bootable", current, here, other)
	}
	return s.c.Boot.Mark(ctx, other, Unbootable)
}

// mustBeGood refuses to give up the other slot while the one that runs is not confirmed.
func (s *Slot) mustBeGood(ctx context.Context, current string) error {
	state, err := s.c.Boot.State(ctx, current)
	if err == nil && state != Good {
		err = reason.Errorf(reason.InstallFailed, "slot %q runs and is %s, want good", current, state)
	}
	return err
}

// differ refuses two names of one slot.
func (s *Slot) differ() error {
	a, errA := os.Stat(s.c.A)
	b, errB := os.Stat(s.c.B)
	if errA == nil && errB == nil && (os.SameFile(a, b) || sameDevice(a, b)) || s.c.A == s.c.B {
		return reason.Errorf(reason.Config, "slots a and b are both %q", s.c.A)
	}
	return nil
}
