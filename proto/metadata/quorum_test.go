package metadata_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

func anyOf(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

const (
	rivera = `{"id":"rivera","class":"engineering","keyid":"k1","name":"Dr. Rivera"}`
	chen   = `{"id":"chen","class":"quality","keyid":"k2","name":"Dr. Chen"}`
)

func TestParseQuorum(t *testing.T) {
	raw := anyOf(t, `{"people":[`+rivera+`,`+chen+`],"require":{"engineering":1,"quality":1},"meaning":{"quality":"approved"}}`)
	q, err := metadata.ParseQuorum(raw)
	if err != nil {
		t.Fatal(err)
	}
	want := &metadata.Quorum{
		People:  []metadata.Person{{ID: "rivera", Class: "engineering", KeyID: "k1", Name: "Dr. Rivera"}, {ID: "chen", Class: "quality", KeyID: "k2", Name: "Dr. Chen"}},
		Require: map[string]int{"engineering": 1, "quality": 1},
		Meaning: map[string]string{"quality": "approved"},
	}
	if !reflect.DeepEqual(q, want) {
		t.Errorf("got %+v", q)
	}
	if !reflect.DeepEqual(q.Field(), raw) {
		t.Errorf("Field: got %v", q.Field())
	}
	if q.Threshold() != 2 || !slices.Equal(q.Classes(), []string{"engineering", "quality"}) {
		t.Errorf("threshold %d, classes %q", q.Threshold(), q.Classes())
	}
	swapped := &metadata.Quorum{People: []metadata.Person{want.People[1], want.People[0]}, Require: want.Require, Meaning: want.Meaning}
	if !q.Equal(swapped) || q.Equal(nil) || q.Equal(&metadata.Quorum{People: want.People, Require: want.Require}) {
		t.Error("Equal is wrong")
	}
}

func TestParseQuorumRefuses(t *testing.T) {
	malformed, unknown := reason.QuorumMalformed, reason.UnknownMember
	for _, tt := range []struct {
		name, raw string
		want      reason.Reason
	}{
		{"null", `null`, malformed},
		{"an array", `[]`, malformed},
		{"unknown member", `{"people":[],"require":{},"meaning":{},"x":1}`, unknown},
		{"no people", `{"require":{},"meaning":{}}`, malformed},
		{"no require", `{"people":[],"meaning":{}}`, malformed},
		{"no meaning", `{"people":[],"require":{}}`, malformed},
		{"people as an object", `{"people":{},"require":{},"meaning":{}}`, malformed},
		{"null person", `{"people":[null],"require":{},"meaning":{}}`, malformed},
		{"person without a class", `{"people":[{"id":"a","keyid":"k","name":"n"}],"require":{},"meaning":{}}`, malformed},
		{"person without a name", `{"people":[{"id":"a","class":"c","keyid":"k"}],"require":{},"meaning":{}}`, malformed},
		{"person with a number", `{"people":[{"id":1,"class":"c","keyid":"k","name":"n"}],"require":{},"meaning":{}}`, malformed},
		{"person with an unknown member", `{"people":[{"id":"a","class":"c","keyid":"k","name":"n","x":1}],"require":{},"meaning":{}}`, unknown},
		{"require 0", `{"people":[],"require":{"a":0},"meaning":{}}`, malformed},
		{"require -1", `{"people":[],"require":{"a":-1},"meaning":{}}`, malformed},
		{"require a float", `{"people":[],"require":{"a":1.5},"meaning":{}}`, malformed},
		{"require text", `{"people":[],"require":{"a":"1"},"meaning":{}}`, malformed},
		{"require too much", `{"people":[],"require":{"a":65},"meaning":{}}`, malformed},
		{"meaning a number", `{"people":[],"require":{},"meaning":{"a":1}}`, malformed},
		{"empty meaning", `{"people":[],"require":{},"meaning":{"a":""}}`, malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, err := metadata.ParseQuorum(anyOf(t, tt.raw))
			wantReason(t, err, tt.want)
			if q != nil {
				t.Errorf("got %+v beside an error", q)
			}
		})
	}
}

// team is a delegation to gw-100 of engineering 1 (rivera, meyer) and quality 1 (chen, okafor), and
// the keys of its people.
func team(t testing.TB) (*metadata.Delegation, map[string]*metadatatest.Key) {
	t.Helper()
	d := &metadata.Delegation{Role: "gw-100", Keys: map[string]*metadata.Key{}, Threshold: 2, Quorum: &metadata.Quorum{
		Require: map[string]int{"engineering": 1, "quality": 1}, Meaning: map[string]string{"quality": "approved"},
	}}
	keys := map[string]*metadatatest.Key{}
	for _, p := range [][2]string{{"rivera", "engineering"}, {"meyer", "engineering"}, {"chen", "quality"}, {"okafor", "quality"}} {
		k := metadatatest.NewKey(t, p[0], metadata.Image)
		keys[p[0]], d.Keys[k.ID] = k, k.Public
		d.KeyIDs = append(d.KeyIDs, k.ID)
		d.Quorum.People = append(d.Quorum.People, metadata.Person{ID: p[0], Class: p[1], KeyID: k.ID, Name: p[0]})
	}
	return d, keys
}

