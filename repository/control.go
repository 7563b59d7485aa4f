package repository

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	controlpb "github.com/countersign-ota/countersign/proto/countersign/control/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
	"github.com/countersign-ota/countersign/repository/internal/audit"
)

// maxControl bounds a message on the control socket in bytes: event files go in, lists of devices out.
const maxControl = 1 << 30

// localActor is who acts through the control socket, or on the directory of a stopped server: whoever
// may, could write all of its files.
const localActor = audit.Server

// serveControl serves the control socket until stop is called, which lets a call that runs be cancelled.
func (s *Server) serveControl() (stop func(), err error) {
	l, err := listenControl(s.cfg.Dir, s.cfg.Log)
	if err != nil {
		return nil, err
	}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(maxControl), grpc.MaxSendMsgSize(maxControl), grpc.UnaryInterceptor(s.controlCall))
	controlpb.RegisterControlServer(g, &controlService{s: s})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := g.Serve(l); err != nil {
			s.cfg.Log.Error("control socket", "error", err)
		}
	})
	return func() {
		g.Stop()
		wg.Wait()
	}, nil
}

// controlCall writes one line a call, and turns errors into statuses.
func (s *Server) controlCall(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (resp any, err error) {
	start := s.cfg.Now()
	func() {
		defer func() {
			if p := recover(); p != nil {
				err = errors.New("panic in a handler")
				s.cfg.Log.Error("panic", "method", info.FullMethod, "panic", p)
			}
		}()
		resp, err = h(ctx, req)
	}()
	took := s.cfg.Now().Sub(start)
	if err != nil {
		s.cfg.Log.Info("control", "method", info.FullMethod, "took", took, "reason", string(reason.Of(err)), "error", err)
		if reason.Of(err) == "" && ctx.Err() == nil { // the caller is this machine's: it may hear all of it
			err = reason.Errorf(reason.StateDamaged, "%w", err)
		}
		return nil, status.ToStatus(err).Err()
	}
	s.cfg.Log.Info("control", "method", info.FullMethod, "took", took)
	return resp, nil
}

// controlService is what commands beside the server ask for.
type controlService struct {
	controlpb.UnimplementedControlServer
	s *Server
}

func (c *controlService) CheckStore(ctx context.Context, _ *controlpb.CheckStoreRequest) (*controlpb.CheckStoreResponse, error) {
	r, err := checkOpen(ctx, c.s.cfg.Dir, c.s.db, c.s.cfg.Now())
	if err != nil {
		return nil, err
	}
	answer := &controlpb.CheckStoreResponse{Checked: map[string]int64{}}
	for what, n := range r.Checked {
		answer.Checked[what] = int64(n)
	}
	for _, p := range r.Problems {
		answer.Problems = append(answer.Problems, &controlpb.CheckProblem{Where: p.Where, Reason: string(reason.Of(p.Err)), Message: p.Err.Error()})
	}
	return answer, nil
}

func (c *controlService) Backup(ctx context.Context, q *controlpb.BackupRequest) (*controlpb.BackupResponse, error) {
	b := &backup{ctx: ctx, cfg: &c.s.cfg, config: q.GetConfig(), db: c.s.db, now: c.s.cfg.Now(), dest: q.GetDest()}
	m, err := b.write()
	if err != nil {
		return nil, err
	}
	data, err := m.Bytes()
	return &controlpb.BackupResponse{Manifest: data}, err
}

func (c *controlService) PlanRecovery(ctx context.Context, q *controlpb.PlanRecoveryRequest) (*controlpb.PlanRecoveryResponse, error) {
	return c.s.pub.PlanRecovery(ctx, q.GetEvents())
}

func (c *controlService) Recover(ctx context.Context, q *controlpb.RecoverRequest) (*controlpb.RecoverResponse, error) {
	return c.s.recover(ctx, q)
}

// control is a connection to the running server of a directory.
type control struct {
	controlpb.ControlClient
	conn *grpc.ClientConn
}

// connectControl connects to the server that runs in dir; nil and no error where none does.
func connectControl(ctx context.Context, dir string) (*control, error) {
	first, err := dialControl(ctx, dir)
	if first == nil || err != nil {
		return nil, err
	}
	var once sync.Once
	conn, err := grpc.NewClient("passthrough:///"+socketFile,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the kernel says who is at the other end
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxControl), grpc.MaxCallSendMsgSize(maxControl)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (c net.Conn, err error) {
			if once.Do(func() { c = first }); c != nil {
				return c, nil
			}
			if c, err = dialControl(ctx, dir); c == nil && err == nil {
				err = net.ErrClosed
			}
			return c, err
		}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 5 * time.Second}))
	if err != nil {
		_ = first.Close()
		return nil, err
	}
	return &control{controlpb.NewControlClient(conn), conn}, nil
}

// ask runs a call on the control socket of the server that runs in dir, else local, on the directory.
func ask[T any](ctx context.Context, dir string, remote func(controlpb.ControlClient) (T, error), local func() (T, error)) (T, error) {
	var none T
	c, err := connectControl(ctx, dir)
	if err != nil {
		return none, err
	}
	if c == nil {
		return local()
	}
	defer func() { _ = c.conn.Close() }()
	answer, err := remote(c)
	if err != nil {
		return none, status.FromError(err)
	}
	return answer, nil
}
