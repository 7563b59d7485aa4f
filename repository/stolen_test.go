package repository_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/integration/thief"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
	"github.com/countersign-ota/countersign/signer/event"
)

// device is an agent as far as trust is concerned: a folder of role files and a record.
type device struct {
	t          testing.TB
	b          *bed
	dir        string
	repository metadata.Repository
	root       []byte
	record     map[string]trust.InForce
}

// newDevice is a device that left the factory with the first root.
func (b *bed) newDevice(r metadata.Repository) *device {
	b.t.Helper()
	root, err := served{b}.Root(r, 1)
	if err != nil {
		b.t.Fatal(err)
	}
	return &device{t: b.t, b: b, dir: b.t.TempDir(), repository: r, root: root}
}

func (v *device) client() *trust.Client {
	v.t.Helper()
	c, err := trust.New(trust.Config{
		Deployment: "acme", Repository: v.repository, Root: v.root, Store: &trust.FileStore{Dir: v.dir}, Now: v.b.clock.now, Versions: v.record,
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return c
}

// takes is one poll that ends in the target at path, or in why not.
func (v *device) takes(f trust.Fetcher, path string) error {
	v.t.Helper()
	c := v.client()
	defer func() { v.record = c.InForce() }()
	if err := c.Refresh(ctx, f); err != nil {
		return err
	}
	_, err := c.Target(ctx, f, path)
	return err
}

// from is a trust.Fetcher of what a handler serves in the TUF layout.
type from struct{ http.Handler }

func (f from) Fetch(_ context.Context, role string, version, limit int64) ([]byte, error) {
	path := "/" + role + ".json"
	if version > 0 {
		path = fmt.Sprintf("/%d.%s.json", version, role)
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	switch {
	case w.Code == http.StatusNotFound:
		return nil, fmt.Errorf("%s: %w", path, trust.ErrNotFound)
	case w.Code != http.StatusOK:
		return nil, reason.Errorf(reason.Unreachable, "%s: %d", path, w.Code)
	case int64(w.Body.Len()) > limit:
		return nil, reason.Errorf(reason.TooLarge, "%s: %d bytes", path, w.Body.Len())
	}
	return w.Body.Bytes(), nil
}

// mirror fetches role files from the bed's server.
func (b *bed) mirror() from {
	client := b.browser(nil)
	return from{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := client.Get(b.cfg.URL + r.URL.Path)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, io.LimitReader(resp.Body, 8<<20))
	})}
}

