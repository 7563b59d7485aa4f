package outsider_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/x509"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/outsider"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/reason"
)

var quiet = cli.NoProgress{}

// edited is tarOf with one more entry in front.
func edited(t testing.TB, files map[string][]byte, h tar.Header, data string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if h.Size == 0 {
		h.Size = int64(len(data))
	}
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
	}
	h.Mode = 0o644
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil && int64(len(data)) == h.Size {
		t.Fatal(err)
	}
	return append(b.Bytes(), tarOf(t, files)...)
}

// Hostile tars: none is unpacked, none is believed.
func TestBundlesThatAreRefused(t *testing.T) {
	d := acme(t)
	files := filesOf(t, d)
	whole := tarOf(t, files)
	for _, tt := range []struct {
		name string
		data []byte
	}{
		{"climbs out", edited(t, files, tar.Header{Name: "../timestamp.json"}, "{}")},
		{"climbs out from below", edited(t, files, tar.Header{Name: "targets/../../timestamp.json"}, "{}")},
		{"absolute", edited(t, files, tar.Header{Name: "/etc/passwd"}, "x")},
		{"a dot in the middle", edited(t, files, tar.Header{Name: "targets/./x"}, "x")},
		{"symbolic link", edited(t, files, tar.Header{Name: "99.root.json", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, "")},
		{"hard link", edited(t, files, tar.Header{Name: "99.root.json", Typeflag: tar.TypeLink, Linkname: "snapshot.json"}, "")},
		{"device", edited(t, files, tar.Header{Name: "99.root.json", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}, "")},
		{"pipe", edited(t, files, tar.Header{Name: "99.root.json", Typeflag: tar.TypeFifo}, "")},
		{"twice", edited(t, files, tar.Header{Name: "timestamp.json"}, "{}")},
		{"twice, written otherwise", edited(t, files, tar.Header{Name: "./timestamp.json"}, "{}")},
		{"a name without end", edited(t, files, tar.Header{Name: strings.Repeat("x", 600)}, "x")},
		{"the top as a file", edited(t, files, tar.Header{Name: "."}, "x")},
		{"an entry of 16 TiB", edited(t, files, tar.Header{Name: "99.root.json", Size: 16 << 40, Format: tar.FormatGNU}, "{}")},
		{"an entry longer than the tar", edited(t, files, tar.Header{Name: "README", Size: 100 << 20}, "x")},
		{"cut off in an entry", whole[:len(whole)/2]},
		{"cut off between entries", withoutEnd(whole)},
		{"one byte short", whole[:len(whole)-1]},
		{"one byte more", append(slices.Clone(whole), 0)},
		{"something behind the end", append(slices.Clone(whole), bytes.Repeat([]byte("x"), 512)...)},
		{"much behind the end", append(slices.Clone(whole), make([]byte, 2<<20)...)},
		{"empty", nil},
		{"compressed", append([]byte{0x1f, 0x8b, 8, 0}, whole...)},
		{"a page of a web server", []byte("<!doctype html><title>welcome</title>\n")},
		{"a broken header", append([]byte("timestamp.json"), whole[14:]...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := outsider.Open(write(t, "acme.tar", tt.data), outsider.Options{})
			if !reason.Is(err, reason.Malformed) {
				t.Errorf("%v [%s], want malformed", err, reason.Of(err))
			}
			if s != nil {
				_ = s.Close()
			}
		})
	}
}

// withoutEnd cuts the blocks of zeros from a tar.
func withoutEnd(whole []byte) []byte { return whole[:len(whole)-1024] }

// Files with holes are written by no one who means well: their length is not that of what is stored.
func TestSparseBundles(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	// The writer refuses PAX records of its own kind, so they are put in by hand under a longer name.
	h := &tar.Header{Name: "timestamp.json", Typeflag: tar.TypeReg, Mode: 0o644, Size: 512, Format: tar.FormatPAX, PAXRecords: map[string]string{"XXX.sparse.major": "1", "XXX.sparse.minor": "0", "XXX.sparse.realsize": "1048576"}}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 512)
	copy(block, "0\n")
	if _, err := w.Write(block); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data := bytes.ReplaceAll(b.Bytes(), []byte("XXX.sparse"), []byte("GNU.sparse"))
	if _, err := outsider.Open(write(t, "acme.tar", data), outsider.Options{}); !reason.Is(err, reason.Malformed) || !strings.Contains(err.Error(), "holes") {
		t.Errorf("%v [%s], want malformed: holes", err, reason.Of(err))
	}
}

