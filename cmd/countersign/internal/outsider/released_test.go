package outsider_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/outsider"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
)

// longLived is gw-100 in which 2.4.1 appears in version at, and which has many more versions.
func longLived(t testing.TB, at, versions int64) *metadatatest.Deployment {
	t.Helper()
	d := metadatatest.New(t, metadatatest.Options{})
	d.AddProduct("gw-100", metadatatest.Product{})
	for versionOf(d, "gw-100") < at-1 {
		d.Change("gw-100", func(*metadata.TargetsRole) {})
	}
	d.Release("gw-100", "2.4.1", 17, metadatatest.Target{Data: []byte(firmware)})
	for versionOf(d, "gw-100") < versions {
		d.Change("gw-100", func(*metadata.TargetsRole) {})
	}
	return d
}

func released(t testing.TB, d *metadatatest.Deployment, m *inMemory, a asked) outsider.Released {
	t.Helper()
	r, err := verify(d, m, a)
	if err != nil || r.Err() != nil || len(r.Released) != 1 {
		t.Fatalf("%v, %+v", err, r)
	}
	for _, p := range r.Released[0].People {
		if p.Proven != r.Released[0].Proven {
			t.Errorf("%+v of %+v", p, r.Released[0])
		}
	}
	return r.Released[0]
}

func file(role string, version int64) string { return fmt.Sprintf("%d.%s.json", version, role) }

// Wherever it was listed first, it is found with few files.
func TestReleasedIsFound(t *testing.T) {
	for _, at := range []int64{2, 3, 20, 39, 40} {
		d := longLived(t, at, 40)
		m := &inMemory{files: d.Files()}
		r := released(t, d, m, asked{})
		if r.Version != at || !r.Proven || r.Why != "" || r.Uncounted != 0 || len(r.People) != 3 || r.ByTargets != versionOf(d, metadata.Targets) {
			t.Errorf("first in %d: %+v", at, r)
		}
		if len(m.opens) > 40 {
			t.Errorf("first in %d: %d files were opened", at, len(m.opens))
		}
	}
}

// Numbers that were skipped, and files that are kept back, look alike: the answer says what is not there.
func TestReleasedWithGaps(t *testing.T) {
	for _, tt := range []struct {
		name  string
		gone  [][2]int64 // from, to
		first int64
		why   string // empty: proven
	}{
		{"far before", [][2]int64{{1, 18}}, 20, ""},
		{"far behind", [][2]int64{{22, 39}}, 20, ""},
		{"around it", [][2]int64{{1, 18}, {21, 39}}, 20, ""},
		{"just before", [][2]int64{{5, 19}}, 20, "of gw-100 nothing between versions 4 and 20 was found here"},
		{"itself", [][2]int64{{20, 20}}, 21, "of gw-100 nothing between versions 19 and 21 was found here"},
		{"itself and what follows", [][2]int64{{20, 37}}, 38, "of gw-100 nothing between versions 19 and 38 was found here"},
		{"all that is old", [][2]int64{{1, 39}}, 40, "no version of gw-100 before 40 was found here"},
		{"all before", [][2]int64{{1, 25}}, 26, "no version of gw-100 before 26 was found here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := longLived(t, 20, 40)
			m := &inMemory{files: d.Files()}
			for _, gone := range tt.gone {
				for v := gone[0]; v <= gone[1]; v++ {
					delete(m.files, file("gw-100", v))
				}
			}
			r := released(t, d, m, asked{})
			if r.Version != tt.first || r.Proven != (tt.why == "") || !strings.HasPrefix(r.Why, tt.why) || len(r.People) != 3 {
				t.Errorf("%+v, want version %d, why %q", r, tt.first, tt.why)
			}
			text := outsiderText(t, d, m)
			if r.Proven != strings.Contains(text, "\nreleased in gw-100 20 ") || r.Proven == strings.Contains(text, "\nreleased NOT PROVEN ") || r.Proven != strings.Contains(text, "\nby ") {
				t.Errorf("shown as\n%s", text)
			}
		})
	}
}

