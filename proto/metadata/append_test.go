package metadata_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"pgregory.net/rapid"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// hashesOf draws hashes, none and nil among them.
func hashesOf() *rapid.Generator[tuf.Hashes] {
	return rapid.Custom(func(t *rapid.T) tuf.Hashes {
		if rapid.Bool().Draw(t, "nil") {
			return nil
		}
		h := tuf.Hashes{}
		for name, sum := range rapid.MapOfN(rapid.String(), rapid.SliceOfN(rapid.Byte(), 0, 32), 0, 2).Draw(t, "hashes") {
			h[name] = sum
		}
		return h
	})
}

func members() *rapid.Generator[map[string]any] {
	return rapid.MapOfN(rapid.String(), jsonValue(2), 0, 2)
}

func integers() *rapid.Generator[int64] {
	return rapid.Int64Range(-metadata.MaxInteger, metadata.MaxInteger)
}

// What Signed appends is what go-tuf would sign, also for values that nobody parsed.
func TestSignedEqualsGoTUF(t *testing.T) {
	same := func(t *rapid.T, got []byte, err error, signed any) {
		want, wantErr := cjson.EncodeCanonical(signed)
		if (err == nil) != (wantErr == nil) || !bytes.Equal(got, want) {
			t.Fatalf("got  %q, %v\nwant %q, %v", got, err, want, wantErr)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		expires := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "expires"), 0).UTC()
		targets := metadata.TargetsRole{
			Type: rapid.String().Draw(t, "type"), SpecVersion: rapid.String().Draw(t, "spec"), Version: integers().Draw(t, "version"),
			Expires: expires, UnrecognizedFields: members().Draw(t, "members"),
		}
		if rapid.Bool().Draw(t, "targets") {
			targets.Targets = map[string]*metadata.TargetFile{}
			for _, path := range rapid.SliceOfN(rapid.String(), 0, 4).Draw(t, "paths") {
				entry := &metadata.TargetFile{Length: integers().Draw(t, "length"), Hashes: hashesOf().Draw(t, "hashes"), UnrecognizedFields: members().Draw(t, "members")}
				if rapid.Bool().Draw(t, "custom") {
					data, err := json.MarshalIndent(jsonValue(3).Draw(t, "value"), "", " ")
					if err != nil {
						t.Fatal(err)
					}
					raw := json.RawMessage(data)
					entry.Custom = &raw
				}
				if rapid.IntRange(0, 9).Draw(t, "null") == 0 {
					entry = nil
				}
				targets.Targets[path] = entry
			}
		}
		if rapid.Bool().Draw(t, "delegations") {
			targets.Delegations = &tuf.Delegations{Keys: map[string]*metadata.Key{}, Roles: []tuf.DelegatedRole{{Name: "x", Paths: []string{"<&>"}}}}
		}
		got, err := metadata.Signed(targets)
		same(t, got, err, targets)

		snapshot := metadata.SnapshotRole{Type: "snapshot", Version: 1, Expires: expires, UnrecognizedFields: members().Draw(t, "members")}
		if rapid.Bool().Draw(t, "meta") {
			snapshot.Meta = map[string]*tuf.MetaFiles{}
			for _, name := range rapid.SliceOfN(rapid.String(), 0, 4).Draw(t, "names") {
				snapshot.Meta[name] = &tuf.MetaFiles{
					Version: integers().Draw(t, "version"), Length: integers().Draw(t, "length"),
					Hashes: hashesOf().Draw(t, "hashes"), UnrecognizedFields: members().Draw(t, "members"),
				}
			}
		}
		got, err = metadata.Signed(snapshot)
		same(t, got, err, snapshot)
	})
}

func TestSignedRefuses(t *testing.T) {
	raw := json.RawMessage(`{"a":1.5}`)
	for _, tt := range []struct {
		name string
		edit func(*metadata.TargetsRole)
		want reason.Reason
	}{
		{"a float in custom", func(s *metadata.TargetsRole) {
			s.Targets["a"] = &metadata.TargetFile{Hashes: tuf.Hashes{}, Custom: &raw}
		}, reason.NotInteger},
		{"a length beyond 2^53", func(s *metadata.TargetsRole) {
			s.Targets["a"] = &metadata.TargetFile{Hashes: tuf.Hashes{}, Length: 1 << 60}
		}, reason.IntegerRange},
		{"a path that is no UTF-8", func(s *metadata.TargetsRole) { s.Targets["\xff"] = &metadata.TargetFile{Hashes: tuf.Hashes{}} }, reason.Malformed},
		{"a version beyond 2^53", func(s *metadata.TargetsRole) { s.Version = 1 << 60 }, reason.IntegerRange},
		{"paths with path_hash_prefixes", func(s *metadata.TargetsRole) {
			s.Delegations = &tuf.Delegations{Roles: []tuf.DelegatedRole{{Paths: []string{}, PathHashPrefixes: []string{}}}}
		}, reason.Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := metadata.TargetsRole{Targets: map[string]*metadata.TargetFile{}}
			tt.edit(&s)
			got, err := metadata.Signed(s)
			wantReason(t, err, tt.want)
			if got != nil {
				t.Errorf("got %q beside an error", got)
			}
		})
	}
}

// product returns the file of a flat product of n targets.
func product(b *testing.B, n int) []byte {
	b.Helper()
	d := metadatatest.New(b, metadatatest.Options{})
	d.AddProduct("gw-100", metadatatest.Product{})
	var targets []metadatatest.Target
	for i := range n {
		targets = append(targets, metadatatest.Target{
			File: fmt.Sprintf("gw-%d.img", i), Hardware: []string{fmt.Sprintf("gw-%d", i)}, Data: fmt.Append(nil, i),
			Edit: func(f *metadata.Firmware) {
				f.Conditions = &metadata.Conditions{BatteryPercentMin: 40, Idle: true, DowntimeSeconds: 180}
				f.Fixes = []string{"CVE-2026-0001"}
				f.Evidence = map[string]metadata.EvidenceRef{"sbom": {Path: "gw-100/1/gw.cdx.json", SHA256: someSHA256}}
			},
		})
	}
	d.Release("gw-100", "1", 1, targets...)
	return d.File(metadata.Image, "gw-100")
}

// BenchmarkParse reads a bin of 1,000 targets in 64 bins, and a product near its limit; gotuf is what
// go-tuf's FromBytes alone takes.
func BenchmarkParse(b *testing.B) {
	for _, n := range []int{16, 200} {
		data := product(b, n)
		b.Run(fmt.Sprintf("%d targets", n), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := metadata.ParseTargets(data, metadata.Profile); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d targets gotuf", n), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tuf.Targets().FromBytes(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEncode writes the same files.
func BenchmarkEncode(b *testing.B) {
	for _, n := range []int{16, 200} {
		f, err := metadata.ParseTargets(product(b, n), metadata.Profile)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d targets", n), func(b *testing.B) {
			for b.Loop() {
				canonical, err := metadata.Signed(f.Signed)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := metadata.Encode[metadata.TargetsRole](canonical, f.Signatures); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
