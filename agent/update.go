package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"github.com/countersign-ota/countersign/agent/internal/state"
	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
)

// Update is what is instructed together. Only Check, CheckLocal and Staged make one, and holding one
// proves nothing: Stage and Install verify its targets again from stored metadata.
type Update struct {
	targets []Target
	members []*state.Member
	// file holds the bytes, for a local instruction that brought them along.
	file string
}

// Target is one image of an update, for people and logs.
type Target struct {
	Component string
	// Path is PRODUCT/VERSION/FILE.
	Path    string
	Product string
	Version string
	Counter int64
	// Floor is the lowest counter that may run once this one is confirmed.
	Floor int64
	// Length in bytes.
	Length int64
	SHA256 [32]byte
	// Class is security, maintenance, feature or recall; Fixes are identifiers such as CVE-2026-0001.
	// Both are empty in an update that Staged made.
	Class string
	Fixes []string
}

// Targets returns the images in the order of installation.
func (u *Update) Targets() []Target { return append([]Target(nil), u.targets...) }

// String names the first target.
func (u *Update) String() string { return u.targets[0].Path }

// instruction names what is instructed, for the count of attempts: the SHA-256 over, for each member,
// component ‖ 0 ‖ path ‖ 0 ‖ counter (8 bytes, big-endian) ‖ SHA-256.
func instruction(members []*state.Member) []byte {
	h := sha256.New()
	for _, m := range members {
		h.Write([]byte(m.Component + "\x00" + m.Path + "\x00"))
		var c [8]byte
		binary.BigEndian.PutUint64(c[:], uint64(m.Counter))
		h.Write(c[:])
		h.Write(m.Sha256)
	}
	return h.Sum(nil)
}

// same reports whether the update is what the set carries out.
func (u *Update) same(set *state.Set) bool {
	return set != nil && bytes.Equal(set.Instruction, instruction(u.members))
}

// newUpdate makes an update of one verified target.
func newUpdate(component string, t *trust.Target) *Update {
	f := t.Firmware
	return &Update{
		targets: []Target{{
			Component: component, Path: t.Path, Product: f.Product, Version: f.Version, Counter: f.Counter,
			Floor: f.Floor, Length: t.Length, SHA256: t.SHA256, Class: f.Class, Fixes: f.Fixes,
		}},
		members: []*state.Member{{
			Component: component, Path: t.Path, Length: t.Length, Sha256: t.SHA256[:],
			Counter: f.Counter, Floor: f.Floor,
		}},
	}
}

// ofSet makes the update of a set from the record.
func ofSet(set *state.Set) *Update {
	u := &Update{members: set.Members}
	for _, m := range set.Members {
		t := Target{
			Component: m.Component, Path: m.Path, Counter: m.Counter, Floor: m.Floor,
			Length: m.Length, SHA256: sum(m.Sha256),
		}
		if p, err := metadata.ParseTargetPath(m.Path); err == nil {
			t.Product, t.Version = p.Product, p.Version
		}
		u.targets = append(u.targets, t)
	}
	return u
}
