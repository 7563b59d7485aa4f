package repository_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

var ctx = context.Background()

// Each event that must not be opened is refused with its reason, leaves no role held, and the next
// good release is published.
func TestEventsThatAreRefused(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	rivera := b.operators["rivera"]
	for _, tt := range []struct {
		name  string
		event func(t *testing.T) *event.Event
		want  reason.Reason
	}{
		{"one byte of a signed part edited", func(t *testing.T) *event.Event {
			e, _ := b.release("2.4.1", basicSpec)
			f := &e.Proposal.Files[0]
			f.Signed = bytes.Replace(f.Signed, []byte(`"spread_hours":24`), []byte(`"spread_hours":2.`), 1)
			return e
		}, reason.NotCanonical},
		{"counter edited", func(t *testing.T) *event.Event {
			e, _ := b.release("2.4.1", basicSpec)
			f := &e.Proposal.Files[0]
			f.Signed = bytes.Replace(f.Signed, []byte(`"counter":2,"expires"`), []byte(`"counter":9,"expires"`), 1)
			f.Signed = bytes.ReplaceAll(f.Signed, []byte(`"counter":2`), []byte(`"counter":9`))
			return e
		}, reason.Profile},
		{"old base", func(t *testing.T) *event.Event {
			e, _ := b.release("2.4.1", basicSpec)
			e.Proposal.Files[0].Base.Version--
			return e
		}, reason.EventStale},
		{"another base of the same version", func(t *testing.T) *event.Event {
			e, _ := b.release("2.4.1", basicSpec)
			e.Proposal.Files[0].Base.SHA256 = strings.Repeat("0", 64)
			return e
		}, reason.VersionUsed},
		{"of another deployment", func(t *testing.T) *event.Event {
			e, _ := b.release("2.4.1", basicSpec)
			e.Proposal.Deployment = "umbrella"
			return e
		}, reason.ScopeMismatch},
		{"without SBOM", func(t *testing.T) *event.Event {
			e, _ := b.release("2.4.1", basicSpec)
			f := &e.Proposal.Files[0]
			at := bytes.Index(f.Signed, []byte(`"gw-100/2.4.1/gw.img"`))
			from := at + bytes.Index(f.Signed[at:], []byte(`"evidence":`))
			to := from + bytes.Index(f.Signed[from:], []byte(`}},`)) + 3
			f.Signed = append(bytes.Clone(f.Signed[:from]), f.Signed[to:]...)
			return e
		}, reason.SBOMMissing},
		{"second init", func(t *testing.T) *event.Event {
			e, err := event.NewInit(b.plan(basicPlan), b.opening())
			if err != nil {
				t.Fatal(err)
			}
			return e
		}, reason.EventStale},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := tt.event(t)
			_, err := rivera.OpenEvent(ctx, e)
			wantReason(t, err, tt.want)
			_, _, err = rivera.Event(ctx, e.ID())
			wantReason(t, err, reason.NotFound)
		})
	}
	b.released("2.4.1")
	b.checked()
}

// An init is taken only with this server's own online keys and TLS anchors, for its own deployment,
// and never with keys that everybody has.
func TestInitsThatAreRefused(t *testing.T) {
	b := newBed(t)
	other := newBed(t)
	for _, tt := range []struct {
		name string
		plan func(t *testing.T) *event.Plan
		want reason.Reason
	}{
		{"another server's online keys", func(t *testing.T) *event.Plan { return other.plan(basicPlan) }, reason.OnlineKeyUnknown},
		{"other TLS anchors", func(t *testing.T) *event.Plan {
			p := b.plan(basicPlan)
			p.Online.TLS = []string{strings.Repeat("ab", 32)}
			return p
		}, reason.OnlineKeyUnknown},
		{"no TLS anchors", func(t *testing.T) *event.Plan {
			p := b.plan(basicPlan)
			p.Online.TLS = nil
			return p
		}, reason.OnlineKeyUnknown},
		{"online keys swapped", func(t *testing.T) *event.Plan {
			p := b.plan(basicPlan)
			p.Online.Image, p.Online.Director = p.Online.Director, p.Online.Image
			return p
		}, reason.OnlineKeyUnknown},
		{"another deployment", func(t *testing.T) *event.Plan {
			p := b.plan(basicPlan)
			p.Deployment = "umbrella"
			return p
		}, reason.ScopeMismatch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := event.NewInit(tt.plan(t), b.opening())
			if err != nil {
				t.Fatal(err)
			}
			_, err = b.operators["rivera"].OpenEvent(ctx, e)
			wantReason(t, err, tt.want)
		})
	}
	b.found(basicPlan)
	b.checked()
}

