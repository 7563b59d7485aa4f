package stage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/reason"
)

// image is firmware of n bytes without repetition in a block.
func image(n int) []byte {
	b := make([]byte, n)
	x := uint32(n) | 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func hexOf(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

func fileOf(data []byte) File { return File{SHA256: sha256.Sum256(data), Length: int64(len(data))} }

// serve is a source that has data and remembers from where it was asked.
type serve struct {
	data    []byte
	offsets []int64
	// limit cuts each stream after so many bytes, with end as its error; 0 never.
	limit int
	end   error
	// fail is returned by the source itself, once each.
	fail []error
	// hang makes a stream block, after what limit allows, until it is cut.
	hang bool
}

func (s *serve) open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	s.offsets = append(s.offsets, offset)
	if len(s.fail) > 0 {
		err := s.fail[0]
		s.fail = s.fail[1:]
		return nil, err
	}
	rest := s.data[min(offset, int64(len(s.data))):]
	r := io.Reader(bytes.NewReader(rest))
	if s.limit > 0 && s.limit < len(rest) {
		r = io.MultiReader(bytes.NewReader(rest[:s.limit]), &ending{ctx: ctx, s: s})
	} else if s.hang {
		r = io.MultiReader(r, &ending{ctx: ctx, s: s})
	}
	return io.NopCloser(r), nil
}

type ending struct {
	ctx context.Context
	s   *serve
}

func (e *ending) Read([]byte) (int, error) {
	if e.s.hang {
		<-e.ctx.Done()
		return 0, e.ctx.Err()
	}
	return 0, e.s.end
}

// quick are options under which nothing waits.
func quick() Options {
	return Options{
		Sleep:  func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		Random: func() float64 { return 0.5 },
	}
}

func open(t *testing.T, o Options) *Dir {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "stage"), o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// whole checks that the file is there with its bytes and nothing else is.
func whole(t *testing.T, d *Dir, data []byte) {
	t.Helper()
	f := fileOf(data)
	got, err := os.ReadFile(d.Path(f.SHA256))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("staged file: %d bytes, %v, want %d", len(got), err, len(data))
	}
	if got, want := names(t, d), []string{filepath.Base(d.Path(f.SHA256))}; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("folder holds %q, want %q", got, want)
	}
	if err := Verify(context.Background(), d.Path(f.SHA256), f.SHA256, f.Length); err != nil {
		t.Error(err)
	}
}

func names(t *testing.T, d *Dir) []string {
	t.Helper()
	entries, err := os.ReadDir(d.path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestStage(t *testing.T) {
	for _, n := range []int{0, 1, 4095, bufferSize, bufferSize + 1, 3 * bufferSize, pointEvery + 12345} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			d, data := open(t, quick()), image(n)
			var last int64
			path, err := d.Stage(t.Context(), fileOf(data), (&serve{data: data}).open, func(done, total int64) {
				if done < last || done > total || total != int64(n) {
					t.Errorf("progress %d of %d after %d", done, total, last)
				}
				last = done
			})
			if err != nil {
				t.Fatal(err)
			}
			if path != d.Path(fileOf(data).SHA256) || last != int64(n) || !d.Has(fileOf(data).SHA256) {
				t.Errorf("path %q, progress ended at %d", path, last)
			}
			whole(t, d, data)
			// Again: nothing is fetched.
			s := &serve{data: data}
			if _, err := d.Stage(t.Context(), fileOf(data), s.open, nil); err != nil || len(s.offsets) != 0 {
				t.Errorf("second time: %v, asked at %v", err, s.offsets)
			}
		})
	}
}

