package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign-ota/countersign/integration/thief"
	"github.com/countersign-ota/countersign/integration/world"
)

// ceremony makes everybody's keys, the server's, and both roots.
func (d *demo) ceremony(context.Context) error { return d.Start() }

// product adds gw-100; its people sign the event beside two holders, as proof that they hold their keys.
func (d *demo) product(context.Context) error {
	return d.AddProduct("gw-100", "{require: {engineering: 1, quality: 1}, people: {engineering: [rivera], quality: [chen, okafor]}, stop: [rivera, chen, okafor]}")
}

// release opens a release of an image, with its SBOM; the caller has it signed.
func (d *demo) release(version, image string) (string, error) {
	data, err := os.ReadFile(image)
	if err != nil {
		return "", err
	}
	if err := d.Put(world.Engineer, "build/gw.img", string(data)); err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	sbom, err := json.Marshal(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
		"metadata": map[string]any{"component": map[string]any{
			"type": "firmware", "name": "gw-100", "version": version,
			"hashes": []any{map[string]any{"alg": "SHA-256", "content": fmt.Sprintf("%x", sum)}},
		}},
	})
	if err != nil {
		return "", err
	}
	if err := d.Put(world.Engineer, "gw.cdx.json", string(sbom)); err != nil {
		return "", err
	}
	return d.OpenRelease("gw-100/"+version, "build/gw.img", "evidence: {sbom: gw.cdx.json}")
}

// first publishes release 1 and lets a device enrol and install it.
func (d *demo) first(context.Context) error {
	id, err := d.release("1.0.0", d.images[0])
	if err != nil {
		return err
	}
	if err := d.SignAndPublish(id, "build 8811", "rivera", "chen"); err != nil {
		return err
	}
	gw, err := d.EnrolledDevice("gw-0001", world.DeviceOptions{})
	if err != nil {
		return err
	}
	return d.update(gw, d.images[0])
}

// second publishes release 2 and installs it. A thief copies the server just before.
func (d *demo) second(ctx context.Context) (err error) {
	if d.old, err = thief.Steal(ctx, d.ServerDir(), "https://"+d.HTTPS); err != nil {
		return err
	}
	id, err := d.release("1.1.0", d.images[1])
	if err != nil {
		return err
	}
	if err := d.SignAndPublish(id, "build 8902", "rivera", "okafor"); err != nil {
		return err
	}
	return d.update(d.Device("gw-0001"), d.images[1])
}

// third publishes a release after the attacks; the device that met every thief takes it. The server
// numbers its online files by the second, or faster where it publishes faster, and the thieves counted
// a few ahead: the clock has to pass them.
func (d *demo) third() error {
	time.Sleep(time.Until(time.Unix(d.shown+1, 0)))
	id, err := d.release("1.3.0", d.images[0])
	if err != nil {
		return err
	}
	if err := d.SignAndPublish(id, "build 9001", "rivera", "chen"); err != nil {
		return err
	}
	gw := d.Device("gw-0001")
	if err := gw.Server("grpc://" + d.GRPC); err != nil {
		return err
	}
	return d.update(gw, d.images[0])
}

// update lets a device take what it is offered, boot it and confirm it, and compares what runs.
func (d *demo) update(gw *world.Device, image string) error {
	if err := gw.Update(); err != nil {
		return err
	}
	if err := d.runs(gw, image); err != nil {
		return err
	}
	return gw.Run("status").Err()
}

// runs compares the slot that a device runs with an image.
func (d *demo) runs(gw *world.Device, image string) error {
	want, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	got, err := gw.Current()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(got, want) {
		return fmt.Errorf("%s runs something else than %s", gw.ID, filepath.Base(image))
	}
	return nil
}
