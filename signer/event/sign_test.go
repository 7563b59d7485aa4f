package event_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
	"pgregory.net/rapid"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/signer/event"
)

// An event that was changed on the way is another event, or its signatures do not count.
func TestTamperedCopies(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	signed := w.sign(w.sign(w.release("2.4.1", basicSpec), "rivera", nil), "chen", nil)
	for _, c := range []struct {
		name string
		// fault changes a copy; refused is the reason of its first refused signature, err that of Judge.
		fault   func(e *event.Event)
		refused reason.Reason
		err     reason.Reason
	}{
		{"none", func(*event.Event) {}, "", ""},
		{"one bit of a signature", func(e *event.Event) { e.Signatures[0].Sig[3] ^= 1 }, reason.SignatureBad, ""},
		{"signature of another file", func(e *event.Event) { e.Signatures[0].Sig = e.Signatures[1].Sig }, reason.SignatureBad, ""},
		{"key of an outsider", func(e *event.Event) { e.Signatures[0].KeyID = strings.Repeat("0", 64) }, reason.KeyNotInRole, ""},
		{"no approvals", func(e *event.Event) { e.Approvals = nil }, reason.ApprovalMissing, ""},
		{"approval with another signature", func(e *event.Event) { e.Approvals[0].Signatures[0].Sig[3] ^= 1 }, reason.SignatureBad, ""},
		{"approval reworded", func(e *event.Event) {
			e.Approvals[0].Payload = bytes.Replace(e.Approvals[0].Payload, []byte("record 8812"), []byte("record 8813"), 1)
		}, reason.SignatureBad, ""},
		{"approval is no JSON", func(e *event.Event) { e.Approvals[0].Payload = []byte("x") }, reason.Malformed, ""},
		{"approval of another kind", func(e *event.Event) { e.Approvals[0].PayloadType = statement.PayloadType("receipt") }, reason.Malformed, ""},
		{"one byte of the proposal", func(e *event.Event) {
			e.Proposal.Files[0].Signed = bytes.Replace(e.Proposal.Files[0].Signed, []byte(`"spread_hours":24`), []byte(`"spread_hours":23`), 1)
		}, reason.Malformed, ""}, // its approval is of another event then
	} {
		t.Run(c.name, func(t *testing.T) {
			e := w.carry(signed)
			c.fault(e)
			j, err := w.opened(e)
			wantReason(t, err, c.err)
			if err != nil {
				return
			}
			if c.refused == "" {
				if len(j.Refused) != 0 || !j.Complete {
					t.Errorf("refused %+v, complete %t", j.Refused, j.Complete)
				}
				return
			}
			if len(j.Refused) == 0 {
				t.Fatal("nothing was refused")
			}
			found := false
			for _, r := range j.Refused {
				found = found || reason.Is(r.Err, c.refused)
			}
			if !found {
				t.Errorf("refused %v, want reason %q", j.Refused, c.refused)
			}
			if j.Complete {
				t.Error("complete all the same")
			}
			if _, err := j.PublishedFile(0); !reason.Is(err, reason.QuorumOpen) {
				t.Errorf("published: %v", err)
			}
		})
	}
}

func TestTwoSignaturesOfOneClass(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	e := w.release("2.4.1", basicSpec)
	// chen and okafor are both quality: two keys, so TUF's threshold of 2 is met, and no engineer.
	_, err := w.tryPublish(w.sign(e, "chen", nil), w.sign(e, "okafor", nil))
	wantReason(t, err, reason.QuorumOpen)
	if err != nil && !strings.Contains(err.Error(), "engineering 0/1, quality 2/1") {
		t.Errorf("error %q", err)
	}
}

