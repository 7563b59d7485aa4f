package stage

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"testing"
)

const benchSize = 64 << 20

// BenchmarkStage stages a cached local file; BenchmarkCopy is what it is compared with: read, hash,
// write, sync, with nothing safe about it.
func BenchmarkStage(b *testing.B) {
	src, f := benchFile(b)
	d, err := Open(filepath.Join(b.TempDir(), "stage"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	open := func(context.Context, int64) (io.ReadCloser, error) { return os.Open(src) }
	b.SetBytes(benchSize)
	for b.Loop() {
		if _, err := d.Stage(b.Context(), f, open, nil); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := d.Clean(nil); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkCopy(b *testing.B) {
	src, f := benchFile(b)
	dst := filepath.Join(b.TempDir(), "copy")
	b.SetBytes(benchSize)
	for b.Loop() {
		in, err := os.Open(src)
		if err != nil {
			b.Fatal(err)
		}
		out, err := os.Create(dst)
		if err != nil {
			b.Fatal(err)
		}
		h := sha256.New()
		if _, err := Copy(b.Context(), io.MultiWriter(h, out), in); err != nil {
			b.Fatal(err)
		}
		if err := out.Sync(); err != nil {
			b.Fatal(err)
		}
		if [32]byte(h.Sum(nil)) != f.SHA256 {
			b.Fatal("other bytes")
		}
		_ = in.Close()
		_ = out.Close()
		b.StopTimer()
		if err := os.Remove(dst); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func benchFile(b *testing.B) (string, File) {
	b.Helper()
	data := image(benchSize)
	src := filepath.Join(b.TempDir(), "image")
	if err := os.WriteFile(src, data, 0o600); err != nil {
		b.Fatal(err)
	}
	return src, fileOf(data)
}
