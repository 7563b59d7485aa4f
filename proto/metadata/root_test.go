package metadata_test

import (
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

func rootOf(t testing.TB, data []byte) *metadata.File[metadata.RootRole] {
	t.Helper()
	f, err := metadata.ParseRoot(data, metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestCheckRoot(t *testing.T) {
	const quorum = metadata.QuorumField
	d := deployment(t)
	online := d.Online(metadata.Image)
	riveraKey := d.Key("rivera", metadata.Image)
	other := metadatatest.NewKey(t, "online-2", metadata.Image)
	otherKey := map[string]any{"keytype": "ed25519", "scheme": "ed25519", "keyval": map[string]any{"public": other.Public.Value.PublicKey}}
	run(t, metadata.Root, []edited{
		{"no scope", change(nil, metadata.ScopeField), reason.RootWithoutScope},
		{"the director's scope", change("acme/director/root", metadata.ScopeField), reason.ScopeMismatch},
		{"another deployment", change("other/image/root", metadata.ScopeField), reason.ScopeMismatch},
		{"no consistent snapshots", change(false, "consistent_snapshot"), reason.Profile},
		{"a fifth role", change(map[string]any{"keyids": []any{}, "threshold": 1}, "roles", "mirrors"), reason.Profile},
		{"no quorum", change(nil, quorum), reason.QuorumMissing},
		{"no quorum of root", change(nil, quorum, "root"), reason.QuorumMissing},
		{"no quorum of targets", change(nil, quorum, "targets"), reason.QuorumMissing},
		{"a quorum of timestamp", change(map[string]any{}, quorum, "timestamp"), reason.UnknownMember},
		{"quorum as a list", change([]any{}, quorum), reason.Malformed},
		{"no spare holder", func(s map[string]any) {
			set(s, 3, "roles", "root", "threshold")
			set(s, 3, quorum, "root", "require", "holder")
		}, reason.QuorumMalformed},
		{"threshold below the quorum", change(1, "roles", "root", "threshold"), reason.QuorumMalformed},
		{"online threshold 2", change(2, "roles", "timestamp", "threshold"), reason.QuorumMissing},
		{"two online keys", func(s map[string]any) {
			set(s, otherKey, "keys", other.ID)
			set(s, []any{online.ID, other.ID}, "roles", "timestamp", "keyids")
		}, reason.QuorumMissing},
		{"another online key for snapshot", func(s map[string]any) {
			set(s, otherKey, "keys", other.ID)
			set(s, []any{other.ID}, "roles", "snapshot", "keyids")
		}, reason.Profile},
		{"a holder's key online", func(s map[string]any) {
			set(s, []any{riveraKey.ID}, "roles", "timestamp", "keyids")
			set(s, []any{riveraKey.ID}, "roles", "snapshot", "keyids")
		}, reason.KeyTwice},
		{"online keys for targets", func(s map[string]any) {
			set(s, []any{online.ID}, "roles", "targets", "keyids")
			set(s, 1, "roles", "targets", "threshold")
			set(s, nil, quorum, "targets")
		}, reason.QuorumMissing},
		{"a key means two people", func(s map[string]any) {
			set(s, "meyer", quorum, "targets", "people", 0, "id")
		}, reason.KeyTwice},
		{"TLS anchors", change([]any{someSHA256}, metadata.TLSField), reason.Profile},
		{"a role without keys", change([]any{}, "roles", "root", "keyids"), reason.QuorumMalformed},
		{"a key that is not listed", change(nil, "keys", riveraKey.ID), reason.KeyMalformed},
	}, func(f *metadata.File[metadata.RootRole]) error { return metadata.CheckRoot(f, "acme", metadata.Image) })
}

func TestCheckDirectorRoot(t *testing.T) {
	d := metadatatest.New(t, metadatatest.Options{TLS: []string{someSHA256}})
	f := rootOf(t, d.File(metadata.Director, metadata.Root))
	wantReason(t, metadata.CheckRoot(f, "acme", metadata.Director), "")
	wantReason(t, metadata.CheckRoot(f, "acme", metadata.Image), reason.ScopeMismatch)
	wantReason(t, metadata.CheckRoot(rootOf(t, d.File(metadata.Image, metadata.Root)), "acme", metadata.Director), reason.ScopeMismatch)
	edit := func(edit func(*metadata.RootRole)) error {
		d := metadatatest.New(t, metadatatest.Options{TLS: []string{someSHA256}})
		d.RotateRoot(metadata.Director, edit)
		return metadata.CheckRoot(rootOf(t, d.File(metadata.Director, metadata.Root)), "acme", metadata.Director)
	}
	wantReason(t, edit(func(s *metadata.RootRole) { s.UnrecognizedFields[metadata.TLSField] = []any{"x"} }), reason.Malformed)
	wantReason(t, edit(func(s *metadata.RootRole) { delete(s.UnrecognizedFields, metadata.TLSField) }), "")
	wantReason(t, edit(func(s *metadata.RootRole) {
		q := s.UnrecognizedFields[metadata.QuorumField].(map[string]any)
		q[metadata.Targets] = q[metadata.Root]
	}), reason.Profile)
}

func TestCheckRootPair(t *testing.T) {
	d := metadatatest.New(t, metadatatest.Options{})
	image, director := rootOf(t, d.File(metadata.Image, metadata.Root)), rootOf(t, d.File(metadata.Director, metadata.Root))
	wantReason(t, metadata.CheckRootPair(image, director), "")
	wantReason(t, metadata.CheckRootPair(image, image), reason.KeyTwice)
	for _, who := range []string{"online", "rivera"} {
		k := d.Key(who, metadata.Image)
		// The same raw key under another id is the same key.
		double := *k.Public
		double.UnrecognizedFields = map[string]any{"x": "y"}
		director := rootOf(t, d.File(metadata.Director, metadata.Root))
		director.Signed.Keys[idOf(t, &double)] = &double
		wantReason(t, metadata.CheckRootPair(image, director), reason.KeyTwice)
	}
}

func TestCheckKeys(t *testing.T) {
	d := deployment(t)
	image, director := rootOf(t, d.File(metadata.Image, metadata.Root)), rootOf(t, d.File(metadata.Director, metadata.Root))
	check := func(edit func(*metadata.TargetsRole)) error {
		d := deployment(t)
		d.Change(metadata.Targets, edit)
		f, err := metadata.ParseTargets(d.File(metadata.Image, metadata.Targets), metadata.Profile)
		if err != nil {
			t.Fatal(err)
		}
		return metadata.CheckKeys(image, director, f)
	}
	// give replaces the key of the first person of gw-100.
	give := func(k *metadatatest.Key) func(*metadata.TargetsRole) {
		return func(s *metadata.TargetsRole) {
			s.Delegations.Keys[k.ID] = k.Public
			q, err := metadata.ParseQuorum(s.Delegations.Roles[0].UnrecognizedFields[metadata.QuorumField])
			if err != nil {
				t.Fatal(err)
			}
			q.People[0].KeyID = k.ID
			s.Delegations.Roles[0].UnrecognizedFields[metadata.QuorumField] = q.Field()
		}
	}
	wantReason(t, check(func(*metadata.TargetsRole) {}), "")
	wantReason(t, check(give(d.Key("meyer", metadata.Image))), "")
	wantReason(t, check(give(d.Online(metadata.Image))), reason.KeyTwice)
	wantReason(t, check(give(d.Key("online", metadata.Director))), reason.KeyTwice)
	wantReason(t, check(give(d.Key("rivera", metadata.Director))), reason.KeyTwice)
	// chen is holder of the root, so the key cannot be rivera's in a product.
	wantReason(t, check(give(d.Key("chen", metadata.Image))), reason.KeyTwice)
	wantReason(t, metadata.CheckKeys(image, nil, nil), "")
	wantReason(t, metadata.CheckKeys(image, image, nil), reason.KeyTwice)
}

func TestCheckRootStep(t *testing.T) {
	d := metadatatest.New(t, metadatatest.Options{})
	d.Hold(metadata.Image, 2, "chen", "okafor", "meyer")
	d.RotateOnline(metadata.Image, "online-2")
	one, two, three := rootOf(t, d.Root(metadata.Image, 1)), rootOf(t, d.Root(metadata.Image, 2)), rootOf(t, d.Root(metadata.Image, 3))
	wantReason(t, metadata.CheckRootStep(one, two), "")
	wantReason(t, metadata.CheckRootStep(two, three), "")
	wantReason(t, metadata.CheckRootStep(one, three), reason.Rollback)
	wantReason(t, metadata.CheckRootStep(two, one), reason.Rollback)
	wantReason(t, metadata.CheckRootStep(two, two), reason.Rollback)

	signedBy := func(edit func(*metadata.RootRole), people ...string) *metadata.File[metadata.RootRole] {
		t.Helper()
		next := rootOf(t, d.Root(metadata.Image, 2)).Signed
		if edit != nil {
			edit(&next)
		}
		canonical, err := metadata.Signed(next)
		if err != nil {
			t.Fatal(err)
		}
		var sigs []metadata.Signature
		for _, who := range people {
			k := d.Key(who, metadata.Image)
			sig, err := metadata.Sign(canonical, k.Signer, k.Public)
			if err != nil {
				t.Fatal(err)
			}
			sigs = append(sigs, sig)
		}
		data, err := metadata.Encode[metadata.RootRole](canonical, sigs)
		if err != nil {
			t.Fatal(err)
		}
		return rootOf(t, data)
	}
	// chen and okafor hold both roots, rivera the old one, meyer the new one.
	wantReason(t, metadata.CheckRootStep(one, signedBy(nil, "chen", "okafor")), "")
	wantReason(t, metadata.CheckRootStep(one, signedBy(nil, "rivera", "chen")), reason.Threshold)
	wantReason(t, metadata.CheckRootStep(one, signedBy(nil, "meyer", "chen")), reason.Threshold)
	wantReason(t, metadata.CheckRootStep(one, signedBy(nil, "online", "online-2")), reason.Threshold)
	scope := func(s string) func(*metadata.RootRole) {
		return func(r *metadata.RootRole) { r.UnrecognizedFields[metadata.ScopeField] = s }
	}
	wantReason(t, metadata.CheckRootStep(one, signedBy(scope("other/image/root"), "chen", "okafor")), reason.ScopeMismatch)
	wantReason(t, metadata.CheckRootStep(one, signedBy(func(r *metadata.RootRole) {
		delete(r.UnrecognizedFields, metadata.ScopeField)
	}, "chen", "okafor")), reason.RootWithoutScope)

	if metadata.OnlineKeysChanged(one, two) || !metadata.OnlineKeysChanged(two, three) {
		t.Error("OnlineKeysChanged is wrong")
	}
	half := rootOf(t, d.Root(metadata.Image, 2))
	half.Signed.Roles["snapshot"].KeyIDs = three.Signed.Roles["snapshot"].KeyIDs
	half.Signed.Keys = three.Signed.Keys
	if !metadata.OnlineKeysChanged(two, half) {
		t.Error("a changed snapshot key alone is not seen")
	}
}

func TestRootDelegation(t *testing.T) {
	d := deployment(t)
	root := rootOf(t, d.File(metadata.Image, metadata.Root))
	for _, role := range []string{"gw-100", "", "mirrors"} {
		_, err := metadata.RootDelegation(root, role, metadata.Profile)
		wantReason(t, err, reason.Malformed)
	}
	del, err := metadata.RootDelegation(root, metadata.Root, metadata.Plain)
	if err != nil || del.Quorum != nil || del.Threshold != 2 {
		t.Errorf("plain: %+v, %v", del, err)
	}
	del, err = metadata.RootDelegation(rootOf(t, d.File(metadata.Director, metadata.Root)), metadata.Targets, metadata.Profile)
	if err != nil || del.Quorum != nil {
		t.Errorf("the director's targets: %+v, %v", del, err)
	}
	if err := del.Check(metadata.Profile); err != nil {
		t.Error(err)
	}
}

func TestTargetsDelegation(t *testing.T) {
	d := deployment(t)
	targets, err := metadata.ParseTargets(d.File(metadata.Image, metadata.Targets), metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	pump, err := metadata.ParseTargets(d.File(metadata.Image, "pump-9"), metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	gw, err := metadata.ParseTargets(d.File(metadata.Image, "gw-100"), metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		file *metadata.File[metadata.TargetsRole]
		role string
		want reason.Reason
	}{
		{targets, "gw-100", ""},
		{targets, "gw-100.stop", ""},
		{pump, "pump-9.bin-f", ""},
		{targets, "gw-200", reason.Malformed},
		{targets, "pump-9.bin-f", reason.Malformed},
		{pump, "pump-9.bin-10", reason.Malformed},
		{pump, "pump-9", reason.Malformed},
		{gw, "gw-100.bin-0", reason.Malformed},
	} {
		del, err := metadata.TargetsDelegation(tt.file, tt.role, metadata.Profile)
		wantReason(t, err, tt.want)
		if err == nil {
			wantReason(t, del.Check(metadata.Profile), "")
		}
	}
	if del, err := metadata.TargetsDelegation(targets, "gw-100", metadata.Plain); err != nil || del.Quorum != nil {
		t.Errorf("plain: %+v, %v", del, err)
	}
}
