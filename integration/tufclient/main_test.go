package main

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/agent/trust/tuftest"
)

// binary is the built program: the tests run it as a process, as the suite does.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "tufclient")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir) //nolint:errcheck // a test's rest
		binary = filepath.Join(dir, "tufclient")
		if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// rig is one client with its folders and the repository that it talks to.
type rig struct {
	t    *testing.T
	repo *tuftest.Repo
	url  string
	md   string
	td   string
	// date is a folder with a program date of the test's; empty for the system's.
	date string
}

// newRig serves a repository and initialises a client with its first root.
func newRig(t *testing.T, change func(r *tuftest.Repo)) *rig {
	t.Helper()
	g := &rig{t: t, repo: tuftest.New(t, time.Now()), md: t.TempDir(), td: t.TempDir()}
	if change != nil {
		change(g.repo)
	}
	srv := httptest.NewServer(g.repo.Handler())
	t.Cleanup(srv.Close)
	g.url = srv.URL
	g.init(g.repo.File("root", 1), 0)
	return g
}

func (g *rig) run(want int, args ...string) string {
	g.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = os.Environ()
	if g.date != "" {
		cmd.Env = append(cmd.Env, "PATH="+g.date)
	}
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != want {
		g.t.Errorf("%q: exit %d, want %d (%v)\n%s", args, got, want, err, out)
	}
	return string(out)
}

func (g *rig) init(root []byte, want int) {
	g.t.Helper()
	path := filepath.Join(g.t.TempDir(), "initial.json")
	if err := os.WriteFile(path, root, 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.run(want, "--metadata-dir", g.md, "init", path)
}

func (g *rig) refresh(want int) string {
	g.t.Helper()
	return g.run(want, "--metadata-url", g.url+"/metadata", "--metadata-dir", g.md, "refresh")
}

func (g *rig) download(want int, targets ...string) string {
	g.t.Helper()
	args := []string{"--metadata-url", g.url + "/metadata/", "--metadata-dir", g.md}
	for _, name := range targets {
		args = append(args, "--target-name", name)
	}
	return g.run(want, append(args, "--target-dir", g.td, "--target-base-url", g.url+"/targets/", "download")...)
}

// asked checks what was requested since the last call, byte for byte and in order.
func (g *rig) asked(want ...string) {
	g.t.Helper()
	if got := g.repo.Requests(); !slices.Equal(got, want) {
		g.t.Errorf("requests %q, want %q", got, want)
	}
}

// trusts checks that MD holds exactly these files, each as it was served: role=version.
func (g *rig) trusts(want ...string) {
	g.t.Helper()
	found, err := os.ReadDir(g.md)
	if err != nil {
		g.t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		data, err := os.ReadFile(filepath.Join(g.md, f.Name()))
		if err != nil {
			g.t.Fatal(err)
		}
		role := strings.TrimSuffix(f.Name(), ".json")
		version := "unknown"
		for v := range int64(12) {
			if file := g.repo.File(role, v+1); file != nil && bytes.Equal(file, data) {
				version = fmt.Sprint(v + 1)
				break
			}
		}
		got = append(got, role+"="+version)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		g.t.Errorf("trusted %q, want %q", got, want)
	}
}

// downloaded checks the contents in TD.
func (g *rig) downloaded(want ...string) {
	g.t.Helper()
	found, err := os.ReadDir(g.td)
	if err != nil {
		g.t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		data, err := os.ReadFile(filepath.Join(g.td, f.Name()))
		if err != nil {
			g.t.Fatal(err)
		}
		got = append(got, string(data))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		g.t.Errorf("downloaded %q, want %q", got, want)
	}
}

// at makes the client see another time, as the suite does with children of the process.
func (g *rig) at(now time.Time) {
	g.t.Helper()
	dir := g.t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = +%%s ] && echo %d\n", now.Unix())
	if err := os.WriteFile(filepath.Join(dir, "date"), []byte(script), 0o755); err != nil {
		g.t.Fatal(err)
	}
	g.date = dir
}

func TestUsage(t *testing.T) {
	g := &rig{t: t, md: t.TempDir(), td: t.TempDir(), url: "http://127.0.0.1:1"}
	for _, args := range [][]string{
		{},
		{"refresh"},
		{"init"},
		{"--metadata-dir", g.md},
		{"--metadata-dir", g.md, "refresh"},
		{"--metadata-dir", g.md, "init"},
		{"--metadata-dir", g.md, "init", "/does/not/exist"},
		{"--metadata-dir", g.md, "--metadata-url", g.url, "download"},
		{"--no-such-flag"},
		{"--metadata-dir", g.md, "--metadata-url", g.url, "refresh", "extra"},
	} {
		g.run(1, args...)
	}
	g.refresh(1) // nothing to trust
	if found, err := os.ReadDir(g.md); err != nil || len(found) != 0 {
		t.Errorf("%d files in MD, %v", len(found), err)
	}
}
