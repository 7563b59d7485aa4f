package metadata_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

func TestParseValid(t *testing.T) {
	d := deployment(t)
	for _, role := range []string{"root", "timestamp", "snapshot", "targets", "gw-100", "gw-100.stop", "pump-9"} {
		for _, m := range []metadata.Mode{metadata.Profile, metadata.Plain} {
			if err := parseAs(d.File(metadata.Image, role), role, m); err != nil {
				t.Errorf("%s: %v", role, err)
			}
		}
	}
}

// equalsGoTUF compares what Parse reads with what go-tuf reads, since trustedmetadata parses the same
// bytes again.
func equalsGoTUF[T tuf.Roles](t *testing.T, name string, data []byte) {
	t.Helper()
	f, err := metadata.Parse[T](data, metadata.Profile)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	want := &tuf.Metadata[T]{}
	if _, err := want.FromBytes(data); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !reflect.DeepEqual(f.Metadata, want) {
		t.Errorf("%s: got\n%+v\nwant\n%+v", name, f.Metadata, want)
	}
}

func TestParseEqualsGoTUF(t *testing.T) {
	d := deployment(t)
	equalsGoTUF[metadata.RootRole](t, "root", d.File(metadata.Image, metadata.Root))
	equalsGoTUF[metadata.TimestampRole](t, "timestamp", d.File(metadata.Image, metadata.Timestamp))
	snapshot := d.File(metadata.Image, metadata.Snapshot)
	equalsGoTUF[metadata.SnapshotRole](t, "snapshot", snapshot)
	equalsGoTUF[metadata.SnapshotRole](t, "snapshot with a bare entry", replace(t, snapshot, `"meta":{`, `"meta":{"x.json":{"version":1},`))
	equalsGoTUF[metadata.SnapshotRole](t, "snapshot with more members", replace(t, snapshot, `"meta":{"gw`, `"meta":{"x.json":{"x":[1,{"y":null}],"version":1},"gw`))
	for _, role := range []string{"targets", "gw-100", "gw-100.stop", "pump-9"} {
		equalsGoTUF[metadata.TargetsRole](t, role, d.File(metadata.Image, role))
	}
	gw := d.File(metadata.Image, "gw-100")
	equalsGoTUF[metadata.TargetsRole](t, "target with more members", replace(t, gw, `"length":8`, `"x":{"y":7},"length":8`))
	equalsGoTUF[metadata.TargetsRole](t, "signature with more members", replace(t, gw, `{"keyid"`, `{"x":"y","keyid"`))
	equalsGoTUF[metadata.TargetsRole](t, "white space", replace(t, gw, `"custom":{`, "\"custom\" :\n {\t"))
}

// trap is one fault in an otherwise valid file.
type trap struct {
	name, role string
	from, to   string
	want       reason.Reason
	onlyPlain  bool // plain mode takes it
}

var hexKey = strings.Repeat("ab", 32)

