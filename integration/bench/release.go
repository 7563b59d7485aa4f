package main

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign-ota/countersign/integration/world"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/key"
	"github.com/countersign-ota/countersign/signer/remote"
)

// manyTargets is how many a product has that a release goes into.
const manyTargets = 1000

// person is a signer with an open connection.
type person struct {
	client  *remote.Client
	signers map[metadata.Repository]metadata.Signer
}

// releases measures the server's CPU from the opening of a release to its publication, over
// connections that are kept: two people, one target, one bin.
func releases(ctx context.Context, w *world.World, rounds int) (bool, error) {
	const product, bits = "pump-9", 6
	if err := fill(ctx, w, product, bits, manyTargets); err != nil {
		return false, err
	}
	cpu, err := releasesInto(ctx, w, product, rounds)
	if err != nil {
		return false, err
	}
	fmt.Printf("\none release into a product of %d targets in %d bins: open, two signatures, publish\n", manyTargets, 1<<bits)
	return report("server CPU, median", median(cpu) <= barRelease, "%.1f ms (bar %.0f ms)",
		median(cpu).Seconds()*1000, barRelease.Seconds()*1000), nil
}

// releasesInto measures releases of one target into a product.
func releasesInto(ctx context.Context, w *world.World, product string, rounds int) ([]time.Duration, error) {
	p, err := meet(w)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	var cpu []time.Duration
	for round := range rounds + 1 {
		// The connections stand before the measurement.
		for _, one := range p.people {
			if _, err := one.client.WhoAmI(ctx); err != nil {
				return nil, err
			}
		}
		version := fmt.Sprintf("3.%d.0", round)
		if err := w.Put(world.Engineer, "new.img", version); err != nil {
			return nil, err
		}
		d, err := p.release(ctx, product, version, "- {file: new.img, component: main, hardware: [hw-1], installer: slot, installer_args: {}}\n")
		if err != nil {
			return nil, err
		}
		if round > 0 {
			cpu = append(cpu, d)
		}
	}
	return cpu, nil
}

// pair are two people who release together, the first of whom opens.
type pair struct {
	w      *world.World
	people [2]*person
}

func meet(w *world.World) (*pair, error) {
	p := &pair{w: w}
	for i, id := range []string{world.Engineer, world.Quality} {
		var err error
		if p.people[i], err = enter(w, id); err != nil {
			p.Close()
			return nil, err
		}
	}
	return p, nil
}

// Close ends the connections.
func (p *pair) Close() {
	for _, one := range p.people {
		if one != nil {
			one.client.Close()
		}
	}
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

// release publishes a release of these targets, lines of a spec whose files lie on Engineer's desk, and
// returns the server's CPU. All is prepared first, so that only open, sign and publish are measured.
func (p *pair) release(ctx context.Context, product, version, targets string) (time.Duration, error) {
	opener := p.people[0]
	spec, err := event.ParseSpec(filepath.Join(p.w.Desk(world.Engineer), "release.yaml"), []byte("class: maintenance\ntargets:\n"+targets))
	if err != nil {
		return 0, err
	}
	s, err := event.StateFrom(published{ctx, opener.client}, p.w.Deployment, event.Pins{})
	if err != nil {
		return 0, err
	}
	e, err := event.NewRelease(product, version, spec, s, event.Opening{Now: time.Now()})
	if err != nil {
		return 0, err
	}
	sent := map[string]bool{}
	for _, a := range spec.Artifacts(e) {
		if sent[a.SHA256] {
			continue
		}
		sent[a.SHA256] = true
		sum, err := hex.DecodeString(a.SHA256)
		if err != nil {
			return 0, err
		}
		if err := opener.client.Upload(ctx, a.File, [32]byte(sum), a.Length, remote.Watch{}); err != nil {
			return 0, err
		}
	}
	before, err := cpuOf(p.w.PID())
	if err != nil {
		return 0, err
	}
	if _, err := opener.client.OpenEvent(ctx, e); err != nil {
		return 0, err
	}
	for _, one := range p.people {
		j, err := event.Judge(e, s, event.Options{Now: time.Now()})
		if err != nil {
			return 0, err
		}
		sigs, approval, err := event.Sign(j, one.signers, event.SignOptions{Reason: "measured", Now: time.Now()})
		if err != nil {
			return 0, err
		}
		if _, err := one.client.AddSignatures(ctx, e.ID(), sigs, []statement.Envelope{*approval}); err != nil {
			return 0, err
		}
	}
	if _, err := opener.client.Publish(ctx, e.ID()); err != nil {
		return 0, err
	}
	after, err := cpuOf(p.w.PID())
	return after - before, err
}
