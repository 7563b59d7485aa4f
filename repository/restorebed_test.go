package repository_test

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/health/grpc_health_v1"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	controlpb "github.com/countersign-ota/countersign/proto/countersign/control/v1"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
	"github.com/countersign-ota/countersign/repository"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/remote"
)

// config returns the bytes of the server's configuration.
func (b *bed) config() []byte {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, repository.ConfigFile))
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

// backup makes a copy in a new folder.
func (b *bed) backup() string {
	b.t.Helper()
	dest := filepath.Join(b.t.TempDir(), "copy")
	if _, err := repository.Backup(ctx, b.cfg, b.config(), dest); err != nil {
		b.t.Fatalf("backup: %v [%s]", err, reason.Of(err))
	}
	return dest
}

// lose stops the server and removes its directory, and restores the copy in its place.
func (b *bed) lose(copied string) *repository.Restored {
	b.t.Helper()
	if b.end != nil {
		b.stop()
	}
	if err := os.RemoveAll(b.dir); err != nil {
		b.t.Fatal(err)
	}
	r, err := repository.Restore(ctx, repository.RestoreOptions{Source: copied, Now: b.clock.now})
	if err != nil {
		b.t.Fatalf("restore: %v [%s]", err, reason.Of(err))
	}
	return r
}

// seen is what somebody keeps of what the server has published: all roots, and the newest of all else.
func (b *bed) seen(roles ...string) []event.BaseFile {
	b.t.Helper()
	var kept []event.BaseFile
	for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
		for v := int64(1); ; v++ {
			data, err := served{b}.Root(r, v)
			if err != nil {
				b.t.Fatal(err)
			}
			if len(data) == 0 {
				break
			}
			kept = append(kept, event.BaseFile{Repository: r, Role: metadata.Root, File: data})
		}
	}
	for _, role := range roles {
		data, err := served{b}.Current(metadata.Image, role)
		if err != nil {
			b.t.Fatal(err)
		}
		kept = append(kept, event.BaseFile{Repository: metadata.Image, Role: role, File: data})
	}
	return kept
}

var everything = []string{"targets", "gw-100", "gw-100.stop"}

func (b *bed) offer(files []event.BaseFile) []*pb.OfferedFile {
	b.t.Helper()
	answers, err := b.operators["rivera"].OfferFiles(ctx, files)
	if err != nil {
		b.t.Fatalf("offer: %v [%s]", err, reason.Of(err))
	}
	return answers
}

// recover plans a recovery and carries it out.
func (b *bed) recover(q *repository.Recovery) (*repository.RecoveryPlan, *repository.Recovered) {
	b.t.Helper()
	plan, err := repository.PlanRecovery(ctx, b.cfg, q.GetEvents())
	if err != nil {
		b.t.Fatalf("plan: %v [%s]", err, reason.Of(err))
	}
	q.Plan = plan.GetId()
	done, err := repository.Recover(ctx, b.cfg, q)
	if err != nil {
		b.t.Fatalf("recover: %v [%s]", err, reason.Of(err))
	}
	return plan, done
}

// healthy waits until the server says of itself what is wanted.
func (b *bed) healthy(want bool) {
	b.t.Helper()
	c := grpc_health_v1.NewHealthClient(b.stock(nil))
	var h *grpc_health_v1.HealthCheckResponse
	var err error
	for range 500 {
		h, err = c.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		if err == nil && (h.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING) == want {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.t.Errorf("health %v, %v; want %t", h, err, want)
}

// exported is an event of the server as a file that travels.
func (b *bed) exported(id string) *repository.EventFile {
	b.t.Helper()
	e, _, err := b.operators["rivera"].Event(ctx, id)
	if err != nil {
		b.t.Fatal(err)
	}
	data, err := e.Bytes()
	if err != nil {
		b.t.Fatal(err)
	}
	return &repository.EventFile{Name: "last.event", Event: data}
}

// roleOf returns the line of a role in a plan.
func roleOf(p *repository.RecoveryPlan, r, role string) *controlpb.RecoveryRole {
	for _, l := range p.GetRoles() {
		if l.GetRepository() == r && l.GetRole() == role {
			return l
		}
	}
	return nil
}

// sendFirmware uploads the image of a release.
func (b *bed) sendFirmware(version string) {
	b.t.Helper()
	data := firmware(version)
	if err := b.operators["rivera"].Upload(ctx, b.write("again.img", data), sha256.Sum256(data), int64(len(data)), remote.Watch{}); err != nil {
		b.t.Fatal(err)
	}
}

// enrol uses a device's token and returns why it was refused; "" if it was not.
func (b *bed) enrol(tok *enroll.TokenFile) reason.Reason {
	b.t.Helper()
	_, body := enrolment(b.t, tok)
	a := b.ask(b.browser(nil), http.MethodPost, pb.Device_Enroll_FullMethodName, body, "Content-Type", "application/x-protobuf")
	if a.code == 200 {
		return ""
	}
	var s spb.Status
	if err := proto.Unmarshal(a.body, &s); err != nil {
		b.t.Fatal(err)
	}
	return reason.Of(status.FromError(grpcstatus.FromProto(&s).Err()))
}

// counterOf returns the counter of the targets that a release adds: the highest in it.
func counterOf(t *testing.T, e *event.Event) int64 {
	t.Helper()
	signed, err := metadata.FromCanonical(e.Proposal.Files[0].Signed)
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		High struct{ Counter int64 } `json:"x-countersign-high"`
	}
	if err := json.Unmarshal(signed, &f); err != nil {
		t.Fatal(err)
	}
	return f.High.Counter
}
