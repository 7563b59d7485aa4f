package outsider_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/cmd/countersign/internal/outsider"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

var notFound = trust.ErrNotFound

// From a root that is trusted to who signed: the same from each form of a repository.
func TestVerify(t *testing.T) {
	d := acme(t)
	files := filesOf(t, d)
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			where, o := make(t, files)
			r, err := ask(t, d, where, o, asked{})
			if err != nil || r.Err() != nil {
				t.Fatalf("%v, %v", err, r.Err())
			}
			if r.Deployment != "acme" || r.Subject != "gw-100/2.4.1" || r.Root.Version != 1 || r.Root.SHA256 != digestOf(t, d.Root(metadata.Image, 1), metadata.Root) {
				t.Errorf("report of %+v", r)
			}
			want := outsider.Target{
				Path: image, Counter: 17, Component: "main", Installer: "slot", Hardware: []string{"gw-100-c", "gw-100-d"}, Class: r.Targets[0].Class,
				Length: int64(len(firmware)), SHA256: r.Targets[0].SHA256, Role: "gw-100",
				Bytes: &outsider.Bytes{Length: int64(len(firmware)), SHA256: r.Targets[0].SHA256, Same: true},
			}
			if got, want := toJSON(t, r.Targets), toJSON(t, []outsider.Target{want}); got != want {
				t.Errorf("targets %s, want %s", got, want)
			}
			var roles []string
			for _, role := range r.Roles {
				roles = append(roles, fmt.Sprintf("%s %d", role.Role, role.Version))
				if role.Expired || len(role.SHA256) != 64 || !role.Expires.After(d.Now) {
					t.Errorf("%+v", role)
				}
			}
			if want := []string{"root 1", "root 2", fmt.Sprintf("targets %d", versionOf(d, "targets")), fmt.Sprintf("gw-100 %d", versionOf(d, "gw-100")), fmt.Sprintf("gw-100.stop %d", versionOf(d, "gw-100.stop"))}; !slices.Equal(roles, want) {
				t.Errorf("roles %q, want %q", roles, want)
			}
			root := signers(r.Roles[0])
			if want := []string{"chen holder approved -", "okafor holder approved -", "rivera holder approved -"}; !slices.Equal(root, want) {
				t.Errorf("root 1 by %q", root)
			}
			product := signers(r.Roles[3])
			if want := []string{`rivera engineering authored record 8812`, `chen quality approved record 8812`, `okafor quality approved -`}; !slices.Equal(product, want) {
				t.Errorf("gw-100 by %q, want %q", product, want)
			}
			if a := r.Roles[3].Signers[0].Approval; a.Event != event || !a.At.Equal(d.Now) {
				t.Errorf("approval %+v", a)
			}
			if len(r.Online) != 2 || r.Online[0].Role != "snapshot" || r.Online[1].Role != "timestamp" || r.Online[1].Version != versionOf(d, "timestamp") {
				t.Errorf("online roles %+v", r.Online)
			}
		})
	}
}