// Signatures that do not count are named one by one, and none of them helps towards the quorum.
func TestSignaturesThatAreRefused(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	e, s := b.release("2.4.1", basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	rivera := b.operators["rivera"]
	sigs, _ := b.signed(id, "rivera")

	outcomes, err := rivera.AddSignatures(ctx, id, sigs, nil)
	if err != nil || outcomes[0].GetReason() != string(reason.ApprovalMissing) {
		t.Errorf("without an approval: %v, %v", outcomes, err)
	}
	outsider := event.Signature{File: 0, KeyID: strings.Repeat("ab", 32), Sig: sigs[0].Sig}
	edited := sigs[0]
	edited.Sig = bytes.Clone(edited.Sig)
	edited.Sig[5] ^= 1
	for _, tt := range []struct {
		name string
		sig  event.Signature
		want reason.Reason
	}{
		{"by an outsider", outsider, reason.KeyNotInRole},
		{"one bit flipped", edited, reason.SignatureBad},
		{"of a file that is not there", event.Signature{File: 7, KeyID: sigs[0].KeyID, Sig: sigs[0].Sig}, reason.Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			outcomes, err := rivera.AddSignatures(ctx, id, []event.Signature{tt.sig}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if o := outcomes[0]; o.GetTaken() || o.GetReason() != string(tt.want) {
				t.Errorf("outcome %v, want %s", o, tt.want)
			}
		})
	}
	_, err = rivera.Publish(ctx, id)
	wantReason(t, err, reason.QuorumOpen)

	b.sign(id, "rivera")
	_, err = rivera.Publish(ctx, id) // one class of two
	wantReason(t, err, reason.QuorumOpen)
	if !strings.Contains(err.Error(), "engineering 1/1") || !strings.Contains(err.Error(), "quality 0/1") {
		t.Errorf("the refusal does not say who is missing: %v", err)
	}
	one, approval := b.signed(id, "okafor")
	two, _ := b.signed(id, "okafor") // ECDSA: other bytes
	outcomes, err = rivera.AddSignatures(ctx, id, append(one, two...), approval)
	reasons := outcomes[0].GetReason() + outcomes[1].GetReason()
	if err != nil || reasons != string(reason.KeyTwice) {
		t.Errorf("signed twice: %v, %v", outcomes, err)
	}
	if got := b.publish(id); got["image/gw-100"] != 2 {
		t.Errorf("published %v", got)
	}
	b.checked()
}

// One open event a role; the same event again only brings its new signatures.
func TestOneOpenEventARole(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	first, s := b.release("2.4.1", basicSpec)
	second, _ := b.release("2.4.2", basicSpec)
	id := b.open("rivera", first)
	_, err := b.operators["rivera"].OpenEvent(ctx, second)
	wantReason(t, err, reason.RoleOpen)
	if !strings.Contains(err.Error(), id[:12]) {
		t.Errorf("the refusal does not name the open event: %v", err)
	}
	// chen carries the file away, signs, and brings it back.
	first.Signatures, first.Approvals = b.signed(id, "chen")
	outcomes, err := b.operator("chen").OpenEvent(ctx, first)
	if err != nil || len(outcomes) == 0 || !outcomes[0].GetTaken() {
		t.Fatalf("the same event with a signature: %v, %v", outcomes, err)
	}
	_, err = b.operators["rivera"].Publish(ctx, id)
	wantReason(t, err, reason.QuorumOpen)
	b.write("build/gw.img", firmware("2.4.1"))
	b.upload(first, s)
	b.sign(id, "rivera")
	b.publish(id)
	_, err = b.operators["rivera"].OpenEvent(ctx, first)
	wantReason(t, err, reason.EventPublished)
	_, err = b.operators["rivera"].OpenEvent(ctx, second)
	wantReason(t, err, reason.EventStale)
	b.checked()
}

// A release whose files are not on the server stays unpublished until they are.
func TestFilesComeBeforePublication(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	e, s := b.release("2.4.1", basicSpec)
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen")
	_, err := b.operators["rivera"].Publish(ctx, id)
	wantReason(t, err, reason.EvidenceMissing)
	if code, _ := b.get("/2.gw-100.json"); code != 404 {
		t.Errorf("version 2 is served: %d", code)
	}
	b.upload(e, s)
	b.publish(id)
	b.checked()
}

// A refresh gives way to a release; its signature used up its version, so the release goes above it.
func TestRefreshGivesWay(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	refresh := refreshOf(t, b, "gw-100")
	old := b.open("rivera", refresh)
	b.sign(old, "rivera")
	blind, err := event.NewRelease("gw-100", "2.4.1", specOf(t, b), b.state(), event.Opening{Now: b.clock.now().Truncate(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.operators["rivera"].OpenEvent(ctx, blind)
	wantReason(t, err, reason.VersionUsed)
	if s := stateOf(t, b, old); s.GetState() != pb.EventState_EVENT_STATE_OPEN {
		t.Errorf("a refused release ended the refresh: %v", s.GetState())
	}
	if got := b.released("2.4.1"); got["image/gw-100"] != 3 {
		t.Errorf("published %v, want version 3", got)
	}
	if s := stateOf(t, b, old); s.GetState() != pb.EventState_EVENT_STATE_STALE || s.GetStaleBy() == "" {
		t.Errorf("the refresh is %v", s)
	}
	_, err = b.operators["rivera"].Publish(ctx, old)
	wantReason(t, err, reason.EventStale)
	b.checked()
}

func specOf(t *testing.T, b *bed) *event.Spec {
	t.Helper()
	b.write("build/gw.img", firmware("2.4.1"))
	b.write("gw.cdx.json", []byte(sbom))
	s, err := event.LoadSpec(b.write("release.yaml", []byte(basicSpec)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// refreshOf makes a refresh of a role the way a tool does: the same content, a later expiry.
func refreshOf(t *testing.T, b *bed, role string) *event.Event {
	t.Helper()
	data, err := served{b}.Current(metadata.Image, role)
	if err != nil {
		t.Fatal(err)
	}
	f, err := metadata.ParseTargets(data, metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	digest := f.Digest()
	signed := f.Signed
	base := &event.BaseRef{Version: signed.Version, SHA256: hexOf(digest)}
	signed.Version++
	signed.Expires = b.clock.now().Add(365 * 24 * time.Hour).UTC().Truncate(time.Second)
	canonical, err := metadata.Signed(signed)
	if err != nil {
		t.Fatal(err)
	}
	return &event.Event{Proposal: event.Proposal{
		Deployment: "acme", Kind: event.Refresh, Subject: role,
		Files: []event.ProposedFile{{Repository: metadata.Image, Role: role, Base: base, Signed: canonical}},
	}}
}

// Events live through a restart, found by any unique prefix.
func TestEventsAreFoundByPrefix(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	e, _ := b.release("2.4.1", basicSpec)
	id := b.open("rivera", e)
	b.stop()
	b.start()
	for _, prefix := range []string{id, id[:12], id[:4]} {
		got, s, err := b.operators["rivera"].Event(ctx, prefix)
		if err != nil || got.ID() != id || s.GetSubject() != "gw-100/2.4.1" || s.GetOpenedBy() != "rivera" {
			t.Fatalf("%s: %v, %v", prefix, s, err)
		}
	}
	for prefix, want := range map[string]reason.Reason{
		id[:3]: reason.Malformed, "": reason.Malformed, "xyzw": reason.Malformed, strings.ToUpper(id[:8]) + "F": reason.Malformed,
		"0000000000": reason.NotFound, id + "0": reason.Malformed,
	} {
		_, _, err := b.operators["rivera"].Event(ctx, prefix)
		wantReason(t, err, want)
	}
	open, err := b.operators["rivera"].Events(ctx, false, 0)
	if err != nil || len(open) != 1 || open[0].GetId() != id {
		t.Errorf("open events %v, %v", open, err)
	}
	all, err := b.operators["rivera"].Events(ctx, true, 0)
	if err != nil || len(all) != 2 || all[0].GetId() != id || all[1].GetKind() != event.Init {
		t.Errorf("all events %v, %v", all, err)
	}
}
