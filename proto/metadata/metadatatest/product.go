package metadatatest

import (
	"crypto/sha256"
	"encoding/hex"
	"math/bits"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// Product is how AddProduct makes a product. The zero value stands for quorum engineering 1 (rivera)
// and quality 1 (chen, okafor), all three may stop, no bins, SBOM "none".
type Product struct {
	Require map[string]int
	People  map[string][]string
	Stop    []string
	// Bins is 0 for a flat product, else a power of two from 16 to 1,024.
	Bins int
	SBOM string
}

// AddProduct delegates a product and its stop role and publishes version 1 of both.
func (d *Deployment) AddProduct(product string, o Product) {
	d.t.Helper()
	if o.Require == nil {
		o.Require = map[string]int{"engineering": 1, "quality": 1}
		o.People = map[string][]string{"engineering": {"rivera"}, "quality": {"chen", "okafor"}}
	}
	if o.Stop == nil {
		o.Stop = []string{"rivera", "chen", "okafor"}
	}
	if o.SBOM == "" {
		o.SBOM = metadata.SBOMNone
	}
	keys := map[string]*metadata.Key{}
	q := d.quorum(metadata.Image, keys, o.Require, o.People)
	stop := d.quorum(metadata.Image, keys, map[string]int{metadata.StopClass: 1}, map[string][]string{metadata.StopClass: o.Stop})
	change(d, metadata.Image, metadata.Targets, func(s *metadata.TargetsRole) {
		for id, k := range keys {
			s.Delegations.Keys[id] = k
		}
		policy := metadata.ProductPolicy{SBOM: o.SBOM}
		s.Delegations.Roles = append(s.Delegations.Roles, tuf.DelegatedRole{
			Name: product, KeyIDs: keyIDs(q), Threshold: q.Threshold(), Terminating: true, Paths: metadata.ProductPaths(product),
			UnrecognizedFields: map[string]any{metadata.QuorumField: q.Field(), metadata.ProductField: policy.Field()},
		}, tuf.DelegatedRole{
			Name: metadata.StopRole(product), KeyIDs: keyIDs(stop), Threshold: 1, Terminating: true, Paths: []string{},
			UnrecognizedFields: map[string]any{metadata.QuorumField: stop.Field()},
		})
	})
	d.firstFiles(product, q, o.Bins)
	d.Publish()
}

// firstFiles makes version 1 of the product and of its stop list.
func (d *Deployment) firstFiles(product string, q *metadata.Quorum, bins int) {
	d.t.Helper()
	s := tuf.Targets(d.Now.Add(offlineLife)).Signed
	s.UnrecognizedFields = d.scope(metadata.Image, product)
	high := metadata.High{}
	s.UnrecognizedFields[metadata.HighField] = high.Field()
	if bins > 0 {
		s.Delegations = &tuf.Delegations{Keys: map[string]*metadata.Key{}, SuccinctRoles: &tuf.SuccinctRoles{
			KeyIDs: keyIDs(q), Threshold: q.Threshold(), BitLength: bits.Len(uint(bins)) - 1, NamePrefix: metadata.BinPrefix(product),
			UnrecognizedFields: map[string]any{metadata.QuorumField: q.Field()},
		}}
		for _, k := range d.keysOf(keyIDs(q)) {
			s.Delegations.Keys[k.ID] = k.Public
		}
	}
	store(d, metadata.Image, product, s, d.signers(metadata.Image, product))

	stop := tuf.Targets(d.Now.Add(offlineLife)).Signed
	role := metadata.StopRole(product)
	stop.UnrecognizedFields = d.scope(metadata.Image, role)
	stop.UnrecognizedFields[metadata.StopField] = metadata.StopsField(nil)
	store(d, metadata.Image, role, stop, d.signers(metadata.Image, role))
}

// Target is one image of a release. The zero values of all but Data stand for file "gw.img", component
// "main", hardware gw-100-c and gw-100-d, installer "slot".
type Target struct {
	File      string
	Data      []byte
	Component string
	Hardware  []string
	Installer string
	// Edit may change the firmware document before it is signed.
	Edit func(*metadata.Firmware)
}

// Release publishes images of a product under one version and counter, signed by all its people, and
// returns their paths. The floor is unchanged unless Edit raises it.
func (d *Deployment) Release(product, version string, counter int64, targets ...Target) []string {
	d.t.Helper()
	file := parse[metadata.TargetsRole](d, metadata.Image, product)
	high, err := metadata.ParseHigh(file.Signed.UnrecognizedFields[metadata.HighField])
	check(d.t, err)
	high.Counter = max(high.Counter, counter)
	var paths []string
	entries := map[string]map[string]*metadata.TargetFile{}
	for _, target := range targets {
		path, entry, fw := d.target(product, version, counter, high, target)
		role := product
		if ds := file.Signed.Delegations; ds != nil {
			role = metadata.BinOf(ds.SuccinctRoles, path)
		}
		if entries[role] == nil {
			entries[role] = map[string]*metadata.TargetFile{}
		}
		entries[role][path] = entry
		high.Floors[fw.Component] = max(high.Floors[fw.Component], fw.Floor)
		paths = append(paths, path)
	}
	for _, role := range sortedKeys(entries) {
		if role != product {
			d.changeTargets(role, func(s *metadata.TargetsRole) { add(s, entries[role]) })
		}
	}
	change(d, metadata.Image, product, func(s *metadata.TargetsRole) {
		add(s, entries[product])
		s.UnrecognizedFields[metadata.HighField] = high.Field()
	})
	d.Publish()
	return paths
}

func add(s *metadata.TargetsRole, entries map[string]*metadata.TargetFile) {
	for path, entry := range entries {
		s.Targets[path] = entry
	}
}

// target makes one entry and serves its image.
func (d *Deployment) target(product, version string, counter int64, high *metadata.High, o Target) (string, *metadata.TargetFile, *metadata.Firmware) {
	d.t.Helper()
	if o.File == "" {
		o.File = "gw.img"
	}
	if o.Component == "" {
		o.Component = "main"
	}
	if o.Hardware == nil {
		o.Hardware = []string{"gw-100-c", "gw-100-d"}
	}
	if o.Installer == "" {
		o.Installer = "slot"
	}
	fw := &metadata.Firmware{
		V: metadata.FirmwareV, Product: product, Version: version, Counter: counter, Floor: high.Floors[o.Component],
		Component: o.Component, Hardware: o.Hardware, Installer: o.Installer, InstallerArgs: map[string]any{}, Class: "maintenance",
	}
	if o.Edit != nil {
		o.Edit(fw)
	}
	custom, err := fw.Custom()
	check(d.t, err)
	path := metadata.TargetPath{Product: product, Version: version, File: o.File}.String()
	sum := sha256.Sum256(o.Data)
	d.putBlob(path, o.Data)
	return path, &metadata.TargetFile{Length: int64(len(o.Data)), Hashes: tuf.Hashes{"sha256": sum[:]}, Custom: custom}, fw
}

// Evidence serves an evidence file and returns the reference for a firmware document.
func (d *Deployment) Evidence(path string, data []byte) metadata.EvidenceRef {
	d.putBlob(path, data)
	sum := sha256.Sum256(data)
	return metadata.EvidenceRef{Path: path, SHA256: hex.EncodeToString(sum[:]), Length: int64(len(data))}
}

// Withdraw takes targets out of a product or its bins.
func (d *Deployment) Withdraw(product string, paths ...string) {
	d.t.Helper()
	file := parse[metadata.TargetsRole](d, metadata.Image, product)
	for _, path := range paths {
		role := product
		if ds := file.Signed.Delegations; ds != nil {
			role = metadata.BinOf(ds.SuccinctRoles, path)
		}
		change(d, metadata.Image, role, func(s *metadata.TargetsRole) { delete(s.Targets, path) })
	}
	d.Publish()
}

// Stop adds an entry for a published target to its product's stop list, signed by everybody who may.
func (d *Deployment) Stop(path, why string) {
	d.t.Helper()
	p, err := metadata.ParseTargetPath(path)
	check(d.t, err)
	file := parse[metadata.TargetsRole](d, metadata.Image, p.Product)
	if ds := file.Signed.Delegations; ds != nil {
		file = parse[metadata.TargetsRole](d, metadata.Image, metadata.BinOf(ds.SuccinctRoles, path))
	}
	entry := file.Signed.Targets[path]
	fw, err := metadata.ParseFirmware(path, entry, true)
	check(d.t, err)
	change(d, metadata.Image, metadata.StopRole(p.Product), func(s *metadata.TargetsRole) {
		stops, err := metadata.ParseStops(s.UnrecognizedFields[metadata.StopField])
		check(d.t, err)
		stops = append(stops, metadata.StopEntry{
			Path: path, Counter: fw.Counter, SHA256: entry.Hashes["sha256"].String(), At: d.Now.Truncate(time.Second), Reason: why,
		})
		s.UnrecognizedFields[metadata.StopField] = metadata.StopsField(stops)
	})
	d.Publish()
}

// changeTargets is change for a bin, which is made when its first target comes.
func (d *Deployment) changeTargets(role string, edit func(*metadata.TargetsRole)) {
	d.t.Helper()
	if d.current[name{metadata.Image, role}] != nil {
		change(d, metadata.Image, role, edit)
		return
	}
	s := tuf.Targets(d.Now.Add(offlineLife)).Signed
	s.UnrecognizedFields = d.scope(metadata.Image, role)
	edit(&s)
	store(d, metadata.Image, role, s, d.signers(metadata.Image, role))
}
