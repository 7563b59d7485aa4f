package agent

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/countersign-ota/countersign/agent/internal/state"
	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// errNothingToDo is judge's answer when the instructed image is the one that runs.
var errNothingToDo = errors.New("nothing to do")

// judge applies every rule of DESIGN 1.3, 1.8 and 5 that depends on this device. It is asked at
// Check, at Install and at activation. It returns nil, errNothingToDo, or a refusal that names the
// target.
func (a *Agent) judge(ctx context.Context, rec *state.Record, t *trust.Target) error {
	err := a.rules(ctx, rec, t)
	if err == nil || errors.Is(err, errNothingToDo) {
		return err
	}
	return &targetError{path: t.Path, counter: t.Firmware.Counter, err: reason.Wrap(err, "%s refused", t.Path)}
}

func (a *Agent) rules(ctx context.Context, rec *state.Record, t *trust.Target) error {
	f := t.Firmware
	if err := a.belongs(t); err != nil {
		return err
	}
	if t.Stop != nil || stoppedIn(rec, f.Counter, t.SHA256) {
		text := "a person stopped it"
		if t.Stop != nil && t.Stop.Reason != "" {
			text += ": " + t.Stop.Reason
		}
		return reason.Errorf(reason.Stopped, "%s", text)
	}
	if err := a.rises(ctx, rec, t); err != nil {
		return err
	}
	if err := a.required(rec, f.Requires); err != nil {
		return err
	}
	if set := rec.Set; newUpdate(a.id, t).same(set) && set.Attempts >= MaxAttempts {
		return reason.Errorf(reason.Attempts, "it failed %d times: %s", set.Attempts, set.Failure).
			WithHint("another release, or withdrawing this one, starts anew")
	}
	// Until time is measured against signed time, a spread cannot be kept, so a release that has one is
	// left to the devices that are exempt (DESIGN 1.9).
	if f.SpreadHours > 0 && !a.cfg.SpreadExempt {
		return reason.Errorf(reason.Spread, "it states a spread of %d h, and this device is not exempt", f.SpreadHours).
			WithHint("set spread_exempt on a canary, or release with spread_hours 0")
	}
	return nil
}

// belongs checks that the target is meant for this component of this device: the component's product
// = custom.product = the path's first segment = the delegation through which it was found (DESIGN 5).
func (a *Agent) belongs(t *trust.Target) error {
	f := t.Firmware
	first, _, _ := strings.Cut(t.Path, "/")
	through, kind, err := metadata.SplitRole(t.Role)
	if err != nil || (kind != metadata.RoleProduct && kind != metadata.RoleBin) {
		return reason.Errorf(reason.ProductMismatch, "it is listed in role %q", t.Role)
	}
	for _, found := range []struct{ where, product string }{
		{"its document", f.Product}, {"its path", first}, {"its delegation", through},
	} {
		if found.product != a.comp.Product {
			return reason.Errorf(reason.ProductMismatch, "%s names product %q, component %q takes %q",
				found.where, found.product, a.id, a.comp.Product)
		}
	}
	if f.Component != a.id {
		return reason.Errorf(reason.ProductMismatch, "it is for component %q, this device has %q", f.Component, a.id)
	}
	if !slices.Contains(f.Hardware, a.cfg.Hardware) {
		return reason.Errorf(reason.Hardware, "it is for hardware %s, this is %s",
			strings.Join(f.Hardware, ", "), a.cfg.Hardware)
	}
	if name := a.comp.Installer.Name(); f.Installer != name {
		return reason.Errorf(reason.Installer, "it wants installer %q, component %q has %q", f.Installer, a.id, name)
	}
	return nil
}

// rises checks counter and floor: only above the highest confirmed counter, or the highest confirmed
// one again when it is not what runs (DESIGN 1.3).
func (a *Agent) rises(ctx context.Context, rec *state.Record, t *trust.Target) error {
	f, comp := t.Firmware, rec.Components[a.id]
	if f.Counter < comp.Floor {
		return reason.Errorf(reason.Floor, "counter %d is below the floor %d", f.Counter, comp.Floor)
	}
	if f.Counter < comp.Counter {
		return reason.Errorf(reason.CounterLow, "counter %d, highest confirmed %d", f.Counter, comp.Counter)
	}
	if f.Counter > comp.Counter {
		return nil
	}
	if len(comp.Sha256) == 0 {
		return errNothingToDo // what left the factory: only its counter is known
	}
	if confirmed := sum(comp.Sha256); confirmed != t.SHA256 {
		return reason.Errorf(reason.CounterUsed, "counter %d is confirmed with sha256 %s…, this one has %s…",
			f.Counter, hex.EncodeToString(confirmed[:6]), hex.EncodeToString(t.SHA256[:6]))
	}
	run, err := a.comp.Installer.Running(ctx)
	if err != nil {
		return reason.Wrap(err, "what runs")
	}
	if run.SHA256 == ([32]byte{}) || run.SHA256 == t.SHA256 {
		return errNothingToDo
	}
	return nil
}

// required checks the signed requirements against what is confirmed on this device.
func (a *Agent) required(rec *state.Record, all []metadata.Requirement) error {
	for _, r := range all {
		have, here := int64(0), false
		for id, c := range a.cfg.Components {
			if c.Product == r.Product {
				have, here = max(have, rec.Components[id].GetCounter()), true
			}
		}
		if !here {
			return reason.Errorf(reason.Requires, "it requires %s counter %d, and no component here takes %s",
				r.Product, r.MinCounter, r.Product)
		}
		if have < r.MinCounter {
			return reason.Errorf(reason.Requires, "it requires %s counter %d, confirmed is %d",
				r.Product, r.MinCounter, have)
		}
	}
	return nil
}
