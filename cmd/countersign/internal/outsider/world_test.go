package outsider_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/outsider"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/statement"
)

// What acme makes.
const (
	image    = "gw-100/2.4.1/gw.img"
	stopped  = "gw-100/2.4.0/gw.img"
	firmware = "firmware 2.4.1"
)

// acme is a deployment with a rotated root, two products, two releases and a stop.
func acme(t testing.TB) *metadatatest.Deployment {
	t.Helper()
	d := metadatatest.New(t, metadatatest.Options{})
	d.AddProduct("gw-100", metadatatest.Product{})
	d.AddProduct("pump-9", metadatatest.Product{Bins: 16})
	d.Release("gw-100", "2.4.0", 16, metadatatest.Target{Data: []byte("firmware 2.4.0")})
	d.Release("gw-100", "2.4.1", 17, metadatatest.Target{Data: []byte(firmware)})
	d.Release("pump-9", "1.0.0", 1, metadatatest.Target{Data: []byte("pump a"), File: "a.img", Component: "a"},
		metadatatest.Target{Data: []byte("pump b"), File: "b.img", Component: "b"},
		metadatatest.Target{Data: []byte("pump c"), File: "c.img", Component: "c"})
	d.Stop(stopped, "leaks")
	d.RotateRoot(metadata.Image, nil)
	d.Publish()
	return d
}

// event is the id of the event in approvals, unless a test says otherwise.
var event = strings.Repeat("ab", 32)

// approve returns the approval of a person, with their own key, for the newest files of image roles.
func approve(t testing.TB, d *metadatatest.Deployment, who, class, meaning string, roles ...string) *statement.Approval {
	t.Helper()
	a := &statement.Approval{Person: who, Name: "Dr. " + who, At: d.Now.UTC().Truncate(time.Second), Reason: "record 8812", Event: event}
	for _, role := range roles {
		a.Files = append(a.Files, statement.ApprovedFile{
			Repository: metadata.Image, Role: role, Version: d.Version(metadata.Image, role), Digest: digestOf(t, d.File(metadata.Image, role), role),
			Class: class, Meaning: meaning,
		})
	}
	return a
}

func digestOf(t testing.TB, file []byte, role string) string {
	t.Helper()
	var sum [32]byte
	if role == metadata.Root {
		f, err := metadata.ParseRoot(file, metadata.Profile)
		if err != nil {
			t.Fatal(err)
		}
		sum = f.Digest()
	} else {
		f, err := metadata.ParseTargets(file, metadata.Profile)
		if err != nil {
			t.Fatal(err)
		}
		sum = f.Digest()
	}
	return hex.EncodeToString(sum[:])
}

// line signs an approval with the image key of who, as one line.
func line(t testing.TB, a *statement.Approval, who string) []byte {
	t.Helper()
	payload, err := a.Payload()
	if err != nil {
		t.Fatal(err)
	}
	e, err := statement.Sign(statement.KindApproval, payload, metadatatest.NewKey(t, who, metadata.Image).Signer)
	if err != nil {
		t.Fatal(err)
	}
	data, err := e.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

// filesOf is what a copy of the repository holds: also the approvals of what gw-100 is now.
func filesOf(t testing.TB, d *metadatatest.Deployment) map[string][]byte {
	t.Helper()
	files := d.Files()
	files[approvals(d, "gw-100")] = slices.Concat(
		line(t, approve(t, d, "rivera", "engineering", "authored", "gw-100"), "rivera"),
		line(t, approve(t, d, "chen", "quality", "approved", "gw-100"), "chen"))
	return files
}

// approvals is the path of the approvals of a role's newest version.
func approvals(d *metadatatest.Deployment, role string) string {
	return fmt.Sprintf("approvals/%d.%s.jsonl", versionOf(d, role), role)
}

func versionOf(d *metadatatest.Deployment, role string) int64 { return d.Version(metadata.Image, role) }

// imagePath is where the layout has a target.
func imagePath(target string, data []byte) string {
	return fmt.Sprintf("targets/%s/%x.%s", path.Dir(target), sha256.Sum256(data), path.Base(target))
}

// asDir writes files to a directory.
func asDir(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tarOf makes a tar as `tar -C DIR -cf FILE .` does.
func tarOf(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h tar.Header, data []byte) {
		h.Mode, h.Size = 0o644, int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	put(tar.Header{Name: "./", Typeflag: tar.TypeDir}, nil)
	put(tar.Header{Name: "./approvals/", Typeflag: tar.TypeDir}, nil)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		put(tar.Header{Name: "./" + name, Typeflag: tar.TypeReg}, files[name])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// serve serves files at https and returns the options to reach them.
func serve(t testing.TB, files map[string][]byte) (string, outsider.Options) {
	t.Helper()
	return serveBy(t, func(w http.ResponseWriter, r *http.Request) {
		data, ok := files[strings.TrimPrefix(r.URL.Path, "/tuf/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	})
}

func serveBy(t testing.TB, h http.HandlerFunc) (string, outsider.Options) {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return s.URL + "/tuf", outsider.Options{CA: pool}
}

// kinds are the three forms of a repository.
var kinds = map[string]func(t testing.TB, files map[string][]byte) (string, outsider.Options){
	"directory": func(t testing.TB, files map[string][]byte) (string, outsider.Options) {
		return asDir(t, files), outsider.Options{}
	},
	"bundle": func(t testing.TB, files map[string][]byte) (string, outsider.Options) {
		return write(t, "acme.tar", tarOf(t, files)), outsider.Options{}
	},
	"url": serve,
}

// asked is one call of verify.
type asked struct {
	root     []byte
	what     outsider.Release
	now      time.Time
	artifact string
}

var release = outsider.Release{Product: "gw-100", Version: "2.4.1"}

// ask verifies; without more it is release by root 1.
func ask(t testing.TB, d *metadatatest.Deployment, where string, o outsider.Options, a asked) (*outsider.Report, error) {
	t.Helper()
	source, err := outsider.Open(where, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := source.Close(); err != nil {
			t.Error(err)
		}
	}()
	return verify(d, source, a)
}

func verify(d *metadatatest.Deployment, source outsider.Source, a asked) (*outsider.Report, error) {
	if a.root == nil {
		a.root = d.Root(metadata.Image, 1)
	}
	if a.what == (outsider.Release{}) {
		a.what = release
	}
	if a.now.IsZero() {
		a.now = d.Now
	}
	return outsider.Verify(context.Background(), outsider.Config{
		Root: a.root, Source: source, Now: a.now, Artifact: a.artifact, Progress: cli.NoProgress{},
	}, a.what)
}

// inMemory is a copy in memory.
type inMemory struct {
	files map[string][]byte
	opens []string
}

func (m *inMemory) Open(_ context.Context, name string) (io.ReadCloser, error) {
	m.opens = append(m.opens, name)
	data, ok := m.files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, notFound)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (*inMemory) Copy() bool   { return true }
func (*inMemory) Close() error { return nil }
