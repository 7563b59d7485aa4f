package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/home"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/cmd/internal/cli/tree"
	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/remote"
)

// tool is one run of the program.
type tool struct {
	*tree.Program
	getenv func(string) string
	now    func() time.Time
	// silence is how long a server may say nothing; 0 is remote.DefaultTimeout.
	silence time.Duration

	asked  string   // --deployment
	key    string   // --key
	expect []string // --expect

	opened *home.Home
	// met is the deployment whose server this run connected to last; nil without one.
	met *deployment
}

// home reads the configuration, once.
func (t *tool) home() (*home.Home, error) {
	if t.opened != nil {
		return t.opened, nil
	}
	paths, err := cli.PathsFrom(t.getenv)
	if err != nil {
		return nil, err
	}
	t.opened, err = home.Open(paths)
	return t.opened, err
}

// deployment is one deployment as this machine knows it.
type deployment struct {
	id       string
	place    home.Place
	settings home.Settings
	client   *remote.Client // nil until connected
}

// Close ends the connection, if there is one.
func (d *deployment) Close() {
	if d.client != nil {
		_ = d.client.Close()
	}
}

// host is the name by which people know the server.
func (d *deployment) host() string {
	host, _, _ := strings.Cut(d.settings.Server, ":")
	return host
}

// choose returns the deployment that this run is about; named is the one that a file names, or "".
func (t *tool) choose(named string) (*deployment, error) {
	h, err := t.home()
	if err != nil {
		return nil, err
	}
	id, err := h.Choose(t.asked, named)
	if err != nil {
		return nil, err
	}
	return &deployment{id: id, place: h.Place(id), settings: h.Settings(id)}, nil
}

// connected is choose with a connection to the server. The caller closes it.
func (t *tool) connected(ctx context.Context, named string) (*deployment, error) {
	d, err := t.choose(named)
	if err != nil {
		return nil, err
	}
	return d, t.connect(ctx, d)
}

// connect dials the deployment's server and renews the connection key when it is due.
func (t *tool) connect(ctx context.Context, d *deployment) error {
	if d.client != nil {
		return nil
	}
	id, err := d.place.Identity()
	if err != nil {
		return err
	}
	ca, err := d.place.CA()
	if err != nil {
		return err
	}
	if id == nil || ca == nil || d.settings.Server == "" {
		return reason.Errorf(reason.Config, "this machine is not logged in to a server of %s", d.id).
			WithHint("countersign login --token-file FILE")
	}
	if err := id.Expired(t.now()); err != nil {
		return err
	}
	cfg := remote.Config{Address: d.settings.Server, CA: ca, Identity: id, Timeout: t.silence, Agent: agent()}
	if d.client, err = remote.Dial(cfg); err != nil {
		return err
	}
	if t.met = d; !id.Due(t.now()) {
		return nil
	}
	fresh, err := d.client.Renew(ctx, ca, d.id, d.settings.Operator)
	if err != nil {
		if reason.Is(err, reason.Unreachable) {
			return err
		}
		t.Out.Warn("the certificate could not be renewed: %s", cli.Safe(err.Error()))
		return nil
	}
	if err := d.place.KeepIdentity(fresh); err != nil {
		return err
	}
	d.Close()
	cfg.Identity = fresh
	d.client, err = remote.Dial(cfg)
	return err
}

func agent() string { return "countersign/" + cli.Version }

// tilde shortens a path under the home directory for people.
func (t *tool) tilde(path string) string {
	if h := t.getenv("HOME"); h != "" {
		if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(h, "/")+"/"); ok {
			return "~/" + cli.Safe(rest)
		}
	}
	return cli.Safe(path)
}

// readFile reads a file that an argument names, at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, reason.Errorf(reason.UsageError, "%s does not exist", cli.Quote(path))
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, reason.Errorf(reason.TooLarge, "%s has more than %s", cli.Quote(path), cli.Bytes(limit))
	}
	return data, nil
}

// free refuses a path at which something is; commands ask before they do anything else.
func free(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return reason.Errorf(reason.Exists, "%s exists and is not overwritten", cli.Quote(path))
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil || !info.IsDir() {
		return reason.Errorf(reason.UsageError, "there is no directory %s", cli.Quote(filepath.Dir(path)))
	}
	return nil
}

// create writes a new file, durably.
func create(path string, data []byte, mode fs.FileMode) error {
	err := durable.CreateNew(path, data, mode)
	if errors.Is(err, fs.ErrExist) {
		return reason.Errorf(reason.Exists, "%s exists and is not overwritten", cli.Quote(path))
	}
	return diskFull(err)
}

func diskFull(err error) error {
	if err != nil && durable.IsFull(err) {
		return reason.Errorf(reason.DiskFull, "%w", err)
	}
	return err
}

// ago says how long before now a moment was: "2 h ago".
func ago(now, then time.Time) string { return span(now.Sub(then)) + " ago" }

// span returns a duration in its largest unit: "41 d", "2 h", "3 min", "5 s".
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", max(0, d/time.Second))
}

// opening and options are how this tool opens and judges events: by this machine's clock and memory. It
// signs with keys of keys-example, and warns; server and device refuse them (DESIGN 1.4).
func (t *tool) opening(m event.Memory) event.Opening {
	return event.Opening{Now: t.now(), Memory: m, AllowExample: true}
}

func (t *tool) options(m event.Memory) event.Options {
	return event.Options{Now: t.now(), Memory: m, AllowExample: true}
}

// short is how an id is shown in tables.
func short(id string) string { return id[:min(12, len(id))] }
