package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/countersign-ota/countersign/agent"
	"github.com/countersign-ota/countersign/agent/install"
	"github.com/countersign-ota/countersign/agent/transport"
	"github.com/countersign-ota/countersign/agent/transport/rpc"
	"github.com/countersign-ota/countersign/integration/world"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
)

// mover moves one published image onto the disk again and again.
type mover struct {
	w      *world.World
	device *world.Device
	root   []byte
	ca     []byte
	client *rpc.Client
	image  string
	size   int64
}

// moveImages compares three ways of getting an image onto the disk: a copy, gRPC, a local file.
func moveImages(ctx context.Context, w *world.World, size int64, rounds int) (bool, error) {
	m := &mover{w: w, size: size, image: filepath.Join(w.Desk(world.Engineer), "gw.img")}
	f, err := os.OpenFile(m.image, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return false, err
	}
	if _, err := io.CopyN(f, rand.Reader, size); err != nil {
		return false, err
	}
	if err := f.Close(); err != nil {
		return false, err
	}
	if err := w.Release("gw-100/1.0.0", "gw.img"); err != nil {
		return false, err
	}
	if m.device, err = w.EnrolledDevice("gw-0001", world.DeviceOptions{}); err != nil {
		return false, err
	}
	if m.root, err = w.Root(); err != nil {
		return false, err
	}
	if m.ca, err = os.ReadFile(filepath.Join(w.ServerDir(), "identity", "root.pem")); err != nil {
		return false, err
	}
	m.client, err = rpc.New(rpc.Config{Address: w.GRPC, CA: m.ca, Certificate: m.certificate(), UserAgent: "bench"})
	if err != nil {
		return false, err
	}
	defer m.client.Close()
	return m.rounds(ctx, rounds)
}

func (m *mover) certificate() transport.Certificate {
	dir := filepath.Join(m.device.Dir, "state")
	return transport.FromFiles(filepath.Join(dir, "identity.pem"), filepath.Join(dir, "identity.key"))
}

// side is one way; it returns how long the part took that counts.
type side struct {
	name string
	run  func(context.Context) (time.Duration, error)
}

func (m *mover) rounds(ctx context.Context, rounds int) (bool, error) {
	sides := []side{
		{"copy", m.copy},
		{"grpc", func(ctx context.Context) (time.Duration, error) { return m.stage(ctx, m.client) }},
		{"local", func(ctx context.Context) (time.Duration, error) {
			return m.stage(ctx, localImage{m.client, m.image})
		}},
		{"stock", m.stock},
	}
	took, own, server := make([][]time.Duration, len(sides)), make([][]time.Duration, len(sides)), make([][]time.Duration, len(sides))
	for round := range rounds + 1 {
		for i, s := range sides {
			mine, theirs, err := ownCPU(), time.Duration(0), error(nil)
			if theirs, err = cpuOf(m.w.PID()); err != nil {
				return false, err
			}
			d, err := s.run(ctx)
			if err != nil {
				return false, fmt.Errorf("%s: %w", s.name, err)
			}
			after, err := cpuOf(m.w.PID())
			if err != nil {
				return false, err
			}
			if round == 0 {
				continue // caches and connections warm up
			}
			took[i], own[i], server[i] = append(took[i], d), append(own[i], ownCPU()-mine), append(server[i], after-theirs)
		}
	}
	ratio := func(i int) float64 {
		var r []float64
		for n := range took[i] {
			r = append(r, took[0][n].Seconds()/took[i][n].Seconds())
		}
		return median(r)
	}
	fmt.Printf("%d MiB, %d rounds; share of `copy` (read cached, SHA-256, write, fsync) in the same round\n", m.size>>20, rounds)
	mib := float64(m.size) / (1 << 20)
	fmt.Printf("%-44s %.0f MiB/s, %.2f s CPU\n", "copy", mib/median(took[0]).Seconds(), median(own[0]).Seconds())
	line := func(i int, what string, bar float64) bool {
		return report(what, ratio(i) >= bar, "%.2f (bar %.2f), %.0f MiB/s, CPU %.2f s here, %.2f s server",
			ratio(i), bar, mib/median(took[i]).Seconds(), median(own[i]).Seconds(), median(server[i]).Seconds())
	}
	download := line(1, "gRPC, mutual TLS: verified, durable", barDownload)
	local := line(2, "from a local file: verified, durable", barLocal)
	line(3, "stock gRPC client, same steps (no bar)", 0)
	return download && local, nil
}

// copy is the least that getting a verified, durable file onto the disk can be.
func (m *mover) copy(context.Context) (time.Duration, error) {
	in, err := os.Open(m.image)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	return m.write(in)
}

func (m *mover) write(in io.Reader) (time.Duration, error) {
	name := filepath.Join(m.w.Dir, "copy")
	defer os.Remove(name)
	start := time.Now()
	out, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(h, out)}, struct{ io.Reader }{in}, make([]byte, 256<<10)); err != nil {
		return 0, err
	}
	if err := out.Sync(); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}

// localImage fetches metadata from the server and the image from a file.
type localImage struct {
	*rpc.Client
	image string
}

func (l localImage) Download(_ context.Context, _ string, _ [32]byte, offset int64) (io.ReadCloser, error) {
	f, err := os.Open(l.image)
	if err != nil {
		return nil, err
	}
	_, err = f.Seek(offset, io.SeekStart)
	return f, err
}

// stage lets a new agent fetch the image; only Agent.Stage counts.
func (m *mover) stage(ctx context.Context, t agent.Transport) (time.Duration, error) {
	dir, err := os.MkdirTemp(m.w.Dir, "agent-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	a, err := agent.Open(ctx, agent.Config{
		Dir: filepath.Join(dir, "state"), Transport: t, Root: m.root, Deployment: m.w.Deployment, Device: "gw-0001", Hardware: "gw-100-c",
		Components: map[string]agent.Component{"main": {Product: "gw-100", Installer: install.NewSlot(install.SlotConfig{
			A: m.device.Slot("a"), B: m.device.Slot("b"), Boot: install.NewBoot(filepath.Join(m.device.Dir, "boot", "boot")), State: filepath.Join(dir, "slots"),
		})}},
	})
	if err != nil {
		return 0, err
	}
	defer a.Close()
	u, err := a.Check(ctx)
	if err != nil {
		return 0, err
	}
	if u == nil {
		return 0, fmt.Errorf("nothing to update to")
	}
	start := time.Now()
	err = a.Stage(ctx, u, nil)
	return time.Since(start), err
}

// stock downloads with generated messages and gRPC's own codec, as any other client would.
func (m *mover) stock(ctx context.Context) (time.Duration, error) {
	peer, err := transport.NewPeer("127.0.0.1", m.ca, m.certificate())
	if err != nil {
		return 0, err
	}
	conn, err := grpc.NewClient(m.w.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(peer.TLS())))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	sum, err := hashOf(m.image)
	if err != nil {
		return 0, err
	}
	stream, err := pb.NewRepositoryClient(conn).Download(ctx, &pb.DownloadRequest{Path: "gw-100/1.0.0/gw.img", Sha256: sum})
	if err != nil {
		return 0, err
	}
	return m.write(&messages{stream: stream})
}

func hashOf(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return h.Sum(nil), err
}

// messages reads the data of a stream of generated messages.
type messages struct {
	stream grpc.ServerStreamingClient[pb.DownloadResponse]
	rest   []byte
}

func (r *messages) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		m, err := r.stream.Recv()
		if err != nil {
			return 0, err
		}
		r.rest = m.GetData()
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
