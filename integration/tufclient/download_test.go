package main

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/agent/trust/tuftest"
)

func TestDownload(t *testing.T) {
	g := newRig(t, func(r *tuftest.Repo) {
		r.AddTarget("targets", "path/to/a/file.txt", []byte("content"))
		r.AddTarget("targets", "other", []byte("other"))
		r.Publish("targets", "snapshot", "timestamp")
	})
	g.refresh(0)
	g.downloaded()
	g.repo.Requests()

	g.download(0, "path/to/a/file.txt", "other")
	sum := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	g.asked("metadata/2.root.json", "metadata/timestamp.json",
		"targets/path/to/a/"+sum("content")+".file.txt", "targets/"+sum("other")+".other")
	g.downloaded("content", "other")

	// What is there is not fetched again.
	g.download(0, "other")
	g.asked("metadata/2.root.json", "metadata/timestamp.json")

	// A changed target takes the place of the old one.
	g.repo.AddTarget("targets", "other", []byte("changed"))
	g.repo.Publish("targets", "snapshot", "timestamp")
	g.download(0, "other")
	g.downloaded("content", "changed")
}

func TestDownloadStopsAtTheFirstFailure(t *testing.T) {
	g := newRig(t, func(r *tuftest.Repo) {
		r.AddTarget("targets", "good", []byte("good"))
		r.Publish("targets", "snapshot", "timestamp")
	})
	g.download(1, "missing", "good")
	g.downloaded()
	g.trusts("root=1", "snapshot=2", "targets=2", "timestamp=2")
	g.asked("metadata/2.root.json", "metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.targets.json")
}

func TestSubstitutedTargets(t *testing.T) {
	for name, evil := range map[string][]byte{
		"other bytes": []byte("CONTENT"), "longer": []byte("content and more"), "shorter": []byte("con"), "empty": {}, "missing": nil,
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, func(r *tuftest.Repo) {
				r.AddTarget("targets", "file", []byte("content"))
				r.Publish("targets", "snapshot", "timestamp")
				r.Serve("file", evil)
			})
			g.download(1, "file")
			g.downloaded()
		})
	}
}

// graph is delegations, and the order in which a search for a missing target visits roles.
type graph struct {
	name  string
	edges []edge
	want  []string
}

type edge struct {
	from, to    string
	terminating bool
	paths       string // "*" if empty
}

func TestGraphTraversal(t *testing.T) {
	for _, tt := range []graph{
		{"one", []edge{{"targets", "A", false, ""}}, []string{"A"}},
		{"two", []edge{{"targets", "A", false, ""}, {"targets", "B", false, ""}}, []string{"A", "B"}},
		{"two levels", []edge{{"targets", "A", false, ""}, {"targets", "B", false, ""}, {"B", "C", false, ""}}, []string{"A", "B", "C"}},
		{"depth first", []edge{{"targets", "A", false, ""}, {"targets", "B", false, ""}, {"A", "C", false, ""}, {"A", "D", false, ""}}, []string{"A", "C", "D", "B"}},
		{"three levels", []edge{{"targets", "A", false, ""}, {"targets", "B", false, ""}, {"A", "C", false, ""}, {"C", "D", false, ""}}, []string{"A", "C", "D", "B"}},
		{"terminating", []edge{{"targets", "A", false, ""}, {"targets", "B", false, ""}, {"A", "C", true, ""}, {"A", "D", false, ""}}, []string{"A", "C"}},
		{"terminating with descendants", []edge{{"targets", "A", false, ""}, {"targets", "B", false, ""}, {"A", "C", true, ""}, {"C", "D", false, ""}}, []string{"A", "C", "D"}},
		{"paths that do not match", []edge{{"targets", "A", false, "*.py"}, {"targets", "B", false, ""}, {"A", "C", false, ""}}, []string{"B"}},
		{"paths below", []edge{{"targets", "A", false, ""}, {"targets", "B", false, ""}, {"A", "C", false, "*.py"}, {"C", "D", false, ""}}, []string{"A", "B"}},
		{"cycle", []edge{{"targets", "A", false, ""}, {"targets", "B", false, ""}, {"B", "C", false, ""}, {"C", "D", false, ""}, {"D", "B", false, ""}}, []string{"A", "B", "C", "D"}},
		{"two to a third", []edge{{"targets", "A", false, ""}, {"targets", "B", false, ""}, {"B", "C", false, ""}, {"A", "C", false, ""}}, []string{"A", "C", "B"}},
		{"two to a third, other paths", []edge{{"targets", "A", false, ""}, {"targets", "B", false, ""}, {"B", "C", false, ""}, {"A", "C", false, "*.py"}}, []string{"A", "B", "C"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t, func(r *tuftest.Repo) { delegate(r, tt.edges) })
			g.download(1, "missingpath")
			want := []string{"metadata/2.root.json", "metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.targets.json"}
			trusted := []string{"root=1", "snapshot=2", "targets=2", "timestamp=2"}
			for _, role := range tt.want {
				want = append(want, "metadata/1."+role+".json")
				trusted = append(trusted, role+"=1")
			}
			g.asked(want...)
			g.trusts(trusted...)
			// All of them are stored now.
			g.download(1, "missingpath")
			g.asked(want[:2]...)
		})
	}
}

