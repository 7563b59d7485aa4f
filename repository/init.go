package repository

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"syscall"
	"time"

	"github.com/countersign-ota/countersign/internal/durable"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/identity"
	"github.com/countersign-ota/countersign/repository/internal/publish"
	"github.com/countersign-ota/countersign/repository/internal/secret"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/repository/internal/store/bolt"
)

// Names of what Init makes for people, below the directory.
const (
	ConfigFile  = "server.yaml"
	OnlineFile  = "online.pub"
	RootKeyFile = "identity-root.key"

	imageKeyFile    = "online/image.key"
	directorKeyFile = "online/director.key"
)

// firstRole is what the first operator is.
const firstRole = "admin"

// InitOptions describe a new server. All but the addresses, Now and Log are required.
type InitOptions struct {
	Deployment, URL, Dir string
	// Operator is the id of the first operator.
	Operator string
	// Passphrase encrypts the root key of the identity CA.
	Passphrase []byte
	// GRPC and HTTPS are the addresses to listen on; empty: :8443, and the URL's port or :8444.
	GRPC, HTTPS string
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// Made says what Init made.
type Made struct {
	// Config, Online, RootKey and Token are paths: the configuration, the online keys for the plan, the
	// encrypted key to carry away, the first operator's token.
	Config, Online, RootKey, Token string
	// Expires is when the token does.
	Expires time.Time
	// ImageKey and DirectorKey are the ids of the online keys.
	ImageKey, DirectorKey string
}

// CheckInit judges the options without making anything. Reasons: malformed, usage, exists.
func CheckInit(o InitOptions) error {
	_, err := o.config()
	return err
}

// config returns the configuration that the options stand for.
func (o InitOptions) config() (*Config, error) {
	if err := metadata.CheckID("deployment", o.Deployment); err != nil {
		return nil, err
	}
	if err := identity.CheckOperator(o.Operator); err != nil {
		return nil, err
	}
	if err := enroll.CheckURL(o.URL); err != nil {
		return nil, reason.Wrap(err, "url")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil || o.Dir == "" {
		return nil, reason.Errorf(reason.UsageError, "dir %q is no path", o.Dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, reason.Errorf(reason.UsageError, "dir: %w", err)
	}
	if len(entries) > 0 {
		return nil, reason.Errorf(reason.Exists, "%s is not empty; nothing was made", dir)
	}
	c := &Config{
		Deployment: o.Deployment, Dir: dir, URL: o.URL, GRPC: o.GRPC, HTTPS: o.HTTPS,
		OnlineImage: imageKeyFile, OnlineDirector: directorKeyFile,
	}
	if c.GRPC == "" {
		c.GRPC = ":8443"
	}
	if c.HTTPS == "" {
		c.HTTPS = ":8444"
		if u, err := url.Parse(o.URL); err == nil && u.Port() != "" {
			c.HTTPS = net.JoinHostPort("", u.Port())
		}
	}
	return ParseConfig(ConfigFile, configYAML(c))
}

// Init makes the directory of a new server: configuration, online keys, identity CA, store, and a
// token for the first operator. It makes all of it, durably, or nothing: the directory gets its name
// when it is complete. Reasons: malformed, usage, exists, wrong-passphrase, disk-full.
func Init(ctx context.Context, o InitOptions) (*Made, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	cfg, err := o.config()
	if err != nil {
		return nil, err
	}
	parent := filepath.Dir(cfg.Dir)
	if err := durable.MkdirAll(parent, 0o755); err != nil {
		return nil, onDisk(err)
	}
	tmp, err := os.MkdirTemp(parent, "."+filepath.Base(cfg.Dir)+".init-*")
	if errors.Is(err, fs.ErrPermission) {
		return nil, reason.Errorf(reason.UsageError, "dir is made beside its name, and %s may not be written: %w", parent, err).
			WithHint("run it as a user who may, then give the folder to the server's user: chown -R")
	}
	if err != nil {
		return nil, onDisk(err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // nothing is left there once it has its name
	made, err := o.fill(ctx, cfg, tmp)
	if err != nil {
		return nil, onDisk(err)
	}
	// rename(2) takes the place of an empty directory and of no other; os.Rename takes that of none.
	if err := syscall.Rename(tmp, cfg.Dir); err != nil {
		return nil, onDisk(&os.LinkError{Op: "rename", Old: tmp, New: cfg.Dir, Err: err})
	}
	return made, onDisk(durable.SyncDir(parent))
}

func onDisk(err error) error {
	if err != nil && durable.IsFull(err) && reason.Of(err) == "" {
		return reason.Errorf(reason.DiskFull, "nothing was made: %w", err)
	}
	return err
}

// fill makes everything in dir, which will be named cfg.Dir.
func (o InitOptions) fill(ctx context.Context, cfg *Config, dir string) (*Made, error) {
	m, err := identity.NewMaterial(o.Deployment, o.Passphrase, o.Now())
	if err != nil {
		return nil, err
	}
	imagePEM, directorPEM, online, err := newOnlineKeys(o.Deployment, o.URL, [][32]byte{identity.SPKIHash(m.Root), m.ServerKeyHash})
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		ConfigFile: configYAML(cfg), OnlineFile: online.File, RootKeyFile: m.RootKey,
		imageKeyFile: imagePEM, directorKeyFile: directorPEM,
	}
	for name, data := range m.Files {
		files[name] = data
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if err := durable.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			return nil, err
		}
		mode := fs.FileMode(0o600)
		if name == OnlineFile || name == ConfigFile {
			mode = 0o644
		}
		if err := durable.CreateNew(filepath.Join(dir, name), files[name], mode); err != nil {
			return nil, err
		}
	}
	if err := durable.MkdirAll(filepath.Join(dir, blobsDir), 0o700); err != nil {
		return nil, err
	}
	token, err := o.firstToken(ctx, cfg, dir)
	if err != nil {
		return nil, err
	}
	return &Made{
		Config: filepath.Join(cfg.Dir, ConfigFile), Online: filepath.Join(cfg.Dir, OnlineFile),
		RootKey: filepath.Join(cfg.Dir, RootKeyFile), Token: filepath.Join(cfg.Dir, o.Operator+".token"),
		Expires: token.Expires, ImageKey: online.ImageID, DirectorKey: online.DirectorID,
	}, nil
}

// newOnlineKeys makes a pair of online keys and the online.pub of them; tls are the SPKI hashes of the
// server's TLS anchors.
func newOnlineKeys(deployment, url string, tls [][32]byte) (imagePEM, directorPEM []byte, pub *publish.OnlineFile, err error) {
	image, imagePEM, err := newOnlineKey()
	if err != nil {
		return nil, nil, nil, err
	}
	director, directorPEM, err := newOnlineKey()
	if err != nil {
		return nil, nil, nil, err
	}
	pub, err = publish.OnlinePub(deployment, url, image, director, tls)
	return imagePEM, directorPEM, pub, err
}

func newOnlineKey() (crypto.Signer, []byte, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	data, err := secret.Marshal(key)
	return key, data, err
}

// firstToken makes the store with the first operator in it, and the operator's token file.
func (o InitOptions) firstToken(ctx context.Context, cfg *Config, dir string) (*enroll.TokenFile, error) {
	db, err := bolt.Create(filepath.Join(dir, storeFile), bolt.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	err = db.Update(ctx, func(tx store.Tx) error {
		if err := tx.SetMeta(store.MetaDeployment, o.Deployment); err != nil {
			return err
		}
		return audit.Write(tx, audit.Entry(o.Now(), audit.Server, "server.init", o.Deployment, o.URL))
	})
	if err != nil {
		return nil, err
	}
	ca, err := identity.OpenAuthority(dir, o.Deployment, o.Now)
	if err != nil {
		return nil, err
	}
	rec := audit.NewRecorder(db, o.Now, slog.New(slog.DiscardHandler))
	reg := identity.NewRegistry(db, ca, rec, o.Now, cfg.Server(), cfg.URL)
	t, err := reg.InviteOperator(ctx, audit.Server, o.Operator, []string{firstRole}, "")
	if err != nil {
		return nil, err
	}
	file, data, err := tokenFile(t)
	if err != nil {
		return nil, err
	}
	if err := durable.CreateNew(filepath.Join(dir, o.Operator+tokenSuffix), data, 0o600); err != nil {
		return nil, err
	}
	return file, db.Close()
}

// tokenFile returns an operator's token as a file, and its bytes.
func tokenFile(t *pb.Token) (*enroll.TokenFile, []byte, error) {
	file, err := enroll.FromProto(enroll.Operator, t)
	if err != nil {
		return nil, nil, err
	}
	data, err := file.Bytes()
	return file, data, err
}
