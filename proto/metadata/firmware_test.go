package metadata_test

import (
	"crypto/sha256"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

const (
	firmwarePath = "gw-100/2.4.1/gw.img"
	someSHA256   = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	firmwareDoc  = `{"v":1,"product":"gw-100","version":"2.4.1","counter":17,"floor":12,"component":"main",` +
		`"hardware":["gw-100-c","gw-100-d"],"installer":"slot","installer_args":{"a":[1,null,{"b":true}]},` +
		`"requires":[{"product":"pump-9","min_counter":8}],` +
		`"conditions":{"battery_percent_min":40,"idle":true,"downtime_seconds":180},"spread_hours":72,` +
		`"class":"security","fixes":["CVE-2026-0001"],"evidence":{"sbom":{"path":"gw-100/2.4.1/gw.cdx.json","sha256":"` + someSHA256 + `","length":2}}}`
)

// target makes a target file of a custom.
func target(custom string) *metadata.TargetFile {
	sum := sha256.Sum256(nil)
	raw := json.RawMessage(custom)
	return &metadata.TargetFile{Length: 9412608, Hashes: tuf.Hashes{"sha256": sum[:]}, Custom: &raw}
}

func TestParseFirmware(t *testing.T) {
	got, err := metadata.ParseFirmware(firmwarePath, target(`{"countersign":`+firmwareDoc+`}`), true)
	if err != nil {
		t.Fatal(err)
	}
	want := &metadata.Firmware{
		V: 1, Product: "gw-100", Version: "2.4.1", Counter: 17, Floor: 12, Component: "main",
		Hardware: []string{"gw-100-c", "gw-100-d"}, Installer: "slot",
		InstallerArgs: map[string]any{"a": []any{int64(1), nil, map[string]any{"b": true}}},
		Requires:      []metadata.Requirement{{Product: "pump-9", MinCounter: 8}},
		Conditions:    &metadata.Conditions{BatteryPercentMin: 40, Idle: true, DowntimeSeconds: 180},
		SpreadHours:   72, Class: "security", Fixes: []string{"CVE-2026-0001"},
		Evidence: map[string]metadata.EvidenceRef{"sbom": {Path: "gw-100/2.4.1/gw.cdx.json", SHA256: someSHA256, Length: 2}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	custom, err := got.Custom()
	if err != nil {
		t.Fatal(err)
	}
	again, err := metadata.ParseFirmware(firmwarePath, target(string(*custom)), true)
	if err != nil || !again.Equal(want) || !reflect.DeepEqual(again, want) {
		t.Errorf("back: %+v, %v", again, err)
	}
	clone := got.Clone()
	clone.Hardware[0], clone.Conditions.Idle, clone.Counter = "x", false, 18
	if !got.Equal(want) || got.Equal(clone) {
		t.Error("Clone shares, or Equal does not look")
	}
}

func TestParseFirmwareRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, from, to string
		want           reason.Reason
		lenient        bool // a device takes it
	}{
		{"v 2", `"v":1`, `"v":2`, reason.Malformed, false},
		{"v 0", `"v":1`, `"v":0`, reason.IntegerRange, false},
		{"no v", `"v":1,`, ``, reason.Malformed, false},
		{"v as text", `"v":1`, `"v":"1"`, reason.Malformed, false},
		{"unknown member", `"v":1`, `"v":1,"new":1`, reason.UnknownMember, true},
		{"unknown condition", `"idle":true`, `"idle":true,"new":1`, reason.UnknownMember, true},
		{"unknown member of a requirement", `"min_counter":8`, `"min_counter":8,"new":1`, reason.UnknownMember, true},
		{"unknown member of evidence", `"length":2`, `"length":2,"new":1`, reason.UnknownMember, true},
		{"unknown class", `"class":"security"`, `"class":"cosmetic"`, reason.Malformed, true},
		{"another product", `"product":"gw-100"`, `"product":"gw-200"`, reason.ProductMismatch, false},
		{"another version", `"version":"2.4.1"`, `"version":"2.4.2"`, reason.ProductMismatch, false},
		{"version that is none", `"version":"2.4.1"`, `"version":"../1"`, reason.Malformed, false},
		{"counter 0", `"counter":17`, `"counter":0`, reason.IntegerRange, false},
		{"counter float", `"counter":17`, `"counter":17.0`, reason.NotInteger, false},
		{"counter null", `"counter":17`, `"counter":null`, reason.Null, false},
		{"counter twice", `"counter":17`, `"counter":17,"counter":18`, reason.DuplicateName, false},
		{"floor above counter", `"floor":12`, `"floor":18`, reason.Floor, false},
		{"floor equals counter", `"floor":12`, `"floor":17`, "", true},
		{"negative floor", `"floor":12`, `"floor":-1`, reason.IntegerRange, false},
		{"component that is no id", `"component":"main"`, `"component":"Main"`, reason.Malformed, false},
		{"no hardware", `["gw-100-c","gw-100-d"]`, `[]`, reason.Malformed, false},
		{"hardware twice", `["gw-100-c","gw-100-d"]`, `["gw-100-c","gw-100-c"]`, reason.Malformed, false},
		{"hardware that is no id", `["gw-100-c","gw-100-d"]`, `["*"]`, reason.Malformed, false},
		{"hardware as text", `["gw-100-c","gw-100-d"]`, `"gw-100-c"`, reason.Malformed, false},
		{"installer that is no id", `"installer":"slot"`, `"installer":"../slot"`, reason.Malformed, false},
		{"installer_args null", `{"a":[1,null,{"b":true}]}`, `null`, reason.Null, false},
		{"float in installer_args", `{"a":[1,null,{"b":true}]}`, `{"a":1.5}`, reason.NotInteger, false},
		{"no installer_args", `"installer_args":{"a":[1,null,{"b":true}]},`, ``, reason.Malformed, false},
		{"requires itself", `"product":"pump-9"`, `"product":"gw-100"`, reason.Requires, false},
		{"requires counter 0", `"min_counter":8`, `"min_counter":0`, reason.IntegerRange, false},
		{"requires twice", `[{"product":"pump-9","min_counter":8}]`, `[{"product":"pump-9","min_counter":8},{"product":"pump-9","min_counter":9}]`, reason.Malformed, false},
		{"requires null", `"requires":[{"product":"pump-9","min_counter":8}]`, `"requires":null`, reason.Null, false},
		{"battery 101", `"battery_percent_min":40`, `"battery_percent_min":101`, reason.IntegerRange, false},
		{"idle as a number", `"idle":true`, `"idle":1`, reason.Malformed, false},
		{"negative downtime", `"downtime_seconds":180`, `"downtime_seconds":-1`, reason.IntegerRange, false},
		{"negative spread", `"spread_hours":72`, `"spread_hours":-1`, reason.IntegerRange, false},
		{"spread of ten years", `"spread_hours":72`, `"spread_hours":87600`, reason.IntegerRange, false},
		{"no spread", `"spread_hours":72,`, ``, reason.Malformed, false},
		{"empty fix", `["CVE-2026-0001"]`, `[""]`, reason.Malformed, false},
		{"evidence of another product", `gw-100/2.4.1/gw.cdx.json`, `gw-200/2.4.1/gw.cdx.json`, reason.ProductMismatch, false},
		{"evidence elsewhere", `gw-100/2.4.1/gw.cdx.json`, `/etc/passwd`, reason.ProductMismatch, false},
		{"evidence without a hash", `"sha256":"` + someSHA256 + `"`, `"sha256":"00"`, reason.Malformed, false},
		{"evidence in upper case", `"sha256":"e3b0`, `"sha256":"E3B0`, reason.Malformed, false},
		{"evidence as a list", `"evidence":{"sbom"`, `"evidence":[],"x":{"sbom"`, reason.UnknownMember, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc := string(replace(t, []byte(firmwareDoc), tt.from, tt.to))
			entry := target(`{"countersign":` + doc + `}`)
			f, err := metadata.ParseFirmware(firmwarePath, entry, true)
			wantReason(t, err, tt.want)
			if (f == nil) != (tt.want != "") {
				t.Errorf("got %+v beside %v", f, err)
			}
			_, err = metadata.ParseFirmware(firmwarePath, entry, false)
			if (err == nil) != tt.lenient {
				t.Errorf("a device: %v", err)
			}
		})
	}
}

