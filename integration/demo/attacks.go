package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/countersign-ota/countersign/integration/thief"
	"github.com/countersign-ota/countersign/integration/world"
	vectors "github.com/countersign-ota/countersign/keys-example"
	cs "github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/key"
)

// attack runs every attack on devices that run 1.1.0 or are new.
func (d *demo) attack(ctx context.Context) error {
	for _, a := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"a byte of the image changed on the server's disk", d.changedByte},
		{"two signatures of one class: first the server, then a device that a thief hands the file", d.oneClass},
		{"the older release again, signed as ever", d.lowerCounter},
		{"old metadata replayed", func(ctx context.Context) error { return d.replayed(ctx, d.old) }},
		{"a release forged with the stolen online keys", d.forged},
		{"an image for other hardware", d.otherHardware},
		{"a file of another deployment, signed by the very same people", d.otherDeployment},
		{"a device whose root was made with the example keys", d.exampleKeys},
	} {
		d.attacks++
		fmt.Printf("\n-- %d. %s\n", d.attacks, a.title)
		if err := a.do(ctx); err != nil {
			return fmt.Errorf("attack %d, %s: %w", d.attacks, a.title, err)
		}
	}
	fmt.Println("\n-- after all of it, the next real release")
	return d.third()
}

// refused checks what must be true after an attack: the exit code and reason, nothing staged, the
// same image running. That the next good release installs is checked after all of them.
func (d *demo) refused(gw *world.Device, r world.Result, exit int, reason string) error {
	if err := r.Want(exit, reason); err != nil {
		return err
	}
	staged, err := gw.Staged()
	if err != nil {
		return err
	}
	if len(staged) != 0 {
		return fmt.Errorf("%s staged %v", gw.ID, staged)
	}
	return d.runs(gw, d.images[1])
}

// meet lets gw-0001 talk to a thief and returns what it did.
func (d *demo) meet(t *thief.Thief) (*world.Device, world.Result, error) {
	gw := d.Device("gw-0001")
	url, err := t.Listen()
	if err != nil {
		return nil, world.Result{}, err
	}
	if err := gw.Server(url); err != nil {
		return nil, world.Result{}, err
	}
	shown, err := t.Online()
	if err != nil {
		return nil, world.Result{}, err
	}
	d.shown = max(d.shown, shown)
	return gw, gw.Run("once"), nil
}

// handed has a thief serve a product file of its own to gw-0001, which must not find it authentic.
func (d *demo) handed(t *thief.Thief, file []byte, reason string) error {
	if err := t.Replace("gw-100", file); err != nil {
		return err
	}
	gw, r, err := d.meet(t)
	if err != nil {
		return err
	}
	return d.refused(gw, r, 3, reason)
}

// steal takes the server as it is now. The more often a device met a thief, the higher are the online
// versions that it has seen.
func (d *demo) steal(ctx context.Context) (*thief.Thief, error) {
	t, err := thief.Steal(ctx, d.ServerDir(), "https://"+d.HTTPS)
	if err != nil {
		return nil, err
	}
	d.ahead++
	t.Ahead = d.ahead
	return t, nil
}

func (d *demo) changedByte(context.Context) error {
	gw, err := d.EnrolledDevice("gw-0002", world.DeviceOptions{Hardware: "gw-100-d", HTTPS: true})
	if err != nil {
		return err
	}
	data, err := os.ReadFile(d.images[1])
	if err != nil {
		return err
	}
	blob, err := world.BlobFile(d.ServerDir(), data)
	if err != nil {
		return err
	}
	flip := func() error {
		f, err := os.OpenFile(blob, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, 4096); err != nil {
			return err
		}
		b[0] ^= 1
		_, err = f.WriteAt(b, 4096)
		return err
	}
	if err := os.Chmod(blob, 0o600); err != nil {
		return err
	}
	if err := flip(); err != nil {
		return err
	}
	if err := gw.Run("once").Want(3, "hash-mismatch"); err != nil {
		return err
	}
	if staged, err := gw.Staged(); err != nil || len(staged) != 0 {
		return fmt.Errorf("staged %v, %v", staged, err)
	}
	fmt.Println("the byte is put right; the same device, the same command:")
	if err := flip(); err != nil {
		return err
	}
	return d.update(gw, d.images[1])
}

