package install

import (
	"bytes"
	"testing"
)

func FuzzParseRecord(f *testing.F) {
	good, err := formatRecord(slotRecord{Version: 1, Slots: map[string]*entry{"a": {SHA256: digest{1}, Length: 5, Counter: 2, Path: "p/1/f"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append(bytes.Clone(good), 'x'))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r slotRecord
		if parseRecord(data, &r) != nil {
			return
		}
		again, err := formatRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		var r2 slotRecord
		if err := parseRecord(again, &r2); err != nil {
			t.Fatalf("%q is written as %q, which cannot be read: %v", data, again, err)
		}
	})
}