func outsiderText(t testing.TB, d *metadatatest.Deployment, m *inMemory) string {
	t.Helper()
	r, err := verify(d, m, asked{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Text("root.json", "copy")
}

// leave gives gw-100 to other people, signs it anew by them, and goes on.
func leave(d *metadatatest.Deployment, quality ...string) {
	engineer, keys := d.Key("rivera", metadata.Image), map[string]*metadata.Key{}
	q := &metadata.Quorum{Require: map[string]int{"engineering": 1, "quality": 1}, Meaning: map[string]string{"engineering": "authored", "quality": "approved"}}
	q.People = append(q.People, metadata.Person{ID: "rivera", Class: "engineering", KeyID: engineer.ID, Name: "Dr. rivera"})
	for _, who := range quality {
		k := d.Key(who, metadata.Image)
		keys[k.ID] = k.Public
		q.People = append(q.People, metadata.Person{ID: who, Class: "quality", KeyID: k.ID, Name: "Dr. " + who})
	}
	d.Freeze()
	d.Change(metadata.Targets, func(s *metadata.TargetsRole) {
		s.Delegations.Keys = maps.Clone(s.Delegations.Keys)
		maps.Copy(s.Delegations.Keys, keys)
		s.Delegations.Roles = slices.Clone(s.Delegations.Roles)
		role := &s.Delegations.Roles[slices.IndexFunc(s.Delegations.Roles, func(r tuf.DelegatedRole) bool { return r.Name == "gw-100" })]
		role.KeyIDs = nil
		for _, p := range q.People {
			role.KeyIDs = append(role.KeyIDs, p.KeyID)
		}
		role.UnrecognizedFields = maps.Clone(role.UnrecognizedFields)
		role.UnrecognizedFields[metadata.QuorumField] = q.Field()
	})
	d.Change("gw-100", func(*metadata.TargetsRole) {})
	d.Thaw()
}

func names(r outsider.Released) string {
	var all []string
	for _, p := range r.People {
		all = append(all, p.ID)
	}
	return strings.Join(all, " ")
}

// A file that would do under today's delegation was signed under that of then: who has left since counts,
// and where the delegation of then is not at hand, what is left over is told.
func TestReleasedByWhoHasLeft(t *testing.T) {
	d := longLived(t, 2, 2)
	then := d.Files()
	then[approvals(d, "gw-100")] = line(t, approve(t, d, "chen", "quality", "approved", "gw-100"), "chen")
	leave(d, "okafor", "dumont")
	leave(d, "dumont", "silva")
	m := &inMemory{files: d.Files()}
	maps.Copy(m.files, map[string][]byte{"approvals/2.gw-100.jsonl": then["approvals/2.gw-100.jsonl"]})
	r := released(t, d, m, asked{})
	if r.Version != 2 || names(r) != "rivera chen okafor" || !r.Proven || r.ByTargets != 2 || r.Uncounted != 0 || !r.At.Equal(d.Now) {
		t.Errorf("%+v", r)
	}
	if r.People[1].Reason != "record 8812" || !r.People[2].At.IsZero() {
		t.Errorf("%+v", r.People)
	}
	// Targets 3 named rivera and okafor, who signed it: enough for then, and chen's is left over.
	delete(m.files, file(metadata.Targets, 2))
	r = released(t, d, m, asked{})
	if r.Version != 2 || names(r) != "rivera okafor" || r.ByTargets != 3 || r.Uncounted != 1 {
		t.Errorf("%+v", r)
	}
	if text := outsiderText(t, d, m); !strings.Contains(text, "\n         uncounted signatures of it: 1, by nobody whom image targets 3 name\n") {
		t.Errorf("not shown:\n%s", text)
	}
	// Without those nothing is proven.
	delete(m.files, file(metadata.Targets, 3))
	r = released(t, d, m, asked{})
	if r.Version != 2 || r.Proven || r.ByTargets != 0 || names(r) != "chen" || !strings.Contains(r.Why, "no image targets from 4 to 1 that is proven here gives gw-100 to its signers; image targets 3 is missing here") {
		t.Errorf("%+v", r)
	}
}

// Old files by people who could not: each is shown for what it is, and what is in force stays genuine.
func TestReleasedForged(t *testing.T) {
	sign := func(d *metadatatest.Deployment, people ...string) func(t *testing.T, m *inMemory) {
		return func(t *testing.T, m *inMemory) {
			forger := longLived(t, 2, 2)
			forger.SignedBy("gw-100", people...)
			m.files[file("gw-100", 2)] = forger.File(metadata.Image, "gw-100")
		}
	}
	d := longLived(t, 4, 6)
	leave(d, "dumont", "silva")
	for _, tt := range []struct {
		name    string
		forge   func(t *testing.T, m *inMemory)
		version int64
		why     string
	}{
		{"by strangers", sign(d, "mallory", "eve"), 2, "that is proven here gives gw-100 to its signers"},
		{"by the online key", sign(d, "online"), 2, "that is proven here gives gw-100 to its signers"},
		{"by one of two", sign(d, "rivera"), 2, "that is proven here gives gw-100 to its signers"},
		{"by people of other times", sign(d, "rivera", "lund"), 2, "that is proven here gives gw-100 to its signers"},
		{"targets by strangers", func(t *testing.T, m *inMemory) {
			forger := metadatatest.New(t, metadatatest.Options{Holders: []string{"mallory", "eve", "trudy"}})
			forger.AddProduct("gw-100", metadatatest.Product{})
			m.files[file(metadata.Targets, 2)] = forger.File(metadata.Image, metadata.Targets)
		}, 4, `image targets 2: by image root 1 and those that follow it: role "targets": 0 valid signatures`},
		{"of another deployment", func(t *testing.T, m *inMemory) {
			other := metadatatest.New(t, metadatatest.Options{Deployment: "umbrella"})
			other.AddProduct("gw-100", metadatatest.Product{})
			other.Release("gw-100", "2.4.1", 17, metadatatest.Target{Data: []byte(firmware)})
			m.files[file("gw-100", 2)] = other.File(metadata.Image, "gw-100")
		}, 2, "that is proven here gives gw-100 to its signers"},
		{"a newer one under an older name", func(_ *testing.T, m *inMemory) {
			m.files[file("gw-100", 3)] = m.files[file("gw-100", 4)]
		}, 4, "3.gw-100.json: it is version 4"},
		{"an endless one", func(_ *testing.T, m *inMemory) {
			m.files[file("gw-100", 4)] = bytes.Repeat([]byte(" "), metadata.MaxTargets+1)
		}, 5, "4.gw-100.json has more than 262144 bytes"},
		{"the target with other bytes", func(t *testing.T, m *inMemory) {
			m.files[file("gw-100", 4)] = bytes.Replace(m.files[file("gw-100", 4)], []byte(`"floor":0`), []byte(`"floor":1`), 1)
		}, 5, "gw-100 4, the version before, is not proven"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &inMemory{files: d.Files()}
			tt.forge(t, m)
			r := released(t, d, m, asked{})
			if r.Version != tt.version || r.Proven || !strings.Contains(r.Why, tt.why) {
				t.Errorf("%+v, want version %d, why %q", r, tt.version, tt.why)
			}
		})
	}
	if r := released(t, d, &inMemory{files: d.Files()}, asked{}); !r.Proven || r.Version != 4 {
		t.Errorf("without a forgery %+v", r)
	}
}

// Approvals that nobody can judge are said to be just that, and bad ones are none.
func TestReleasedClaims(t *testing.T) {
	d := longLived(t, 2, 2)
	words := approve(t, d, "chen", "quality", "approved", "gw-100")
	words.Name = "C.\x1b[2J"
	good := line(t, words, "mallory")
	words.Files[0].Version++
	other := line(t, words, "mallory")
	path := approvals(d, "gw-100")
	leave(d, "dumont", "silva")
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{{"of it", good, "chen"}, {"of another version", other, ""}, {"none", []byte("<html>\n"), ""}, {"twice", append(good, good...), ""}} {
		m := &inMemory{files: d.Files()}
		m.files[path] = tt.data
		delete(m.files, file(metadata.Targets, 2))
		if r := released(t, d, m, asked{}); r.Proven || names(r) != tt.want {
			t.Errorf("%s: %+v", tt.name, r)
		}
		text := outsiderText(t, d, m)
		if strings.Contains(text, "\nby ") || strings.Contains(text, "\x1b") || (tt.want != "") != strings.Contains(text, "\nunproven chen (\"C.\\u{1b}[2J\")   quality \"approved\"   ") {
			t.Errorf("%s: shown as\n%s", tt.name, text)
		}
	}
}

// Each target of a release in bins has the history of its bin.
func TestReleasedInBins(t *testing.T) {
	d := acme(t)
	d.Release("pump-9", "1.1.0", 2, metadatatest.Target{Data: []byte("pump a 2"), File: "a.img", Component: "a"})
	r, err := verify(d, &inMemory{files: d.Files()}, asked{what: outsider.Release{Product: "pump-9", Version: "1.0.0"}})
	if err != nil || len(r.Targets) != 3 {
		t.Fatalf("%v, %+v", err, r)
	}
	var paths []string
	for _, in := range r.Released {
		if !in.Proven || in.Version != 1 || !strings.HasPrefix(in.Role, "pump-9.bin-") || names(in) != "rivera chen okafor" {
			t.Errorf("%+v", in)
		}
		paths = append(paths, in.Targets...)
	}
	slices.Sort(paths)
	if want := []string{"pump-9/1.0.0/a.img", "pump-9/1.0.0/b.img", "pump-9/1.0.0/c.img"}; !slices.Equal(paths, want) {
		t.Errorf("%q", paths)
	}
	if text := r.Text("", ""); len(r.Released) > 1 && !strings.Contains(text, "\n         lists pump-9/1.0.0/a.img\n") {
		t.Errorf("shown as\n%s", text)
	}
}

// endless is a repository that has, of a product with a huge version, only each 250th file: made up when it
// is asked for.
type endless struct {
	*inMemory
	file string
}

func (e *endless) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if number, ok := strings.CutSuffix(name, ".gw-100.json"); ok && e.files[name] == nil {
		if v, err := strconv.ParseInt(number, 10, 64); err == nil && v%250 == 0 {
			e.opens = append(e.opens, name)
			return io.NopCloser(strings.NewReader(strings.Replace(e.file, fmt.Sprintf(`"version":%d,`, huge), fmt.Sprintf(`"version":%d,`, v), 1))), nil
		}
	}
	return e.inMemory.Open(ctx, name)
}

const huge = int64(1) << 50

// What is asked for is bounded, however long a repository makes the way.
func TestReleasedIsBounded(t *testing.T) {
	d := longLived(t, 2, 3)
	d.Edit("gw-100", func(s map[string]any) { s["version"] = huge })
	d.Edit(metadata.Targets, func(s map[string]any) { s["version"] = huge })
	m := &inMemory{files: d.Files()}
	if r := released(t, d, m, asked{}); r.Proven || r.Version != huge || len(m.opens) > 2*256+20 {
		t.Errorf("after %d files %+v", len(m.opens), r)
	}
	e := &endless{&inMemory{files: d.Files()}, string(d.File(metadata.Image, "gw-100"))}
	r, err := verify(d, e, asked{})
	if err != nil || r.Err() != nil || len(e.opens) > 4096+20 {
		t.Fatalf("after %d files %+v, %v", len(e.opens), r, err)
	}
	if in := r.Released[0]; in.Proven || in.Version >= huge || !strings.Contains(in.Why, "more than 4096 old files would have to be read") {
		t.Errorf("%+v", in)
	}
}