func TestParseFirmwareTarget(t *testing.T) {
	good := `{"countersign":` + firmwareDoc + `}`
	for _, tt := range []struct {
		name, path, custom string
		edit               func(*metadata.TargetFile)
		want               reason.Reason
	}{
		{"another path", "gw-100/2.4.1/other.img", good, nil, ""},
		{"a path that is none", "gw.img", good, nil, reason.Malformed},
		{"a path of another version", "gw-100/2.4.2/gw.img", good, nil, reason.ProductMismatch},
		{"no custom", firmwarePath, good, func(f *metadata.TargetFile) { f.Custom = nil }, reason.Malformed},
		{"custom with another member", firmwarePath, `{"countersign":` + firmwareDoc + `,"x":1}`, nil, reason.UnknownMember},
		{"custom without the document", firmwarePath, `{}`, nil, reason.Malformed},
		{"custom null", firmwarePath, `null`, nil, reason.Null},
		{"document null", firmwarePath, `{"countersign":null}`, nil, reason.Null},
		{"two hashes", firmwarePath, good, func(f *metadata.TargetFile) { f.Hashes["sha512"] = make([]byte, 64) }, reason.Profile},
		{"sha512 alone", firmwarePath, good, func(f *metadata.TargetFile) { f.Hashes = tuf.Hashes{"sha512": make([]byte, 64)} }, reason.Profile},
		{"a short hash", firmwarePath, good, func(f *metadata.TargetFile) { f.Hashes["sha256"] = make([]byte, 31) }, reason.Malformed},
		{"an empty image", firmwarePath, good, func(f *metadata.TargetFile) { f.Length = 0 }, reason.IntegerRange},
		{"16 GiB", firmwarePath, good, func(f *metadata.TargetFile) { f.Length = 16 << 30 }, ""},
		{"more than 16 GiB", firmwarePath, good, func(f *metadata.TargetFile) { f.Length = 16<<30 + 1 }, reason.IntegerRange},
	} {
		t.Run(tt.name, func(t *testing.T) {
			entry := target(tt.custom)
			if tt.edit != nil {
				tt.edit(entry)
			}
			_, err := metadata.ParseFirmware(tt.path, entry, false)
			wantReason(t, err, tt.want)
		})
	}
	_, err := metadata.ParseFirmware(firmwarePath, nil, false)
	wantReason(t, err, reason.Malformed)
}

