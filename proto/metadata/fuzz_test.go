package metadata_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// seed gives the fuzzer the valid files of a role and every trap of that type.
func seed(f *testing.F, roles ...string) {
	f.Helper()
	d := deployment(f)
	for _, role := range roles {
		f.Add(d.File(metadata.Image, role))
	}
	for _, tt := range traps {
		for _, role := range roles {
			if tt.role == role && tt.from != "*" {
				f.Add(bytes.Replace(d.File(metadata.Image, role), []byte(tt.from), []byte(tt.to), 1))
			}
		}
	}
}

// checkParse holds for any bytes: refused with a known reason, or what was read is what go-tuf reads
// and signs, and writes back the same.
func checkParse[T tuf.Roles](t *testing.T, data []byte) {
	for _, m := range []metadata.Mode{metadata.Profile, metadata.Plain} {
		f, err := metadata.Parse[T](data, m)
		if err != nil {
			if !reason.Of(err).Known() {
				t.Fatalf("unknown reason in %v", err)
			}
			continue
		}
		theirs := &tuf.Metadata[T]{}
		if _, err := theirs.FromBytes(data); err != nil {
			t.Fatalf("go-tuf refuses what we take: %v", err)
		}
		if !reflect.DeepEqual(f.Metadata, theirs) {
			t.Fatalf("go-tuf reads\n%+v\nwe\n%+v", theirs, f.Metadata)
		}
		signed, err := cjson.EncodeCanonical(theirs.Signed)
		if err != nil || !bytes.Equal(signed, f.Canonical()) {
			t.Fatalf("go-tuf would verify\n%q, %v\nwe\n%q", signed, err, f.Canonical())
		}
		file, err := metadata.Encode[T](f.Canonical(), f.Signatures)
		if err != nil {
			t.Fatal(err)
		}
		again, err := metadata.Parse[T](file, m)
		if err != nil && reason.Of(err) != reason.TooLarge { // escapes can make a file longer
			t.Fatalf("does not read back: %v\n%s", err, file)
		}
		if err == nil && !bytes.Equal(again.Canonical(), f.Canonical()) {
			t.Fatalf("read back\n%q\nwant\n%q", again.Canonical(), f.Canonical())
		}
		use(t, f)
	}
}

// use calls what looks into a parsed file: it must not panic whatever the file says.
func use(t *testing.T, file any) {
	var err error
	switch f := file.(type) {
	case *metadata.File[metadata.RootRole]:
		err = metadata.CheckRoot(f, "acme", metadata.Image)
		if err == nil {
			err = metadata.CheckRootStep(f, f)
		}
		metadata.OnlineKeysChanged(f, f)
		for role := range f.Signed.Roles {
			if d, err := metadata.RootDelegation(f, role, metadata.Plain); err == nil {
				d.Tally(f.Canonical(), f.Signatures)
			}
		}
	case *metadata.File[metadata.TargetsRole]:
		err = metadata.CheckTopTargets(f, "acme")
		if err == nil {
			err = metadata.CheckMembers(f)
		}
		for _, check := range []error{metadata.CheckStop(f, "acme", "gw-100"), metadata.CheckProduct(f, "acme", "gw-100", nil)} {
			if check != nil && !reason.Of(check).Known() {
				t.Fatalf("unknown reason in %v", check)
			}
		}
	case *metadata.File[metadata.SnapshotRole]:
		err = metadata.CheckSnapshot(f, "acme", metadata.Image)
	case *metadata.File[metadata.TimestampRole]:
		err = metadata.CheckTimestamp(f, "acme", metadata.Image)
	}
	if err != nil && !reason.Of(err).Known() {
		t.Fatalf("unknown reason in %v", err)
	}
}

func FuzzParseRoot(f *testing.F) {
	seed(f, "root")
	f.Fuzz(func(t *testing.T, data []byte) { checkParse[metadata.RootRole](t, data) })
}

func FuzzParseTargets(f *testing.F) {
	seed(f, "targets", "gw-100", "gw-100.stop", "pump-9")
	f.Fuzz(func(t *testing.T, data []byte) { checkParse[metadata.TargetsRole](t, data) })
}

func FuzzParseSnapshot(f *testing.F) {
	seed(f, "snapshot")
	f.Fuzz(func(t *testing.T, data []byte) { checkParse[metadata.SnapshotRole](t, data) })
}

func FuzzParseTimestamp(f *testing.F) {
	seed(f, "timestamp")
	f.Fuzz(func(t *testing.T, data []byte) { checkParse[metadata.TimestampRole](t, data) })
}

func FuzzParseFirmware(f *testing.F) {
	f.Add(`{"countersign":` + firmwareDoc + `}`)
	f.Add(`{"countersign":{"v":1}}`)
	f.Add(`{"countersign":null}`)
	f.Add(`{"countersign":{"v":1,"counter":1.5}}`)
	f.Fuzz(func(t *testing.T, custom string) {
		entry := target(custom)
		fw, err := metadata.ParseFirmware(firmwarePath, entry, true)
		if _, lenient := metadata.ParseFirmware(firmwarePath, entry, false); err == nil && lenient != nil {
			t.Fatalf("a device refuses what the server takes: %v", lenient)
		}
		if err != nil {
			if !reason.Of(err).Known() {
				t.Fatalf("unknown reason in %v", err)
			}
			return
		}
		written, err := fw.Custom()
		if err != nil {
			t.Fatal(err)
		}
		again, err := metadata.ParseFirmware(firmwarePath, target(string(*written)), true)
		if err != nil || !again.Equal(fw) {
			t.Fatalf("back: %+v, %v\nwant %+v", again, err, fw)
		}
	})
}

func FuzzParseQuorum(f *testing.F) {
	f.Add(`{"people":[` + rivera + `,` + chen + `],"require":{"engineering":1,"quality":1},"meaning":{"quality":"approved"}}`)
	f.Add(`{"people":[],"require":{},"meaning":{}}`)
	f.Add(`{"people":[null],"require":{"a":1e9},"meaning":{"":""}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var raw any
		if json.Unmarshal([]byte(text), &raw) != nil {
			return
		}
		q, err := metadata.ParseQuorum(raw)
		if err != nil {
			if !reason.Of(err).Known() {
				t.Fatalf("unknown reason in %v", err)
			}
			return
		}
		again, err := metadata.ParseQuorum(q.Field())
		if err != nil || !again.Equal(q) {
			t.Fatalf("back: %+v, %v", again, err)
		}
		d := &metadata.Delegation{Role: "x", Threshold: q.Threshold(), Quorum: q}
		if err := d.Check(metadata.Profile); err != nil && !reason.Of(err).Known() {
			t.Fatalf("unknown reason in %v", err)
		}
		d.Tally(nil, nil)
	})
}

func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"b":[1,{"z":true,"a":null}],"a":"x\ny"}`))
	f.Add([]byte(`"\ud83d\ude00\u2028<"`))
	f.Fuzz(func(t *testing.T, text []byte) {
		canonical, err := metadata.Canonical(json.RawMessage(text))
		if err != nil {
			if !reason.Of(err).Known() {
				t.Fatalf("unknown reason in %v", err)
			}
			return
		}
		want, err := cjson.EncodeCanonical(json.RawMessage(text))
		if err != nil || !bytes.Equal(want, canonical) {
			t.Fatalf("cjson: %q, %v\nwe:    %q", want, err, canonical)
		}
		back, err := metadata.FromCanonical(canonical)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := metadata.Canonical(json.RawMessage(back)); err != nil || !bytes.Equal(again, canonical) {
			t.Fatalf("back: %q, %v", again, err)
		}
	})
}
