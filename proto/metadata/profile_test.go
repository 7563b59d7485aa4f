package metadata_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// at walks into decoded JSON; numbers are positions in arrays.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case int:
			v = v.([]any)[p]
		case string:
			v = v.(map[string]any)[p]
		}
	}
	return v
}

// set puts a value at the end of a path; nil takes the member away.
func set(v any, value any, path ...any) {
	parent := at(v, path[:len(path)-1]...)
	switch last := path[len(path)-1].(type) {
	case int:
		parent.([]any)[last] = value
	case string:
		if value == nil {
			delete(parent.(map[string]any), last)
			return
		}
		parent.(map[string]any)[last] = value
	}
}

// edited is the canonical form of a rule test: one change of an otherwise valid signed part.
type edited struct {
	name string
	edit func(signed map[string]any)
	want reason.Reason
}

// change returns an edit that sets one member.
func change(value any, path ...any) func(map[string]any) {
	return func(signed map[string]any) { set(signed, value, path...) }
}

// run edits the role, parses it and calls check; a refusal by Parse counts.
func run[T metadata.RootRole | metadata.TargetsRole | metadata.SnapshotRole | metadata.TimestampRole](t *testing.T, role string, tests []edited, check func(*metadata.File[T]) error) {
	t.Helper()
	for _, tt := range append([]edited{{"valid", func(map[string]any) {}, ""}}, tests...) {
		t.Run(tt.name, func(t *testing.T) {
			d := deployment(t)
			d.Edit(role, tt.edit)
			f, err := metadata.Parse[T](d.File(metadata.Image, role), metadata.Profile)
			if err == nil {
				err = check(f)
			}
			wantReason(t, err, tt.want)
		})
	}
}

func num(n int64) json.Number { return json.Number(fmt.Sprint(n)) }

func TestCheckTopTargets(t *testing.T) {
	const quorum = metadata.QuorumField
	run(t, metadata.Targets, []edited{
		{"no scope", change(nil, metadata.ScopeField), reason.ScopeMissing},
		{"scope of another deployment", change("other/image/targets", metadata.ScopeField), reason.ScopeMismatch},
		{"scope of a product", change("acme/image/gw-100", metadata.ScopeField), reason.ScopeMismatch},
		{"version too high", change(num(metadata.MaxVersion+1), "version"), reason.IntegerRange},
		{"a target of its own", change(map[string]any{"length": 1, "hashes": map[string]any{"sha256": someSHA256}}, "targets", "gw-100/1/x"), reason.Profile},
		{"no delegations", change(nil, "delegations"), ""},
		{"succinct roles", func(s map[string]any) {
			set(s, nil, "delegations", "roles")
			set(s, map[string]any{"keyids": []any{}, "threshold": 1, "bit_length": 4, "name_prefix": "x"}, "delegations", "succinct_roles")
		}, reason.Profile},
		{"a product without its stop role", func(s map[string]any) {
			set(s, at(s, "delegations", "roles").([]any)[:3], "delegations", "roles")
		}, reason.Profile},
		{"a stop role without its product", func(s map[string]any) {
			set(s, at(s, "delegations", "roles").([]any)[1:], "delegations", "roles")
		}, reason.Profile},
		{"a bin at the top", change("gw-100.bin-0", "delegations", "roles", 0, "name"), reason.Profile},
		{"a role that is no id", change("GW", "delegations", "roles", 0, "name"), reason.Malformed},
		{"wider paths", change([]any{"*/*/*"}, "delegations", "roles", 0, "paths"), reason.Profile},
		{"more paths", change([]any{"gw-100/*/*", "pump-9/*/*"}, "delegations", "roles", 0, "paths"), reason.Profile},
		{"no paths", change([]any{}, "delegations", "roles", 0, "paths"), reason.Profile},
		{"paths of a stop role", change([]any{"gw-100/*/*"}, "delegations", "roles", 1, "paths"), reason.Profile},
		{"a stop role without paths", change(nil, "delegations", "roles", 1, "paths"), reason.Profile},
		{"not terminating", change(false, "delegations", "roles", 0, "terminating"), reason.Profile},
		{"path_hash_prefixes", func(s map[string]any) {
			set(s, nil, "delegations", "roles", 0, "paths")
			set(s, []any{"00"}, "delegations", "roles", 0, "path_hash_prefixes")
		}, reason.Profile},
		{"a product without a quorum", change(nil, "delegations", "roles", 0, quorum), reason.QuorumMissing},
		{"a stop role without a quorum", change(nil, "delegations", "roles", 1, quorum), reason.QuorumMissing},
		{"quorum null", func(s map[string]any) { at(s, "delegations", "roles", 0).(map[string]any)[quorum] = nil }, reason.Null},
		{"unknown member of a quorum", change(1, "delegations", "roles", 0, quorum, "extra"), reason.UnknownMember},
		{"threshold below the classes", change(1, "delegations", "roles", 0, "threshold"), reason.QuorumMalformed},
		{"a person without a key", change(hexKey, "delegations", "roles", 0, quorum, "people", 0, "keyid"), reason.QuorumMalformed},
		{"two to stop", func(s map[string]any) {
			set(s, 2, "delegations", "roles", 1, quorum, "require", "stop")
			set(s, 2, "delegations", "roles", 1, "threshold")
		}, reason.QuorumMalformed},
		{"no policy", change(nil, "delegations", "roles", 0, metadata.ProductField), reason.Profile},
		{"an unknown policy", change("perhaps", "delegations", "roles", 0, metadata.ProductField, "sbom"), reason.Malformed},
		{"a policy for a stop role", change(map[string]any{"sbom": "none"}, "delegations", "roles", 1, metadata.ProductField), reason.Profile},
		{"a key means two people", change("meyer", "delegations", "roles", 1, quorum, "people", 0, "id"), reason.KeyTwice},
		{"unused members are left to later versions", change("x", "x-new"), ""},
	}, func(f *metadata.File[metadata.TargetsRole]) error { return metadata.CheckTopTargets(f, "acme") })
}