// steal takes all that the server has, with the keys that lie in its folder.
func (b *bed) steal() *thief.Thief {
	b.t.Helper()
	th, err := thief.Steal(ctx, b.dir, b.cfg.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	return th
}

// expiry asks the server what expires until ok agrees, and gives the last answer: the schedule runs
// beside the calls.
func (b *bed) expiry(ok func(*pb.GetExpiryResponse) bool) *pb.GetExpiryResponse {
	b.t.Helper()
	var last *pb.GetExpiryResponse
	for range 500 {
		var err error
		if last, err = b.operators["rivera"].Expiry(ctx); err != nil {
			b.t.Fatalf("expiry: %v [%s]", err, reason.Of(err))
		}
		if ok(last) {
			return last
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.t.Fatalf("the server never said what was waited for; last: %v", last)
	return nil
}

const image240 = "gw-100/2.4.0/gw.img"

// All online keys were stolen. New ones are made beside them, the configuration names them, the server
// starts again: it serves what was published, signs nothing, and says what it waits for. A root with the
// new online.pub is published, and from then on the thief's signatures are worth nothing: neither on a
// device that the thief met before, nor on one that comes from the factory.
func TestAllOnlineKeysStolen(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	th := b.steal()
	met, spared := b.newDevice(metadata.Image), b.newDevice(metadata.Image)
	th.Ahead = 1_000_000_000 // a fast-forward attack: what follows must not have to be higher
	if err := th.Publish(func(map[string]*tuf.MetaFiles) {}); err != nil {
		t.Fatal(err)
	}
	if err := met.takes(from{th}, image240); err != nil {
		t.Fatalf("before the rotation the thief's keys are good: %v", err)
	}
	if err := spared.takes(b.mirror(), image240); err != nil {
		t.Fatal(err)
	}

	made, err := repository.MakeOnline(&b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, before := b.get("/timestamp.json")
	b.stop()
	b.cfg.OnlineImage, b.cfg.OnlineDirector = made.Image, made.Director

	// Between the restart and the new roots; first when a new timestamp would be due.
	b.clock.forward(25 * time.Hour)
	b.start()
	b.healthy(false)
	if code, data := b.get("/timestamp.json"); code != http.StatusOK || !bytes.Equal(data, before) {
		t.Errorf("timestamp: %d, the same as before: %v", code, bytes.Equal(data, before))
	}
	b.stop()
	b.clock.forward(-25 * time.Hour)
	b.start()
	b.healthy(false)
	said := b.expiry(func(e *pb.GetExpiryResponse) bool { return e.GetReason() != "" })
	if said.GetReason() != string(reason.OnlineKeyUnknown) || !strings.Contains(said.GetMessage(), made.ImageKey[:12]) || !strings.Contains(said.GetHint(), "countersign change") {
		t.Errorf("the server says %q: %s (%s)", said.GetReason(), said.GetMessage(), said.GetHint())
	}
	if err := b.newDevice(metadata.Image).takes(b.mirror(), image240); err != nil {
		t.Errorf("what is published is not served on: %v", err)
	}
	e, s := b.release("2.4.1", basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen")
	_, err = b.operators["rivera"].Publish(ctx, id)
	wantReason(t, err, reason.OnlineKeyUnknown)

	// The cure.
	change, err := event.NewChange(b.plan(basicPlan), b.state(), b.opening())
	if err != nil {
		t.Fatal(err)
	}
	root := b.open("rivera", change)
	b.sign(root, "chen", "okafor")
	if got := b.publish(root); got["image/root"] != 2 || got["director/root"] != 2 || got["image/snapshot"] == 0 || got["image/timestamp"] == 0 {
		t.Errorf("published %v", got)
	}
	b.expiry(func(e *pb.GetExpiryResponse) bool { return e.GetReason() == "" })
	_, after := b.get("/timestamp.json")
	stamp, err := metadata.ParseTimestamp(after, metadata.Profile)
	if err != nil || len(stamp.Signatures) != 1 || stamp.Signatures[0].KeyID != made.ImageKey {
		t.Errorf("the timestamp is signed by %v, %v; want %s", stamp.Signatures, err, made.ImageKey)
	}
	b.publish(id) // what waited

	// Who met the thief and who did not, both take the new release, and nothing of the thief's again.
	factory := b.newDevice(metadata.Image)
	for name, v := range map[string]*device{"met": met, "spared": spared, "factory": factory} {
		if err := v.takes(b.mirror(), "gw-100/2.4.1/gw.img"); err != nil {
			t.Errorf("%s: %v [%s]", name, err, reason.Of(err))
		}
		th.Ahead *= 2
		if err := th.Publish(func(map[string]*tuf.MetaFiles) {}); err != nil {
			t.Fatal(err)
		}
		wantReason(t, v.takes(from{th}, image240), reason.Threshold)
		if err := v.takes(b.mirror(), "gw-100/2.4.1/gw.img"); err != nil {
			t.Errorf("%s, after the thief: %v [%s]", name, err, reason.Of(err))
		}
	}
	b.directorKeys(made.DirectorKey)
	b.checked()
}

// directorKeys fails unless a device of the director repository trusts this online key, and no other.
func (b *bed) directorKeys(id string) {
	b.t.Helper()
	c := b.newDevice(metadata.Director).client()
	if err := c.RefreshRoot(ctx, chain{b, metadata.Director}); err != nil {
		b.t.Errorf("director: %v [%s]", err, reason.Of(err))
	}
	if got := c.Root().Signed.Version; got != 2 {
		b.t.Errorf("director root %d, want 2", got)
	}
	for _, role := range []string{metadata.Targets, metadata.Snapshot, metadata.Timestamp} {
		if keys := c.Root().Signed.Roles[role].KeyIDs; len(keys) != 1 || keys[0] != id {
			b.t.Errorf("director root 2 gives %s to %v, want %s", role, keys, id)
		}
	}
}

// chain is a trust.Fetcher of root files over gRPC.
type chain struct {
	b          *bed
	repository metadata.Repository
}

func (c chain) Fetch(_ context.Context, role string, version, _ int64) ([]byte, error) {
	p, err := c.b.operators["rivera"].Published(ctx, c.repository, role, version)
	if err == nil && p.File == nil {
		err = trust.ErrNotFound
	}
	return p.File, err
}

// A cancelled proposal that had its quorum: with the server's keys a thief publishes it, until the
// successor is in force; then nobody takes it any more.
func TestCancelledProposalThatHadItsQuorum(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	e, s := b.release("2.4.1", basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen")
	_, successor, err := b.operators["rivera"].Cancel(ctx, id, "wrong build")
	if err != nil || successor == "" {
		t.Fatalf("successor %q, %v", successor, err)
	}
	_, err = b.operators["rivera"].Publish(ctx, id)
	wantReason(t, err, reason.EventCancelled)
	signed, _, err := b.operators["rivera"].Event(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	th := b.steal()
	b.publishAsThief(th, signed)
	early, late := b.newDevice(metadata.Image), b.newDevice(metadata.Image)
	if err := early.takes(from{th}, "gw-100/2.4.1/gw.img"); err != nil {
		t.Fatalf("a thief publishes what has its quorum: %v [%s]", err, reason.Of(err))
	}
	b.clock.forward(time.Hour) // above what the thief signed
	b.sign(successor, "rivera", "okafor")
	if got := b.publish(successor); got["image/gw-100"] != 4 {
		t.Fatalf("published %v, want version 4 over the cancelled 3", got)
	}
	for name, v := range map[string]*device{"met the thief": early, "did not": late} {
		if err := v.takes(b.mirror(), image240); err != nil {
			t.Errorf("%s: %v [%s]", name, err, reason.Of(err))
		}
		th.Ahead += 10_000
		b.publishAsThief(th, signed)
		wantReason(t, v.takes(from{th}, "gw-100/2.4.1/gw.img"), reason.Rollback)
	}
	b.checked()
}

// publishAsThief has a thief publish what people signed of an event, with the server's own keys.
func (b *bed) publishAsThief(th *thief.Thief, e *event.Event) {
	b.t.Helper()
	f := e.Proposal.Files[0]
	var sigs []metadata.Signature
	for _, s := range e.Signatures {
		sigs = append(sigs, metadata.Signature{KeyID: s.KeyID, Signature: s.Sig})
	}
	file, err := metadata.EncodeRaw(f.Role, f.Signed, sigs)
	if err != nil {
		b.t.Fatal(err)
	}
	version := f.Base.Version + 1
	th.Put(fmt.Sprintf("%d.%s.json", version, f.Role), file)
	if err := th.Publish(func(meta map[string]*tuf.MetaFiles) { meta[f.Role+".json"] = thief.MetaOf(version, file) }); err != nil {
		b.t.Fatal(err)
	}
}