// A bundle may hold what is not of the layout, and names may be written as tar programs write them.
func TestBundlesThatAreTaken(t *testing.T) {
	d := acme(t)
	files := filesOf(t, d)
	plain := tarOf(t, files)
	for name, data := range map[string][]byte{
		"as tar makes it":   plain,
		"with other files":  edited(t, files, tar.Header{Name: "README.txt"}, "welcome"),
		"without the dots":  withoutDots(t, files),
		"padded to records": append(slices.Clone(plain), make([]byte, 20*512)...),
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ask(t, d, write(t, "acme.tar", data), outsider.Options{}, asked{})
			if err != nil || r.Err() != nil {
				t.Errorf("%v, %v", err, r)
			}
		})
	}
}

func withoutDots(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FuzzBundle holds the reader of bundles to the rule that it fails with a reason, or gives what the tar
// holds: the bytes of each file lie whole within it.
func FuzzBundle(f *testing.F) {
	small := map[string][]byte{"timestamp.json": []byte("{}"), "1.root.json": []byte(`{"signed":{}}`), "targets/a/1/x": bytes.Repeat([]byte("x"), 600)}
	f.Add(tarOf(f, small))
	f.Add(withoutDots(f, small))
	f.Add(withoutEnd(tarOf(f, small)))
	f.Add(edited(f, small, tar.Header{Name: "../x"}, "x"))
	f.Add(edited(f, small, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "x"}, ""))
	f.Add(edited(f, small, tar.Header{Name: strings.Repeat("long/", 40) + "x"}, "x"))
	f.Add([]byte{})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(dir, "fuzz.tar")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := outsider.Open(file, outsider.Options{})
		if err != nil {
			if class := reason.Of(err).Class(); class != reason.NotAuthentic {
				t.Fatalf("%v [%s]", err, reason.Of(err))
			}
			return
		}
		defer s.Close()
		r := tar.NewReader(bytes.NewReader(data))
		for range 1 << 10 {
			h, err := r.Next()
			if err != nil {
				return
			}
			if h.Typeflag != tar.TypeReg {
				continue
			}
			want, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Open(context.Background(), strings.TrimPrefix(h.Name, "./"))
			if err != nil {
				t.Fatalf("%q: %v", h.Name, err)
			}
			if bytesOf, err := io.ReadAll(got); err != nil || !bytes.Equal(bytesOf, want) {
				t.Fatalf("%q: %q, %v, want %q", h.Name, bytesOf, err, want)
			}
		}
	})
}

