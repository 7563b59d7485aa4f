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
	"sync"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

// After each refusal the next good upload succeeds.
func TestGoodUploadAfterBad(t *testing.T) {
	d := open(t)
	data := content(1000)
	sum := sha256.Sum256(data)
	w := writer(t, d, sum, 1000, 0)
	w.Write(bytes.Repeat([]byte{1}, 1000))
	wantReason(t, w.Commit(), reason.HashMismatch)
	if _, err := w.Write(nil); reason.Of(err) != reason.HashMismatch {
		t.Errorf("write after the end: %v", err)
	}
	put(t, d, data)
	wantStatus(t, d, sum, 1000, true)
}

func TestCancelledResumeKeepsThePart(t *testing.T) {
	d := open(t)
	data := content(1000)
	sum := sha256.Sum256(data)
	w := writer(t, d, sum, 1000, 0)
	w.Write(data[:500])
	w.Close()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := d.Writer(ended, sum, 1000, 500); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	wantStatus(t, d, sum, 500, false)
}

// Of many who upload the same file at once one writes at a time, and all end with the complete file.
func TestManyWriters(t *testing.T) {
	d := open(t)
	data := content(50_000)
	sum := sha256.Sum256(data)
	upload := func() error {
		for {
			offset, complete, err := d.Status(sum)
			if err != nil || complete {
				return err
			}
			w, err := d.Writer(ctx, sum, int64(len(data)), offset)
			if reason.Of(err) == reason.UploadBusy {
				continue
			}
			if err != nil {
				if errors.Is(err, ErrComplete) {
					return nil
				}
				return err
			}
			end := min(offset+9_000, int64(len(data)))
			if _, err := w.Write(data[offset:end]); err != nil {
				return err
			}
			if end < int64(len(data)) {
				err = w.Close()
			} else {
				err = w.Commit()
			}
			if err != nil {
				return err
			}
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := upload(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantFiles(t, d, rel(t, d, d.name(sum)))
	r, err := d.Reader(sum, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("other bytes, %v", err)
	}
}

func TestListAndRemove(t *testing.T) {
	d := open(t)
	whole := put(t, d, []byte("whole"))
	part := sha256.Sum256([]byte("part"))
	w := writer(t, d, part, 4, 0)
	w.Write([]byte("pa"))
	w.Close()
	for _, foreign := range []string{"zz", "ab/x", "ab/" + strings.Repeat("A", 64), "ab/" + strings.Repeat("cd", 32)} {
		if err := os.MkdirAll(filepath.Join(d.path, foreign), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	got := map[[32]byte]Entry{}
	for e, err := range d.List(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		got[e.SHA256] = e
	}
	if e := got[whole]; len(got) != 2 || !e.Complete || e.Length != 5 {
		t.Errorf("complete: %+v of %d", e, len(got))
	}
	if e := got[part]; e.Complete || e.Length != 2 {
		t.Errorf("in progress: %+v", e)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range d.List(ended) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.Canceled)
		}
	}
}

// A part that is longer than the file cannot become it. If it stayed, one wrong upload would block
// the right one for ever.
func TestPartLongerThanTheFileBlocksNobody(t *testing.T) {
	d := open(t)
	data := content(1000)
	sum := sha256.Sum256(data)
	w := writer(t, d, sum, 5000, 0)
	w.Write(content(1001))
	w.Close()
	wantStatus(t, d, sum, 1001, false)
	_, err := d.Writer(ctx, sum, 1000, 1001)
	wantReason(t, err, reason.LengthMismatch)
	put(t, d, data)
	wantStatus(t, d, sum, 1000, true)
}
