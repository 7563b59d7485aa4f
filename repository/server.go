package repository

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/api"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/blob"
	"github.com/countersign-ota/countersign/repository/internal/identity"
	"github.com/countersign-ota/countersign/repository/internal/publish"
	"github.com/countersign-ota/countersign/repository/internal/secret"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/repository/internal/store/bolt"
)

// Names below the server's directory.
const (
	storeFile = "countersign.db"
	blobsDir  = "blobs"
	lockFile  = "lock"
)

// drain is how long calls that run may take to finish when the server stops.
const drain = 30 * time.Second

// sweepEvery is how often expired tokens are removed.
const sweepEvery = time.Hour

// Server is an open server. It serves from Serve to the end of Serve's context.
type Server struct {
	cfg  Config
	lock *durable.Lockfile
	db   store.Store
	reg  *identity.Registry
	pub  *publish.Publisher
	api  *api.API

	closing sync.Once
}

// Open takes the lock on the server's directory, opens what is stored in it, and reads the keys. The
// directory is one that Init made; online.pub in it is written anew if it is no longer true. Nothing is
// served or signed before Serve. The caller calls Close.
// Reasons: locked, config, secret-exposed, key-malformed, state-damaged, recover-first (it is a backup).
func Open(ctx context.Context, cfg Config) (_ *Server, err error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg}
	if s.lock, err = lockDir(cfg.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if exists(filepath.Join(cfg.Dir, ManifestFile)) {
		return nil, reason.Errorf(reason.RecoverFirst, "%s is a backup (it has a %s), and was not restored: a server that runs on it would sign versions that devices have already", cfg.Dir, ManifestFile).
			WithHint("move it elsewhere, then: countersignd restore BACKUP")
	}
	if s.db, err = openStore(ctx, cfg); err != nil {
		return nil, err
	}
	ca, err := identity.OpenAuthority(cfg.Dir, cfg.Deployment, cfg.Now)
	if err != nil {
		return nil, err
	}
	cert, err := ca.NewServerCertificate(cfg.Host(), cfg.file(cfg.TLSCert), cfg.file(cfg.TLSKey))
	if err != nil {
		return nil, err
	}
	rec := audit.NewRecorder(s.db, cfg.Now, cfg.Log)
	s.reg = identity.NewRegistry(s.db, ca, rec, cfg.Now, cfg.Server(), cfg.URL)
	if s.pub, err = s.publisher(ctx, ca, cert, rec); err != nil {
		return nil, err
	}
	s.api = api.New(api.Config{
		Deployment: cfg.Deployment, Registry: s.reg, Publisher: s.pub, Audit: rec,
		Certificate: cert.Get, PublicImages: cfg.PublicImages, Log: cfg.Log, Now: cfg.Now,
	})
	return s, nil
}

func lockDir(dir string) (*durable.Lockfile, error) {
	l, err := durable.Lock(filepath.Join(dir, lockFile))
	var held *durable.LockedError
	switch {
	case errors.As(err, &held):
		return nil, reason.Errorf(reason.Locked, "%s is in use: %w", dir, err).WithHint("stop the server that uses it")
	case err != nil:
		return nil, reason.Errorf(reason.Config, "dir: %w", err).WithHint("countersignd init --dir %s makes it", dir)
	}
	return l, nil
}

func openStore(ctx context.Context, cfg Config) (store.Store, error) {
	db, err := bolt.Open(filepath.Join(cfg.Dir, storeFile), bolt.Options{})
	if err != nil {
		return nil, err
	}
	var deployment string
	err = db.View(ctx, func(v store.View) error {
		deployment, err = v.Meta(store.MetaDeployment)
		return err
	})
	if err == nil && deployment != cfg.Deployment {
		err = reason.Errorf(reason.Config, "%s is of deployment %q, the configuration says %q", cfg.Dir, deployment, cfg.Deployment)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (s *Server) publisher(ctx context.Context, ca *identity.Authority, cert *identity.ServerCertificate, rec *audit.Recorder) (*publish.Publisher, error) {
	blobs, err := blob.Open(filepath.Join(s.cfg.Dir, blobsDir))
	if err != nil {
		return nil, err
	}
	keys := secret.Source{Dir: s.cfg.Dir, Credentials: s.cfg.Credentials, KMS: s.cfg.KMS}
	image, err := keys.Online(ctx, s.cfg.OnlineImage)
	if err != nil {
		return nil, reason.Wrap(err, "online.image")
	}
	director, err := keys.Load(s.cfg.OnlineDirector)
	if err != nil {
		return nil, reason.Wrap(err, "online.director")
	}
	own, err := cert.Hash()
	if err != nil {
		return nil, err
	}
	anchors := [][32]byte{identity.SPKIHash(ca.Root()), own}
	if err := s.writeOnline(image, director, anchors); err != nil {
		return nil, err
	}
	return publish.Open(ctx, publish.Config{
		Deployment: s.cfg.Deployment, Store: s.db, Blobs: blobs, Audit: rec,
		ImageKey: image, DirectorKey: director, TLS: anchors, Now: s.cfg.Now, Log: s.cfg.Log,
	})
}

// writeOnline keeps online.pub true after a change of the online keys or of the TLS certificate: the
// next plan takes it from there.
func (s *Server) writeOnline(image, director publish.Public, anchors [][32]byte) error {
	online, err := publish.OnlinePub(s.cfg.Deployment, s.cfg.URL, image, director, anchors)
	if err != nil {
		return err
	}
	path := filepath.Join(s.cfg.Dir, OnlineFile)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, online.File) {
		return nil
	}
	s.cfg.Log.Warn("online.pub is written anew: a root must name these keys and anchors", "image", online.ImageID, "director", online.DirectorID)
	return durable.Replace(path, online.File, 0o644)
}

// Serve listens on both addresses, serves and keeps the online roles fresh until ctx ends; then it
// takes no new calls, lets those that run finish for at most 30 s, and returns nil. Reason unreachable
// if an address cannot be had.
func (s *Server) Serve(ctx context.Context) error {
	var lc net.ListenConfig
	g, err := lc.Listen(ctx, "tcp", s.cfg.GRPC)
	if err != nil {
		return reason.Errorf(reason.Unreachable, "listen.grpc: %w", err)
	}
	h, err := lc.Listen(ctx, "tcp", s.cfg.HTTPS)
	if err != nil {
		_ = g.Close()
		return reason.Errorf(reason.Unreachable, "listen.https: %w", err)
	}
	stopControl, err := s.serveControl()
	if err != nil {
		return errors.Join(err, g.Close(), h.Close())
	}
	defer stopControl()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.pub.Run(ctx, s.api.SetHealth) })
	wg.Go(func() { s.sweep(ctx) })
	s.cfg.Log.Info("serving", "deployment", s.cfg.Deployment, "grpc", g.Addr().String(), "https", h.Addr().String())
	err = s.api.Serve(ctx, g, h, drain)
	cancel()
	wg.Wait()
	s.cfg.Log.Info("stopped")
	return err
}

// sweep removes expired tokens until ctx ends.
func (s *Server) sweep(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		if err := s.reg.DropExpired(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("expired tokens not removed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Close closes the store and lets go of the directory. Call it after Serve returned; a second call
// does nothing.
func (s *Server) Close() error {
	var err error
	s.closing.Do(func() {
		if s.db != nil {
			err = s.db.Close()
		}
		if s.lock != nil {
			err = errors.Join(err, s.lock.Close())
		}
	})
	return err
}