// A directory is read, and nothing beside it.
func TestDirectoriesThatAreRefused(t *testing.T) {
	d := acme(t)
	files := filesOf(t, d)
	secret := write(t, "timestamp.json", files["timestamp.json"])
	for _, tt := range []struct {
		name string
		edit func(t *testing.T, dir string)
		want reason.Reason
	}{
		{"a link that leads out", func(t *testing.T, dir string) {
			check(t, os.Remove(filepath.Join(dir, "timestamp.json")))
			check(t, os.Symlink(secret, filepath.Join(dir, "timestamp.json")))
		}, reason.Malformed},
		{"a relative link that leads out", func(t *testing.T, dir string) {
			check(t, os.Remove(filepath.Join(dir, "timestamp.json")))
			rel, err := filepath.Rel(dir, secret)
			check(t, err)
			check(t, os.Symlink(rel, filepath.Join(dir, "timestamp.json")))
		}, reason.Malformed},
		{"a folder for a file", func(t *testing.T, dir string) {
			check(t, os.Remove(filepath.Join(dir, "timestamp.json")))
			check(t, os.Mkdir(filepath.Join(dir, "timestamp.json"), 0o755))
		}, reason.Malformed},
		{"a file for a folder", func(t *testing.T, dir string) {
			check(t, os.RemoveAll(filepath.Join(dir, "approvals")))
			check(t, os.WriteFile(filepath.Join(dir, "approvals"), nil, 0o644))
		}, reason.Malformed},
		{"links in a circle", func(t *testing.T, dir string) {
			check(t, os.Remove(filepath.Join(dir, "timestamp.json")))
			check(t, os.Symlink("timestamp.json", filepath.Join(dir, "timestamp.json")))
		}, reason.Malformed},
		{"a link within", func(t *testing.T, dir string) {
			check(t, os.Rename(filepath.Join(dir, "timestamp.json"), filepath.Join(dir, "newest.json")))
			check(t, os.Symlink("newest.json", filepath.Join(dir, "timestamp.json")))
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := asDir(t, files)
			tt.edit(t, dir)
			_, err := ask(t, d, dir, outsider.Options{}, asked{})
			if got := reason.Of(err); got != tt.want {
				t.Errorf("%v [%s], want %q", err, got, tt.want)
			}
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Arguments that name no repository.
func TestPlacesThatAreNone(t *testing.T) {
	for _, where := range []string{
		"http://updates.example", "https://", "https://rivera@updates.example", "https://updates.example/?a=b", "https://updates.example/#a",
		"ftp://updates.example", "://", filepath.Join(t.TempDir(), "nothing"), os.DevNull, "",
	} {
		if _, err := outsider.Open(where, outsider.Options{}); !reason.Is(err, reason.UsageError) {
			t.Errorf("%q: %v [%s]", where, err, reason.Of(err))
		}
	}
	if _, err := outsider.Open(t.TempDir(), outsider.Options{CA: x509.NewCertPool()}); !reason.Is(err, reason.UsageError) {
		t.Errorf("certificate authorities of a directory: %v", err)
	}
}

// Servers that do not behave.
func TestServersThatAreRefused(t *testing.T) {
	d := acme(t)
	files := filesOf(t, d)
	give := func(w http.ResponseWriter, r *http.Request) {
		data, ok := files[strings.TrimPrefix(r.URL.Path, "/tuf/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}
	only := func(path string, h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, path) {
				h(w, r)
				return
			}
			give(w, r)
		}
	}
	hang := make(chan struct{})
	defer close(hang)
	wait := func(r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for _, tt := range []struct {
		name    string
		serve   http.HandlerFunc
		options func(*outsider.Options)
		want    reason.Reason
		text    string
	}{
		{name: "good", serve: give},
		{name: "images for devices only", serve: only("/targets/", status(http.StatusForbidden))},
		{name: "approvals for nobody", serve: only("/approvals/", status(http.StatusUnauthorized))},
		{name: "metadata for nobody", serve: status(http.StatusForbidden), want: reason.Permission},
		{name: "broken", serve: status(http.StatusInternalServerError), want: reason.Unreachable, text: "500"},
		{name: "broken approvals", serve: only("/approvals/", status(http.StatusBadGateway)), want: reason.Unreachable, text: "502"},
		{name: "empty answers", serve: status(http.StatusNoContent), want: reason.Unreachable, text: "204"},
		{name: "silent", serve: func(_ http.ResponseWriter, r *http.Request) { wait(r) }, options: func(o *outsider.Options) { o.Silence = 50 * time.Millisecond }, want: reason.Unreachable, text: "silent"},
		{name: "silent in the middle", serve: only("timestamp", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"signed"`))
			_ = http.NewResponseController(w).Flush()
			wait(r)
		}), options: func(o *outsider.Options) { o.Silence = 200 * time.Millisecond }, want: reason.Unreachable, text: "silent"},
		{name: "breaks off", serve: only("timestamp", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5000")
			_, _ = w.Write([]byte(`{"signed"`))
		}), want: reason.Unreachable, text: "broke off"},
		{name: "without end", serve: only("timestamp", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}), want: reason.TooLarge},
		{name: "redirects to http", serve: only("timestamp", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+r.Host+"/timestamp.json", http.StatusFound)
		}), want: reason.Unreachable, text: "not https"},
		{name: "redirects for ever", serve: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, want: reason.Unreachable, text: "redirects"},
		{name: "redirects", serve: only("timestamp", func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/cdn/timestamp.json") {
				_, _ = w.Write(files["timestamp.json"])
				return
			}
			http.Redirect(w, r, "/cdn/timestamp.json", http.StatusFound)
		})},
		{name: "unproven", serve: give, options: func(o *outsider.Options) { o.CA = nil }, want: reason.ServerUnproven},
	} {
		t.Run(tt.name, func(t *testing.T) {
			where, o := serveBy(t, tt.serve)
			if tt.options != nil {
				tt.options(&o)
			}
			_, err := ask(t, d, where, o, asked{})
			if got := reason.Of(err); got != tt.want {
				t.Fatalf("%v [%s], want %q", err, got, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v, want it to say %q", err, tt.text)
			}
		})
	}
}

// What outsiders say about themselves cannot steer a terminal.
func TestTextIsSafe(t *testing.T) {
	d := acme(t)
	d.Stop(image, "red\x1b[2J\u202e alert")
	files := d.Files()
	a := approve(t, d, "rivera", "engineering", "authored", "gw-100")
	a.Reason = "fine\n\x1b[31mrole     gw-100 99"
	files[approvals(d, "gw-100")] = line(t, a, "rivera")
	r, err := verify(d, &inMemory{files: files}, asked{})
	if err != nil {
		t.Fatal(err)
	}
	text := r.Text("root\x1b.json", "acme\r.tar")
	for _, bad := range []string{"\x1b", "\r", "\u202e", "\nrole     gw-100 99"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q reaches the terminal:\n%s", bad, text)
		}
	}
	for _, want := range []string{
		"REFUSED: stopped", `"red\u{1b}[2J\u{202e} alert"`, `"fine\u{a}\u{1b}[31mrole     gw-100 99"`,
		"sha256 " + r.Targets[0].SHA256, "root fingerprint " + r.Root.SHA256, "no approval kept here", "the repository's image: same bytes",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}