func TestWhoMaySign(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	e := w.release("2.4.1", basicSpec)
	t.Run("outsider", func(t *testing.T) {
		_, err := w.trySign(e, "stranger", nil)
		wantReason(t, err, reason.KeyNotInRole)
		if err != nil && !strings.HasSuffix(err.Error(), " is not in role gw-100; chen, okafor and rivera are") {
			t.Errorf("error %q does not name those who may", err)
		}
	})
	t.Run("twice", func(t *testing.T) {
		_, err := w.trySign(w.sign(e, "rivera", nil), "rivera", nil)
		wantReason(t, err, reason.KeyTwice)
	})
	t.Run("a second signature by the same P-256 key", func(t *testing.T) {
		one, two := w.sign(e, "okafor", nil), w.sign(e, "okafor", nil)
		merged, err := event.Merge(one, two)
		if err != nil {
			t.Fatal(err)
		}
		j, err := w.opened(merged)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range j.Refused {
			wantReason(t, r.Err, reason.KeyTwice)
		}
		if len(j.Refused) != 2 || len(j.Event.Signatures) != 1 || len(j.Event.Approvals) != 1 {
			t.Errorf("%d refused, %d signatures, %d approvals", len(j.Refused), len(j.Event.Signatures), len(j.Event.Approvals))
		}
	})
	t.Run("keys of two people", func(t *testing.T) {
		rivera, _ := keysOf(t, "rivera").Signers()
		chen, _ := keysOf(t, "chen").Signers()
		init, err := event.NewInit(w.plan(basicPlan), event.Opening{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		s, err := event.StateOf(nil, "acme")
		if err != nil {
			t.Fatal(err)
		}
		j, err := event.Judge(init, s, event.Options{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = event.Sign(j, map[metadata.Repository]signature.Signer{image: rivera[image], director: chen[director]}, event.SignOptions{Now: now})
		wantReason(t, err, reason.KeyTwice)
	})
	t.Run("approval of somebody else", func(t *testing.T) {
		signed := w.sign(e, "rivera", nil)
		a, err := statement.ParseApproval(signed.Approvals[0].Payload)
		if err != nil {
			t.Fatal(err)
		}
		a.Person, a.Name = "chen", "Chen"
		a.Files[0].Class, a.Files[0].Meaning = "quality", "approved"
		payload, err := a.Payload()
		if err != nil {
			t.Fatal(err)
		}
		signers, _ := keysOf(t, "rivera").Signers()
		forged, err := statement.Sign(statement.KindApproval, payload, signers[image])
		if err != nil {
			t.Fatal(err)
		}
		signed.Approvals = []envelope{*forged}
		j, err := w.opened(signed)
		if err != nil {
			t.Fatal(err)
		}
		if len(j.Refused) != 2 || !reason.Is(j.Refused[1].Err, reason.SignatureBad) || !reason.Is(j.Refused[0].Err, reason.ApprovalMissing) {
			t.Errorf("refused %+v", j.Refused)
		}
	})
	t.Run("approval that promotes its person", func(t *testing.T) {
		signed := w.sign(e, "rivera", nil)
		a, err := statement.ParseApproval(signed.Approvals[0].Payload)
		if err != nil {
			t.Fatal(err)
		}
		a.Files[0].Class, a.Files[0].Meaning = "quality", "approved"
		payload, err := a.Payload()
		if err != nil {
			t.Fatal(err)
		}
		signers, _ := keysOf(t, "rivera").Signers()
		forged, err := statement.Sign(statement.KindApproval, payload, signers[image])
		if err != nil {
			t.Fatal(err)
		}
		signed.Approvals = []envelope{*forged}
		j, err := w.opened(signed)
		if err != nil {
			t.Fatal(err)
		}
		if len(j.Refused) != 2 || !reason.Is(j.Refused[1].Err, reason.Malformed) {
			t.Errorf("refused %+v", j.Refused)
		}
	})
}

// Copies that were signed apart merge to the same bytes in every order and grouping.
func TestMergeInAnyOrder(t *testing.T) {
	w := newWorld(t)
	e, err := event.NewInit(w.plan(twoProducts), w.opening())
	if err != nil {
		t.Fatal(err)
	}
	copies := []*event.Event{e}
	for _, id := range []string{"rivera", "chen", "okafor", "okafor"} {
		copies = append(copies, w.sign(e, id, nil))
	}
	copies = append(copies, w.sign(copies[1], "chen", nil))
	all, err := event.Merge(copies...)
	if err != nil {
		t.Fatal(err)
	}
	want, err := all.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		order := rapid.Permutation(copies).Draw(rt, "order")
		cut := rapid.IntRange(1, len(order)-1).Draw(rt, "cut")
		left, err := event.Merge(order[:cut]...)
		if err != nil {
			rt.Fatal(err)
		}
		right, err := event.Merge(order[cut:]...)
		if err != nil {
			rt.Fatal(err)
		}
		both, err := event.Merge(left, right, order[0])
		if err != nil {
			rt.Fatal(err)
		}
		got, err := both.Bytes()
		if err != nil || !bytes.Equal(got, want) {
			rt.Fatalf("merged to other bytes: %v", err)
		}
	})
	j, err := w.opened(all)
	if err != nil {
		t.Fatal(err)
	}
	if !j.Complete {
		t.Error("not complete")
	}
	other := w.carry(e)
	other.Proposal.Kind = event.Root
	if _, err := event.Merge(e, other); !reason.Is(err, reason.Malformed) {
		t.Errorf("two events merged: %v", err)
	}
}

// What was judged grows by Add as the same set judged at once.
func TestAdd(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	e := w.release("2.4.1", basicSpec)
	j, err := w.opened(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"rivera", "chen"} {
		signed := w.sign(e, id, nil)
		for range 2 { // the second time changes nothing
			for _, out := range j.Add(signed.Signatures, signed.Approvals) {
				if out.Err != nil || out.Person != id {
					t.Errorf("%s: %+v", id, out)
				}
			}
		}
	}
	if !j.Complete || len(j.Event.Signatures) != 2 {
		t.Errorf("complete %t with %d signatures", j.Complete, len(j.Event.Signatures))
	}
	uses := j.Uses()
	if len(uses) != 1 || uses[0] != (event.Use{Repository: image, Role: "gw-100", Version: 2, Counter: 1}) {
		t.Errorf("uses %+v", uses)
	}
	stranger := event.Signature{File: 7, KeyID: strings.Repeat("0", 64), Sig: []byte{1}}
	if out := j.Add([]event.Signature{stranger}, nil); !reason.Is(out[0].Err, reason.Malformed) {
		t.Errorf("signature of no file: %v", out)
	}
}
