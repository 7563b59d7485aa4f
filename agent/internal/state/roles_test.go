package state

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRoles(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir).Roles("image")
	if data, err := r.Load("gw-100.stop"); data != nil || err != nil {
		t.Errorf("Load of an absent role = %q, %v; want nil, nil", data, err)
	}
	must(t, r.Drop("gw-100.stop"))
	must(t, r.Save("gw-100.stop", []byte("one")))
	must(t, r.Save("gw-100.stop", []byte("two")))
	if data, err := r.Load("gw-100.stop"); string(data) != "two" || err != nil {
		t.Errorf("Load = %q, %v; want two", data, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "image", "gw-100.stop.json")); err != nil {
		t.Error(err)
	}
	must(t, r.Drop("gw-100.stop"))
	if data, _ := r.Load("gw-100.stop"); data != nil {
		t.Errorf("Load after Drop = %q", data)
	}
}

// TestRolesUnreadable: damage counts as absence, since the file is fetched again.
func TestRolesUnreadable(t *testing.T) {
	for name, do := range map[string]func(path string) error{
		"folder": func(path string) error { return os.MkdirAll(path, 0o700) },
		"circle": func(path string) error { return os.Symlink(filepath.Base(path), path) },
		"huge":   func(path string) error { return os.WriteFile(path, make([]byte, maxRole+1), 0o600) },
	} {
		dir := t.TempDir()
		r := open(t, dir).Roles("image")
		must(t, r.Save("other", []byte("{}")))
		must(t, do(filepath.Join(dir, "image", "root.json")))
		if data, err := r.Load("root"); data != nil || err != nil {
			t.Errorf("%s: Load = %d bytes, %v; want nil, nil", name, len(data), err)
		}
	}
}

func TestRoleNames(t *testing.T) {
	r := open(t, t.TempDir()).Roles("image")
	for _, name := range []string{"", "../record.0", "a/b", "Root", ".hidden", "a\x00b"} {
		if err := r.Save(name, []byte("x")); err == nil {
			t.Errorf("Save of role %q succeeded", name)
		}
	}
	for _, name := range []string{"root", "root.copy", "gw-100.bin-1f"} {
		if err := r.Save(name, []byte("x")); err != nil {
			t.Errorf("Save of role %q: %v", name, err)
		}
	}
}