// oneClass has both people of quality sign, and nobody of engineering: two keys, so a client that
// counts keys alone would take it.
func (d *demo) oneClass(ctx context.Context) error {
	id, err := d.release("1.2.0", d.images[0])
	if err != nil {
		return err
	}
	for _, p := range []string{"chen", "okafor"} {
		if err := d.Sign(p, id, id, "--reason", "in a hurry").Err(); err != nil {
			return err
		}
	}
	if err := d.As("chen", "publish", id, "--no-input", "--yes").Want(6, "quorum-open"); err != nil {
		return err
	}
	if err := d.As("chen", "event", "export", id, "-o", "stolen.event").Err(); err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(d.Desk("chen"), "stolen.event"))
	if err != nil {
		return err
	}
	e, err := event.Parse(data)
	if err != nil {
		return err
	}
	t, err := d.steal(ctx)
	if err != nil {
		return err
	}
	defer t.Close()
	for i, f := range e.Proposal.Files {
		var sigs []cs.Signature
		for _, s := range e.Signatures {
			if s.File == i {
				sigs = append(sigs, cs.Signature{KeyID: s.KeyID, Signature: s.Sig})
			}
		}
		file, err := cs.EncodeRaw(f.Role, f.Signed, sigs)
		if err != nil {
			return err
		}
		if err := t.Replace(f.Role, file); err != nil {
			return err
		}
	}
	gw, r, err := d.meet(t)
	if err != nil {
		return err
	}
	if err := d.refused(gw, r, 3, "quorum-not-met"); err != nil {
		return err
	}
	cancel := d.As("rivera", "event", "cancel", id, "--reason", "no engineer signed it", "--json", "--no-input", "--yes")
	if err := cancel.Err(); err != nil {
		return err
	}
	// What two people signed could still be completed by a thief, so its version is used up: the old
	// content is signed anew above it.
	var cancelled struct{ Successor string }
	if err := cancel.JSON(&cancelled); err != nil {
		return err
	}
	return d.SignAndPublish(cancelled.Successor, "in place of a cancelled release", "rivera", "chen")
}

func (d *demo) lowerCounter(context.Context) error {
	gw := d.Device("gw-0002")
	return d.refused(gw, gw.Run("install", "gw-100/1.0.0/gw.img"), 4, "counter-low")
}

// replayed serves what the server had before the newest publication.
func (d *demo) replayed(_ context.Context, old *thief.Thief) error {
	gw, r, err := d.meet(old)
	if err != nil {
		return err
	}
	return d.refused(gw, r, 3, "rollback")
}

// forged adds a target of its own to the product and signs all it can: product, snapshot, timestamp.
func (d *demo) forged(ctx context.Context) error {
	t, err := d.steal(ctx)
	if err != nil {
		return err
	}
	defer t.Close()
	online, err := t.OnlineKey()
	if err != nil {
		return err
	}
	file, err := d.altered(t, func(signed map[string]any) {
		targets := signed["targets"].(map[string]any)
		for path, target := range targets {
			if strings.HasPrefix(path, "gw-100/1.1.0/") {
				targets["gw-100/6.6.6/gw.img"] = target
			}
		}
	}, online)
	if err != nil {
		return err
	}
	return d.handed(t, file, "threshold")
}

// altered returns the product's next version, changed by edit and signed by keys.
func (d *demo) altered(t *thief.Thief, edit func(map[string]any), keys ...cs.Signer) ([]byte, error) {
	product, err := t.Role("gw-100")
	if err != nil {
		return nil, err
	}
	canonical, err := thief.Edit(product.Canonical(), func(signed map[string]any) {
		signed["version"] = product.Signed.Version + 1
		edit(signed)
	})
	if err != nil {
		return nil, err
	}
	return thief.Sign(canonical, keys...)
}

func (d *demo) otherHardware(context.Context) error {
	gw, err := d.EnrolledDevice("gw-0003", world.DeviceOptions{Hardware: "gw-100-b"})
	if err != nil {
		return err
	}
	if err := gw.Run("install", "gw-100/1.1.0/gw.img").Want(4, "hardware"); err != nil {
		return err
	}
	current, err := gw.Current()
	if err != nil {
		return err
	}
	if string(current) != world.FactoryImage {
		return fmt.Errorf("%s no longer runs what left the factory", gw.ID)
	}
	return gw.Run("once").Err() // nothing there for it, and that is no error
}

// otherDeployment takes a file that engineering and quality really signed, for their test deployment.
func (d *demo) otherDeployment(ctx context.Context) error {
	t, err := d.steal(ctx)
	if err != nil {
		return err
	}
	defer t.Close()
	var keys []cs.Signer
	for _, p := range []string{"rivera", "chen"} {
		private, err := key.Load(d.KeyFile(p), func(key.Public) ([]byte, error) { return []byte(world.Passphrase), nil })
		if err != nil {
			return err
		}
		signers, err := private.Signers()
		if err != nil {
			return err
		}
		keys = append(keys, signers[cs.Image])
	}
	file, err := d.altered(t, func(signed map[string]any) {
		signed[cs.ScopeField] = cs.Scope("acme-test", cs.Image, "gw-100")
	}, keys...)
	if err != nil {
		return err
	}
	return d.handed(t, file, "scope-mismatch")
}

// exampleKeys gives a device the root of keys-example, which everybody can sign for.
func (d *demo) exampleKeys(context.Context) error {
	root, err := vectors.Files.ReadFile("image-root.json")
	if err != nil {
		return err
	}
	gw, err := d.EnrolledDevice("gw-0004", world.DeviceOptions{})
	if err != nil {
		return err
	}
	if err := gw.Trust("example", root); err != nil {
		return err
	}
	return gw.Run("once").Want(4, "key-example")
}
