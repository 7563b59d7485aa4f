package agent

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/countersign-ota/countersign/agent/gate"
	"github.com/countersign-ota/countersign/agent/internal/stage"
	"github.com/countersign-ota/countersign/agent/internal/state"
	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// ErrReboot is what Run ends with when an image is installed, or taken back, and only a reboot brings
// it to life. Reboot the device and run again.
var ErrReboot = errors.New("installed, reboot to try it")

// MaxAttempts is how often an instructed image may fail after staging; then it is refused with reason
// attempts until the instruction changes (DESIGN 5.1).
const MaxAttempts = 3

// maxFailure bounds the text of a failure or refusal in the record, in bytes.
const maxFailure = 1024

// Agent updates one device. Its methods may be called from several goroutines; they run one after the
// other.
type Agent struct {
	cfg   Config
	id    string // of the component
	comp  Component
	gates *gate.Gates
	log   *slog.Logger
	boot  string

	mu    sync.Mutex // guards all below, and the directory
	store *state.Store
	roles trust.Store
	stage *stage.Dir
}

// Open takes the lock of the directory, heals a damaged copy of the record, and finishes whatever a
// power cut interrupted: when it returns, the device runs one whole image and the record says which.
// It uses no network. Reasons: config, locked, key-example and root-without-scope for the root,
// state-damaged, disk-full, and what the installer fails with. Close the agent.
func Open(ctx context.Context, cfg Config) (*Agent, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := checkRoot(&cfg); err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, gates: cfg.Gates, log: cfg.Log}
	a.id, a.comp = cfg.component()
	if a.gates == nil {
		a.gates = new(gate.Gates)
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if a.boot, err = cfg.bootID(); err != nil {
		return nil, err
	}
	if a.store, err = state.Open(cfg.Dir); err != nil {
		return nil, err
	}
	if err := a.recover(ctx); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	return a, nil
}

// checkRoot refuses an embedded root that no agent may start from, before anything is written.
func checkRoot(cfg *Config) error {
	root, err := metadata.ParseRoot(cfg.Root, metadata.Profile)
	if err != nil {
		return reason.Wrap(err, "embedded image root")
	}
	if err := metadata.CheckRoot(root, cfg.Deployment, metadata.Image); err != nil {
		return reason.Wrap(err, "embedded image root")
	}
	if err := metadata.CheckNoExampleKeys(root); err != nil {
		return reason.Wrap(err, "embedded image root")
	}
	return nil
}

// Close waits for a running call and releases the directory. It writes nothing; an update that is
// under way goes on at the next Open.
func (a *Agent) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.store.Close()
}

// recover brings directory and device to a state that one record describes.
func (a *Agent) recover(ctx context.Context) error {
	for _, line := range a.store.Damaged() {
		a.log.Warn("a copy of the record was damaged", "copy", line, "reason", reason.StateDamaged)
	}
	if a.store.Lost() {
		a.log.Error("both copies of the record are lost; counters start from the image's own", "reason", reason.StateLost)
	}
	roles, err := a.store.Roles(string(metadata.Image))
	if err != nil {
		return err
	}
	a.roles = &trust.FileStore{Dir: roles, Mode: metadata.Profile}
	if a.stage, err = stage.Open(filepath.Join(a.cfg.Dir, "stage"), stage.Options{}); err != nil {
		return err
	}
	rec := a.store.Record()
	if rec.Components[a.id] == nil {
		if rec.Components == nil {
			rec.Components = map[string]*state.Component{}
		}
		rec.Components[a.id] = &state.Component{Counter: a.comp.Counter}
	}
	rec.Lost = rec.Lost || a.store.Lost()
	// The roots must be of use before anything else is worth doing.
	if _, err := a.client(rec); err != nil {
		return err
	}
	if err := a.commit(rec); err != nil {
		return err
	}
	if err := a.unlessStuck(a.settle(ctx), "update under way"); err != nil {
		return err
	}
	if err := a.clean(); err != nil {
		return err
	}
	return a.retire(ctx)
}

// commit makes rec the record in force.
func (a *Agent) commit(rec *state.Record) error { return a.store.Commit(rec) }

// clean removes staged files that no set names. What it cannot remove stays for the next Open.
func (a *Agent) clean() error {
	keep := map[[32]byte]bool{}
	if set := a.store.Record().Set; set != nil && set.Attempts < MaxAttempts {
		for _, m := range set.Members {
			keep[sum(m.Sha256)] = true
		}
	}
	return a.stage.Clean(keep)
}

// client returns a trust client on what is stored.
func (a *Agent) client(rec *state.Record) (*trust.Client, error) {
	return trust.New(trust.Config{
		Mode:       metadata.Profile,
		Deployment: a.cfg.Deployment,
		Repository: metadata.Image,
		Root:       a.cfg.Root,
		Store:      a.roles,
		Now:        func() time.Time { return a.cfg.now(rec.TimeFloor) },
		Versions:   versions(rec),
	})
}

// rolePrefix stands before the roles of the image repository in the record.
const rolePrefix = string(metadata.Image) + "/"

func versions(rec *state.Record) map[string]trust.InForce {
	out := map[string]trust.InForce{}
	for name, r := range rec.Roles {
		role, ok := strings.CutPrefix(name, rolePrefix)
		if !ok {
			continue
		}
		f := trust.InForce{Version: r.Version, SHA256: sum(r.Sha256), Keys: r.Keys}
		if r.Expires != 0 {
			f.Expires = time.Unix(r.Expires, 0).UTC()
		}
		out[role] = f
	}
	return out
}

// adopt makes the image repository's versions in the record those that the client found; what it gave
// up because the root changed its online keys goes (DESIGN 1.5).
func adopt(rec *state.Record, c *trust.Client) {
	roles := map[string]*state.RoleInForce{}
	for name, r := range rec.Roles {
		if !strings.HasPrefix(name, rolePrefix) {
			roles[name] = r
		}
	}
	for role, f := range c.InForce() {
		r := rec.Roles[rolePrefix+role]
		if r == nil {
			r = new(state.RoleInForce)
		}
		r.Version, r.Sha256, r.Keys, r.Expires = f.Version, f.SHA256[:], f.Keys, 0
		if !f.Expires.IsZero() {
			r.Expires = f.Expires.Unix()
		}
		roles[rolePrefix+role] = r
	}
	rec.Roles = roles
}

// sum returns a stored SHA-256; a field of another length, which only another agent writes, is zero.
func sum(b []byte) (s [32]byte) {
	if len(b) == len(s) {
		copy(s[:], b)
	}
	return s
}

func short(b []byte) string { return hex.EncodeToString(b)[:min(12, 2*len(b))] }

func clip(text string) string {
	if len(text) > maxFailure {
		text = text[:maxFailure]
	}
	return string([]rune(text)) // a cut rune becomes one that protobuf takes
}

// hexSum reads a SHA-256 in hex; anything else is zero.
func hexSum(text string) [32]byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		return [32]byte{}
	}
	return sum(b)
}