func TestDelegationCheck(t *testing.T) {
	outsider := metadatatest.NewKey(t, "mallory", metadata.Image)
	for _, tt := range []struct {
		name string
		edit func(d *metadata.Delegation)
		want reason.Reason
	}{
		{"valid", func(*metadata.Delegation) {}, ""},
		{"threshold too low", func(d *metadata.Delegation) { d.Threshold = 1 }, reason.QuorumMalformed},
		{"threshold too high", func(d *metadata.Delegation) { d.Threshold = 3 }, reason.QuorumMalformed},
		{"threshold 0", func(d *metadata.Delegation) { d.Threshold = 0 }, reason.IntegerRange},
		{"no quorum", func(d *metadata.Delegation) { d.Quorum = nil }, reason.QuorumMissing},
		{"no quorum but one key", func(d *metadata.Delegation) { d.Quorum, d.Threshold, d.KeyIDs = nil, 1, d.KeyIDs[:1] }, ""},
		{"no quorum and threshold 2", func(d *metadata.Delegation) { d.Quorum, d.KeyIDs = nil, d.KeyIDs[:1] }, reason.QuorumMissing},
		{"a key without a person", func(d *metadata.Delegation) {
			d.Keys[outsider.ID] = outsider.Public
			d.KeyIDs = append(d.KeyIDs, outsider.ID)
		}, reason.QuorumMalformed},
		{"a person without a key", func(d *metadata.Delegation) { d.KeyIDs = d.KeyIDs[1:] }, reason.QuorumMalformed},
		{"a person with another key", func(d *metadata.Delegation) { d.Quorum.People[0].KeyID = outsider.ID }, reason.QuorumMalformed},
		{"one key for two people", func(d *metadata.Delegation) { d.Quorum.People[1].KeyID = d.Quorum.People[0].KeyID }, reason.KeyTwice},
		{"a person twice", func(d *metadata.Delegation) { d.Quorum.People[1].ID = "rivera" }, reason.QuorumMalformed},
		{"a key id twice", func(d *metadata.Delegation) { d.KeyIDs[1] = d.KeyIDs[0] }, reason.KeyTwice},
		{"one raw key under two ids", func(d *metadata.Delegation) {
			double := *d.Keys[d.KeyIDs[0]]
			double.UnrecognizedFields = map[string]any{"x": "y"}
			id := idOf(t, &double)
			d.Keys[id] = &double
			d.KeyIDs[1], d.Quorum.People[1].KeyID = id, id
		}, reason.KeyTwice},
		{"a key under another id", func(d *metadata.Delegation) { d.Keys[d.KeyIDs[0]] = outsider.Public }, reason.KeyIDMismatch},
		{"a key that is missing", func(d *metadata.Delegation) { delete(d.Keys, d.KeyIDs[0]) }, reason.KeyMalformed},
		{"a class nobody requires", func(d *metadata.Delegation) { d.Quorum.People[1].Class = "regulatory" }, reason.QuorumMalformed},
		{"a class without people", func(d *metadata.Delegation) {
			d.Quorum.Require["regulatory"] = 1
			d.Threshold = 3
		}, reason.QuorumMalformed},
		{"a class with too few people", func(d *metadata.Delegation) {
			d.Quorum.Require["quality"] = 3
			d.Threshold = 4
		}, reason.QuorumMalformed},
		{"a class that is no id", func(d *metadata.Delegation) {
			d.Quorum.Require["Quality"] = 1
			d.Threshold = 3
			d.Quorum.People[3].Class = "Quality"
		}, reason.QuorumMalformed},
		{"a person that is no id", func(d *metadata.Delegation) { d.Quorum.People[0].ID = "Dr. Rivera" }, reason.QuorumMalformed},
		{"a meaning for no class", func(d *metadata.Delegation) { d.Quorum.Meaning["x"] = "y" }, reason.QuorumMalformed},
		{"nobody", func(d *metadata.Delegation) {
			d.Quorum = &metadata.Quorum{}
		}, reason.QuorumMalformed},
		{"65 keys", func(d *metadata.Delegation) { d.KeyIDs = make([]string, 65) }, reason.Limit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, _ := team(t)
			tt.edit(d)
			wantReason(t, d.Check(metadata.Profile), tt.want)
		})
	}
}

