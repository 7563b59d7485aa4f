package show

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/event"
)

func day(s string) time.Time {
	at, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic("show: " + s)
	}
	return at
}

// transcript is a review as that of transcript 3 in docs/commands.md.
func transcript() (*event.Review, Context) {
	const sha = "98c57c3a984e3f028670f5061b38cb58079d9889e168a45cf16728170cf99739"
	now := time.Date(2026, 11, 25, 9, 40, 0, 0, time.UTC)
	r := &event.Review{
		Event: "b8e1f80bd70ae0784c7855a451731b745fddb67749d23f637be9082b75e9575b", Deployment: "acme", Kind: event.Release, Subject: "gw-100/2.4.1",
		Files: []event.FileReview{{
			Repository: metadata.Image, Role: "gw-100", OldVersion: 30, Version: 31, OldExpires: day("2027-09-02"), Expires: day("2027-11-25"),
		}},
		Added: []event.TargetReview{{
			Path: "gw-100/2.4.1/gw.img", Version: "2.4.1", Length: 9412608, SHA256: sha, OldCounter: 16, Counter: 17, OldFloor: 12, Floor: 12,
			Component: "main", Hardware: []string{"gw-100-c", "gw-100-d"}, Installer: "slot", OldSpreadHours: 72, SpreadHours: 24,
			Conditions: &metadata.Conditions{BatteryPercentMin: 40, Idle: true, DowntimeSeconds: 180},
			Evidence:   map[string]metadata.EvidenceRef{"sbom": {Path: "gw-100/2.4.1/gw.cdx.json"}},
		}},
		Consequences: []string{"gw-100-c and -d below counter 17 may install it", "nothing becomes uninstallable", "afterwards no way back below 12"},
		Quorum: []event.QuorumReview{{By: "targets 5", Classes: []event.QuorumOfRole{
			{Class: "engineering", Meaning: "authored", Need: 1, Signed: []event.SignedReview{{ID: "rivera", Name: "rivera", At: now.Add(-26 * time.Minute), Reason: "build 8812"}}},
			{Class: "quality", Meaning: "approved", Need: 1, Can: []string{"chen", "okafor"}},
		}}},
	}
	return r, Context{
		Now: now, Root: 4, Seen: func(metadata.Repository, string) int64 { return 30 },
		Artifacts: []event.Artifact{{Blob: event.Blob{Path: "gw-100/2.4.1/gw.img"}, File: "build/gw.img", Same: true}},
	}
}

func TestRolesOldAndNew(t *testing.T) {
	r := &event.Review{
		Event: "ab", Deployment: "acme", Kind: event.Root, Subject: "image-root",
		Files: []event.FileReview{
			{Repository: metadata.Director, Role: "root", OldVersion: 1, Version: 2},
			{Repository: metadata.Image, Role: "root", OldVersion: 1, Version: 2, SHA256: "fp", OldExpires: day("2026-11-20"), Expires: day("2027-11-25")},
			{Repository: metadata.Image, Role: "gw-100", OldVersion: 3, Version: 4},
		},
		Roles: []event.RoleReview{
			{Repository: metadata.Image, Role: "timestamp", OldOnlineKey: "111111111111aa", OnlineKey: "222222222222bb"},
			{Repository: metadata.Image, Role: "snapshot", OldOnlineKey: "111111111111aa", OnlineKey: "222222222222bb"},
			{
				Repository: metadata.Image, Role: "gw-100", OldThreshold: 2, Threshold: 3, OldSBOM: "required", SBOM: "none",
				Classes: []event.ClassReview{{Class: "quality", OldNeed: 1, Need: 2, OldMeaning: "approved", Meaning: "checked"}},
				People: []event.PersonReview{
					{ID: "chen", OldName: "Chen", OldClass: "quality", OldKeyID: "3abd72ec6352ff"},
					{ID: "dumont", Name: "Dumont", Class: "quality", KeyID: "90be44106c1eff"},
					{ID: "okafor", OldName: "okafor", Name: "okafor", OldClass: "quality", Class: "regulatory", OldKeyID: "aaaaaaaaaaaaff", KeyID: "bbbbbbbbbbbbff"},
					{ID: "rivera", OldName: "rivera", Name: "rivera", OldClass: "quality", Class: "quality", OldKeyID: "cccccccccccc", KeyID: "cccccccccccc"},
				},
			},
		},
		Quorum: []event.QuorumReview{
			{File: 0, By: "root 1", Classes: []event.QuorumOfRole{{Class: "holder", Need: 2, Can: []string{"chen"}}}},
			{File: 0, By: "this root", Classes: []event.QuorumOfRole{{Class: "holder", Need: 2, Can: []string{"okafor"}}}},
			{File: 1, By: "root 1", Classes: []event.QuorumOfRole{{Class: "holder", Need: 2, Can: []string{"chen"}}}},
			{File: 2, By: "targets 2", Classes: []event.QuorumOfRole{{Class: "quality", Need: 1, Can: nil}}},
		},
	}
	got := Review(r, Context{Now: time.Date(2026, 11, 25, 9, 20, 0, 0, time.UTC), Root: 1})
	for _, want := range []string{
		"root image-root in acme   verified from image root 1   this machine's clock: 2026-11-25 09:20 UTC\n",
		"file     image root version 1 → 2   expires 2026-11-20 (5 d ago) → 2027-11-25 (in 364 d)\n         fingerprint fp, to be read to the others\nfile     director root",
		`changes  gw-100: threshold 2 → 3; quality 1 → 2; quality means "approved" → "checked"; removed chen ("Chen") 3abd72ec6352, was quality; added dumont ("Dumont") 90be44106c1e as quality; ` +
			"okafor bbbbbbbbbbbb, was okafor aaaaaaaaaaaa, as quality → regulatory; sbom required → none\n" +
			"online   image snapshot, image timestamp: key 111111111111 → 222222222222 of the server\n" +
			"key      dumont 90be44106c1eff\nkey      okafor bbbbbbbbbbbbff\nkey      the server 222222222222bb\n",
		"quorum   image root, director root by root 1: holder 0/2: chen can\n",
		"quorum   director root by this root: holder 0/2: okafor can\n",
		"quorum   gw-100: quality 0/1: nobody can",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want\n%s\nin\n%s", want, got)
		}
	}
	if strings.Contains(got, "rivera") {
		t.Error("who does not change is shown as a change")
	}
}

