package metadata_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"pgregory.net/rapid"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

func TestCheckID(t *testing.T) {
	for _, id := range []string{"a", "0", "gw-100", "a--b", strings.Repeat("a", 63), "root-1", "targets2"} {
		if err := metadata.CheckID("product", id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"", "-", "-a", "a-", "A", "a.b", "a_b", "a/b", "a b", "é", "a\x00", strings.Repeat("a", 64), "root", "targets", "snapshot", "timestamp"} {
		wantReason(t, metadata.CheckID("product", id), reason.Malformed)
	}
	wantText(t, metadata.CheckID("person", "A"), `person id "A"`)
}

func TestCheckVersionAndFile(t *testing.T) {
	for _, s := range []string{"1", "2.4.1", "2.4.1-rc.1+build_7", "A", strings.Repeat("v", 128)} {
		if metadata.CheckVersion(s) != nil || metadata.CheckFile(s) != nil {
			t.Errorf("%q is refused", s)
		}
	}
	for _, s := range []string{"", ".", "..", ".a", "-a", "_a", "+a", "a/b", "a b", "a%2f", "é", "a\n", strings.Repeat("v", 129)} {
		wantReason(t, metadata.CheckVersion(s), reason.Malformed)
		wantReason(t, metadata.CheckFile(s), reason.Malformed)
	}
}

func TestParseTargetPath(t *testing.T) {
	p, err := metadata.ParseTargetPath("gw-100/2.4.1/gw.img")
	if err != nil || p != (metadata.TargetPath{Product: "gw-100", Version: "2.4.1", File: "gw.img"}) || p.String() != "gw-100/2.4.1/gw.img" {
		t.Errorf("got %+v, %v", p, err)
	}
	for _, path := range []string{"", "a", "a/b", "a/b/c/d", "/a/b/c", "a//c", "a/b/", "../b/c", "a/../c", "a/b/..", "A/b/c", "a/b/c%2fd", `a\b\c`, "root/1/x"} {
		_, err := metadata.ParseTargetPath(path)
		wantReason(t, err, reason.Malformed)
	}
}

func TestSplitRole(t *testing.T) {
	for _, tt := range []struct {
		role, product string
		kind          metadata.RoleKind
	}{
		{"root", "", metadata.RoleTop},
		{"timestamp", "", metadata.RoleTop},
		{"snapshot", "", metadata.RoleTop},
		{"targets", "", metadata.RoleTop},
		{"gw-100", "gw-100", metadata.RoleProduct},
		{metadata.StopRole("gw-100"), "gw-100", metadata.RoleStop},
		{metadata.BinPrefix("gw-100") + "-f", "gw-100", metadata.RoleBin},
		{"gw-100.bin-3ff", "gw-100", metadata.RoleBin},
	} {
		product, kind, err := metadata.SplitRole(tt.role)
		if err != nil || product != tt.product || kind != tt.kind {
			t.Errorf("%q: got %q, %v, %v", tt.role, product, kind, err)
		}
	}
	for _, role := range []string{"", ".", "gw-100.", "gw-100.stop.stop", "gw-100.halt", "gw-100.bin", "gw-100.bin-", "gw-100.bin-F", "gw-100.bin-12345", "root.stop", "../x", "gw 100"} {
		_, _, err := metadata.SplitRole(role)
		wantReason(t, err, reason.Malformed)
	}
}

// Our bins are those of TAP 15 as go-tuf finds them.
func TestBinsEqualGoTUF(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &tuf.SuccinctRoles{BitLength: rapid.IntRange(1, 16).Draw(t, "bits"), NamePrefix: "gw-100.bin"}
		path := rapid.String().Draw(t, "path")
		want := s.GetRolesForTarget(path)[0].Name
		if got := metadata.BinOf(s, path); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		if !metadata.IsBin(s, want) {
			t.Fatalf("%q is no bin", want)
		}
	})
	s := &tuf.SuccinctRoles{BitLength: 5, NamePrefix: "gw-100.bin"}
	if got := metadata.Bins(s); !slices.Equal(got, s.GetRoles()) {
		t.Errorf("got %q", got)
	}
	for _, role := range []string{"gw-100.bin-20", "gw-100.bin-1", "gw-100.bin-001", "gw-100.bin-0A", "gw-100.bin-+1", "gw-100.bin", "x-01"} {
		if metadata.IsBin(s, role) {
			t.Errorf("%q is a bin", role)
		}
	}
	wide := &tuf.SuccinctRoles{BitLength: 32, NamePrefix: "p"}
	if got := metadata.BinOf(wide, ""); got != "p-e3b0c442" || !metadata.IsBin(wide, got) {
		t.Errorf("32 bits: got %q", got)
	}
}

func TestScope(t *testing.T) {
	if got := metadata.Scope("acme", metadata.Director, "gw-0001/targets"); got != "acme/director/gw-0001/targets" {
		t.Errorf("got %q", got)
	}
	for _, tt := range []struct {
		name  string
		scope any
		want  reason.Reason
	}{
		{"right", "acme/image/gw-100", ""},
		{"missing", nil, reason.ScopeMissing},
		{"empty", "", reason.ScopeMissing},
		{"no string", 7.0, reason.ScopeMissing},
		{"another deployment", "other/image/gw-100", reason.ScopeMismatch},
		{"another repository", "acme/director/gw-100", reason.ScopeMismatch},
		{"another role", "acme/image/gw-1000", reason.ScopeMismatch},
		{"longer", "acme/image/gw-100/", reason.ScopeMismatch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			members := map[string]any{}
			if tt.scope != nil {
				members[metadata.ScopeField] = tt.scope
			}
			wantReason(t, metadata.CheckScope(members, "acme", metadata.Image, "gw-100"), tt.want)
		})
	}
	deployment, r, role, ok := metadata.ScopeOf(map[string]any{metadata.ScopeField: "acme/director/gw-0001/targets"})
	if fmt.Sprint(deployment, r, role, ok) != fmt.Sprint("acme", metadata.Director, "gw-0001/targets", true) {
		t.Errorf("got %q %q %q %v", deployment, r, role, ok)
	}
	for _, s := range []any{nil, "", "acme", "acme/image", "acme/image/", "acme/other/root", "A/image/root"} {
		if _, _, _, ok := metadata.ScopeOf(map[string]any{metadata.ScopeField: s}); ok {
			t.Errorf("ScopeOf takes %v", s)
		}
	}
}
