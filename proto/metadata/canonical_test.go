package metadata_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"pgregory.net/rapid"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// jsonValue draws any value that canonical JSON can hold.
func jsonValue(depth int) *rapid.Generator[any] {
	leaves := []*rapid.Generator[any]{
		rapid.Just[any](nil),
		rapid.Bool().AsAny(),
		rapid.Int64Range(-metadata.MaxInteger, metadata.MaxInteger).AsAny(),
		rapid.String().AsAny(),
		rapid.SampledFrom([]string{"", `"`, `\`, "\n", "\x00", "<&>", "\u2028", "é", "ſ", "😀", "a\\\"b"}).AsAny(),
	}
	if depth > 0 {
		leaves = append(leaves,
			rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return jsonValue(depth - 1) }), 0, 4).AsAny(),
			rapid.MapOfN(rapid.String(), rapid.Deferred(func() *rapid.Generator[any] { return jsonValue(depth - 1) }), 0, 5).AsAny())
	}
	return rapid.OneOf(leaves...)
}

// Canonical is byte for byte what go-tuf signs, and FromCanonical what encoding/json writes.
func TestCanonicalEqualsCJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := jsonValue(4).Draw(t, "value")
		want, err := cjson.EncodeCanonical(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := metadata.Canonical(v)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
		text, err := metadata.FromCanonical(got)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, plain) {
			t.Fatalf("FromCanonical: got  %q\nwant %q", text, plain)
		}
		again, err := metadata.Canonical(json.RawMessage(text))
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("back: %q, %v", again, err)
		}
	})
}

// The order of members does not matter.
func TestCanonicalSorts(t *testing.T) {
	const text = ` { "b" : [ 1 , { "z":true, "a":null } ] , "a" : "x\ny" , "B":{} , "aa":[]} `
	const want = "{\"B\":{},\"a\":\"x\ny\",\"aa\":[],\"b\":[1,{\"a\":null,\"z\":true}]}"
	got, err := metadata.Canonical(json.RawMessage(text))
	if err != nil || string(got) != want {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
}

func TestCanonicalRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		v    any
		want reason.Reason
	}{
		{"float", 1.5, reason.NotInteger},
		{"large float", 1e300, reason.NotInteger},
		{"integer beyond 2^53", int64(1)<<53 + 1, reason.IntegerRange},
		{"channel", make(chan int), reason.Malformed},
		{"duplicate", json.RawMessage(`{"a":1,"a":1}`), reason.DuplicateName},
		{"duplicate among sorted others", json.RawMessage(`{"a":1,"b":2,"a":3}`), reason.DuplicateName},
		{"nothing", json.RawMessage(``), reason.Malformed},
		{"two values", json.RawMessage(`1 2`), reason.Malformed},
		{"comma", json.RawMessage(`[1,]`), reason.Malformed},
		{"unquoted", json.RawMessage(`{a:1}`), reason.Malformed},
		{"no colon", json.RawMessage(`{"a" 1}`), reason.Malformed},
		{"open string", json.RawMessage(`"a`), reason.Malformed},
		{"open escape", json.RawMessage(`"a\`), reason.Malformed},
		{"word", json.RawMessage(`True`), reason.Malformed},
		{"plus", json.RawMessage(`+1`), reason.Malformed},
		{"minus", json.RawMessage(`-`), reason.Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := metadata.Canonical(tt.v)
			wantReason(t, err, tt.want)
			if got != nil {
				t.Errorf("got %q beside an error", got)
			}
		})
	}
}

func TestFromCanonicalRefuses(t *testing.T) {
	for _, text := range []string{``, `{"a": 1}`, `{"b":1,"a":2}`, `"a`, `"a\`, `"a\n"`, `{"a":01}`, `"` + "\xff" + `"`, `[1,]`} {
		if got, err := metadata.FromCanonical([]byte(text)); !reason.Is(err, reason.NotCanonical) {
			t.Errorf("FromCanonical(%q) = %q, %v", text, got, err)
		}
	}
}

// Every role file that we build reads back with the same canonical signed part.
func TestParseKeepsCanonical(t *testing.T) {
	d := deployment(t)
	rapid.Check(t, func(t *rapid.T) {
		role := rapid.SampledFrom([]string{"targets", "gw-100", "gw-100.stop", "pump-9"}).Draw(t, "role")
		f, err := metadata.ParseTargets(d.File(metadata.Image, role), metadata.Profile)
		if err != nil {
			t.Fatal(err)
		}
		signed := f.Signed
		signed.Version = rapid.Int64Range(1, metadata.MaxVersion).Draw(t, "version")
		name := rapid.StringMatching(`x-[a-z]{1,8}`).Draw(t, "name")
		signed.UnrecognizedFields = map[string]any{metadata.ScopeField: "acme/image/" + role, name: jsonValue(3).Draw(t, "value")}
		canonical, err := metadata.Signed(signed)
		if err != nil {
			t.Fatal(err)
		}
		file, err := metadata.Encode[metadata.TargetsRole](canonical, f.Signatures)
		if err != nil {
			t.Fatal(err)
		}
		again, err := metadata.ParseTargets(file, metadata.Profile)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Canonical(), canonical) {
			t.Fatalf("got  %q\nwant %q", again.Canonical(), canonical)
		}
		if want, err := cjson.EncodeCanonical(signed); err != nil || !bytes.Equal(want, canonical) {
			t.Fatalf("go-tuf signs %q, %v\nwe sign %q", want, err, canonical)
		}
		if text, err := again.ToBytes(false); err != nil || !bytes.Equal(text, file) {
			t.Fatalf("go-tuf writes %q, %v\nwe write %q", text, err, file)
		}
	})
}