// Image and director are compared over the whole object, unknown members included.
func TestCustomCanonical(t *testing.T) {
	a, err := metadata.CustomCanonical(target(`{"countersign":{"b":1,"a":{"y":2,"x":"é"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := metadata.CustomCanonical(target("{ \"countersign\" : {\"a\":{\"x\":\"\\u00e9\",\"y\":2},\n\"b\":1}}"))
	if err != nil || string(a) != string(b) {
		t.Errorf("got %s and %s, %v", a, b, err)
	}
	c, err := metadata.CustomCanonical(target(`{"countersign":{"b":1,"a":{"y":2,"x":"é"},"new":null}}`))
	if err != nil || string(a) == string(c) {
		t.Errorf("an unknown member is lost: %s, %v", c, err)
	}
	for custom, want := range map[string]reason.Reason{
		`{}`: reason.Malformed, `null`: reason.Null, `{"countersign":{},"x":1}`: reason.UnknownMember,
		`{"countersign":{"a":1.5}}`: reason.NotInteger, `{"countersign":{"a":1,"a":1}}`: reason.DuplicateName,
	} {
		_, err := metadata.CustomCanonical(target(custom))
		wantReason(t, err, want)
	}
	_, err = metadata.CustomCanonical(nil)
	wantReason(t, err, reason.Malformed)
}

func TestHigh(t *testing.T) {
	raw := anyOf(t, `{"counter":17,"floors":{"main":12,"radio":0}}`)
	h, err := metadata.ParseHigh(raw)
	if err != nil || h.Counter != 17 || !reflect.DeepEqual(h.Floors, map[string]int64{"main": 12, "radio": 0}) {
		t.Fatalf("got %+v, %v", h, err)
	}
	if !reflect.DeepEqual(h.Field(), raw) {
		t.Errorf("Field: got %v", h.Field())
	}
	for text, want := range map[string]reason.Reason{
		`null`: reason.Null, `{}`: reason.Malformed, `{"counter":1}`: reason.Malformed,
		`{"counter":-1,"floors":{}}`: reason.IntegerRange, `{"counter":1.5,"floors":{}}`: reason.Malformed,
		`{"counter":1,"floors":{"main":2}}`: reason.Floor, `{"counter":1,"floors":{"Main":1}}`: reason.Malformed,
		`{"counter":1,"floors":{"main":null}}`: reason.Null, `{"counter":1,"floors":[]}`: reason.Malformed,
		`{"counter":1,"floors":{},"x":1}`: reason.UnknownMember,
	} {
		_, err := metadata.ParseHigh(anyOf(t, text))
		wantReason(t, err, want)
	}
	for _, tt := range []struct {
		next string
		want reason.Reason
	}{
		{`{"counter":17,"floors":{"main":12,"radio":0}}`, ""},
		{`{"counter":18,"floors":{"main":13,"radio":1,"new":18}}`, ""},
		{`{"counter":16,"floors":{"main":12,"radio":0}}`, reason.CounterLow},
		{`{"counter":18,"floors":{"main":11,"radio":0}}`, reason.FloorFalls},
		{`{"counter":18,"floors":{"radio":0}}`, reason.FloorFalls},
	} {
		next, err := metadata.ParseHigh(anyOf(t, tt.next))
		if err != nil {
			t.Fatal(err)
		}
		wantReason(t, h.CheckRise(next), tt.want)
	}
}

func TestProductPolicyAndTLS(t *testing.T) {
	for text, want := range map[string]reason.Reason{
		`{"sbom":"required"}`: "", `{"sbom":"none"}`: "", `{"sbom":"maybe"}`: reason.Malformed, `{}`: reason.Malformed,
		`{"sbom":1}`: reason.Malformed, `{"sbom":"none","x":1}`: reason.UnknownMember, `null`: reason.Null,
	} {
		raw := anyOf(t, text)
		p, err := metadata.ParseProductPolicy(raw)
		wantReason(t, err, want)
		if want == "" && !reflect.DeepEqual(p.Field(), raw) {
			t.Errorf("Field: got %v", p.Field())
		}
	}
	for text, want := range map[string]reason.Reason{
		`["` + someSHA256 + `"]`: "", `[]`: reason.Malformed, `["00"]`: reason.Malformed, `[1]`: reason.Malformed,
		`["` + strings.ToUpper(someSHA256) + `"]`: reason.Malformed, `{}`: reason.Malformed, `null`: reason.Null,
		`[` + strings.Repeat(`"`+someSHA256+`",`, 16) + `"x"]`: reason.Limit,
	} {
		raw := anyOf(t, text)
		anchors, err := metadata.ParseTLS(raw)
		wantReason(t, err, want)
		if want == "" && !reflect.DeepEqual(metadata.TLSValue(anchors), raw) {
			t.Errorf("TLSValue: got %v", metadata.TLSValue(anchors))
		}
	}
}

func TestStops(t *testing.T) {
	entry := `{"path":"gw-100/2.4.1/gw.img","counter":17,"sha256":"` + someSHA256 + `","at":"2026-11-25T12:00:00Z","reason":"battery\ndrains"}`
	raw := anyOf(t, `[`+entry+`]`)
	stops, err := metadata.ParseStops(raw)
	want := []metadata.StopEntry{{Path: firmwarePath, Counter: 17, SHA256: someSHA256, At: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), Reason: "battery\ndrains"}}
	if err != nil || !reflect.DeepEqual(stops, want) {
		t.Fatalf("got %+v, %v", stops, err)
	}
	if !reflect.DeepEqual(metadata.StopsField(stops), raw) {
		t.Errorf("StopsField: got %v", metadata.StopsField(stops))
	}
	for _, tt := range []struct {
		name, from, to string
		want           reason.Reason
	}{
		{"path that is none", `gw-100/2.4.1/gw.img`, `gw.img`, reason.Malformed},
		{"counter 0", `"counter":17`, `"counter":0`, reason.IntegerRange},
		{"counter text", `"counter":17`, `"counter":"17"`, reason.Malformed},
		{"hash", someSHA256, `00`, reason.Malformed},
		{"time with a fraction", `12:00:00Z`, `12:00:00.5Z`, reason.NotCanonical},
		{"time with an offset", `12:00:00Z`, `12:00:00+01:00`, reason.NotCanonical},
		{"no time", `2026-11-25T12:00:00Z`, `today`, reason.Malformed},
		{"no reason", `"battery\ndrains"`, `""`, reason.Malformed},
		{"unknown member", `"counter":17`, `"counter":17,"x":1`, reason.UnknownMember},
		{"missing member", `"counter":17,`, ``, reason.Malformed},
		{"twice", `[{`, `[` + entry + `,{`, reason.Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := metadata.ParseStops(anyOf(t, string(replace(t, []byte(`[`+entry+`]`), tt.from, tt.to))))
			wantReason(t, err, tt.want)
		})
	}
	_, err = metadata.ParseStops(nil)
	wantReason(t, err, reason.Null)
	_, err = metadata.ParseStops(make([]any, metadata.MaxStops+1))
	wantReason(t, err, reason.Limit)
}
