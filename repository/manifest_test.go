package repository

import (
	"bytes"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

const (
	sumA = "aa00000000000000000000000000000000000000000000000000000000000000"
	sumB = "bb00000000000000000000000000000000000000000000000000000000000000"
)

func aManifest() *Manifest {
	return &Manifest{
		Format: 1, Deployment: "acme", MadeAt: "2026-11-25T09:20:00Z", Dir: "/var/lib/countersign",
		LastEntry: 7, LastEntrySHA256: sumA, Missing: []string{sumB}, Outside: []string{"online.image: credential:image"},
		Files: []ManifestEntry{
			{Path: "blobs/aa/" + sumA, Length: 5, SHA256: sumA},
			{Path: "countersign.db", Length: 1 << 40, SHA256: sumB},
			{Path: "server.yaml", Length: 9, SHA256: sumB, Public: true},
		},
	}
}

func TestParseManifest(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Manifest)
		want   reason.Reason
	}{
		{"good", func(*Manifest) {}, ""},
		{"of a newer program", func(m *Manifest) { m.Format = 2 }, reason.Malformed},
		{"no deployment", func(m *Manifest) { m.Deployment = "../x" }, reason.Malformed},
		{"local time", func(m *Manifest) { m.MadeAt = "2026-11-25T09:20:00+01:00" }, reason.Malformed},
		{"relative directory", func(m *Manifest) { m.Dir = "x" }, reason.Malformed},
		{"no last entry", func(m *Manifest) { m.LastEntrySHA256 = "" }, reason.Malformed},
		{"absolute path", func(m *Manifest) { m.Files[1].Path = "/etc/passwd" }, reason.Malformed},
		{"path out of the folder", func(m *Manifest) { m.Files[1].Path = "../../etc/passwd" }, reason.Malformed},
		{"path with a detour", func(m *Manifest) { m.Files[1].Path = "identity/../x" }, reason.Malformed},
		{"hidden file", func(m *Manifest) { m.Files[1].Path = ".ssh/authorized_keys" }, reason.Malformed},
		{"token", func(m *Manifest) { m.Files[1].Path = "rivera.token" }, reason.Malformed},
		{"socket", func(m *Manifest) { m.Files[1].Path = "control.sock" }, reason.Malformed},
		{"blob under another name", func(m *Manifest) { m.Files[0].SHA256 = sumB }, reason.Malformed},
		{"blob in another folder", func(m *Manifest) { m.Files[0].Path = "blobs/bb/" + sumA }, reason.Malformed},
		{"upload in progress", func(m *Manifest) { m.Files[0].Path += ".part" }, reason.Malformed},
		{"negative length", func(m *Manifest) { m.Files[0].Length = -1 }, reason.Malformed},
		{"twice", func(m *Manifest) { m.Files = append(m.Files, m.Files[2]) }, reason.Malformed},
		{"no store", func(m *Manifest) { m.Files = m.Files[2:] }, reason.Malformed},
		{"no configuration", func(m *Manifest) { m.Files = m.Files[:2] }, reason.Malformed},
		{"missing is no sum", func(m *Manifest) { m.Missing[0] = "x" }, reason.Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := aManifest()
			tt.change(m)
			data, err := m.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			_, err = ParseManifest(data)
			if reason.Of(err) != tt.want || (err == nil) != (tt.want == "") {
				t.Errorf("got %v [%s]", err, reason.Of(err))
			}
		})
	}
	data, _ := aManifest().Bytes()
	if _, err := ParseManifest(bytes.Replace(data, []byte(`"dir"`), []byte(`"dirt"`), 1)); err == nil {
		t.Error("an unknown member was taken")
	}
}

// What is parsed is written back the same, and no path in it leaves the folder.
func FuzzParseManifest(f *testing.F) {
	data, err := aManifest().Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(bytes.Replace(data, []byte("server.yaml"), []byte("online/image.key"), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err != nil {
			return
		}
		for _, e := range m.Files {
			if strings.HasPrefix(e.Path, "/") || strings.Contains("/"+e.Path+"/", "/../") || strings.Contains("/"+e.Path, "/.") {
				t.Fatalf("path %q", e.Path)
			}
		}
		out, err := m.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseManifest(out)
		if err != nil {
			t.Fatalf("written back: %v\n%s", err, out)
		}
		if twice, err := again.Bytes(); err != nil || !bytes.Equal(out, twice) {
			t.Fatalf("%v\n%s\n%s", err, out, twice)
		}
	})
}

func TestWithDir(t *testing.T) {
	cfg := &Config{Deployment: "acme", Dir: "/a", URL: "https://updates.example", GRPC: ":1", HTTPS: ":2", OnlineImage: "online/i", OnlineDirector: "online/d"}
	yaml := configYAML(cfg)
	cfg, err := ParseConfig("x", yaml)
	if err != nil {
		t.Fatal(err)
	}
	got, err := withDir(yaml, cfg, "/b \"c\"")
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfig("x", got)
	if err != nil || c.Dir != "/b \"c\"" || c.URL != cfg.URL || !bytes.Contains(got, []byte("# Never change the deployment")) {
		t.Errorf("%v, %v: %s", c, err, got)
	}
	flow := []byte(`{deployment: acme, dir: /a, url: "https://updates.example", listen: {grpc: ":1", https: ":2"}, online: {image: i, director: d}}`)
	if cfg, err = ParseConfig("x", flow); err != nil {
		t.Fatal(err)
	}
	if _, err := withDir(flow, cfg, "/b"); reason.Of(err) != reason.Config {
		t.Errorf("got %v", err)
	}
}