func signers(r outsider.Role) []string {
	var all []string
	for _, s := range r.Signers {
		said := "-"
		if s.Approval != nil {
			said = s.Approval.Reason
		}
		all = append(all, strings.Join([]string{s.Person, s.Class, s.Meaning, said}, " "))
	}
	return all
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// No file is asked for that is not needed.
func TestVerifyAsksForLittle(t *testing.T) {
	d := acme(t)
	m := &inMemory{files: filesOf(t, d)}
	if _, err := verify(d, m, asked{root: d.Root(metadata.Image, 2), artifact: write(t, "gw.img", []byte(firmware))}); err != nil {
		t.Fatal(err)
	}
	for _, name := range m.opens {
		if strings.Contains(name, "pump-9") || strings.HasPrefix(name, "targets/") || strings.HasPrefix(name, "1.") || strings.Contains(name, "director") {
			t.Errorf("asked for %s", name)
		}
	}
}

// A release in bins is found whole, with each bin on the way.
func TestVerifyBins(t *testing.T) {
	d := acme(t)
	where, o := kinds["bundle"](t, filesOf(t, d))
	r, err := ask(t, d, where, o, asked{what: outsider.Release{Product: "pump-9", Version: "1.0.0"}})
	if err != nil || r.Err() != nil || len(r.Targets) != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, target := range r.Targets {
		if !slices.ContainsFunc(r.Roles, func(role outsider.Role) bool { return role.Role == target.Role && len(role.Signers) == 3 }) {
			t.Errorf("%s: its role %s is not told", target.Path, target.Role)
		}
	}
	one, err := ask(t, d, where, o, asked{what: outsider.Release{Product: "pump-9", Version: "1.0.0", File: "b.img"}})
	if err != nil || one.Err() != nil || len(one.Targets) != 1 || one.Targets[0].Path != "pump-9/1.0.0/b.img" {
		t.Fatalf("%+v, %v", one, err)
	}
}

// Whoever holds root 1 still reaches a root that other people hold, and each step says who took it.
func TestVerifyThroughRotations(t *testing.T) {
	d := acme(t)
	d.Hold(metadata.Image, 2, "okafor", "silva", "dumont")
	d.Hold(metadata.Image, 3, "silva", "dumont", "abe", "lund")
	files := d.Files()
	a := approve(t, d, "silva", "holder", "approved", metadata.Root)
	files[approvals(d, metadata.Root)] = line(t, a, "silva")
	where, o := kinds["directory"](t, files)
	r, err := ask(t, d, where, o, asked{})
	if err != nil || r.Err() != nil {
		t.Fatalf("%v, %v", err, r)
	}
	last := r.Roles[3]
	if last.Role != metadata.Root || last.Version != 4 {
		t.Fatalf("roles %+v", r.Roles)
	}
	if got, want := signers(last), []string{"abe holder approved -", "dumont holder approved -", "lund holder approved -", "okafor holder approved -", "silva holder approved record 8812"}; !slices.Equal(got, want) {
		t.Errorf("root 4 by %q, want %q", got, want)
	}
	// From the newest root on, nothing before it is asked for. abe may have had another key before it: of
	// their words with that nothing can be told, and nothing is said.
	files[approvals(d, metadata.Root)] = append(line(t, a, "silva"), line(t, approve(t, d, "abe", "holder", "approved", metadata.Root), "abe-before")...)
	where, o = kinds["directory"](t, files)
	if _, err := ask(t, d, where, o, asked{}); !reason.Is(err, reason.SignatureBad) {
		t.Errorf("words of abe under another key: %v", err)
	}
	r, err = ask(t, d, where, o, asked{root: d.Root(metadata.Image, 4)})
	if err != nil || r.Err() != nil || r.Roles[0].Version != 4 || r.Roles[1].Role != metadata.Targets {
		t.Fatalf("%+v, %v", r, err)
	}
}

// A chain longer than what a client follows at once.
func TestVerifyManyRoots(t *testing.T) {
	d := metadatatest.New(t, metadatatest.Options{})
	d.AddProduct("gw-100", metadatatest.Product{})
	d.Release("gw-100", "2.4.1", 1, metadatatest.Target{Data: []byte(firmware)})
	for range 300 {
		d.RotateRoot(metadata.Image, nil)
	}
	r, err := verify(d, &inMemory{files: d.Files()}, asked{})
	if err != nil || r.Err() != nil || len(r.Roles) != 301+3 {
		t.Fatalf("%v", err)
	}
	for i := range 301 {
		if r.Roles[i].Role != metadata.Root || r.Roles[i].Version != int64(i+1) {
			t.Fatalf("role %d is %s %d", i, r.Roles[i].Role, r.Roles[i].Version)
		}
	}
}

// What is genuine and yet not to be used is reported whole, and refused.
func TestVerifyRefusesWhatItShows(t *testing.T) {
	old := outsider.Release{Product: "gw-100", Version: "2.4.0"}
	month := 31 * 24 * time.Hour
	year := 366 * 24 * time.Hour
	for _, tt := range []struct {
		name   string
		kinds  []string
		attack func(d *metadatatest.Deployment)
		edit   func(t *testing.T, d *metadatatest.Deployment, files map[string][]byte)
		ask    func(t *testing.T, d *metadatatest.Deployment) asked
		want   reason.Reason
	}{
		{name: "stopped release", ask: func(*testing.T, *metadatatest.Deployment) asked { return asked{what: old} }, want: reason.Stopped},
		{name: "stopped target", ask: func(*testing.T, *metadatatest.Deployment) asked {
			return asked{what: outsider.Release{Product: "gw-100", Version: "2.4.0", File: "gw.img"}}
		}, want: reason.Stopped},
		{name: "stopped and other bytes", ask: func(t *testing.T, _ *metadatatest.Deployment) asked {
			return asked{what: old, artifact: write(t, "gw.img", []byte("firmware 2.4.O"))}
		}, want: reason.ArtifactDiffers},
		{name: "one byte of the artifact", ask: func(t *testing.T, _ *metadatatest.Deployment) asked {
			return asked{artifact: write(t, "any.name", []byte("firmware 2.4.2"))}
		}, want: reason.ArtifactDiffers},
		{name: "artifact of another length", ask: func(t *testing.T, _ *metadatatest.Deployment) asked {
			return asked{artifact: write(t, "gw.img", []byte(firmware+"\n"))}
		}, want: reason.ArtifactDiffers},
		{name: "empty artifact", ask: func(t *testing.T, _ *metadatatest.Deployment) asked {
			return asked{artifact: write(t, "gw.img", nil)}
		}, want: reason.ArtifactDiffers},
		{name: "artifact of another release", ask: func(t *testing.T, _ *metadatatest.Deployment) asked {
			return asked{what: outsider.Release{Product: "pump-9", Version: "1.0.0"}, artifact: write(t, "gw.img", []byte(firmware))}
		}, want: reason.ArtifactDiffers},
		{name: "other bytes in the repository", edit: func(_ *testing.T, _ *metadatatest.Deployment, files map[string][]byte) {
			files[imagePath(image, []byte(firmware))] = []byte("firmware 2.4.2")
		}, want: reason.HashMismatch},
		{name: "more bytes in the repository", edit: func(_ *testing.T, _ *metadatatest.Deployment, files map[string][]byte) {
			files[imagePath(image, []byte(firmware))] = bytes.Repeat([]byte("x"), 1<<20)
		}, want: reason.LengthMismatch},
		{name: "fewer bytes in the repository", edit: func(_ *testing.T, _ *metadatatest.Deployment, files map[string][]byte) {
			files[imagePath(image, []byte(firmware))] = nil
		}, want: reason.LengthMismatch},
		{name: "all expired", ask: func(_ *testing.T, d *metadatatest.Deployment) asked { return asked{now: d.Now.Add(year)} }, want: reason.Expired},
		{name: "expired root", attack: func(d *metadatatest.Deployment) { d.Expire(metadata.Root, d.Now) }, want: reason.Expired},
		{name: "expired targets", attack: func(d *metadatatest.Deployment) { d.Expire(metadata.Targets, d.Now) }, want: reason.Expired},
		{name: "expired product", attack: func(d *metadatatest.Deployment) { d.Expire("gw-100", d.Now) }, want: reason.Expired},
		{name: "expired timestamp", kinds: []string{"url"}, ask: func(_ *testing.T, d *metadatatest.Deployment) asked {
			return asked{now: d.Now.Add(8 * 24 * time.Hour)}
		}, want: reason.Expired},
		{name: "expired snapshot", kinds: []string{"url"}, attack: func(d *metadatatest.Deployment) { d.Expire(metadata.Snapshot, d.Now) }, want: reason.Expired},
		{name: "expired timestamp of a copy", kinds: []string{"directory", "bundle"}, ask: func(_ *testing.T, d *metadatatest.Deployment) asked {
			return asked{now: d.Now.Add(month)}
		}},
		{name: "expired stop list", attack: func(d *metadatatest.Deployment) { d.Expire("gw-100.stop", d.Now) }},
		{name: "expired root before the newest", attack: func(d *metadatatest.Deployment) {
			d.RotateRoot(metadata.Image, func(s *metadata.RootRole) { s.Expires = d.Now })
			d.RotateRoot(metadata.Image, nil)
		}},
		{name: "no image in the repository", edit: func(_ *testing.T, _ *metadatatest.Deployment, files map[string][]byte) {
			delete(files, imagePath(image, []byte(firmware)))
		}},
		{name: "no approvals", edit: func(_ *testing.T, d *metadatatest.Deployment, files map[string][]byte) {
			delete(files, approvals(d, "gw-100"))
		}},
		{name: "empty approvals", edit: func(_ *testing.T, d *metadatatest.Deployment, files map[string][]byte) {
			files[approvals(d, "gw-100")] = nil
		}},
		{name: "the artifact", ask: func(t *testing.T, _ *metadatatest.Deployment) asked {
			return asked{artifact: write(t, "renamed", []byte(firmware))}
		}},
		{name: "an artifact among several", ask: func(t *testing.T, _ *metadatatest.Deployment) asked {
			return asked{what: outsider.Release{Product: "pump-9", Version: "1.0.0"}, artifact: write(t, "renamed", []byte("pump b"))}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := acme(t)
			if tt.attack != nil {
				tt.attack(d)
			}
			files := filesOf(t, d)
			if tt.edit != nil {
				tt.edit(t, d, files)
			}
			a := asked{}
			if tt.ask != nil {
				a = tt.ask(t, d)
			}
			if tt.kinds == nil {
				tt.kinds = slices.Sorted(maps.Keys(kinds))
			}
			for _, kind := range tt.kinds {
				where, o := kinds[kind](t, files)
				r, err := ask(t, d, where, o, a)
				if err != nil {
					t.Fatalf("%s: %v [%s]", kind, err, reason.Of(err))
				}
				if got := reason.Of(r.Err()); got != tt.want || r.Refused != tt.want {
					t.Errorf("%s: %v [%s], report says %q, want %q", kind, r.Err(), got, r.Refused, tt.want)
				}
				if len(r.Targets) == 0 || len(r.Roles) < 5 {
					t.Errorf("%s: not reported whole: %+v", kind, r)
				}
			}
		})
	}
}

// What nothing can be said of. Each attack changes one thing in a repository that is otherwise good.
func TestVerifyRefusals(t *testing.T) {
	newest := func(d *metadatatest.Deployment, role string) string {
		return fmt.Sprintf("%d.%s.json", versionOf(d, role), role)
	}
	without := func(role string) func(*testing.T, *metadatatest.Deployment, map[string][]byte) {
		return func(_ *testing.T, d *metadatatest.Deployment, files map[string][]byte) {
			delete(files, newest(d, role))
		}
	}
	for _, tt := range []struct {
		name   string
		attack func(d *metadatatest.Deployment)
		edit   func(t *testing.T, d *metadatatest.Deployment, files map[string][]byte)
		ask    func(t *testing.T, d *metadatatest.Deployment) asked
		want   reason.Reason
		online reason.Reason // at a URL, where it differs
	}{
		{name: "repository of another deployment", edit: func(t *testing.T, _ *metadatatest.Deployment, files map[string][]byte) {
			other := metadatatest.New(t, metadatatest.Options{Deployment: "umbrella", Holders: []string{"mallory", "eve", "trudy"}})
			other.RotateRoot(metadata.Image, nil)
			clear(files)
			maps.Copy(files, other.Files())
		}, want: reason.Threshold},
		{name: "another deployment of the same people", edit: func(t *testing.T, _ *metadatatest.Deployment, files map[string][]byte) {
			clear(files)
			maps.Copy(files, metadatatest.New(t, metadatatest.Options{Deployment: "umbrella"}).Files())
		}, want: reason.ScopeMismatch},
		{name: "root of another deployment", ask: func(t *testing.T, _ *metadatatest.Deployment) asked {
			return asked{root: metadatatest.New(t, metadatatest.Options{Deployment: "umbrella", Holders: []string{"mallory", "eve", "trudy"}}).Root(metadata.Image, 1)}
		}, want: reason.Threshold},
		{name: "director root", ask: func(_ *testing.T, d *metadatatest.Deployment) asked {
			return asked{root: d.Root(metadata.Director, 1)}
		}, want: reason.ScopeMismatch},
		{name: "a root that is none", ask: func(_ *testing.T, d *metadatatest.Deployment) asked {
			return asked{root: d.File(metadata.Image, metadata.Targets)}
		}, want: reason.Malformed},
		{name: "an empty root", ask: func(*testing.T, *metadatatest.Deployment) asked { return asked{root: []byte{}} }, want: reason.Malformed},
		{name: "a root with an edit", ask: func(_ *testing.T, d *metadatatest.Deployment) asked {
			return asked{root: bytes.Replace(d.Root(metadata.Image, 1), []byte(`"Dr. chen"`), []byte(`"Dr. Chen"`), 1)}
		}, want: reason.Threshold},
		{name: "next root by strangers", attack: func(d *metadatatest.Deployment) { d.SignedBy(metadata.Root, "mallory", "eve") }, want: reason.Threshold},
		{name: "timestamp of strangers", attack: func(d *metadatatest.Deployment) {
			d.Edit(metadata.Timestamp, nil)
			d.Corrupt("timestamp.json", func(b []byte) []byte { return bytes.Replace(b, []byte(`"version":`), []byte(`"version":9`), 1) })
		}, want: reason.Threshold},
		{name: "replaced product file", edit: func(_ *testing.T, d *metadatatest.Deployment, files map[string][]byte) {
			files[newest(d, "gw-100")] = bytes.Replace(files[newest(d, "gw-100")], []byte(`"counter":17`), []byte(`"counter":71`), 1)
		}, want: reason.HashMismatch},
		{name: "older product file", edit: func(_ *testing.T, d *metadatatest.Deployment, files map[string][]byte) {
			files[newest(d, "gw-100")] = files[fmt.Sprintf("%d.gw-100.json", versionOf(d, "gw-100")-1)]
		}, want: reason.LengthMismatch},
		{name: "product by one person", attack: func(d *metadatatest.Deployment) { d.SignedBy("gw-100", "rivera") }, want: reason.Threshold},
		{name: "product by two of one class", attack: func(d *metadatatest.Deployment) { d.SignedBy("gw-100", "chen", "okafor") }, want: reason.QuorumNotMet},
		{name: "product by the online key", attack: func(d *metadatatest.Deployment) { d.SignedBy("gw-100", "online") }, want: reason.Threshold},
		{name: "a product file too large", edit: func(_ *testing.T, d *metadatatest.Deployment, files map[string][]byte) {
			files[newest(d, "gw-100")] = bytes.Repeat([]byte(" "), 1<<20)
		}, want: reason.TooLarge},
		{name: "withdrawn release", attack: func(d *metadatatest.Deployment) { d.Withdraw("gw-100", image) }, want: reason.NotFound},
		{name: "no such release", ask: func(*testing.T, *metadatatest.Deployment) asked {
			return asked{what: outsider.Release{Product: "gw-100", Version: "9.9"}}
		}, want: reason.NotFound},
		{name: "no such product", ask: func(*testing.T, *metadatatest.Deployment) asked {
			return asked{what: outsider.Release{Product: "gw-200", Version: "2.4.1"}}
		}, want: reason.NotFound},
		{name: "no such file", ask: func(*testing.T, *metadatatest.Deployment) asked {
			return asked{what: outsider.Release{Product: "gw-100", Version: "2.4.1", File: "other.img"}}
		}, want: reason.NotFound},
		{name: "no timestamp", edit: func(_ *testing.T, _ *metadatatest.Deployment, files map[string][]byte) {
			delete(files, "timestamp.json")
		}, want: reason.NotFound, online: reason.Unreachable},
		{name: "no snapshot", edit: without(metadata.Snapshot), want: reason.NotFound, online: reason.Unreachable},
		{name: "no targets", edit: without(metadata.Targets), want: reason.NotFound, online: reason.Unreachable},
		{name: "no product", edit: without("gw-100"), want: reason.NotFound, online: reason.Unreachable},
		{name: "no stop list", edit: without("gw-100.stop"), want: reason.StopListMissing},
		{
			name: "nothing at all", edit: func(_ *testing.T, _ *metadatatest.Deployment, files map[string][]byte) { clear(files) },
			want: reason.NotFound, online: reason.Unreachable,
		},
		{name: "missing artifact", ask: func(t *testing.T, _ *metadatatest.Deployment) asked {
			return asked{artifact: filepath.Join(t.TempDir(), "gw.img")}
		}, want: reason.UsageError},
		{name: "a folder for artifact", ask: func(t *testing.T, _ *metadatatest.Deployment) asked { return asked{artifact: t.TempDir()} }, want: reason.UsageError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := acme(t)
			if tt.attack != nil {
				tt.attack(d)
			}
			files := filesOf(t, acme(t))
			maps.Copy(files, d.Files())
			if tt.edit != nil {
				tt.edit(t, d, files)
			}
			a := asked{}
			if tt.ask != nil {
				a = tt.ask(t, d)
			}
			for _, kind := range slices.Sorted(maps.Keys(kinds)) {
				where, o := kinds[kind](t, files)
				want := tt.want
				if kind == "url" && tt.online != "" {
					want = tt.online
				}
				r, err := ask(t, d, where, o, a)
				if got := reason.Of(err); got != want || r != nil {
					t.Errorf("%s: %+v, %v [%s], want %s", kind, r, err, got, want)
				}
			}
		})
	}
}
