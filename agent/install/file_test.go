package install

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

type place struct {
	t   *testing.T
	dir string
}

func newPlace(t *testing.T, content string) *place {
	p := &place{t: t, dir: t.TempDir()}
	if content != "" {
		check(t, os.WriteFile(p.path("app"), []byte(content), 0o751))
	}
	return p
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

// file is what a new process of the agent has.
func (p *place) file() *File {
	return NewFile(FileConfig{Path: p.path("app"), State: p.path("record")})
}

func (p *place) image(content string) Image {
	p.t.Helper()
	sha := sha256.Sum256([]byte(content))
	img := Image{Path: "gw-100/2.4.1/app", Counter: 2, Length: int64(len(content)), SHA256: sha, File: p.path("staged-" + content[:min(8, len(content))])}
	check(p.t, os.WriteFile(img.File, []byte(content), 0o600))
	return img
}

// holds checks what lies under each name; "" means nothing.
func (p *place) holds(app, old, fresh string) {
	p.t.Helper()
	for name, want := range map[string]string{"app": app, "app.old": old, "app.new": fresh} {
		got, err := os.ReadFile(p.path(name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			p.t.Fatal(err)
		}
		if string(got) != want || err == nil && want == "" {
			p.t.Errorf("%s holds %.20q, want %.20q", name, got, want)
		}
	}
}

func (p *place) running(want Running) {
	p.t.Helper()
	got, err := p.file().Running(p.t.Context())
	if err != nil || got != want {
		p.t.Errorf("runs %+v, %v, want %+v", got, err, want)
	}
}

// step does f three times, each time in a new process: the second and third change nothing.
func (p *place) step(f func(*File) error) {
	p.t.Helper()
	for range 3 {
		check(p.t, f(p.file()))
	}
}

func TestFileReplaced(t *testing.T) {
	p := newPlace(t, "factory")
	ctx := t.Context()
	one, two := p.image("one"), p.image("two")

	p.step(func(f *File) error { return f.Install(ctx, one) })
	p.holds("factory", "", "one")
	p.running(Running{})
	p.step(func(f *File) error { return f.Activate(ctx, one) })
	p.step(func(f *File) error { return f.Install(ctx, one) })
	p.step(func(f *File) error { return f.Activate(ctx, one) })
	p.holds("one", "factory", "")
	p.running(Running{SHA256: one.SHA256, Trial: true})
	if info, err := os.Stat(p.path("app")); err != nil || info.Mode().Perm() != 0o751 {
		t.Errorf("mode %v, %v, want that of the file before", info.Mode(), err)
	}
	if err := p.file().Install(ctx, two); !reason.Is(err, reason.InstallFailed) {
		t.Errorf("install during a trial: %v [%s]", err, reason.Of(err))
	}
	p.step(func(f *File) error { return f.Confirm(ctx) })
	p.running(Running{SHA256: one.SHA256})
	p.holds("one", "factory", "")

	p.step(func(f *File) error { return f.Install(ctx, two) })
	p.step(func(f *File) error { return f.Activate(ctx, two) })
	p.holds("two", "one", "")
	if sha, ok, err := p.file().Fallback(ctx); sha != one.SHA256 || !ok || err != nil {
		t.Errorf("fallback %x, %v, %v", sha, ok, err)
	}
	if err := p.file().MarkUnbootable(ctx, one.SHA256); !reason.Is(err, reason.Stuck) {
		t.Errorf("the way back was taken: %v [%s]", err, reason.Of(err))
	}
	p.step(func(f *File) error { return f.Revert(ctx) })
	p.holds("one", "", "")
	p.running(Running{SHA256: one.SHA256})
	if err := p.file().Activate(ctx, two); !reason.Is(err, reason.InstallFailed) {
		t.Errorf("activated what was reverted: %v [%s]", err, reason.Of(err))
	}

	// Once more, and confirmed: the fallback can be given up, what runs cannot.
	p.step(func(f *File) error { return f.Install(ctx, two) })
	p.step(func(f *File) error { return f.Activate(ctx, two) })
	p.step(func(f *File) error { return f.Confirm(ctx) })
	if err := p.file().MarkUnbootable(ctx, two.SHA256); !reason.Is(err, reason.Stuck) {
		t.Errorf("what runs: %v [%s]", err, reason.Of(err))
	}
	p.step(func(f *File) error { return f.MarkUnbootable(ctx, one.SHA256) })
	p.holds("two", "", "")
}

func TestFirstFile(t *testing.T) {
	for _, end := range []string{"confirm", "revert"} {
		t.Run(end, func(t *testing.T) {
			p := newPlace(t, "")
			one := p.image("one")
			p.step(func(f *File) error { return f.Install(t.Context(), one) })
			p.step(func(f *File) error { return f.Activate(t.Context(), one) })
			p.holds("one", "", "")
			if end == "confirm" {
				p.step(func(f *File) error { return f.Confirm(t.Context()) })
				p.holds("one", "", "")
				p.running(Running{SHA256: one.SHA256})
				return
			}
			p.step(func(f *File) error { return f.Revert(t.Context()) })
			p.holds("", "", "")
			p.running(Running{})
		})
	}
}

func TestFileRevertBeforeActivate(t *testing.T) {
	p := newPlace(t, "factory")
	one := p.image("one")
	check(t, p.file().Install(t.Context(), one))
	p.step(func(f *File) error { return f.Revert(t.Context()) })
	p.holds("factory", "", "")
	if err := p.file().Activate(t.Context(), one); !reason.Is(err, reason.InstallFailed) {
		t.Errorf("activated what was reverted: %v [%s]", err, reason.Of(err))
	}
}

func TestFileRefusesOtherBytes(t *testing.T) {
	p := newPlace(t, "factory")
	one := p.image("one")
	other := one
	other.SHA256[0] ^= 1
	if err := p.file().Install(t.Context(), other); !reason.Is(err, reason.HashMismatch) {
		t.Errorf("staged file: %v [%s]", err, reason.Of(err))
	}
	p.holds("factory", "", "")
	check(t, p.file().Install(t.Context(), one))
	check(t, os.WriteFile(p.path("app.new"), []byte("onE"), 0o600))
	if err := p.file().Activate(t.Context(), one); !reason.Is(err, reason.HashMismatch) {
		t.Errorf("installed file: %v [%s]", err, reason.Of(err))
	}
	p.holds("factory", "", "onE")
	p.running(Running{})
	// The next good cycle succeeds.
	check(t, p.file().Install(t.Context(), one))
	check(t, p.file().Activate(t.Context(), one))
	p.holds("one", "factory", "")
}

func TestFileStuck(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(p *place)
		stuck  bool
	}{
		"old gone":       {func(p *place) { _ = os.Remove(p.path("app.old")) }, true},
		"old changed":    {func(p *place) { _ = os.WriteFile(p.path("app.old"), []byte("onE"), 0o600) }, true},
		"record damaged": {func(p *place) { _ = os.WriteFile(p.path("record"), []byte("x"), 0o600) }, true},
		"nothing":        {func(*place) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, "factory")
			one, two := p.image("one"), p.image("two")
			for _, img := range []Image{one, two} {
				check(t, p.file().Install(t.Context(), img))
				check(t, p.file().Activate(t.Context(), img))
				if img.SHA256 == one.SHA256 {
					check(t, p.file().Confirm(t.Context()))
				}
			}
			c.damage(p)
			err := p.file().Revert(t.Context())
			if c.stuck != reason.Is(err, reason.Stuck) || c.stuck == (err == nil) {
				t.Errorf("%v [%s]", err, reason.Of(err))
			}
			got, err := os.ReadFile(p.path("app"))
			if want := map[bool]string{true: "two", false: "one"}[c.stuck]; string(got) != want {
				t.Errorf("runs %q, %v, want %q", got, err, want)
			}
		})
	}
}