// delegate makes a graph of roles and publishes it.
func delegate(r *tuftest.Repo, edges []edge) {
	var roles []string
	for _, e := range edges {
		paths := e.paths
		if paths == "" {
			paths = "*"
		}
		if r.Roles[e.to] == nil {
			roles = append(roles, e.to)
		}
		r.Delegate(e.from, tuf.DelegatedRole{Name: e.to, Terminating: e.terminating, Paths: []string{paths}})
	}
	r.Publish(append(roles, "targets", "snapshot", "timestamp")...)
}

func TestTargetsInDelegatedRoles(t *testing.T) {
	for _, tt := range []struct {
		path  string
		found bool
		roles []string
	}{
		{"targetfile", true, nil},
		{"README.md", true, []string{"A"}},
		{"releases/x/x_v1", true, []string{"B", "C"}},
		{"releases/y/y_v1.zip", true, []string{"B", "D"}},
		{"releases/z/z_v1.zip", false, []string{"B"}},
	} {
		t.Run(tt.path, func(t *testing.T) {
			g := newRig(t, func(r *tuftest.Repo) {
				r.Delegate("targets", tuf.DelegatedRole{Name: "A", Paths: []string{"*.doc", "*.md"}})
				r.Delegate("targets", tuf.DelegatedRole{Name: "B", Paths: []string{"releases/*/*"}})
				r.Delegate("B", tuf.DelegatedRole{Name: "C", Paths: []string{"releases/x/*"}})
				r.Delegate("B", tuf.DelegatedRole{Name: "D", Paths: []string{"releases/y/*.zip"}})
				for path, role := range map[string]string{
					"targetfile": "targets", "README.md": "A", "releases/x/x_v1": "C",
					"releases/y/y_v1.zip": "D", "releases/z/z_v1.zip": "D",
				} {
					r.AddTarget(role, path, []byte("content of "+path))
				}
				r.Publish("A", "B", "C", "D", "targets", "snapshot", "timestamp")
			})
			if tt.found {
				g.download(0, tt.path)
				g.downloaded("content of " + tt.path)
			} else {
				g.download(1, tt.path)
				g.downloaded()
			}
			trusted := []string{"root=1", "snapshot=2", "targets=2", "timestamp=2"}
			for _, role := range tt.roles {
				trusted = append(trusted, role+"=1")
			}
			g.trusts(trusted...)
		})
	}
}

func TestHashBins(t *testing.T) {
	digits := fmt.Sprintf("%x", sha256.Sum256([]byte("a/file")))
	t.Run("path_hash_prefixes", func(t *testing.T) {
		g := newRig(t, func(r *tuftest.Repo) {
			for i := range 16 {
				r.Delegate("targets", tuf.DelegatedRole{Name: fmt.Sprintf("bin-%x", i), PathHashPrefixes: []string{fmt.Sprintf("%x", i)}})
			}
			r.AddTarget("bin-"+digits[:1], "a/file", []byte("content"))
			r.Publish("bin-"+digits[:1], "targets", "snapshot", "timestamp")
		})
		g.download(0, "a/file")
		g.downloaded("content")
	})
	t.Run("succinct_roles", func(t *testing.T) {
		g := newRig(t, func(r *tuftest.Repo) {
			r.Bins("targets", 8, "bin")
			r.AddTarget("bin-"+digits[:2], "a/file", []byte("content"))
			r.Publish("bin-"+digits[:2], "targets", "snapshot", "timestamp")
		})
		g.download(0, "a/file")
		g.downloaded("content")
		g.asked("metadata/2.root.json", "metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.targets.json",
			"metadata/1.bin-"+digits[:2]+".json", fmt.Sprintf("targets/a/%x.file", sha256.Sum256([]byte("content"))))
	})
}

// Names of roles are data: they must not reach another file or path.
func TestUnusualRoleNames(t *testing.T) {
	for role, escaped := range map[string]string{
		"?": "%3F", "#": "%23", "/delegatedrole": "%2Fdelegatedrole", "../delegatedrole": "..%2Fdelegatedrole",
		".": ".", "..": "..", "ü x": "%C3%BC%20x",
	} {
		t.Run(role, func(t *testing.T) {
			g := newRig(t, func(r *tuftest.Repo) { delegate(r, []edge{{"targets", role, false, ""}}) })
			g.download(1, "nonexistent")
			g.asked("metadata/2.root.json", "metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.targets.json", "metadata/1."+escaped+".json")
			read(t, g.md+"/"+escaped+".json")
		})
	}
}

func TestExpiredDelegatedRole(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	week := now.Add(7 * 24 * time.Hour)
	g := newRig(t, func(r *tuftest.Repo) {
		r.Delegate("targets", tuf.DelegatedRole{Name: "delegated", Paths: []string{"d/*"}})
		r.Roles["delegated"].Signed.Expires = week
		r.AddTarget("delegated", "d/first", []byte("first"))
		r.AddTarget("delegated", "d/second", []byte("second"))
		r.Publish("delegated", "targets", "snapshot", "timestamp")
	})
	g.download(0, "d/first")
	g.at(week.Add(24 * time.Hour))
	g.download(1, "d/second")
	g.downloaded("first")
	g.repo.Roles["delegated"].Signed.Expires = week.Add(14 * 24 * time.Hour)
	g.repo.Publish("delegated", "snapshot", "timestamp")
	g.download(0, "d/second")
	g.downloaded("first", "second")
}