// Nothing has the image's name before its hash matched, and wrong bytes leave nothing behind.
func TestWrongBytesAreRefused(t *testing.T) {
	data := image(3*bufferSize + 7)
	flipped := bytes.Clone(data)
	flipped[bufferSize+1] ^= 1
	cases := []struct {
		name string
		sent []byte
		want reason.Reason
		text []string
	}{
		{"one bit", flipped, reason.HashMismatch, []string{fmt.Sprintf("sha256 %.8s…, signed %.8s…", hexOf(flipped), hexOf(data))}},
		{"one byte more", append(bytes.Clone(data), 0), reason.LengthMismatch, []string{"more than the signed"}},
		{"much more", append(bytes.Clone(data), image(5*bufferSize)...), reason.LengthMismatch, []string{"more than the signed"}},
		{"one byte less", data[:len(data)-1], reason.LengthMismatch, []string{fmt.Sprintf("%d bytes, signed %d", len(data)-1, len(data))}},
		{"nothing", nil, reason.LengthMismatch, []string{"0 bytes"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := open(t, quick())
			path, err := d.Stage(t.Context(), fileOf(data), (&serve{data: c.sent}).open, nil)
			if !reason.Is(err, c.want) || path != "" {
				t.Fatalf("got %q, %v [%s], want [%s]", path, err, reason.Of(err), c.want)
			}
			for _, text := range c.text {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q lacks %q", err, text)
				}
			}
			if got := names(t, d); len(got) != 0 || d.Has(fileOf(data).SHA256) {
				t.Errorf("left behind: %q", got)
			}
			// The next good transfer succeeds.
			if _, err := d.Stage(t.Context(), fileOf(data), (&serve{data: data}).open, nil); err != nil {
				t.Fatal(err)
			}
			whole(t, d, data)
		})
	}
}

// A cut transfer goes on where it was, in the same call and in a later one.
func TestResume(t *testing.T) {
	data := image(10*bufferSize + 99)
	t.Run("in one call", func(t *testing.T) {
		d, s := open(t, quick()), &serve{data: data, limit: 3*bufferSize + 5, end: io.ErrUnexpectedEOF}
		if _, err := d.Stage(t.Context(), fileOf(data), s.open, nil); err != nil {
			t.Fatal(err)
		}
		whole(t, d, data)
		want := []int64{0, 3*bufferSize + 5, 6*bufferSize + 10, 9*bufferSize + 15}
		if fmt.Sprint(s.offsets) != fmt.Sprint(want) {
			t.Errorf("asked at %v, want %v", s.offsets, want)
		}
	})
	t.Run("in a later call", func(t *testing.T) {
		d := open(t, quick())
		const step = 4*bufferSize + 1
		for i, want := range []int64{0, step, 2 * step} {
			ctx, cancel := context.WithCancel(t.Context())
			s, last := &serve{data: data, limit: step, hang: true}, i == 2
			if last {
				s.limit, s.hang = 0, false
			}
			_, err := d.Stage(ctx, fileOf(data), s.open, func(done, _ int64) {
				if !last && done == want+step {
					cancel()
				}
			})
			cancel()
			if len(s.offsets) != 1 || s.offsets[0] != want {
				t.Fatalf("call %d asked at %v, want %v", i, s.offsets, want)
			}
			if last {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("call %d: %v", i, err)
			}
			if d.Has(fileOf(data).SHA256) {
				t.Fatal("visible before it was whole")
			}
		}
		whole(t, d, data)
	})
}

func TestVerify(t *testing.T) {
	d, f := open(t, quick()), fileOf([]byte("x"))
	if err := Verify(t.Context(), d.Path(f.SHA256), f.SHA256, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := os.WriteFile(d.Path(f.SHA256), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Verify(ctx, d.Path(f.SHA256), f.SHA256, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestClean(t *testing.T) {
	d := open(t, quick())
	kept, gone := fileOf([]byte("kept")).SHA256, fileOf([]byte("gone")).SHA256
	for _, name := range []string{
		d.Path(kept), d.partPath(kept), d.hashPath(kept), d.hashPath(kept) + ".123.tmp",
		d.Path(gone), d.partPath(gone), d.hashPath(gone),
		filepath.Join(d.path, "README"), filepath.Join(d.path, strings.Repeat("A", 64)),
	} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Clean(map[[32]byte]bool{kept: true}); err != nil {
		t.Fatal(err)
	}
	k := fmt.Sprintf("%x", kept)
	want := []string{strings.Repeat("A", 64), "README", k, k + ".hash", k + ".part"}
	got := names(t, d)
	for _, w := range want {
		if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+w+" ") {
			t.Errorf("%q is gone", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("folder holds %q, want %q", got, want)
	}
}