func TestProductLimit(t *testing.T) {
	d := metadatatest.New(t, metadatatest.Options{})
	check := func() error {
		f, err := metadata.ParseTargets(d.File(metadata.Image, metadata.Targets), metadata.Profile)
		if err != nil {
			t.Fatal(err)
		}
		return metadata.CheckTopTargets(f, "acme")
	}
	for i := range metadata.MaxProducts {
		d.AddProduct(fmt.Sprintf("p%d", i), metadatatest.Product{})
	}
	wantReason(t, check(), "")
	d.AddProduct("one-more", metadatatest.Product{})
	wantReason(t, check(), reason.Limit)
}

// delegationOf reads the delegation of a product.
func delegationOf(t testing.TB, d *metadatatest.Deployment, role string) *metadata.Delegation {
	t.Helper()
	f, err := metadata.ParseTargets(d.File(metadata.Image, metadata.Targets), metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	del, err := metadata.TargetsDelegation(f, role, metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	return del
}

func TestCheckProduct(t *testing.T) {
	d := deployment(t)
	del := delegationOf(t, d, "gw-100")
	const high = metadata.HighField
	doc := []any{"targets", firmwarePath, "custom", "countersign"}
	in := func(path ...any) []any { return append(append([]any{}, doc...), path...) }
	second := func(path string, edit func(entry map[string]any)) func(map[string]any) {
		return func(s map[string]any) {
			var entry map[string]any
			data, err := json.Marshal(at(s, "targets", firmwarePath))
			if err != nil || json.Unmarshal(data, &entry) != nil {
				t.Fatal(err)
			}
			edit(entry)
			set(s, entry, "targets", path)
		}
	}
	run(t, "gw-100", []edited{
		{"scope of another role", change("acme/image/pump-9", metadata.ScopeField), reason.ScopeMismatch},
		{"no high", change(nil, high), reason.Profile},
		{"high malformed", change("x", high), reason.Malformed},
		{"high below a counter", change(num(16), high, "counter"), reason.Profile},
		{"floor below an entry's", change(num(11), high, "floors", "main"), reason.Profile},
		{"no floor of the component", change(nil, high, "floors", "main"), reason.Profile},
		{"a target of another product", func(s map[string]any) {
			set(s, at(s, "targets", firmwarePath), "targets", "pump-9/2.4.1/gw.img")
		}, reason.ProductMismatch},
		{"a whole entry of another product", second("pump-9/1.0/x.img", func(e map[string]any) {
			set(e, "pump-9", "custom", "countersign", "product")
			set(e, "1.0", "custom", "countersign", "version")
			set(e, []any{}, "custom", "countersign", "requires")
			set(e, map[string]any{}, "custom", "countersign", "evidence")
		}), reason.ProductMismatch},
		{"a path that is none", func(s map[string]any) { set(s, at(s, "targets", firmwarePath), "targets", "gw.img") }, reason.Malformed},
		{"paths that fold", second("gw-100/2.4.1/GW.img", func(e map[string]any) {
			set(e, []any{"other"}, "custom", "countersign", "hardware")
		}), reason.PathFolds},
		{"one counter, component and hardware for two targets", second("gw-100/2.4.1/gw2.img", func(map[string]any) {}), reason.CounterUsed},
		{"one counter for other hardware", second("gw-100/2.4.1/gw2.img", func(e map[string]any) {
			set(e, []any{"gw-100-e"}, "custom", "countersign", "hardware")
		}), ""},
		{"one counter for two versions", second("gw-100/2.4.2/gw.img", func(e map[string]any) {
			set(e, "2.4.2", "custom", "countersign", "version")
			set(e, []any{"gw-100-e"}, "custom", "countersign", "hardware")
		}), reason.CounterUsed},
		{"a second hash", change(someSHA256+someSHA256, "targets", firmwarePath, "hashes", "sha512"), reason.Profile},
		{"no document", change(map[string]any{}, "targets", firmwarePath, "custom"), reason.Malformed},
		{"no custom", change(nil, "targets", firmwarePath, "custom"), reason.Malformed},
		{"another member of custom", change(1, "targets", firmwarePath, "custom", "x"), reason.UnknownMember},
		{"floor above counter", change(num(18), in("floor")...), reason.Floor},
		{"an unknown member of the document", change("x", in("new")...), ""},
		{"delegations", change(map[string]any{"keys": map[string]any{}, "roles": []any{}}, "delegations"), reason.Profile},
		{"delegations instead of targets", func(s map[string]any) {
			set(s, map[string]any{}, "targets")
			set(s, map[string]any{"keys": map[string]any{}, "roles": []any{}}, "delegations")
		}, reason.Profile},
	}, func(f *metadata.File[metadata.TargetsRole]) error {
		return metadata.CheckProduct(f, "acme", "gw-100", del)
	})
}

func TestCheckBinnedProduct(t *testing.T) {
	del := delegationOf(t, deployment(t), "pump-9")
	succinct := []any{"delegations", "succinct_roles"}
	in := func(path ...any) []any { return append(append([]any{}, succinct...), path...) }
	run(t, "pump-9", []edited{
		{"targets too", change(map[string]any{"length": 1, "hashes": map[string]any{"sha256": someSHA256}}, "targets", "pump-9/1/x"), reason.Profile},
		{"bins of another product", change("gw-100.bin", in("name_prefix")...), reason.Profile},
		{"8 bins", change(3, in("bit_length")...), reason.Profile},
		{"2048 bins", change(11, in("bit_length")...), reason.Profile},
		{"no quorum", change(nil, in(metadata.QuorumField)...), reason.QuorumMissing},
		{"another threshold", change(1, in("threshold")...), reason.QuorumMalformed},
		{"a lower quorum", func(s map[string]any) {
			set(s, 1, in("threshold")...)
			set(s, nil, in(metadata.QuorumField, "require", "quality")...)
			people := at(s, in(metadata.QuorumField, "people")...).([]any)
			set(s, people[:1], in(metadata.QuorumField, "people")...)
			set(s, []any{at(people[0], "keyid")}, in("keyids")...)
			set(s, nil, in(metadata.QuorumField, "meaning", "quality")...)
		}, reason.Profile},
		{"another meaning", change("read", in(metadata.QuorumField, "meaning", "quality")...), reason.Profile},
		{"neither roles nor bins", change(nil, succinct...), reason.Profile},
	}, func(f *metadata.File[metadata.TargetsRole]) error {
		return metadata.CheckProduct(f, "acme", "pump-9", del)
	})
	wantReason(t, func() error {
		f, err := metadata.ParseTargets(deployment(t).File(metadata.Image, "pump-9"), metadata.Profile)
		if err != nil {
			t.Fatal(err)
		}
		return metadata.CheckProduct(f, "acme", "pump-9", nil)
	}(), reason.Profile)
}

func TestCheckBin(t *testing.T) {
	d := deployment(t)
	product, err := metadata.ParseTargets(d.File(metadata.Image, "pump-9"), metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	s := product.Signed.Delegations.SuccinctRoles
	const path = "pump-9/1.0/gw.img"
	bin := metadata.BinOf(s, path)
	other := metadata.Bins(s)[0]
	if other == bin {
		other = metadata.Bins(s)[1]
	}
	run(t, bin, []edited{
		{"scope of another bin", change("acme/image/"+other, metadata.ScopeField), reason.ScopeMismatch},
		{"delegations", change(map[string]any{"keys": map[string]any{}, "roles": []any{}}, "delegations"), reason.Profile},
		{"a target without its document", change(nil, "targets", path, "custom"), reason.Malformed},
	}, func(f *metadata.File[metadata.TargetsRole]) error { return metadata.CheckBin(f, "acme", bin, s) })
	// A bin whose targets hash elsewhere, with the scope of that other bin.
	d.Edit(bin, change("acme/image/"+other, metadata.ScopeField))
	f, err := metadata.ParseTargets(d.File(metadata.Image, bin), metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, metadata.CheckBin(f, "acme", other, s), reason.Profile)
	d.Edit(bin, change("acme/image/pump-9.bin-ff", metadata.ScopeField))
	if f, err = metadata.ParseTargets(d.File(metadata.Image, bin), metadata.Profile); err != nil {
		t.Fatal(err)
	}
	wantReason(t, metadata.CheckBin(f, "acme", "pump-9.bin-ff", s), reason.Profile)
}

func TestCheckStop(t *testing.T) {
	const stop = metadata.StopField
	run(t, "gw-100.stop", []edited{
		{"scope of the product", change("acme/image/gw-100", metadata.ScopeField), reason.ScopeMismatch},
		{"no list", change(nil, stop), reason.Profile},
		{"an empty list", change([]any{}, stop), ""},
		{"a target", change(map[string]any{"length": 1, "hashes": map[string]any{"sha256": someSHA256}}, "targets", "gw-100/1/x"), reason.Profile},
		{"delegations", change(map[string]any{"keys": map[string]any{}, "roles": []any{}}, "delegations"), reason.Profile},
		{"an entry of another product", change("pump-9/1.0/gw.img", stop, 0, "path"), reason.ProductMismatch},
		{"an entry of a product with a longer name", change("gw-1000/1.0/gw.img", stop, 0, "path"), reason.ProductMismatch},
		{"an entry without a reason", change(nil, stop, 0, "reason"), reason.Malformed},
	}, func(f *metadata.File[metadata.TargetsRole]) error { return metadata.CheckStop(f, "acme", "gw-100") })
}

func TestCheckSnapshot(t *testing.T) {
	entry := map[string]any{"length": 1, "version": 1, "hashes": map[string]any{"sha256": someSHA256}}
	run(t, metadata.Snapshot, []edited{
		{"scope of the director", change("acme/director/snapshot", metadata.ScopeField), reason.ScopeMismatch},
		{"no targets.json", change(nil, "meta", "targets.json"), reason.Profile},
		{"root.json", change(entry, "meta", "root.json"), reason.Profile},
		{"a name without .json", change(entry, "meta", "gw-100"), reason.Profile},
		{"a role that cannot be", change(entry, "meta", "../x.json"), reason.Malformed},
		{"no hash", change(nil, "meta", "gw-100.json", "hashes"), reason.Profile},
		{"a second hash", change(someSHA256+someSHA256, "meta", "gw-100.json", "hashes", "sha512"), reason.Profile},
		{"no length", change(nil, "meta", "gw-100.json", "length"), reason.IntegerRange},
		{"a length above the limit", change(metadata.MaxTargets+1, "meta", "gw-100.json", "length"), reason.IntegerRange},
		{"one more bin", change(entry, "meta", "pump-9.bin-f.json"), ""},
	}, func(f *metadata.File[metadata.SnapshotRole]) error {
		return metadata.CheckSnapshot(f, "acme", metadata.Image)
	})
}

func TestCheckTimestamp(t *testing.T) {
	run(t, metadata.Timestamp, []edited{
		{"no scope", change(nil, metadata.ScopeField), reason.ScopeMissing},
		{"another entry", change(map[string]any{"version": 1}, "meta", "targets.json"), reason.Profile},
		{"no hash", change(nil, "meta", "snapshot.json", "hashes"), reason.Profile},
		{"no length", change(nil, "meta", "snapshot.json", "length"), reason.IntegerRange},
		{"a length above the limit", change(metadata.MaxSnapshot+1, "meta", "snapshot.json", "length"), reason.IntegerRange},
		{"a version above the limit", change(num(metadata.MaxVersion+1), "version"), reason.IntegerRange},
	}, func(f *metadata.File[metadata.TimestampRole]) error {
		return metadata.CheckTimestamp(f, "acme", metadata.Image)
	})
}

func TestCheckMembers(t *testing.T) {
	entry := []any{"targets", firmwarePath}
	in := func(path ...any) []any { return append(append([]any{}, entry...), path...) }
	run(t, "gw-100", []edited{
		{"at the top", change(1, "x-new"), reason.UnknownMember},
		{"in a target", change(1, in("x-new")...), reason.UnknownMember},
		{"in the document", change(1, in("custom", "countersign", "new")...), reason.UnknownMember},
		{"an unknown class", change("cosmetic", in("custom", "countersign", "class")...), reason.Malformed},
		{"in installer_args", change(1, in("custom", "countersign", "installer_args", "new")...), ""},
	}, metadata.CheckMembers[metadata.TargetsRole])
	run(t, metadata.Targets, []edited{
		{"in delegations", change(1, "delegations", "x-new"), reason.UnknownMember},
		{"in a delegation", change(1, "delegations", "roles", 0, "x-new"), reason.UnknownMember},
	}, metadata.CheckMembers[metadata.TargetsRole])
	run(t, "pump-9", []edited{
		{"in succinct_roles", change(1, "delegations", "succinct_roles", "x-new"), reason.UnknownMember},
	}, metadata.CheckMembers[metadata.TargetsRole])
	run(t, metadata.Root, []edited{
		{"at the top of root", change(1, "x-new"), reason.UnknownMember},
		{"in a role of root", change(1, "roles", "root", "x-new"), reason.UnknownMember},
	}, metadata.CheckMembers[metadata.RootRole])
	run(t, metadata.Snapshot, []edited{
		{"at the top of a snapshot", change(1, "x-new"), reason.UnknownMember},
		{"in an entry", change(1, "meta", "gw-100.json", "x-new"), reason.UnknownMember},
	}, metadata.CheckMembers[metadata.SnapshotRole])
	run(t, metadata.Timestamp, []edited{
		{"at the top of a timestamp", change(1, "x-new"), reason.UnknownMember},
	}, metadata.CheckMembers[metadata.TimestampRole])
	d := deployment(t)
	f, err := metadata.ParseTimestamp(replace(t, d.File(metadata.Image, metadata.Timestamp), `{"keyid"`, `{"x":1,"keyid"`), metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, metadata.CheckMembers(f), reason.UnknownMember)
}
