package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/integration/world"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/key"
	"github.com/countersign-ota/countersign/signer/remote"
)

// The product that a release goes into.
const (
	manyTargets = 1000
	manyBins    = 64
)

// person is a signer with an open connection.
type person struct {
	client  *remote.Client
	signers map[metadata.Repository]metadata.Signer
}

// releases measures the server's CPU from the opening of a release to its publication, over
// connections that are kept: two people, one target, one bin.
func releases(ctx context.Context, w *world.World, rounds int) (bool, error) {
	var spec strings.Builder
	spec.WriteString("class: maintenance\ntargets:\n")
	for i := range manyTargets {
		name := fmt.Sprintf("many/%04d.img", i)
		if err := w.Put(world.Engineer, name, name); err != nil {
			return false, err
		}
		fmt.Fprintf(&spec, "- {file: %s, component: main, hardware: [hw-%d], installer: slot, installer_args: {}}\n", name, i)
	}
	if err := w.Put(world.Engineer, "release.yaml", spec.String()); err != nil {
		return false, err
	}
	id, err := w.Open(world.Engineer, "release", "pump-9/1.0.0", "--spec", "release.yaml", "--no-input", "--yes")
	if err != nil {
		return false, err
	}
	if err := w.SignAndPublish(id, "many", world.Engineer, world.Quality); err != nil {
		return false, err
	}
	cpu, err := releasesInto(ctx, w, "pump-9", rounds)
	if err != nil {
		return false, err
	}
	fmt.Printf("\none release into a product of %d targets in %d bins: open, two signatures, publish\n", manyTargets, manyBins)
	return report("server CPU, median", median(cpu) <= barRelease, "%.1f ms (bar %.0f ms)",
		median(cpu).Seconds()*1000, barRelease.Seconds()*1000), nil
}

// releasesInto measures releases of one target into a product.
func releasesInto(ctx context.Context, w *world.World, product string, rounds int) ([]time.Duration, error) {
	opener, err := enter(w, world.Engineer)
	if err != nil {
		return nil, err
	}
	defer opener.client.Close()
	second, err := enter(w, world.Quality)
	if err != nil {
		return nil, err
	}
	defer second.client.Close()
	var cpu []time.Duration
	for round := range rounds + 1 {
		// The connections stand before the measurement.
		for _, p := range []*person{opener, second} {
			if _, err := p.client.WhoAmI(ctx); err != nil {
				return nil, err
			}
		}
		d, err := release(ctx, w, opener, second, product, fmt.Sprintf("3.%d.0", round))
		if err != nil {
			return nil, err
		}
		if round > 0 {
			cpu = append(cpu, d)
		}
	}
	return cpu, nil
}

func enter(w *world.World, id string) (*person, error) {
	state := filepath.Join(w.Desk(id), ".countersign", "state", w.Deployment)
	data, err := os.ReadFile(filepath.Join(state, "identity.pem"))
	if err != nil {
		return nil, err
	}
	identity, err := remote.ParseIdentity(data)
	if err != nil {
		return nil, err
	}
	if data, err = os.ReadFile(filepath.Join(state, "ca.pem")); err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("ca.pem of %s is no PEM", id)
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, err := key.Load(w.KeyFile(id), func(key.Public) ([]byte, error) { return []byte(world.Passphrase), nil })
	if err != nil {
		return nil, err
	}
	p := &person{}
	if p.signers, err = private.Signers(); err != nil {
		return nil, err
	}
	p.client, err = remote.Dial(remote.Config{Address: w.GRPC, CA: ca, Identity: identity, Agent: "bench"})
	return p, err
}

// published is the server as a source of role files.
type published struct {
	ctx    context.Context
	client *remote.Client
}

func (p published) Current(r metadata.Repository, role string) ([]byte, error) {
	f, err := p.client.Published(p.ctx, r, role, 0)
	return f.File, err
}

func (p published) Root(r metadata.Repository, version int64) ([]byte, error) {
	f, err := p.client.Published(p.ctx, r, metadata.Root, version)
	return f.File, err
}

// release prepares everything first, so that only open, sign and publish are measured.
func release(ctx context.Context, w *world.World, opener, second *person, product, version string) (time.Duration, error) {
	image := filepath.Join(w.Desk(world.Engineer), "new.img")
	if err := os.WriteFile(image, []byte(version), 0o600); err != nil {
		return 0, err
	}
	spec, err := event.ParseSpec(filepath.Join(w.Desk(world.Engineer), "release.yaml"),
		[]byte("class: maintenance\ntargets:\n- {file: new.img, component: main, hardware: [hw-1], installer: slot, installer_args: {}}\n"))
	if err != nil {
		return 0, err
	}
	s, err := event.StateFrom(published{ctx, opener.client}, w.Deployment, event.Pins{})
	if err != nil {
		return 0, err
	}
	e, err := event.NewRelease(product, version, spec, s, event.Opening{Now: time.Now()})
	if err != nil {
		return 0, err
	}
	if err := opener.client.Upload(ctx, image, sha256.Sum256([]byte(version)), int64(len(version)), remote.Watch{}); err != nil {
		return 0, err
	}
	before, err := cpuOf(w.PID())
	if err != nil {
		return 0, err
	}
	if _, err := opener.client.OpenEvent(ctx, e); err != nil {
		return 0, err
	}
	for _, p := range []*person{opener, second} {
		j, err := event.Judge(e, s, event.Options{Now: time.Now()})
		if err != nil {
			return 0, err
		}
		sigs, approval, err := event.Sign(j, p.signers, event.SignOptions{Reason: "measured", Now: time.Now()})
		if err != nil {
			return 0, err
		}
		if _, err := p.client.AddSignatures(ctx, e.ID(), sigs, []statement.Envelope{*approval}); err != nil {
			return 0, err
		}
	}
	if _, err := opener.client.Publish(ctx, e.ID()); err != nil {
		return 0, err
	}
	after, err := cpuOf(w.PID())
	return after - before, err
}
