package publish

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// Publish makes an event public, whole or not at all, and returns what is public now: the event's
// files in its order, then snapshot and timestamp. For a published event it returns the same again.
// It is durable, and readers see it, on return. Reasons: quorum-open, evidence-missing, limit,
// online-key-unknown, event-stale, event-cancelled, not-found, and those of the judgement.
func (p *Publisher) Publish(ctx context.Context, by, id string) ([]*pb.PublishedRole, error) {
	roles, err := p.publish(ctx, by, id)
	if err != nil {
		p.Audit.Refused(ctx, actor(by), "event.publish", id, err)
		return nil, err
	}
	return roles, nil
}

func (p *Publisher) publish(ctx context.Context, by, idText string) ([]*pb.PublishedRole, error) {
	id, rec, done, err := p.begin(ctx, idText)
	if err != nil {
		return nil, err
	}
	defer done()
	if rec.GetState() == pb.EventState_EVENT_STATE_PUBLISHED {
		return rec.GetPublished(), nil
	}
	if err := p.mayChange(ctx); err != nil {
		return nil, err
	}
	if err := notOpen(id, rec); err != nil {
		return nil, err
	}
	j, err := p.judgement(ctx, id, rec)
	if err != nil {
		return nil, err
	}
	if err := j.Publishable(); err != nil {
		return nil, err
	}
	if err := p.haveBlobs(ctx, j.Event.Proposal.Blobs); err != nil {
		return nil, err
	}
	files, err := p.files(ctx, j)
	if err != nil {
		return nil, err
	}
	return p.commit(ctx, by, id, j.Event, files)
}

// published is a role file on its way into the store.
type published struct {
	repository metadata.Repository
	roleFile
	byEvent bool
}

// files returns all role files that the judged event makes public: its own, and the snapshot and
// timestamp over them.
func (p *Publisher) files(ctx context.Context, j *event.Judgement) ([]published, error) {
	var all []published
	var changed []roleFile
	var root []byte
	for i, f := range j.Files {
		data, err := j.PublishedFile(i)
		if err != nil {
			return nil, err
		}
		rf := roleFile{role: f.Role, version: f.NewVersion, data: data, digest: f.Digest, expires: f.Expires}
		all = append(all, published{f.Repository, rf, true})
		if f.Repository != metadata.Image {
			continue
		}
		changed = append(changed, rf)
		if f.Role == metadata.Root {
			root = data
		}
	}
	if len(changed) == 0 {
		return all, nil // the director's online roles are made for each device, not here
	}
	now, err := p.current(ctx)
	if err != nil {
		return nil, err
	}
	if root != nil {
		if now.root, err = metadata.ParseRoot(root, metadata.Profile); err != nil {
			return nil, err
		}
	}
	online, err := p.onlineFiles(now, changed)
	if err != nil {
		return nil, err
	}
	for _, f := range online {
		all = append(all, published{metadata.Image, f, false})
	}
	return all, nil
}

// commit writes all files, ends the event, and makes others on its roles stale, in one transaction.
func (p *Publisher) commit(ctx context.Context, by string, id store.EventID, e *event.Event, files []published) ([]*pb.PublishedRole, error) {
	var roles []*pb.PublishedRole
	var names []string
	for _, f := range files {
		roles = append(roles, &pb.PublishedRole{Repository: string(f.repository), Role: f.role, Version: f.version})
		names = append(names, fmt.Sprintf("%s %d", roleName(f.repository, f.role), f.version))
	}
	settle, err := p.index.announce(files)
	if err != nil {
		return nil, err
	}
	now := p.Now()
	err = p.Store.Update(ctx, func(tx store.Tx) error {
		for _, f := range files {
			if err := putRole(tx, f, now.Unix(), id); err != nil {
				return err
			}
			if err := p.staleOthers(tx, f, id); err != nil {
				return err
			}
			if err := snapshotIsWhole(tx, f.role); err != nil {
				return err
			}
		}
		rec, err := tx.Event(id)
		if err != nil {
			return err
		}
		rec.State, rec.Published = pb.EventState_EVENT_STATE_PUBLISHED, roles
		if err := endOpen(tx, id, rec, e); err != nil {
			return err
		}
		detail := fmt.Sprintf("%s %s: %s", e.Proposal.Kind, e.Proposal.Subject, strings.Join(names, ", "))
		return audit.Write(tx, audit.Entry(now, actor(by), "event.publish", id.String(), detail))
	})
	settle(err == nil)
	if err != nil {
		return nil, err
	}
	dated := p.dated
	if err := p.reload(); err != nil {
		return nil, err
	}
	p.dated = dated
	for _, f := range files {
		p.note(f.repository, f.roleFile)
		if f.role == metadata.Root {
			p.look() // it may name this server's keys, or no longer
		}
	}
	delete(p.tried, groupOfEvent(e))
	return roles, nil
}

func putRole(tx store.Tx, f published, now int64, id store.EventID) error {
	rec := &pb.RoleRecord{Data: f.data, Digest: f.digest[:], PublishedAt: now, Expires: f.expires.Unix()}
	if f.byEvent {
		rec.Event = id[:]
	}
	return tx.PutRole(f.repository, f.role, f.version, rec)
}

// staleOthers ends what else is open on a role that is being published.
func (p *Publisher) staleOthers(tx store.Tx, f published, id store.EventID) error {
	other, ok, err := tx.OpenEvent(f.repository, f.role)
	if err != nil || !ok || other == id {
		return err
	}
	return p.markStale(tx, other, id)
}

// haveBlobs makes sure that the server holds every file that the event makes public, whole and with
// the hash that was checked when it was uploaded.
func (p *Publisher) haveBlobs(ctx context.Context, blobs []event.Blob) error {
	return p.Store.View(ctx, func(v store.View) error {
		for _, b := range blobs {
			sum, err := hex.DecodeString(b.SHA256)
			if err != nil || len(sum) != sha256.Size {
				return reason.Errorf(reason.Malformed, "%s: sha256 %q", b.Path, b.SHA256)
			}
			rec, err := v.Blob([32]byte(sum))
			if missing(err) != nil {
				return err
			}
			if errors.Is(err, store.ErrNotFound) || !rec.GetComplete() {
				return reason.Errorf(reason.EvidenceMissing, "%s (sha256 %.12s, %d bytes) is not on the server", b.Path, b.SHA256, b.Length).
					WithHint("countersign publish EVENT --artifact PATH")
			}
			if rec.GetLength() != b.Length {
				return reason.Errorf(reason.LengthMismatch, "%s: the file on the server has %d bytes, the event says %d", b.Path, rec.GetLength(), b.Length)
			}
			file, err := p.Blobs.Reader([32]byte(sum), b.Length)
			if err != nil {
				return reason.Wrap(err, "%s", b.Path)
			}
			if err := file.Close(); err != nil {
				return err
			}
		}
		return nil
	})
}

func sha(data []byte) [32]byte { return sha256.Sum256(data) }