// traps are those that DESIGN 7 names, and their neighbours.
var traps = []trap{
	{name: "empty file", role: "root", from: "*", to: "", want: reason.Malformed},
	{name: "zeroed file", role: "root", from: "*", to: "\x00\x00\x00\x00", want: reason.Malformed},
	{name: "truncated file", role: "root", from: `image/root"}}`, to: `image/root"}`, want: reason.Malformed},
	{name: "not an object", role: "root", from: "*", to: `[]`, want: reason.Malformed},
	{name: "null file", role: "root", from: "*", to: `null`, want: reason.Null},
	{name: "trailing value", role: "root", from: `image/root"}}`, to: `image/root"}}{}`, want: reason.Malformed},
	{name: "third member at the top", role: "root", from: `{"signatures"`, to: `{"extra":1,"signatures"`, want: reason.UnknownMember},
	{name: "no signatures", role: "root", from: `{"signatures"`, to: `{"sugnatures"`, want: reason.UnknownMember},
	{name: "signatures null", role: "timestamp", from: `{"signatures":[`, to: `{"signatures":null,"signed":{},"x":[`, want: reason.Null},
	{name: "signed null", role: "root", from: `"signed":{`, to: `"signed":null,"x":{`, want: reason.Null},

	// encoding/json folds case, ſ and K: a forged signed beside a genuine Signed passes go-tuf.
	{name: "folded Signed", role: "root", from: `"signed":{`, to: `"Signed":{},"signed":{`, want: reason.FoldedName},
	{name: "folded with long s", role: "root", from: `"signed":{`, to: `"ſigned":{},"signed":{`, want: reason.FoldedName},
	{name: "folded version", role: "timestamp", from: `"version":`, to: `"Version":99,"version":`, want: reason.FoldedName},
	{name: "folded escaped name", role: "timestamp", from: `"version":`, to: `"\u0056ersion":99,"version":`, want: reason.FoldedName},
	{name: "folded keys with Kelvin sign", role: "root", from: `"keys":{`, to: `"\u212aeys":{},"keys":{`, want: reason.FoldedName},
	{name: "folded keyids", role: "root", from: `"keyids":[`, to: `"keyidſ":[],"keyids":[`, want: reason.FoldedName},
	{name: "folded role name", role: "root", from: `"roles":{`, to: `"roles":{"Root":{"keyids":[],"threshold":1},`, want: reason.FoldedName},
	{name: "folded public", role: "root", from: `"public":`, to: `"PUBLIC":"00","public":`, want: reason.FoldedName},
	{name: "folded length", role: "gw-100", from: `"length":8`, to: `"Length":9,"length":8`, want: reason.FoldedName},
	{name: "folded custom", role: "gw-100", from: `"custom":{`, to: `"Custom":{},"custom":{`, want: reason.FoldedName},
	{name: "folded terminating", role: "targets", from: `"terminating":`, to: `"Terminating":false,"terminating":`, want: reason.FoldedName},
	{name: "folded succinct", role: "pump-9", from: `"bit_length":`, to: `"bit_Length":5,"bit_length":`, want: reason.FoldedName},
	{name: "folded snapshot version", role: "snapshot", from: `"version":1}`, to: `"VERSION":2,"version":1}`, want: reason.FoldedName},
	{name: "folded countersign", role: "gw-100", from: `"countersign":{`, to: `"Countersign":{},"countersign":{`, want: reason.FoldedName, onlyPlain: true},
	{name: "folded counter", role: "gw-100", from: `"counter":17,"evidence"`, to: `"Counter":18,"counter":17,"evidence"`, want: reason.FoldedName, onlyPlain: true},
	{name: "folded scope", role: "gw-100", from: `"x-countersign-scope":`, to: `"X-countersign-scope":"a","x-countersign-scope":`, want: reason.FoldedName, onlyPlain: true},
	{name: "folded quorum require", role: "targets", from: `"require":{`, to: `"Require":{},"require":{`, want: reason.FoldedName, onlyPlain: true},
	{name: "folded inside installer_args is data", role: "gw-100", from: `"slot":"a"`, to: `"Slot":"b","slot":"a"`},
	{name: "names in maps are data", role: "gw-100", from: `"hashes":{`, to: `"hashes":{"SHA256":"00",`},

	{name: "duplicate name", role: "timestamp", from: `"version":`, to: `"version":1,"version":`, want: reason.DuplicateName},
	{name: "duplicate by escape", role: "timestamp", from: `"version":`, to: `"ver\u0073ion":1,"version":`, want: reason.DuplicateName},
	{name: "duplicate target", role: "gw-100", from: `"targets":{`, to: `"targets":{"gw-100/2.4.1/gw.img":{"hashes":{"sha256":"00"},"length":1},`, want: reason.DuplicateName},
	{name: "duplicate in installer_args", role: "gw-100", from: `"slot":"a"`, to: `"slot":"b","slot":"a"`, want: reason.DuplicateName},
	{name: "duplicate in an unknown member", role: "gw-100", from: `"version":2,`, to: `"version":2,"x-new":{"a":1,"a":2},`, want: reason.DuplicateName},

	{name: "null target", role: "gw-100", from: `"targets":{`, to: `"targets":{"gw-100/1/x":null,`, want: reason.Null},
	{name: "null targets", role: "targets", from: `"targets":{}`, to: `"targets":null`, want: reason.Null},
	{name: "null key", role: "root", from: `"keys":{`, to: `"keys":{"00":null,`, want: reason.Null},
	{name: "null keys", role: "root", from: `"keys":{`, to: `"keys":null,"x":{`, want: reason.Null},
	{name: "null roles", role: "root", from: `"roles":{`, to: `"roles":null,"x":{`, want: reason.Null},
	{name: "null role", role: "root", from: `"roles":{"root":{`, to: `"roles":{"root":null,"x":{`, want: reason.Null},
	{name: "null role beside the four", role: "root", from: `"roles":{`, to: `"roles":{"mirrors":null,`, want: reason.Null},
	{name: "list as a role beside the four", role: "root", from: `"roles":{`, to: `"roles":{"mirrors":[],`, want: reason.Malformed},
	{name: "null delegated role", role: "targets", from: `"roles":[`, to: `"roles":[null,`, want: reason.Null},
	{name: "null meta", role: "snapshot", from: `"meta":{`, to: `"meta":null,"x":{`, want: reason.Null},
	{name: "null meta entry", role: "snapshot", from: `"meta":{`, to: `"meta":{"x.json":null,`, want: reason.Null},
	{name: "null snapshot entry", role: "timestamp", from: `"snapshot.json":{`, to: `"snapshot.json":null,"x.json":{`, want: reason.Null},
	{name: "null keyid", role: "root", from: `"keyids":[`, to: `"keyids":[null,`, want: reason.Null},
	{name: "null hash", role: "snapshot", from: `"hashes":{`, to: `"hashes":{"sha512":null,`, want: reason.Null},
	{name: "null version", role: "timestamp", from: `"version":6,"x-`, to: `"version":null,"x-`, want: reason.Null},
	{name: "null expires", role: "timestamp", from: `"expires":"2026-12-02T12:00:00Z"`, to: `"expires":null`, want: reason.Null},
	{name: "null signature", role: "timestamp", from: `"signatures":[`, to: `"signatures":[null,`, want: reason.Null},
	{name: "null delegations", role: "targets", from: `"delegations":{`, to: `"delegations":null,"x":{`, want: reason.Null},
	{name: "null in firmware", role: "gw-100", from: `"class":"maintenance"`, to: `"class":null`, want: reason.Null, onlyPlain: true},
	{name: "null in an unknown firmware member", role: "gw-100", from: `"class":"maintenance"`, to: `"class":"maintenance","new":[null]`, want: reason.Null, onlyPlain: true},
	{name: "null in quorum", role: "targets", from: `"require":{`, to: `"new":null,"require":{`, want: reason.Null, onlyPlain: true},
	{name: "null in installer_args is data", role: "gw-100", from: `"slot":"a"`, to: `"slot":null`},
	{name: "null in an unknown member is data", role: "gw-100", from: `"version":2,`, to: `"version":2,"x-new":null,`},

	{name: "float version", role: "timestamp", from: `"version":6,"x-`, to: `"version":5.0,"x-`, want: reason.NotInteger},
	{name: "exponent", role: "timestamp", from: `"version":6,"x-`, to: `"version":5e0,"x-`, want: reason.NotInteger},
	{name: "minus zero", role: "gw-100", from: `"floor":12`, to: `"floor":-0`, want: reason.NotInteger},
	{name: "float in installer_args", role: "gw-100", from: `"slot":"a"`, to: `"slot":0.5`, want: reason.NotInteger},
	{name: "float in an unknown member", role: "gw-100", from: `"version":2,`, to: `"version":2,"x-new":1.5,`, want: reason.NotInteger},
	{name: "integer above 2^53", role: "gw-100", from: `"slot":"a"`, to: `"slot":9007199254740993`, want: reason.IntegerRange},
	{name: "integer above 2^63", role: "timestamp", from: `"version":6,"x-`, to: `"version":9223372036854775808,"x-`, want: reason.IntegerRange},
	{name: "integer below -2^53", role: "gw-100", from: `"slot":"a"`, to: `"slot":-9007199254740993`, want: reason.IntegerRange},
	{name: "2^53 itself", role: "gw-100", from: `"slot":"a"`, to: `"slot":9007199254740992`},
	{name: "leading zero", role: "timestamp", from: `"version":6,"x-`, to: `"version":05,"x-`, want: reason.Malformed},
	{name: "version 0", role: "timestamp", from: `"version":6,"x-`, to: `"version":0,"x-`, want: reason.IntegerRange},
	{name: "negative version", role: "timestamp", from: `"version":6,"x-`, to: `"version":-1,"x-`, want: reason.IntegerRange},
	{name: "version as a string", role: "timestamp", from: `"version":6,"x-`, to: `"version":"5","x-`, want: reason.Malformed},
	{name: "meta version 0", role: "snapshot", from: `"version":1}`, to: `"version":0}`, want: reason.IntegerRange},
	{name: "threshold 0", role: "root", from: `"threshold":2`, to: `"threshold":0`, want: reason.IntegerRange},
	{name: "negative length", role: "gw-100", from: `"length":8`, to: `"length":-8`, want: reason.IntegerRange},
	{name: "bit_length 0", role: "pump-9", from: `"bit_length":4`, to: `"bit_length":0`, want: reason.IntegerRange},
	{name: "bit_length 33", role: "pump-9", from: `"bit_length":4`, to: `"bit_length":33`, want: reason.IntegerRange},

	{name: "wrong _type", role: "timestamp", from: `"_type":"timestamp"`, to: `"_type":"snapshot"`, want: reason.Malformed},
	{name: "spec_version 2", role: "timestamp", from: `"spec_version":"1.0.31"`, to: `"spec_version":"2.0.0"`, want: reason.Malformed},
	{name: "spec_version 10", role: "timestamp", from: `"spec_version":"1.0.31"`, to: `"spec_version":"10.0"`, want: reason.Malformed},
	{name: "spec_version text", role: "timestamp", from: `"spec_version":"1.0.31"`, to: `"spec_version":"1.0.x"`, want: reason.Malformed},
	{name: "spec_version 1.1", role: "timestamp", from: `"spec_version":"1.0.31"`, to: `"spec_version":"1.1"`},
	{name: "timestamp without snapshot.json", role: "timestamp", from: `"snapshot.json":{`, to: `"other.json":{`, want: reason.Malformed},
	{name: "root without targets", role: "root", from: `"roles":{`, to: `"rules":{`, want: reason.Malformed},
	{name: "paths with path_hash_prefixes", role: "targets", from: `"paths":[`, to: `"path_hash_prefixes":["00"],"paths":[`, want: reason.Malformed},
	{name: "roles with succinct_roles", role: "pump-9", from: `"succinct_roles":{`, to: `"roles":[],"succinct_roles":{`, want: reason.Malformed},
	{name: "delegated role named targets", role: "targets", from: `"name":"gw-100"`, to: `"name":"targets"`, want: reason.Malformed},
	{name: "delegated role named twice", role: "targets", from: `"name":"gw-100.stop"`, to: `"name":"gw-100"`, want: reason.Malformed},
	{name: "target without hashes", role: "gw-100", from: `"hashes":{"sha256"`, to: `"hashes":{},"x":{"sha256"`, want: reason.Malformed},
	{name: "odd hex", role: "gw-100", from: `"hashes":{"sha256":"`, to: `"hashes":{"sha256":"0`, want: reason.Malformed},
	{name: "hex that is none", role: "timestamp", from: `"sig":"`, to: `"sig":"zz`, want: reason.Malformed},
	{name: "escaped hex", role: "timestamp", from: `"sig":"`, to: `"sig":"\u0030\u0030`, want: reason.Malformed},
	{name: "control character in a string", role: "gw-100", from: `"slot":"a"`, to: "\"slot\":\"\n\"", want: reason.Malformed},
	{name: "invalid UTF-8", role: "gw-100", from: `"slot":"a"`, to: "\"slot\":\"\xff\"", want: reason.Malformed},
	{name: "half a surrogate pair", role: "gw-100", from: `"slot":"a"`, to: `"slot":"\ud800"`, want: reason.Malformed},
	{name: "wrong order of surrogates", role: "gw-100", from: `"slot":"a"`, to: `"slot":"\udc00\ud800"`, want: reason.Malformed},
	{name: "unknown escape", role: "gw-100", from: `"slot":"a"`, to: `"slot":"\x41"`, want: reason.Malformed},
	{name: "surrogate pair", role: "gw-100", from: `"slot":"a"`, to: `"slot":"\ud83d\ude00"`},

	// go-tuf verifies its own re-encoding.
	{name: "fractional seconds", role: "timestamp", from: `12:00:00Z"`, to: `12:00:00.5Z"`, want: reason.NotCanonical},
	{name: "fraction of zero", role: "timestamp", from: `12:00:00Z"`, to: `12:00:00.000Z"`, want: reason.NotCanonical},
	{name: "offset instead of Z", role: "timestamp", from: `12:00:00Z"`, to: `12:00:00+00:00"`, want: reason.NotCanonical},
	{name: "no time at all", role: "timestamp", from: `12:00:00Z"`, to: `"`, want: reason.Malformed},
	{name: "month 13", role: "timestamp", from: `"2026-12-02T`, to: `"2026-13-02T`, want: reason.Malformed},
	{name: "upper-case hex", role: "snapshot", from: `"sha256":"`, to: `"sha512":"AB","sha256":"`, want: reason.NotCanonical},
	{name: "missing terminating", role: "targets", from: `"terminating":true,`, to: ``, want: reason.NotCanonical},
	{name: "missing consistent_snapshot", role: "root", from: `"consistent_snapshot":true,`, to: ``, want: reason.NotCanonical},
	{name: "meta length 0", role: "snapshot", from: `"version":1}`, to: `"length":0,"version":1}`, want: reason.DuplicateName},
	{name: "meta without hashes but an empty map", role: "snapshot", from: `"meta":{`, to: `"meta":{"x.json":{"hashes":{},"version":1},`, want: reason.NotCanonical},
	{name: "meta length of zero", role: "snapshot", from: `"meta":{`, to: `"meta":{"x.json":{"length":0,"version":1},`, want: reason.NotCanonical},
	{name: "white space and order are free", role: "timestamp", from: `"spec_version":"1.0.31",`, to: "\n\t \"spec_version\" : \"1.0.31\" ,"},
	{name: "escapes are free", role: "gw-100", from: `"slot":"a"`, to: `"slot":"\u0061"`},

	{name: "wrong-length ed25519 key", role: "root", from: `"keyval":{"public":"`, to: `"keyval":{"public":"00`, want: reason.KeyMalformed},
	{name: "ed25519 key that is no hex", role: "root", from: `"keyval":{"public":"`, to: `"keyval":{"public":"zz`, want: reason.KeyMalformed},
	{name: "key under another id", role: "root", from: `"keytype":"ed25519",`, to: `"keytype":"ed25519","x":"y",`, want: reason.KeyIDMismatch, onlyPlain: true},
	{name: "key of another type", role: "root", from: `"keytype":"ed25519"`, to: `"keytype":"sphincs"`, want: reason.KeyMalformed, onlyPlain: true},
}

