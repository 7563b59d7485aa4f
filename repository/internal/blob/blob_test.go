package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/countersign-ota/countersign/proto/reason"
)

var ctx = context.Background()

func open(t *testing.T) *Dir {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// content is n bytes that differ from place to place.
func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func writer(t *testing.T, d *Dir, sum [32]byte, length, offset int64) *Writer {
	t.Helper()
	w, err := d.Writer(ctx, sum, length, offset)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func put(t *testing.T, d *Dir, data []byte) [32]byte {
	t.Helper()
	sum := sha256.Sum256(data)
	w := writer(t, d, sum, int64(len(data)), 0)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return sum
}

func wantStatus(t *testing.T, d *Dir, sum [32]byte, offset int64, complete bool) {
	t.Helper()
	o, c, err := d.Status(sum)
	if err != nil || o != offset || c != complete {
		t.Errorf("status %d, %t, %v; want %d, %t", o, c, err, offset, complete)
	}
}

func wantReason(t *testing.T, err error, want reason.Reason) {
	t.Helper()
	if got := reason.Of(err); got != want {
		t.Errorf("reason %q of %v, want %q", got, err, want)
	}
}

// wantFiles compares all files below the folder.
func wantFiles(t *testing.T, d *Dir, want ...string) {
	t.Helper()
	got, err := filepath.Glob(filepath.Join(d.path, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		got[i] = strings.TrimPrefix(got[i], d.path+"/")
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("files %q, want %q", got, want)
	}
}

func rel(t *testing.T, d *Dir, path string) string {
	t.Helper()
	return strings.TrimPrefix(path, d.path+"/")
}

func TestUploadAndRead(t *testing.T) {
	for _, n := range []int{0, 1, 1000, 3 << 20} {
		d := open(t)
		data := content(n)
		sum := put(t, d, data)
		wantStatus(t, d, sum, int64(n), true)
		wantFiles(t, d, rel(t, d, d.name(sum)))
		r, err := d.Reader(sum, int64(n))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if r.Len() != int64(n) {
			t.Errorf("length %d, want %d", r.Len(), n)
		}
		if err := iotest.TestReader(r, data); err != nil && n < 1<<20 {
			t.Error(err)
		}
		if _, err := d.Writer(ctx, sum, int64(n), 0); !errors.Is(err, ErrComplete) {
			t.Errorf("second upload: %v, want %v", err, ErrComplete)
		}
		wantFiles(t, d, rel(t, d, d.name(sum)))
	}
}

func TestUploadInSittings(t *testing.T) {
	d := open(t)
	d.syncEvery = 1000
	data := content(600_000)
	sum := sha256.Sum256(data)
	wantStatus(t, d, sum, 0, false)
	for at := 0; at < len(data); {
		w := writer(t, d, sum, int64(len(data)), int64(at))
		n := min(250_000, len(data)-at)
		for _, piece := range [][]byte{data[at : at+n/3], data[at+n/3 : at+n]} {
			if _, err := w.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		at += n
		if w.Offset() != int64(at) {
			t.Errorf("offset %d, want %d", w.Offset(), at)
		}
		if at == len(data) {
			if err := w.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		wantStatus(t, d, sum, int64(at), at == len(data))
	}
	if _, err := writerOfAnother(d, sum); !errors.Is(err, ErrComplete) {
		t.Errorf("error %v, want %v", err, ErrComplete)
	}
}

func writerOfAnother(d *Dir, sum [32]byte) (*Writer, error) { return d.Writer(ctx, sum, 600_000, 0) }

func TestRefusals(t *testing.T) {
	data := content(1000)
	sum := sha256.Sum256(data)
	other := sha256.Sum256([]byte("other"))
	tests := []struct {
		name string
		run  func(t *testing.T, d *Dir) error
		want reason.Reason
		// part is what is left of the upload of sum.
		part int64
	}{
		{"wrong digest", func(t *testing.T, d *Dir) error {
			w := writer(t, d, sum, 1000, 0)
			bad := bytes.Clone(data)
			bad[999] ^= 1
			w.Write(bad)
			return w.Commit()
		}, reason.HashMismatch, 0},
		{"wrong digest in an earlier sitting", func(t *testing.T, d *Dir) error {
			w := writer(t, d, sum, 1000, 0)
			w.Write(data[1:101])
			w.Close()
			w = writer(t, d, sum, 1000, 100)
			w.Write(data[100:])
			return w.Commit()
		}, reason.HashMismatch, 0},
		{"too long", func(t *testing.T, d *Dir) error {
			w := writer(t, d, sum, 999, 0)
			_, err := w.Write(data)
			if again := w.Commit(); !errors.Is(again, err) {
				t.Errorf("commit afterwards: %v, want %v", again, err)
			}
			return err
		}, reason.LengthMismatch, 0},
		{"too long by one, in two writes", func(t *testing.T, d *Dir) error {
			w := writer(t, d, sum, 1000, 0)
			w.Write(data)
			_, err := w.Write([]byte{0})
			return err
		}, reason.LengthMismatch, 0},
		{"too short", func(t *testing.T, d *Dir) error {
			w := writer(t, d, sum, 1000, 0)
			w.Write(data[:400])
			return w.Commit()
		}, reason.LengthMismatch, 400},
		{"too large", func(t *testing.T, d *Dir) error {
			_, err := d.Writer(ctx, sum, MaxLength+1, 0)
			return err
		}, reason.TooLarge, 0},
		{"negative length", func(t *testing.T, d *Dir) error {
			_, err := d.Writer(ctx, sum, -1, 0)
			return err
		}, reason.TooLarge, 0},
		{"second writer", func(t *testing.T, d *Dir) error {
			w := writer(t, d, sum, 1000, 0)
			t.Cleanup(func() { w.Close() })
			w.Write(data[:300])
			_, err := d.Writer(ctx, sum, 1000, 0)
			return err
		}, reason.UploadBusy, 300},
		{"offset beyond the part", func(t *testing.T, d *Dir) error {
			_, err := d.Writer(ctx, sum, 1000, 1)
			return err
		}, reason.UploadBusy, 0},
		{"offset before its end", func(t *testing.T, d *Dir) error {
			w := writer(t, d, sum, 1000, 0)
			w.Write(data[:300])
			w.Close()
			_, err := d.Writer(ctx, sum, 1000, 200)
			return err
		}, reason.UploadBusy, 300},
		{"part longer than stated", func(t *testing.T, d *Dir) error {
			w := writer(t, d, sum, 1000, 0)
			w.Write(data[:300])
			w.Close()
			_, err := d.Writer(ctx, sum, 299, 299)
			return err
		}, reason.LengthMismatch, 0},
		{"complete file of another length", func(t *testing.T, d *Dir) error {
			_, err := d.Writer(ctx, put(t, d, []byte("other")), 4, 0)
			os.Remove(d.name(other))
			return err
		}, reason.LengthMismatch, 0},
		{"read what is in progress", func(t *testing.T, d *Dir) error {
			w := writer(t, d, sum, 1000, 0)
			w.Write(data[:400])
			w.Close()
			_, err := d.Reader(sum, 1000)
			return err
		}, reason.NotFound, 400},
		{"read another length", func(t *testing.T, d *Dir) error {
			defer os.Remove(d.name(other))
			_, err := d.Reader(put(t, d, []byte("other")), 6)
			return err
		}, reason.StateDamaged, 0},
		{"file cut while it is read", func(t *testing.T, d *Dir) error {
			defer os.Remove(d.name(other))
			r, err := d.Reader(put(t, d, []byte("other")), AnyLength)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := os.Truncate(d.name(other), 3); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if string(got) != "oth" {
				t.Errorf("read %q", got)
			}
			return err
		}, reason.StateDamaged, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t)
			wantReason(t, tt.run(t, d), tt.want)
			wantStatus(t, d, sum, tt.part, false)
			if tt.part == 0 {
				wantFiles(t, d)
			} else {
				wantFiles(t, d, rel(t, d, d.partName(sum)))
			}
		})
	}
}