func TestDelegationVerify(t *testing.T) {
	canonical := []byte(`{"_type":"targets"}`)
	_, keys := team(t)
	keys["mallory"] = metadatatest.NewKey(t, "mallory", metadata.Image)
	sign := func(data []byte, people ...string) []metadata.Signature {
		var sigs []metadata.Signature
		for _, who := range people {
			sig, err := metadata.Sign(data, keys[who].Signer, keys[who].Public)
			if err != nil {
				t.Fatal(err)
			}
			sigs = append(sigs, sig)
		}
		return sigs
	}
	for _, tt := range []struct {
		name string
		sigs []metadata.Signature
		edit func(d *metadata.Delegation)
		want reason.Reason
	}{
		{"one of each class", sign(canonical, "rivera", "chen"), nil, ""},
		{"everybody", sign(canonical, "rivera", "meyer", "chen", "okafor"), nil, ""},
		{"nobody", nil, nil, reason.Threshold},
		{"one", sign(canonical, "rivera"), nil, reason.Threshold},
		{"two of one class", sign(canonical, "chen", "okafor"), nil, reason.QuorumNotMet},
		{"one twice", sign(canonical, "rivera", "rivera"), nil, reason.Threshold},
		{"an outsider", sign(canonical, "rivera", "mallory"), nil, reason.Threshold},
		{"an outsider beside a quorum", sign(canonical, "rivera", "chen", "mallory"), nil, ""},
		{"over other bytes", sign([]byte(`{}`), "rivera", "chen"), nil, reason.Threshold},
		{"a bad signature before the good one", append(sign([]byte(`{}`), "rivera"), sign(canonical, "rivera", "chen")...), nil, ""},
		{"a signature under another's id", func() []metadata.Signature {
			sigs := sign(canonical, "chen", "okafor")
			sigs[0].KeyID = keys["rivera"].ID
			return sigs
		}(), nil, reason.Threshold},
		{"one raw key under two ids", sign(canonical, "rivera"), func(d *metadata.Delegation) {
			double := *keys["rivera"].Public
			double.UnrecognizedFields = map[string]any{"x": "y"}
			id := idOf(t, &double)
			d.Keys[id] = &double
			d.KeyIDs[2], d.Quorum.People[2].KeyID = id, id
		}, reason.Threshold},
		{"a key under another id", sign(canonical, "rivera", "chen"), func(d *metadata.Delegation) {
			d.Keys[keys["chen"].ID] = keys["okafor"].Public
		}, reason.Threshold},
		{"threshold 0", nil, func(d *metadata.Delegation) { d.Threshold, d.Quorum = 0, nil }, reason.Threshold},
		{"no keys", sign(canonical, "rivera", "chen"), func(d *metadata.Delegation) { d.KeyIDs = nil }, reason.Threshold},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, _ := team(t)
			if tt.edit != nil {
				tt.edit(d)
			}
			err := d.Verify(canonical, tt.sigs)
			wantReason(t, err, tt.want)
			if got := d.Tally(canonical, tt.sigs).Complete; got != (err == nil) {
				t.Errorf("Tally.Complete is %v, Verify says %v", got, err)
			}
		})
	}
}

func TestTally(t *testing.T) {
	d, keys := team(t)
	canonical := []byte(`{"_type":"targets"}`)
	sig, err := metadata.Sign(canonical, keys["okafor"].Signer, keys["okafor"].Public)
	if err != nil {
		t.Fatal(err)
	}
	tally := d.Tally(canonical, []metadata.Signature{sig})
	show := func(people []metadata.Person) (ids []string) {
		for _, p := range people {
			ids = append(ids, p.ID)
		}
		return ids
	}
	var got []string
	for _, c := range tally.Classes {
		got = append(got, fmt.Sprintf("%s %d signed %v can %v %q", c.Class, c.Need, show(c.Signed), show(c.Can), c.Meaning))
	}
	want := []string{`engineering 1 signed [] can [meyer rivera] ""`, `quality 1 signed [okafor] can [chen] "approved"`}
	if !slices.Equal(got, want) || tally.Complete || !slices.Equal(tally.Valid, []string{keys["okafor"].ID}) {
		t.Errorf("got %q %+v\nwant %q", got, tally, want)
	}
	if p, ok := d.PersonOf(keys["chen"].ID); !ok || p.ID != "chen" {
		t.Errorf("PersonOf: %+v, %v", p, ok)
	}
	if _, ok := d.PersonOf("x"); ok {
		t.Error("PersonOf finds a person for no key")
	}
}

func TestTallyOfOnlineRole(t *testing.T) {
	k := metadatatest.NewKey(t, "online", metadata.Image)
	d := &metadata.Delegation{Role: "timestamp", Keys: map[string]*metadata.Key{k.ID: k.Public}, KeyIDs: []string{k.ID}, Threshold: 1}
	canonical := []byte(`{"_type":"timestamp"}`)
	if tally := d.Tally(canonical, nil); tally.Complete || len(tally.Classes) != 1 || len(tally.Classes[0].Can) != 1 {
		t.Errorf("got %+v", tally)
	}
	sig, err := metadata.Sign(canonical, k.Signer, k.Public)
	if err != nil {
		t.Fatal(err)
	}
	if tally := d.Tally(canonical, []metadata.Signature{sig}); !tally.Complete || len(tally.Classes[0].Signed) != 1 {
		t.Errorf("got %+v", tally)
	}
}