// A file that is no longer what was installed does not run as it.
func TestFileChangedBehindOurBack(t *testing.T) {
	p := newPlace(t, "factory")
	one := p.image("one")
	check(t, p.file().Install(t.Context(), one))
	check(t, p.file().Activate(t.Context(), one))
	check(t, p.file().Confirm(t.Context()))
	check(t, os.WriteFile(p.path("app"), []byte("something else"), 0o600))
	p.running(Running{})
	check(t, p.file().Install(t.Context(), one))
	check(t, p.file().Activate(t.Context(), one))
	p.holds("one", "something else", "")
	p.running(Running{SHA256: one.SHA256, Trial: true})
}

func TestFileRefusesWhatIsNoFile(t *testing.T) {
	p := newPlace(t, "")
	check(t, os.Mkdir(p.path("app"), 0o700))
	if err := p.file().Install(t.Context(), p.image("one")); !reason.Is(err, reason.InstallFailed) {
		t.Errorf("%v [%s]", err, reason.Of(err))
	}
}

func TestDuplicate(t *testing.T) {
	p := newPlace(t, "factory")
	check(t, duplicate(t.Context(), p.path("app"), p.path("copy")))
	got, err := os.ReadFile(p.path("copy"))
	info, _ := os.Stat(p.path("copy"))
	if string(got) != "factory" || err != nil || info.Mode().Perm() != 0o751 {
		t.Errorf("%q, %v, %v", got, info.Mode(), err)
	}
}
