package strict_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/strict"
)

type inner struct {
	Name string `json:"name"`
}

type thing struct {
	ID    string            `json:"id"`
	Count int64             `json:"count"`
	Inner inner             `json:"inner"`
	List  []inner           `json:"list"`
	Bytes []byte            `json:"bytes"`
	Map   map[string]string `json:"map"`
	Maybe *inner            `json:"maybe,omitempty"`
	Raw   json.RawMessage   `json:"raw"`
}

const good = `{"id":"a","count":3,"inner":{"name":"x"},"list":[{"name":"y"}],"bytes":"AQI=","map":{"k":"v"},"raw":{"free":[1,null]}}`

func TestUnmarshal(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for _, c := range []struct {
		name, data string
		want       reason.Reason
	}{
		{"none", good, ""},
		{"white space", strings.ReplaceAll(good, ",", " ,\n\t"), ""},
		{"another order", `{"raw":{"free":[1,null]},"map":{"k":"v"},"bytes":"AQI=","list":[{"name":"y"}],"inner":{"name":"x"},"count":3,"id":"a"}`, ""},
		{"optional member", replace(`"id"`, `"maybe":{"name":"z"},"id"`), ""},
		{"escapes", replace(`"id":"a"`, `"id":"\u0061\n\"\\"`), ""},
		{"empty", "", reason.Malformed},
		{"cut off", good[:len(good)-1], reason.Malformed},
		{"something follows", good + "{}", reason.Malformed},
		{"a list", "[" + good + "]", reason.Malformed},
		{"unknown member", replace(`"id"`, `"age":1,"id"`), reason.UnknownMember},
		{"unknown member inside", replace(`{"name":"y"}`, `{"name":"y","age":1}`), reason.UnknownMember},
		{"missing member", replace(`"count":3,`, ""), reason.NotCanonical},
		{"name twice", replace(`"id":"a"`, `"id":"a","id":"a"`), reason.DuplicateName},
		{"name twice in what is kept raw", replace(`{"free":[1,null]}`, `{"free":1,"free":2}`), reason.DuplicateName},
		{"folded name", replace(`"count"`, `"Count"`), reason.FoldedName},
		{"long s for s", replace(`"list"`, `"liſt"`), reason.FoldedName},
		{"null for a text", replace(`"id":"a"`, `"id":null`), reason.Null},
		{"null for a list", replace(`[{"name":"y"}]`, `null`), reason.Null},
		{"null for a map", replace(`{"k":"v"}`, `null`), reason.Null},
		{"null for an object", replace(`{"name":"x"}`, `null`), reason.Null},
		{"null for an optional member", replace(`"id"`, `"maybe":null,"id"`), reason.Null},
		{"text for a number", replace(`3`, `"3"`), reason.Malformed},
		{"fraction", replace(`3`, `3.0`), reason.NotInteger},
		{"beyond 2^53", replace(`3`, `9007199254740993`), reason.IntegerRange},
		{"base64 with a line break", replace(`AQI=`, `AQ\nI=`), reason.NotCanonical},
		{"base64 with stray bits", replace(`AQI=`, `AQJ=`), reason.NotCanonical},
		{"too deep", replace(`[1,null]`, strings.Repeat("[", 40)+strings.Repeat("]", 40)), reason.TooDeep},
		{"too large", good + strings.Repeat(" ", 1000), reason.TooLarge},
		{"lone surrogate", replace(`"a"`, `"\ud800"`), reason.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v thing
			err := strict.Unmarshal([]byte(c.data), &v, 800, "thing")
			if got := reason.Of(err); got != c.want {
				t.Errorf("reason %q, want %q: %v", got, c.want, err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "thing") {
				t.Errorf("error %q does not name the thing", err)
			}
		})
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(strings.ToUpper(good)))
	f.Add([]byte(`{"id":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v thing
		if err := strict.Unmarshal(data, &v, 1<<16, "thing"); err != nil {
			if !reason.Of(err).Known() {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		first, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var again thing
		if err := strict.Unmarshal(first, &again, 1<<20, "thing"); err != nil {
			t.Fatalf("written, but cannot be read: %v", err)
		}
		if second, err := json.Marshal(again); err != nil || !bytes.Equal(first, second) {
			t.Errorf("written twice it differs: %v", err)
		}
	})
}
