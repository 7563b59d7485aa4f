package metadata_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// odd are values that stand, one after the other, in every place of a file.
var odd = []any{nil, []any{}, map[string]any{}, "", "x", 0, -1, int64(1 << 53), true, []any{nil}, map[string]any{"x": nil}}

// everywhere calls fn with value as it is when one place in it holds an odd value: instead of what is
// there, or as one more member or element.
func everywhere(value any, fn func()) {
	switch v := value.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		for _, name := range names {
			was := v[name]
			for _, v[name] = range odd {
				fn()
			}
			v[name] = was
			everywhere(was, fn)
		}
		for _, v["x-new"] = range odd {
			fn()
		}
		delete(v, "x-new")
	case []any:
		for i, was := range v {
			for _, v[i] = range odd {
				fn()
			}
			v[i] = was
			everywhere(was, fn)
		}
	}
}

// Whatever Parse takes, no rule panics on it: rules run on files that nobody has verified yet.
func TestNoRulePanicsOnWhatParseTakes(t *testing.T) {
	d := deployment(t)
	taken := 0
	for _, role := range []string{"root", "targets", "gw-100", "gw-100.stop", "pump-9", "snapshot", "timestamp"} {
		var file map[string]any
		if err := json.Unmarshal(d.File(metadata.Image, role), &file); err != nil {
			t.Fatal(err)
		}
		everywhere(file, func() {
			data, err := json.Marshal(file)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if p := recover(); p != nil {
					t.Fatalf("%s: panic: %v\n%s", role, p, data)
				}
			}()
			for _, m := range []metadata.Mode{metadata.Profile, metadata.Plain} {
				if allRules(data, role, m) {
					taken++
				}
			}
		})
	}
	if taken < 1000 {
		t.Errorf("only %d files were parsed", taken)
	}
}

// allRules runs everything that takes a parsed file, and reports whether the file could be parsed.
func allRules(data []byte, role string, m metadata.Mode) bool {
	var err error
	switch role {
	case metadata.Root:
		var f *metadata.File[metadata.RootRole]
		if f, err = metadata.ParseRoot(data, m); err == nil {
			_ = fmt.Sprint(metadata.CheckMembers(f), metadata.CheckRoot(f, "acme", metadata.Image), metadata.CheckRoot(f, "acme", metadata.Director),
				metadata.CheckRootPair(f, f), metadata.CheckRootStep(f, f), metadata.OnlineKeysChanged(f, f), metadata.CheckKeys(f, f, nil), metadata.CheckNoExampleKeys(f))
		}
	case metadata.Snapshot:
		var f *metadata.File[metadata.SnapshotRole]
		if f, err = metadata.ParseSnapshot(data, m); err == nil {
			_ = fmt.Sprint(metadata.CheckMembers(f), metadata.CheckSnapshot(f, "acme", metadata.Image))
		}
	case metadata.Timestamp:
		var f *metadata.File[metadata.TimestampRole]
		if f, err = metadata.ParseTimestamp(data, m); err == nil {
			_ = fmt.Sprint(metadata.CheckMembers(f), metadata.CheckTimestamp(f, "acme", metadata.Image))
		}
	default:
		var f *metadata.File[metadata.TargetsRole]
		if f, err = metadata.ParseTargets(data, m); err == nil {
			targetsRules(f)
		}
	}
	return err == nil
}

func targetsRules(f *metadata.File[metadata.TargetsRole]) {
	_ = fmt.Sprint(metadata.CheckMembers(f), metadata.CheckTopTargets(f, "acme"), metadata.CheckStop(f, "acme", "gw-100"), metadata.CheckNoExampleKeys(f),
		metadata.CheckProduct(f, "acme", "gw-100", nil), metadata.CheckProduct(f, "acme", "pump-9", nil))
	if ds := f.Signed.Delegations; ds != nil && ds.SuccinctRoles != nil {
		_ = metadata.CheckBin(f, "acme", "pump-9.bin-0", ds.SuccinctRoles)
	}
	for path, target := range f.Signed.Targets {
		_, err := metadata.ParseFirmware(path, target, true)
		_, errCustom := metadata.CustomCanonical(target)
		_ = fmt.Sprint(err, errCustom)
	}
}
