package stage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

// partial leaves a part that is durable up to n bytes and some bytes beyond.
func partial(t *testing.T, d *Dir, data []byte, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &serve{data: data, limit: n, hang: true}
	_, err := d.Stage(ctx, fileOf(data), s.open, func(done, _ int64) {
		if done == int64(n) {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// Whatever happens to the two files, the next call ends with the right bytes, and it builds only upon
// a part that is what the point says.
func TestDamage(t *testing.T) {
	data := image(6*bufferSize + 3)
	const durable = 4 * bufferSize
	sha := fileOf(data).SHA256
	edit := func(name func(*Dir) string, change func([]byte) []byte) func(*testing.T, *Dir) {
		return func(t *testing.T, d *Dir) {
			b, err := os.ReadFile(name(d))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name(d), change(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	part := func(d *Dir) string { return d.partPath(sha) }
	hash := func(d *Dir) string { return d.hashPath(sha) }
	replace := func(name func(*Dir) string, with func(path string) error) func(*testing.T, *Dir) {
		return func(t *testing.T, d *Dir) {
			if err := os.RemoveAll(name(d)); err != nil {
				t.Fatal(err)
			}
			if err := with(name(d)); err != nil {
				t.Fatal(err)
			}
		}
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, data[:durable], 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name   string
		damage func(*testing.T, *Dir)
		from   int64
	}{
		{"none", func(*testing.T, *Dir) {}, durable},
		{"part longer", edit(part, func(b []byte) []byte { return append(b, image(999)...) }), durable},
		{"part shorter", edit(part, func(b []byte) []byte { return b[:len(b)-1] }), 0},
		{"part empty", edit(part, func([]byte) []byte { return nil }), 0},
		{"part zeroed", edit(part, func(b []byte) []byte { clear(b); return b }), 0},
		{"part flipped", edit(part, func(b []byte) []byte { b[bufferSize] ^= 0x40; return b }), 0},
		{"part gone", func(t *testing.T, d *Dir) { _ = os.Remove(part(d)) }, 0},
		{"part a folder", replace(part, func(p string) error { return os.MkdirAll(filepath.Join(p, "x"), 0o700) }), 0},
		{"part a link", replace(part, func(p string) error { return os.Symlink(outside, p) }), 0},
		{"hash shorter", edit(hash, func(b []byte) []byte { return b[:len(b)-1] }), 0},
		{"hash empty", edit(hash, func([]byte) []byte { return nil }), 0},
		{"hash zeroed", edit(hash, func(b []byte) []byte { clear(b); return b }), 0},
		{"hash flipped", edit(hash, func(b []byte) []byte { b[20] ^= 1; return b }), 0},
		{"hash huge", edit(hash, func(b []byte) []byte { return append(b, image(1<<20)...) }), 0},
		{"hash gone", func(t *testing.T, d *Dir) { _ = os.Remove(hash(d)) }, 0},
		{"hash a folder", replace(hash, func(p string) error { return os.MkdirAll(p, 0o700) }), 0},
		{"hash of other bytes", func(t *testing.T, d *Dir) {
			h := sha256.New()
			h.Write(image(durable))
			forged := point{offset: durable, state: state(h)}
			if err := os.WriteFile(hash(d), forged.bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}, 0},
		{"hash promises more", func(t *testing.T, d *Dir) {
			h := sha256.New()
			h.Write(data[:durable+1])
			forged := point{offset: durable + 1, state: state(h)}
			if err := os.WriteFile(hash(d), forged.bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := open(t, quick())
			partial(t, d, data, durable)
			c.damage(t, d)
			s := &serve{data: data}
			if _, err := d.Stage(t.Context(), fileOf(data), s.open, nil); err != nil {
				t.Fatal(err)
			}
			whole(t, d, data)
			if len(s.offsets) != 1 || s.offsets[0] != c.from {
				t.Errorf("asked at %v, want %d", s.offsets, c.from)
			}
		})
	}
	if got, err := os.ReadFile(outside); err != nil || !bytes.Equal(got, data[:durable]) {
		t.Errorf("a file outside was written: %d bytes, %v", len(got), err)
	}
}

// A file that has its name is not believed either.
func TestDamagedStagedFileIsFetchedAnew(t *testing.T) {
	data := image(2*bufferSize + 1)
	for name, change := range map[string]func([]byte) []byte{
		"flipped": func(b []byte) []byte { b[7] ^= 1; return b },
		"shorter": func(b []byte) []byte { return b[:len(b)-1] },
		"longer":  func(b []byte) []byte { return append(b, 0) },
		"empty":   func([]byte) []byte { return nil },
		"zeroed":  func(b []byte) []byte { clear(b); return b },
	} {
		t.Run(name, func(t *testing.T) {
			d, f := open(t, quick()), fileOf(data)
			if err := os.WriteFile(d.Path(f.SHA256), change(bytes.Clone(data)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := Verify(t.Context(), d.Path(f.SHA256), f.SHA256, f.Length); reason.Exit(err) != int(reason.NotAuthentic) {
				t.Errorf("verified: %v", err)
			}
			if _, err := d.Stage(t.Context(), f, (&serve{data: data}).open, nil); err != nil {
				t.Fatal(err)
			}
			whole(t, d, data)
		})
	}
}
