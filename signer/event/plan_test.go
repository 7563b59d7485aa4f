package event_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// Each fault in a plan is named with its line.
func TestPlanErrors(t *testing.T) {
	replace := func(old, new string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, new, 1) }
	}
	for _, c := range []struct {
		name  string
		fault func(string) string
		want  string // "" is no error
	}{
		{"none", func(s string) string { return s }, ""},
		{"empty", func(string) string { return "" }, "plan.yaml:1: the file is empty"},
		{"not YAML", func(string) string { return "a: [" }, "plan.yaml: line 1"},
		{"a list", func(string) string { return "- a" }, "plan.yaml:1: wanted a mapping, found a list"},
		{"two documents", func(s string) string { return s + "---\na: b\n" }, "a second document follows"},
		{"unknown member", replace("online:", "onlyne:"), `plan.yaml:2: "onlyne" is not known here`},
		{"member twice", func(s string) string { return s + "deployment: acme\n" }, `plan.yaml:9: "deployment" stands here and in line 1`},
		{"missing member", replace("deployment: acme\n", ""), `"deployment" is missing`},
		{"bad id", replace("acme", "Acme"), "plan.yaml:1: deployment id \"Acme\""},
		{"number for an id", replace("acme", "17"), `plan.yaml:1: wanted a text, found the number "17"`},
		{"alias", replace("people: {rivera: rivera.pub", "people: {rivera: &a rivera.pub, x: *a"), "found an alias"},
		{"unknown key file", replace("chen.pub", "nobody.pub"), `plan.yaml:3: the keys are of "nobody", not of "chen"`},
		{"class without meaning", replace("engineering: authored, ", ""), `plan.yaml:7: class "engineering" has no meaning`},
		{"stop without meaning", replace(", stop: stopped", ""), `class "stop" has no meaning`},
		{"empty meaning", replace("authored", `""`), `plan.yaml:4: class "engineering" has an empty meaning`},
		{"stranger in a product", replace("[chen, okafor]}}\n  pump", "[chen, mallory]}}\n  pump"), `plan.yaml:7: "mallory" is not among the plan's people`},
		{"person twice", replace("[chen, okafor]}}\n  pump", "[chen, chen]}}\n  pump"), `plan.yaml:7: "chen" stands twice`},
		{"a person in two classes", replace("[chen, okafor]}}\n  pump", "[rivera, chen]}}\n  pump"), `plan.yaml:7: "rivera" is of class "engineering" and "quality"`},
		{"class that is not required", replace("{engineering: [rivera], quality", "{inspection: [rivera], quality"), `plan.yaml:7: class "inspection" is not required`},
		{"nobody required", replace("{holder: 2}", "{}"), "plan.yaml:5: nobody is required to sign"},
		{"threshold 0", replace("{holder: 2}", "{holder: 0}"), "plan.yaml:5: 0: wanted a whole number from 1 to 64"},
		{"threshold in words", replace("{holder: 2}", "{holder: two}"), `plan.yaml:5: wanted a whole number, found "two"`},
		{"fraction", replace("{holder: 2}", "{holder: 2.0}"), `found the fraction "2.0"`},
		{"bins no power of two", replace("bins: 16", "bins: 17"), "plan.yaml:8: 17 bins: wanted 0, or a power of two from 16 to 1024"},
		{"bins too few", replace("bins: 16", "bins: 8"), "8 bins"},
		{"sbom optional", replace("sbom: none", "sbom: maybe"), `plan.yaml:8: sbom is "maybe", wanted required or none`},
		{"nobody may stop", replace("sbom: none", "stop: []"), "plan.yaml:8: nobody may stop the product"},
		{"norway", replace("sbom: none", "sbom: yes"), `plan.yaml:8: sbom is "yes"`},
		{"huge", func(s string) string { return s + strings.Repeat("#", 1<<20) }, "more than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			_, err := event.ParsePlan("plan.yaml", []byte(c.fault(twoProducts)), w.read)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantReason(t, err, reason.Plan)
			if err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want %q", err, c.want)
			}
		})
	}
}

// A plan that reads well may still break the rules of quorums; that is found when it is opened.
func TestPlansThatCannotBeOpened(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		want           reason.Reason
	}{
		{"no spare holder", "{holder: 2}", "{holder: 3}", reason.QuorumMalformed},
		{"too few of a class", "gw-100: {require: {engineering: 1", "gw-100: {require: {engineering: 2", reason.QuorumMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			_, err := event.NewInit(w.plan(strings.Replace(twoProducts, c.old, c.new, 1)), w.opening())
			wantReason(t, err, c.want)
		})
	}
}

