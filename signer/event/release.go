package event

import (
	"encoding/hex"
	"maps"
	"path/filepath"
	"slices"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// releaser opens one release.
type releaser struct {
	*draft
	spec             *Spec
	product, version string
	file             *targetsFile
	high             *metadata.High
	// touched are the signed parts of the product's file, if flat, and of bins, by role.
	touched map[string]*metadata.TargetsRole
	hashes  map[string]Blob
}

// NewRelease returns the event that adds the targets of spec as a release of product. It hashes the
// files of the spec as a stream; the counter is the next one, a floor that the spec does not name
// stays. Reasons: spec (with the line), and those of Judge.
func NewRelease(product, version string, spec *Spec, s *State, o Opening) (*Event, error) {
	if err := metadata.CheckID("product", product); err != nil {
		return nil, err
	}
	if err := metadata.CheckVersion(version); err != nil {
		return nil, err
	}
	r := &releaser{
		draft: newDraft(Release, s, o), spec: spec, product: product, version: version,
		touched: map[string]*metadata.TargetsRole{}, hashes: map[string]Blob{},
	}
	var err error
	if r.file, err = s.role(product); err != nil {
		return nil, err
	}
	if r.file == nil {
		return nil, reason.Errorf(reason.NotFound, "deployment %q has no product %q here", s.deployment, product).
			WithHint("add it to the plan, then: countersign change PLAN")
	}
	if r.high, err = highOf(r.file); err != nil {
		return nil, err
	}
	counter := r.next()
	high := &metadata.High{Counter: counter, Floors: maps.Clone(r.high.Floors)}
	for _, t := range spec.Targets {
		if err := r.add(t, counter, high); err != nil {
			return nil, err
		}
	}
	return r.build(high)
}

func (r *releaser) next() int64 {
	used := int64(0)
	if r.o.Memory != nil {
		_, used = r.o.Memory.Used(metadata.Image, r.product)
	}
	return max(r.high.Counter, used) + 1
}

// add hashes one target of the spec and puts it into the file that lists it.
func (r *releaser) add(t SpecTarget, counter int64, high *metadata.High) error {
	floor := t.Floor
	if floor < 0 {
		floor = r.high.Floors[t.Component]
	}
	doc := &metadata.Firmware{
		V: metadata.FirmwareV, Product: r.product, Version: r.version, Counter: counter, Floor: floor,
		Component: t.Component, Hardware: t.Hardware, Installer: t.Installer, InstallerArgs: t.InstallerArgs,
		Requires: t.Requires, Conditions: t.Conditions, SpreadHours: t.SpreadHours, Class: t.Class, Fixes: t.Fixes,
	}
	for _, kind := range sortedKeys(t.Evidence) {
		b, err := r.blob(t, t.Evidence[kind])
		if err != nil {
			return err
		}
		if doc.Evidence == nil {
			doc.Evidence = map[string]metadata.EvidenceRef{}
		}
		doc.Evidence[kind] = metadata.EvidenceRef{Path: b.Path, SHA256: b.SHA256, Length: b.Length}
	}
	b, err := r.blob(t, t.File)
	if err != nil {
		return err
	}
	custom, err := doc.Custom()
	if err != nil {
		return reason.Errorf(reason.Spec, "%s:%d: %v", r.spec.name, t.line, err)
	}
	sum, err := hex.DecodeString(b.SHA256)
	if err != nil {
		return err
	}
	target := &metadata.TargetFile{Length: b.Length, Hashes: tuf.Hashes{"sha256": sum}, Custom: custom, Path: b.Path}
	if _, err := metadata.ParseFirmware(b.Path, target, true); err != nil {
		return reason.Errorf(reason.Spec, "%s:%d: %v", r.spec.name, t.line, err)
	}
	high.Floors[t.Component] = max(high.Floors[t.Component], floor)
	return r.put(t, b.Path, target)
}

// blob returns the descriptor of a file of the spec; two files of one name are refused.
func (r *releaser) blob(t SpecTarget, file string) (Blob, error) {
	path := metadata.TargetPath{Product: r.product, Version: r.version, File: filepath.Base(file)}.String()
	sha, length, err := hashFile(file)
	if err != nil {
		return Blob{}, reason.Errorf(reason.Spec, "%s:%d: %v", r.spec.name, t.line, err)
	}
	b := Blob{path, length, sha}
	if other, ok := r.hashes[path]; ok && other != b {
		return Blob{}, reason.Errorf(reason.Spec, "%s:%d: two files are called %q, and names are unique in a release", r.spec.name, t.line, filepath.Base(file))
	}
	if _, ok := r.hashes[path]; !ok {
		r.hashes[path] = b
		r.e.Proposal.Blobs = append(r.e.Proposal.Blobs, b)
	}
	return b, nil
}

// put adds a target to the product's file, or to its bin.
func (r *releaser) put(t SpecTarget, path string, target *metadata.TargetFile) error {
	role := r.product
	if s := succinctOf(r.file); s != nil {
		role = metadata.BinOf(s, path)
	}
	signed, err := r.touch(role)
	if err != nil {
		return err
	}
	if _, ok := signed.Targets[path]; ok {
		return reason.Errorf(reason.Spec, "%s:%d: %s exists already; a new build has a new version", r.spec.name, t.line, path)
	}
	signed.Targets[path] = target
	return nil
}

// touch returns the signed part of a role for changing, made anew where the role does not exist yet.
func (r *releaser) touch(role string) (*metadata.TargetsRole, error) {
	if signed, ok := r.touched[role]; ok {
		return signed, nil
	}
	old, err := r.s.role(role)
	if err != nil {
		return nil, err
	}
	p := Plan{Deployment: r.s.deployment}
	signed := p.emptyTargets(role)
	if old != nil {
		signed = old.Signed
		signed.Targets = maps.Clone(old.Signed.Targets)
		signed.UnrecognizedFields = maps.Clone(old.Signed.UnrecognizedFields)
	}
	r.touched[role] = &signed
	return &signed, nil
}

func (r *releaser) build(high *metadata.High) (*Event, error) {
	signed, err := r.touch(r.product)
	if err != nil {
		return nil, err
	}
	signed.UnrecognizedFields[metadata.HighField] = high.Field()
	for _, role := range slices.Sorted(maps.Keys(r.touched)) {
		old, err := r.s.role(role)
		if err != nil {
			return nil, err
		}
		if err := r.addTargets(role, *r.touched[role], old); err != nil {
			return nil, err
		}
	}
	return r.finish()
}

// Artifacts are the files of the spec by blob, for the upload and for comparison.
func (s *Spec) Artifacts(e *Event) []Artifact {
	var out []Artifact
	for _, b := range e.Proposal.Blobs {
		for _, t := range s.Targets {
			files := []string{t.File}
			for _, kind := range sortedKeys(t.Evidence) {
				files = append(files, t.Evidence[kind])
			}
			i := slices.IndexFunc(files, func(f string) bool { return filepath.Base(f) == filepath.Base(b.Path) })
			if i >= 0 {
				out = append(out, Artifact{Blob: b, File: files[i], SHA256: b.SHA256, Length: b.Length, Same: true})
				break
			}
		}
	}
	return out
}
