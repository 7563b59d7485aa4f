package integration

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/countersign-ota/countersign/integration/world"
)

// A stock go-tuf client that knows nothing of Countersign refreshes from the HTTPS side and downloads an
// image, with root 1 as its only trust, before and after two root rotations.
func TestStockTUFClientThroughRootRotations(t *testing.T) {
	w := start(t)
	want := image(t, w, "gw.img", 500_000, 7)
	must(t, w.Release("gw-100/1.0.0", "gw.img"))
	root, err := w.Root()
	must(t, err)
	client := stockClient(t, w)
	dir := t.TempDir()
	refresh := func() int64 {
		t.Helper()
		u := stockRefresh(t, w, root, client, dir)
		stockDownload(t, u, "gw-100/1.0.0/gw.img", want)
		set := u.GetTrustedMetadataSet()
		return set.Root.Signed.Version
	}
	if v := refresh(); v != 1 {
		t.Fatalf("root version %d, want 1", v)
	}
	for rotation, holder := range []string{"okafor", "chen"} {
		rotate(t, w, holder)
		if v := refresh(); v != int64(rotation)+2 {
			t.Fatalf("root version %d after %d rotations", v, rotation+1)
		}
	}
	// A device that missed both takes them in one cycle.
	d, err := w.EnrolledDevice("gw-0001", world.DeviceOptions{Root: string(root)})
	must(t, err)
	must(t, d.Update())
	runs(t, d, want)
}

// stockRefresh runs a go-tuf client whose only trust at first is root; dir keeps what it has.
func stockRefresh(t *testing.T, w *world.World, root []byte, client *http.Client, dir string) *updater.Updater {
	t.Helper()
	cfg, err := config.New("https://"+w.HTTPS, root)
	must(t, err)
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = filepath.Join(dir, "metadata"), filepath.Join(dir, "targets")
	must(t, cfg.SetDefaultFetcherHTTPClient(client))
	u, err := updater.New(cfg)
	must(t, err)
	must(t, u.Refresh())
	return u
}

// stockDownload has it download a target, which must be these bytes.
func stockDownload(t *testing.T, u *updater.Updater, path string, want []byte) {
	t.Helper()
	info, err := u.GetTargetInfo(path)
	must(t, err)
	_, data, err := u.DownloadTarget(info, filepath.Join(t.TempDir(), "download"), "")
	must(t, err)
	if !bytes.Equal(data, want) {
		t.Fatal("the stock client downloaded other bytes")
	}
}

// rotate gives one holder new keys for both roots; the two others and the holder sign.
func rotate(t *testing.T, w *world.World, holder string) {
	t.Helper()
	old := w.KeyFile(holder)
	must(t, os.Rename(old, old+".old"))
	must(t, os.Rename(filepath.Join(w.Desk(holder), holder+".pub"), filepath.Join(w.Desk(holder), holder+".pub.old")))
	_, err := w.NewKey(holder, "--director")
	must(t, err)
	must(t, w.Give(holder, world.Engineer, holder+".pub"))
	id, err := w.Open(world.Engineer, "change", "plan.yaml", "--no-input", "--yes")
	must(t, err)
	for _, p := range world.People {
		must(t, w.Sign(p, id, id, "--reason", "a new key for "+holder).Err())
	}
	must(t, w.As(world.Engineer, "publish", id, "--no-input", "--yes").Err())
}

// stockClient is an ordinary HTTP client that trusts the identity CA and shows an operator's
// certificate, as images want one.
func stockClient(t *testing.T, w *world.World) *http.Client {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(w.ServerDir(), "identity", "root.pem"))
	must(t, err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatal("identity root is no PEM")
	}
	both, err := os.ReadFile(filepath.Join(w.Desk(world.Engineer), ".countersign", "state", w.Deployment, "identity.pem"))
	must(t, err)
	pair, err := tls.X509KeyPair(both, both)
	must(t, err)
	c := &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}},
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}