func TestLoadPlan(t *testing.T) {
	w := newWorld(t)
	path := w.write("plans/plan.yaml", basicPlan)
	if _, err := event.LoadPlan(path); !reason.Is(err, reason.Plan) {
		t.Errorf("without key files: %v", err)
	}
	for _, name := range []string{"online.pub", "rivera.pub", "chen.pub", "okafor.pub"} {
		data, err := w.read(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(w.dir, "plans", name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := event.LoadPlan(path); err != nil {
		t.Error(err)
	}
	if _, err := event.LoadPlan(filepath.Join(w.dir, "none.yaml")); !reason.Is(err, reason.Plan) {
		t.Errorf("no file: %v", err)
	}
}

func TestSpecErrors(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(basicSpec, old, new, 1) }
	for _, c := range []struct{ name, spec, want string }{
		{"none", basicSpec, ""},
		{"defaults for two targets", basicSpec + "- {file: build/other.img, component: radio, hardware: [r], installer: file}\n", ""},
		{"unknown member", replace("class:", "klass:"), `release.yaml:2: "klass" is not known here`},
		{"no class", replace("class: security\n", ""), `release.yaml:6: "class" is missing`},
		{"wrong class", replace("class: security", "class: urgent"), "release.yaml:7: target"},
		{"no file", replace("file: build/gw.img, ", ""), `release.yaml:7: "file" is missing`},
		{"file that is not there", replace("gw.img", "absent.img"), "release.yaml:7: no file"},
		{"file name with a blank", replace("build/gw.img", `"build/g w.img"`), `release.yaml:7: file "g w.img"`},
		{"no targets", "class: security\n", `release.yaml:1: "targets" is missing`},
		{"empty targets", "class: security\ntargets: []\n", "release.yaml:2: there is no target"},
		{"fraction in installer_args", replace("installer_args: {}", "installer_args: {x: 1.5}"), `release.yaml:7: wanted a text, a whole number, true, false, a list or a mapping, found the fraction "1.5"`},
		{"installer_args is a list", replace("installer_args: {}", "installer_args: []"), "release.yaml:7: wanted a mapping, found a list"},
		{"unknown evidence", replace("{sbom: gw.cdx.json}", "{poem: gw.cdx.json}"), `release.yaml:5: "poem" is not known here`},
		{"two files of one name", replace("{sbom: gw.cdx.json}", "{sbom: gw.cdx.json, notes: build/gw.cdx.json}"), `two files are called "gw.cdx.json"`},
		{"battery above 100", replace("battery_percent_min: 40", "battery_percent_min: 140"), "release.yaml:4: 140: wanted a whole number from 0 to 100"},
		{"spread below 0", replace("spread_hours: 24", "spread_hours: -1"), "release.yaml:1: -1: wanted a whole number"},
		{"requires without counter", "requires: [{product: pump-9}]\n" + basicSpec, "release.yaml:1: wanted product and min_counter"},
		{"floor above counter", "floor: 9\n" + basicSpec, "floor 9 is above counter 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.found(twoProducts)
			w.write("build/gw.img", "firmware")
			w.write("build/other.img", "firmware 2")
			w.write("build/gw.cdx.json", "{ }")
			w.write("gw.cdx.json", "{}")
			spec, err := event.ParseSpec(filepath.Join(w.dir, "release.yaml"), []byte(c.spec))
			if err == nil {
				_, err = event.NewRelease("gw-100", "2.4.1", spec, w.state(), w.opening())
			}
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantReason(t, err, reason.Spec)
			if err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want %q", err, c.want)
			}
		})
	}
	t.Run("unknown product", func(t *testing.T) {
		w := newWorld(t)
		w.found(basicPlan)
		_, err := event.NewRelease("gw-100", "2.4.1", w.spec(basicSpec), w.state(), w.opening())
		wantReason(t, err, reason.NotFound)
	})
	t.Run("same version again", func(t *testing.T) {
		w := newWorld(t)
		w.found(twoProducts)
		w.released("2.4.1")
		_, err := event.NewRelease("gw-100", "2.4.1", w.spec(basicSpec), w.state(), w.opening())
		wantReason(t, err, reason.Spec)
	})
}
