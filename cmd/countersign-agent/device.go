package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"

	"github.com/countersign-ota/countersign/agent"
	"github.com/countersign-ota/countersign/agent/gate"
	"github.com/countersign-ota/countersign/agent/transport"
	"github.com/countersign-ota/countersign/agent/transport/rpc"
	"github.com/countersign-ota/countersign/agent/transport/web"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Files of the device's identity in the agent's directory.
const (
	keyFile         = "identity.key"
	certificateFile = "identity.pem"
)

// client is a transport that can also enroll.
type client interface {
	agent.Transport
	Enroll(ctx context.Context, in *pb.EnrollRequest) (*pb.EnrollResponse, error)
	io.Closer
}

// device is what the settings describe.
type device struct {
	values    map[string]string
	component *componentLine
	cfg       agent.Config
	client    client
}

// open reads the settings of a device. With network it has a client, which the caller closes.
func (p *program) open(network bool) (*device, error) {
	values, err := p.all()
	if err != nil {
		return nil, err
	}
	d := &device{values: values}
	if err := given(values, "deployment", "device", "hardware", "component"); err != nil {
		return nil, err
	}
	if d.component, err = parseComponent(values["component"]); err != nil {
		return nil, err
	}
	if err := d.configure(p); err != nil {
		return nil, err
	}
	if !network {
		return d, nil
	}
	if err := given(values, "server"); err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(values["ca"])
	if err != nil {
		return nil, reason.Errorf(reason.Config, "identity CA of the server: %w", err).
			WithHint("%s enroll --token-file FILE", name)
	}
	if d.client, err = dial(values["server"], ca, identity(values["dir"])); err != nil {
		return nil, err
	}
	d.cfg.Transport = d.client
	return d, nil
}

// configure makes the agent's configuration, without its transport.
func (d *device) configure(p *program) error {
	v := d.values
	if v["director"] != "none" {
		return reason.Errorf(reason.Config, "director %q, want none: this agent takes its instructions from releases", v["director"])
	}
	root, err := readRoot(v["root"])
	if err != nil {
		return err
	}
	d.cfg = agent.Config{
		Dir: v["dir"], Root: root, Deployment: v["deployment"], Device: v["device"], Hardware: v["hardware"],
		Components: map[string]agent.Component{d.component.id: d.component.open(v["dir"])},
		Built:      built(), Log: p.logger(),
	}
	switch v["confirm"] {
	case "auto":
	case "manual":
		d.cfg.Confirm = agent.ConfirmManual
	default:
		return reason.Errorf(reason.Config, "confirm %q, want auto or manual", v["confirm"])
	}
	if d.cfg.AllowLocal, err = parseBool(v["allow-local"], "allow_local"); err != nil {
		return err
	}
	if d.cfg.SpreadExempt, err = parseBool(v["spread-exempt"], "spread_exempt"); err != nil {
		return err
	}
	if d.cfg.Interval, err = time.ParseDuration(v["interval"]); err != nil {
		return reason.Errorf(reason.Config, "interval %q, want a time such as 1h or 90s", v["interval"])
	}
	d.cfg.Gates, err = gates(v)
	return err
}

// gates makes the gates of the settings.
func gates(v map[string]string) (*gate.Gates, error) {
	g := &gate.Gates{Dir: v["gates"], FreeDir: v["dir"]}
	var err error
	if g.BatteryMin, err = strconv.Atoi(v["battery-min"]); err != nil || g.BatteryMin < 0 || g.BatteryMin > 100 {
		return nil, reason.Errorf(reason.Config, "battery_min %q, want 0 to 100", v["battery-min"])
	}
	if g.FreeMin, err = strconv.ParseInt(v["free-min"], 10, 64); err != nil || g.FreeMin < 0 {
		return nil, reason.Errorf(reason.Config, "free_min %q, want bytes", v["free-min"])
	}
	if v["window"] != "" {
		if g.Window, err = gate.ParseWindow(v["window"]); err != nil {
			return nil, reason.Errorf(reason.Config, "%w", err)
		}
	}
	if v["battery"] == "mains" {
		g.Battery = gate.Mains
	} else {
		g.Battery = gate.PowerSupply(v["battery"])
	}
	return g, nil
}

// readRoot reads the root that came with the device.
func readRoot(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, reason.Errorf(reason.Config, "image root: %w", err).
			WithHint("bring the deployment's 1.root.json, or let enroll fetch it")
	}
	defer f.Close() //nolint:errcheck // nothing was written
	limit := metadata.MaxSize(metadata.Profile, metadata.Root)
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, reason.Errorf(reason.Config, "image root: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, reason.Errorf(reason.TooLarge, "image root %q is larger than %d bytes", path, limit)
	}
	return data, nil
}

// dial makes the client that a server's address asks for; nothing connects yet.
func dial(server string, ca []byte, certificate transport.Certificate) (client, error) {
	userAgent := name + "/" + cli.Version
	if address, ok := strings.CutPrefix(server, "grpc://"); ok {
		return rpc.New(rpc.Config{Address: address, CA: ca, Certificate: certificate, UserAgent: userAgent})
	}
	if strings.HasPrefix(server, "https://") {
		return web.New(web.Config{URL: server, CA: ca, Certificate: certificate, UserAgent: userAgent})
	}
	return nil, reason.Errorf(reason.Config, "server %q, want grpc://HOST:PORT or https://HOST[:PORT]", server)
}

// identity is the device's certificate; nil where there is none yet, since metadata needs none and some
// servers give images to everybody.
func identity(dir string) transport.Certificate {
	certificate, key := filepath.Join(dir, certificateFile), filepath.Join(dir, keyFile)
	if _, err := os.Stat(certificate); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return transport.FromFiles(certificate, key)
}

// built is when this program was built, as far as version control knows.
func built() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
				return t
			}
		}
	}
	return time.Time{}
}

// logger logs to stderr: errors and warnings, all with -v, JSON with --json.
func (p *program) logger() *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelWarn}
	switch {
	case p.out.Quiet:
		options.Level = slog.LevelError
	case p.out.Verbose:
		options.Level = slog.LevelInfo
	}
	if p.out.JSON {
		return slog.New(slog.NewJSONHandler(p.out.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(p.out.Stderr, options))
}

// withAgent opens the device's agent, does something with it and closes it.
func (p *program) withAgent(ctx context.Context, network bool, do func(*device, *agent.Agent) error) error {
	d, err := p.open(network)
	if err != nil {
		return err
	}
	if d.client != nil {
		defer d.client.Close() //nolint:errcheck // the connection ends either way
	}
	a, err := agent.Open(ctx, d.cfg)
	if err != nil {
		return err
	}
	err = do(d, a)
	if cerr := a.Close(); err == nil && cerr != nil {
		return fmt.Errorf("close: %w", cerr)
	}
	return err
}