func TestTraps(t *testing.T) {
	d := deployment(t)
	for _, tt := range traps {
		t.Run(tt.name, func(t *testing.T) {
			file := []byte(tt.to)
			if tt.from != "*" {
				file = replace(t, d.File(metadata.Image, tt.role), tt.from, tt.to)
			}
			wantReason(t, parseAs(file, tt.role, metadata.Profile), tt.want)
			if want := tt.want; tt.onlyPlain {
				wantReason(t, parseAs(file, tt.role, metadata.Plain), "")
			} else {
				wantReason(t, parseAs(file, tt.role, metadata.Plain), want)
			}
		})
	}
}

func TestGuardBounds(t *testing.T) {
	d := deployment(t)
	timestamp := string(d.File(metadata.Image, metadata.Timestamp))
	signatures := func(n int, id string) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"keyid":"%s","sig":"00"}`, strings.ReplaceAll(id, "#", fmt.Sprint(i))))
		}
		return strings.Join(list, ",")
	}
	i := strings.Index(timestamp, `],"signed"`)
	with := func(sigs string) string { return `{"signatures":[` + sigs + timestamp[i:] }
	deep := func(n int) string {
		return strings.Replace(timestamp, `"version":6,`, `"version":6,"x":`+strings.Repeat("[", n)+strings.Repeat("]", n)+",", 1)
	}
	pad := func(n int64) string {
		return strings.Replace(timestamp, `"version":6`, `"version":6,"x":"`+strings.Repeat("a", int(n)-len(timestamp)-7)+`"`, 1)
	}
	for _, tt := range []struct {
		name, file string
		want       reason.Reason
	}{
		{"64 signatures", with(signatures(64, "k#")), ""},
		{"65 signatures", with(signatures(65, "k#")), reason.TooManySignatures},
		{"two signatures by one key", with(signatures(2, "k")), reason.TooManySignatures},
		{"duplicate key id by escape", with(`{"keyid":"k","sig":""},{"keyid":"\u006b","sig":""}`), reason.TooManySignatures},
		{"no signatures", with(""), ""},
		{"30 more levels", deep(30), ""},
		{"31 more levels", deep(31), reason.TooDeep},
		{"a million levels", strings.Repeat("[", 1000), reason.Malformed},
		{"largest file", pad(metadata.MaxTimestamp), ""},
		{"one byte more", pad(metadata.MaxTimestamp + 1), reason.TooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := metadata.ParseTimestamp([]byte(tt.file), metadata.Profile)
			wantReason(t, err, tt.want)
			if (tt.want == "") != (metadata.Guard([]byte(tt.file), metadata.Timestamp, metadata.Profile) == nil) {
				t.Error("Guard and Parse disagree")
			}
		})
	}
}

func TestGuardKeysOfARole(t *testing.T) {
	d := deployment(t)
	ids := strings.Repeat(`"00",`, 64)
	file := replace(t, d.File(metadata.Image, metadata.Root), `"keyids":[`, `"keyids":[`+ids)
	wantReason(t, parseAs(file, metadata.Root, metadata.Profile), reason.Limit)
	wantReason(t, parseAs(file, metadata.Root, metadata.Plain), reason.Limit)
}

func TestMaxSize(t *testing.T) {
	for _, tt := range []struct {
		mode metadata.Mode
		role string
		want int64
	}{
		{metadata.Profile, "root", 512 << 10},
		{metadata.Profile, "timestamp", 16 << 10},
		{metadata.Profile, "snapshot", 256 << 10},
		{metadata.Profile, "targets", 256 << 10},
		{metadata.Profile, "gw-100", 256 << 10},
		{metadata.Plain, "root", 512 << 10},
		{metadata.Plain, "timestamp", 16 << 10},
		{metadata.Plain, "snapshot", 2 << 20},
		{metadata.Plain, "gw-100", 5 << 20},
	} {
		if got := metadata.MaxSize(tt.mode, tt.role); got != tt.want {
			t.Errorf("MaxSize(%v, %q) = %d, want %d", tt.mode, tt.role, got, tt.want)
		}
	}
}

func TestErrorsNameTheMember(t *testing.T) {
	d := deployment(t)
	file := replace(t, d.File(metadata.Image, metadata.Root), `"keyids":[`, `"keyids":[null,`)
	_, err := metadata.ParseRoot(file, metadata.Profile)
	wantText(t, err, "root file: signed.roles.root.keyids: null stands where a string must")
}

func TestEncodeIsGoTUFs(t *testing.T) {
	d := deployment(t)
	f, err := metadata.ParseTargets(d.File(metadata.Image, "gw-100"), metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	got, err := metadata.Encode[metadata.TargetsRole](f.Canonical(), f.Signatures)
	if err != nil {
		t.Fatal(err)
	}
	want, err := f.ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	reversed := []metadata.Signature{f.Signatures[2], f.Signatures[1], f.Signatures[0]}
	if again, err := metadata.Encode[metadata.TargetsRole](f.Canonical(), reversed); err != nil || !bytes.Equal(again, want) {
		t.Errorf("signatures in another order: %v", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	d := deployment(t)
	f, err := metadata.ParseTargets(d.File(metadata.Image, "gw-100"), metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	sig := f.Signatures[0]
	_, err = metadata.Encode[metadata.TargetsRole](f.Canonical(), []metadata.Signature{sig, sig})
	wantReason(t, err, reason.TooManySignatures)
	_, err = metadata.Encode[metadata.RootRole](f.Canonical(), nil)
	wantReason(t, err, reason.Malformed)
	_, err = metadata.EncodeRaw("gw-100", append([]byte{}, f.Canonical()[:100]...), nil)
	wantReason(t, err, reason.NotCanonical)
	_, err = metadata.EncodeRaw("targets", []byte(`{"_type":"targets", "a":1}`), nil)
	wantReason(t, err, reason.NotCanonical)
	_, err = metadata.EncodeRaw("targets", []byte(`{"_type":"targets","b":1,"a":1}`), nil)
	wantReason(t, err, reason.NotCanonical)
	var m map[string]any
	if err := json.Unmarshal(f.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
}
