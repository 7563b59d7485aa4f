package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/show"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.repository, q.repository), cmp.Compare(p.role, q.role), cmp.Compare(p.version, q.version))
}

// view is a deployment with its verified state and what this machine remembers of it.
type view struct {
	*deployment
	history *event.History
	state   *event.State
	source  *source
}

// published returns the verified view of what the server has published, or of what this machine saw
// last when there is no server. pin replaces a pin that this machine does not have yet.
func (t *tool) published(ctx context.Context, d *deployment, pin event.Pin) (*view, error) {
	kept, err := d.place.Base()
	if err != nil {
		return nil, err
	}
	history, err := d.place.History()
	if err != nil {
		return nil, err
	}
	pins := history.Pins()
	if pins.Image.Version == 0 {
		pins.Image = pin
	}
	v := &view{deployment: d, history: history, source: newSource(ctx, d.client, kept)}
	v.state, err = event.StateFrom(v.source, d.id, pins)
	return v, err
}

// contact makes sure that the roots of these repositories are trusted: pinned here before, or compared
// by the person now. Nothing is asked where there is no root.
func (t *tool) contact(ctx context.Context, v *view, repositories ...metadata.Repository) error {
	for _, r := range repositories {
		pin, err := v.state.Pin(r)
		if err != nil {
			return err
		}
		if pin.Version == 0 || v.state.Pinned(r) {
			continue
		}
		fingerprint := hex.EncodeToString(pin.Digest[:])
		answered, err := t.expected(fingerprint)
		if err != nil {
			return err
		}
		if answered {
			continue
		}
		question := fmt.Sprintf("First contact with %s: %s root %d has the fingerprint %s. Is that what another person of %s reads to you?",
			v.id, r, pin.Version, fingerprint, v.id)
		if err := t.Ask.AskToSign(ctx, question, "not trusted", "--expect "+fingerprint+", once another person has read it to you"); err != nil {
			return err
		}
	}
	return nil
}

// expected reports whether --expect names the digest. Values of other digests are for other
// questions; one that is no digest is wrong use.
func (t *tool) expected(digest string) (bool, error) {
	for _, e := range t.expect {
		if b, err := hex.DecodeString(e); err != nil || len(b) != 32 || strings.ToLower(e) != e {
			return false, cli.Usagef("--expect %s is not a full id or fingerprint of 64 digits", cli.Quote(e))
		}
		if e == digest {
			return true, nil
		}
	}
	return false, nil
}

// remember keeps what a verified state showed, durably, and refuses a state that is older than what
// this machine has seen.
func (v *view) remember() error {
	for _, now := range v.state.Seen() {
		seen, digest := v.history.Seen(now.Repository, now.Role)
		switch {
		case now.Version < seen:
			return reason.Errorf(reason.BaseTooOld, "%s shows %s %d, this machine has seen %d", v.where(), roleName(now.Repository, now.Role), now.Version, seen).
				WithHint("if it was restored from a copy, on it: countersignd recover; if nobody did that, report it")
		case now.Version == seen && now.Digest != digest:
			return reason.Errorf(reason.VersionUsed, "%s shows another %s %d than this machine has seen", v.where(), roleName(now.Repository, now.Role), now.Version).
				WithHint("report it: one of the two is forged")
		}
	}
	err := v.place.UpdateHistory(func(h *event.History) error {
		h.Saw(v.state)
		v.history = h
		return nil
	})
	if err != nil {
		return diskFull(err)
	}
	kept, err := v.place.Base()
	if err != nil {
		return err
	}
	return diskFull(v.place.KeepBase(v.source.base(newSource(v.source.ctx, nil, kept).kept)))
}

func (v *view) where() string {
	if v.client == nil {
		return "this machine's copy"
	}
	return v.host()
}

// readAll reads and verifies top-level targets, every product with its stop list, and the director's
// root where it is pinned.
func (v *view) readAll() error {
	if v.state.Pinned(metadata.Director) {
		if _, err := v.state.Pin(metadata.Director); err != nil {
			return err
		}
	}
	if _, _, err := v.state.Role(metadata.Image, metadata.Targets); err != nil {
		return err
	}
	products, err := v.state.Products()
	if err != nil {
		return err
	}
	for _, product := range products {
		if err := v.readProduct(product); err != nil {
			return err
		}
	}
	return nil
}

// readProduct reads and verifies a product with its stop list.
func (v *view) readProduct(product string) error {
	for _, role := range []string{product, metadata.StopRole(product)} {
		if _, _, err := v.state.Role(metadata.Image, role); err != nil {
			return err
		}
	}
	return nil
}

// roleName is how a role is named in lines: roots with their repository.
func roleName(r metadata.Repository, role string) string {
	if role == metadata.Root {
		return string(r) + " root"
	}
	return role
}

func rfc3339(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// minute shows a moment to people.
func minute(at time.Time) string { return at.UTC().Format("2006-01-02 15:04 UTC") }

func digest(sum [32]byte) string { return hex.EncodeToString(sum[:]) }

// pad fills a word up to a width.
func pad(s string, width int) string {
	if n := width - len([]rune(s)); n > 0 {
		return s + strings.Repeat(" ", n)
	}
	return s
}

// context is what a review is shown with.
func (t *tool) context(j *judged, artifacts []event.Artifact) show.Context {
	c := show.Context{Now: t.now(), Artifacts: artifacts, Seen: func(r metadata.Repository, role string) int64 {
		version, _ := j.view.history.Seen(r, role)
		return version
	}}
	if pin, err := j.view.state.Pin(metadata.Image); err == nil {
		c.Root = pin.Version
	}
	return c
}