// What a stop and a withdrawal say.
func TestStopAndWithdraw(t *testing.T) {
	const sha = "98c57c3a984e3f028670f5061b38cb58079d9889e168a45cf16728170cf99739"
	at := time.Date(2026, 11, 25, 9, 20, 0, 0, time.UTC)
	r := &event.Review{
		Event: "ab", Deployment: "acme", Kind: event.Stop, Subject: "gw-100/2.4.1",
		Files: []event.FileReview{{Repository: metadata.Image, Role: "gw-100.stop", OldVersion: 1, Version: 2, OldExpires: day("2027-09-02"), Expires: day("2027-11-25")}},
		Stops: []event.StopReview{
			{Path: "gw-100/2.4.1/gw.img", Counter: 17, SHA256: sha, At: at, Reason: "link drops", Target: event.StopListed, Component: "main", Hardware: []string{"gw-100-c", "gw-100-d"}},
			{Path: "gw-100/2.4.0/gw.img", Counter: 16, SHA256: sha, At: at, Reason: "link drops", Target: event.StopWithdrawn},
			{Path: "gw-100/2.3.9/gw.img", Counter: 15, SHA256: sha, At: at, Reason: "link drops", Target: event.StopUnseen},
			{Path: "gw-100/1.0.0/gw.img", Counter: 2, SHA256: sha, At: at, Reason: "old", Leaves: true},
		},
		Consequences: []string{"one", "two"}, Warnings: []string{"three"},
		Quorum: []event.QuorumReview{{By: "targets 5", Classes: []event.QuorumOfRole{{Class: "stop", Meaning: "stopped", Need: 1, Can: []string{"chen"}}}}},
	}
	want := `stop gw-100/2.4.1 in acme   role gw-100.stop version 1 → 2   expires 2027-09-02 (in 280 d) → 2027-11-25 (in 364 d)
event    ab
stopped  gw-100/2.4.1/gw.img   counter 17   component main   hardware gw-100-c, gw-100-d
         sha256 ` + sha + `   reason "link drops", 2026-11-25 09:20 UTC
stopped  gw-100/2.4.0/gw.img   counter 16   withdrawn earlier
         sha256 ` + sha + `   reason "link drops", 2026-11-25 09:20 UTC
stopped  gw-100/2.3.9/gw.img   counter 15   NOT IN THE BASE
         sha256 ` + sha + `   reason "link drops", 2026-11-25 09:20 UTC
ends     gw-100/1.0.0/gw.img   counter 2   withdrawn long ago
         sha256 ` + sha + `   reason "old", 2026-11-25 09:20 UTC
follows  one; two
warning  three
quorum   stop 0/1: chen can`
	if got := Review(r, Context{Now: at}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	r.Kind, r.Stops, r.Reason = event.Withdraw, nil, "link drops"
	r.Removed = []event.TargetReview{{Path: "gw-100/2.4.1/gw.img", Counter: 17, Floor: 12, Component: "main", Installer: "slot", Hardware: []string{"gw-100-c"}, SHA256: sha, Length: 9}}
	for _, want := range []string{"\nreason   \"link drops\"\n", "\nremoved  gw-100/2.4.1/gw.img   counter 17   floor 12   component main   installer slot\n", "\nfollows  one; two\n"} {
		if got := Review(r, Context{Now: at}); !strings.Contains(got, want) {
			t.Errorf("want\n%s\nin\n%s", want, got)
		}
	}
}
