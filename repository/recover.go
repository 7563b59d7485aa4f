package repository

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/countersign-ota/countersign/internal/durable"
	controlpb "github.com/countersign-ota/countersign/proto/countersign/control/v1"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/publish"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

type (
	// EventFile is an event file that recovery takes role files from: its base, and what it proposes where
	// the quorum is complete.
	EventFile = controlpb.EventFile
	// RecoveryPlan says what Recover would do.
	RecoveryPlan = controlpb.PlanRecoveryResponse
	// Recovery is what a person agreed to.
	Recovery = controlpb.RecoverRequest
	// Recovered says what stands after Recover.
	Recovered = controlpb.RecoverResponse
)

// MaxEventFile bounds an event file in bytes.
const MaxEventFile = publish.MaxEvent

// maxEventFiles bounds the files of one recovery.
const maxEventFiles = 64

// PlanRecovery says what Recover would do now, with these event files besides what tools have shown. It
// changes nothing. It asks the running server, or opens a stopped one.
func PlanRecovery(ctx context.Context, cfg Config, events []*EventFile) (*RecoveryPlan, error) {
	if len(events) > maxEventFiles {
		return nil, reason.Errorf(reason.UsageError, "%d event files, at most %d are taken", len(events), maxEventFiles)
	}
	return ask(ctx, cfg.Dir, func(c controlpb.ControlClient) (*RecoveryPlan, error) {
		return c.PlanRecovery(ctx, &controlpb.PlanRecoveryRequest{Events: events})
	}, func() (*RecoveryPlan, error) {
		return opened(ctx, cfg, func(s *Server) (*RecoveryPlan, error) { return s.pub.PlanRecovery(ctx, events) })
	})
}

// Recover carries out a plan, whole or not at all; then the server signs, opens and publishes again. What
// changes is durable on return. Token files are written into the server's directory, in place of older
// ones. Reasons: busy (the plan is not what it would be now), repository-behind-field, not-found,
// permission, and those of Open.
func Recover(ctx context.Context, cfg Config, q *Recovery) (*Recovered, error) {
	return ask(ctx, cfg.Dir, func(c controlpb.ControlClient) (*Recovered, error) { return c.Recover(ctx, q) },
		func() (*Recovered, error) {
			return opened(ctx, cfg, func(s *Server) (*Recovered, error) { return s.recover(ctx, q) })
		})
}

// opened runs fn on a server that is stopped and stays so.
func opened[T any](ctx context.Context, cfg Config, fn func(*Server) (T, error)) (T, error) {
	var none T
	s, err := Open(ctx, cfg)
	if err != nil {
		return none, err
	}
	answer, err := fn(s)
	return answer, errors.Join(err, s.Close())
}

func (s *Server) recover(ctx context.Context, q *Recovery) (*Recovered, error) {
	if len(q.GetEvents()) > maxEventFiles {
		return nil, reason.Errorf(reason.UsageError, "%d event files, at most %d are taken", len(q.GetEvents()), maxEventFiles)
	}
	var tokens []*pb.Token
	people := func(tx store.Tx) (err error) {
		tokens, err = s.reg.Recover(tx, localActor, q.GetRevoke(), q.GetInvite())
		return err
	}
	done, err := s.pub.Recover(ctx, localActor, q.GetEvents(), q.GetPlan(), people)
	if err != nil {
		return nil, err
	}
	for _, t := range tokens {
		_, data, err := tokenFile(t)
		if err != nil {
			return nil, err
		}
		path := filepath.Join(s.cfg.Dir, t.GetSubject()+tokenSuffix)
		if err := durable.Replace(path, data, 0o600); err != nil {
			return nil, err
		}
		done.Tokens = append(done.Tokens, path)
	}
	return done, nil
}

// Backup copies all that a server needs into dest, a folder that must not exist: the store as one state,
// images and evidence, configuration, identity and online keys. The copy holds secrets: its folder has
// mode 0700. It works beside the running server, which then writes it, and on a stopped one. config is
// the configuration as the server uses it, and the file's bytes. Reasons: exists, usage, locked,
// disk-full.
func Backup(ctx context.Context, cfg Config, config []byte, dest string) (*Manifest, error) {
	data, err := ask(ctx, cfg.Dir, func(c controlpb.ControlClient) ([]byte, error) {
		answer, err := c.Backup(ctx, &controlpb.BackupRequest{Dest: dest, Config: config})
		return answer.GetManifest(), err
	}, func() ([]byte, error) {
		m, err := backupStopped(ctx, cfg, config, dest)
		if err != nil {
			return nil, err
		}
		return m.Bytes()
	})
	if err != nil {
		return nil, err
	}
	return ParseManifest(data)
}

func backupStopped(ctx context.Context, cfg Config, config []byte, dest string) (_ *Manifest, err error) {
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	db, err := openStore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	b := &backup{ctx: ctx, cfg: &cfg, config: config, db: db, now: time.Now(), dest: dest}
	return b.write()
}
