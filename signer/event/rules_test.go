package event_test

import (
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

const (
	image    = metadata.Image
	director = metadata.Director
	gwPath   = "gw-100/2.4.1/gw.img"
)

// Every rule that holds between a release and what is in force, one fault a row.
func TestRulesOfARelease(t *testing.T) {
	gw := func(change func(s object)) func(t *testing.T, e *event.Event) {
		return func(t *testing.T, e *event.Event) { edit(t, e, image, "gw-100", change) }
	}
	doc := func(change func(f object)) func(t *testing.T, e *event.Event) {
		return gw(func(s object) { change(firmware(s, gwPath)) })
	}
	for _, c := range []struct {
		name  string
		fault func(t *testing.T, e *event.Event)
		want  reason.Reason
	}{
		{"none", func(*testing.T, *event.Event) {}, ""},
		{"other deployment", func(_ *testing.T, e *event.Event) { e.Proposal.Deployment = "umbrella" }, reason.ScopeMismatch},
		{"file of another deployment", gw(func(s object) { s["x-countersign-scope"] = "umbrella/image/gw-100" }), reason.ScopeMismatch},
		{"file without scope", gw(func(s object) { delete(s, "x-countersign-scope") }), reason.ScopeMissing},
		{"file of another role", gw(func(s object) { s["x-countersign-scope"] = "acme/image/pump-9" }), reason.ScopeMismatch},
		{"unknown kind", func(_ *testing.T, e *event.Event) { e.Proposal.Kind = "wish" }, reason.Malformed},
		{"subject lies", func(_ *testing.T, e *event.Event) { e.Proposal.Subject = "gw-100/2.4.0" }, reason.Malformed},
		{"version in force again", gw(func(s object) { s["version"] = 2 }), reason.VersionUsed},
		{"version skips", gw(func(s object) { s["version"] = 9 }), reason.Profile},
		{"version far above", gw(func(s object) { s["version"] = 3 + 1<<20 }), reason.IntegerRange},
		{"version beyond the limit", gw(func(s object) { s["version"] = 1<<53 - 1<<20 + 1 }), reason.IntegerRange},
		{"old base", func(_ *testing.T, e *event.Event) { e.Proposal.Files[0].Base.Version = 1 }, reason.EventStale},
		{"base with other content", func(_ *testing.T, e *event.Event) {
			e.Proposal.Files[0].Base.SHA256 = strings.Repeat("0", 64)
		}, reason.VersionUsed},
		{"role made anew", func(_ *testing.T, e *event.Event) { e.Proposal.Files[0].Base = nil }, reason.Profile},
		{"expired", gw(func(s object) { s["expires"] = "2026-11-25T09:20:00Z" }), reason.Expired},
		{"fractional expiry", gw(func(s object) { s["expires"] = "2027-11-25T09:20:00.5Z" }), reason.NotCanonical},
		{"counter of the last release", doc(func(f object) { f["counter"] = 1 }), reason.CounterLow},
		{"counter skips", gw(func(s object) {
			firmware(s, gwPath)["counter"] = 7
			set(s, 7, "x-countersign-high", "counter")
		}), reason.Profile},
		{"high mark below the counter", gw(func(s object) { set(s, 1, "x-countersign-high", "counter") }), reason.Profile},
		{"high mark above the counter", gw(func(s object) { set(s, 3, "x-countersign-high", "counter") }), reason.Profile},
		{"no high mark", gw(func(s object) { delete(s, "x-countersign-high") }), reason.Profile},
		{"floor falls", doc(func(f object) { f["floor"] = 0 }), reason.FloorFalls},
		{"floor in the high mark falls", gw(func(s object) { set(s, 0, "x-countersign-high", "floors", "main") }), reason.FloorFalls},
		{"floor above counter", doc(func(f object) { f["floor"] = 3 }), reason.Floor},
		{"floor of a component vanishes", gw(func(s object) { set(s, object{}, "x-countersign-high", "floors") }), reason.FloorFalls},
		{"floor of nothing", gw(func(s object) { set(s, 2, "x-countersign-high", "floors", "radio") }), reason.Profile},
		{"old target changes", gw(func(s object) { firmware(s, "gw-100/2.4.0/gw.img")["spread_hours"] = 0 }), reason.Profile},
		{"old target vanishes", gw(func(s object) { delete(s["targets"].(object), "gw-100/2.4.0/gw.img") }), reason.Profile},
		{"nothing added", gw(func(s object) { delete(s["targets"].(object), gwPath) }), reason.Profile},
		{"two versions", gw(func(s object) {
			targets := s["targets"].(object)
			other := clone(t, targets[gwPath]).(object)
			set(other, "2.4.2", "custom", "countersign", "version")
			set(other, []any{"gw-100-e"}, "custom", "countersign", "hardware")
			targets["gw-100/2.4.2/gw.img"] = other
		}), reason.Profile},
		{"two targets for one hardware", gw(func(s object) {
			targets := s["targets"].(object)
			targets["gw-100/2.4.1/other.img"] = clone(t, targets[gwPath])
		}), reason.CounterUsed},
		{"paths fold", gw(func(s object) {
			targets := s["targets"].(object)
			other := clone(t, targets[gwPath]).(object)
			set(other, []any{"gw-100-e"}, "custom", "countersign", "hardware")
			targets["gw-100/2.4.1/GW.img"] = other
		}), reason.PathFolds},
		{"path of another product", gw(func(s object) {
			targets := s["targets"].(object)
			other := clone(t, targets[gwPath]).(object)
			set(other, "pump-9", "custom", "countersign", "product")
			targets["pump-9/2.4.1/gw.img"] = other
		}), reason.ProductMismatch},
		{"document of another product", doc(func(f object) { f["product"] = "pump-9" }), reason.ProductMismatch},
		{"unknown member in the document", doc(func(f object) { f["flavour"] = "mint" }), reason.UnknownMember},
		{"sha512 beside sha256", gw(func(s object) {
			set(s, strings.Repeat("00", 64), "targets", gwPath, "hashes", "sha512")
		}), reason.Profile},
		{"no SBOM", func(t *testing.T, e *event.Event) {
			edit(t, e, image, "gw-100", func(s object) { delete(firmware(s, gwPath), "evidence") })
		}, reason.SBOMMissing},
		{"evidence of another release", doc(func(f object) { set(f, "gw-100/2.4.0/gw.cdx.json", "evidence", "sbom", "path") }), reason.ProductMismatch},
		{"requires what does not exist", doc(func(f object) { f["requires"] = []any{object{"product": "lamp", "min_counter": 1}} }), reason.Requires},
		{"requires what is not published", doc(func(f object) { f["requires"] = []any{object{"product": "pump-9", "min_counter": 1}} }), reason.Requires},
		{"requires itself", doc(func(f object) { f["requires"] = []any{object{"product": "gw-100", "min_counter": 1}} }), reason.Requires},
		{"delegates onwards", gw(func(s object) {
			s["targets"] = object{}
			s["delegations"] = object{"keys": object{}, "roles": []any{}}
		}), reason.Profile},
		{"unknown member", gw(func(s object) { s["x-note"] = "hello" }), reason.UnknownMember},
		{"blob missing", func(_ *testing.T, e *event.Event) { e.Proposal.Blobs = e.Proposal.Blobs[:1] }, reason.EvidenceMissing},
		{"blob too many", func(_ *testing.T, e *event.Event) {
			b := e.Proposal.Blobs[1]
			b.Path = "gw-100/2.4.1/zz.img"
			e.Proposal.Blobs = append(e.Proposal.Blobs, b)
		}, reason.Malformed},
		{"blob with another hash", func(_ *testing.T, e *event.Event) { e.Proposal.Blobs[1].SHA256 = strings.Repeat("0", 64) }, reason.HashMismatch},
		{"blob with another length", func(_ *testing.T, e *event.Event) { e.Proposal.Blobs[1].Length++ }, reason.LengthMismatch},
		{"holds the stop list too", func(t *testing.T, e *event.Event) {
			f := e.Proposal.Files[0]
			f.Role = "gw-100.stop"
			e.Proposal.Files = append(e.Proposal.Files, f)
			edit(t, e, image, "gw-100.stop", func(s object) {
				delete(s, "x-countersign-high")
				s["x-countersign-scope"], s["x-countersign-stop"], s["targets"] = "acme/image/gw-100.stop", []any{}, object{}
			})
		}, reason.Profile},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.found(twoProducts)
			first := w.release("2.4.0", strings.Replace(basicSpec, "class:", "floor: 1\nclass:", 1))
			w.publish(w.sign(first, "rivera", nil), w.sign(first, "chen", nil))
			e := w.release("2.4.1", basicSpec)
			c.fault(t, e)
			_, err := w.opened(e)
			wantReason(t, err, c.want)
		})
	}
}

func TestRulesOfInit(t *testing.T) {
	online := keysOf(t, "server").Public
	for _, c := range []struct {
		name  string
		fault func(t *testing.T, w *world, e *event.Event)
		want  reason.Reason
	}{
		{"none", func(*testing.T, *world, *event.Event) {}, ""},
		{"online keys of another server", func(t *testing.T, w *world, _ *event.Event) {
			w.online.Image = keysOf(t, "stranger").Public.Image
		}, reason.OnlineKeyUnknown},
		{"director's online key of another server", func(t *testing.T, w *world, _ *event.Event) {
			w.online.Director = keysOf(t, "stranger").Public.Image
		}, reason.OnlineKeyUnknown},
		{"TLS anchors of another server", func(_ *testing.T, w *world, _ *event.Event) {
			w.online.TLS = []string{strings.Repeat("cd", 32)}
		}, reason.OnlineKeyUnknown},
		{"no director root", func(_ *testing.T, _ *world, e *event.Event) { drop(e, director, "root") }, reason.Profile},
		{"no targets", func(_ *testing.T, _ *world, e *event.Event) { drop(e, image, "targets") }, reason.Profile},
		{"root without scope", func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "root", func(s object) { delete(s, "x-countersign-scope") })
		}, reason.ScopeMissing},
		{"root 2", func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "root", func(s object) { s["version"] = 2 })
		}, reason.Profile},
		{"no consistent snapshots", func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "root", func(s object) { s["consistent_snapshot"] = false })
		}, reason.Profile},
		{"threshold above the people's", func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "root", func(s object) { set(s, 3, "roles", "root", "threshold") })
		}, reason.QuorumMalformed},
		{"no spare person", func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "root", func(s object) {
				set(s, 3, "roles", "root", "threshold")
				set(s, 3, "x-countersign-quorum", "root", "require", "holder")
			})
		}, reason.QuorumMalformed},
		{"no quorum", func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "root", func(s object) { delete(s, "x-countersign-quorum") })
		}, reason.QuorumMissing},
		{"online key signs targets", func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "root", func(s object) {
				set(s, at(s, "roles", "timestamp"), "roles", "targets")
			})
		}, reason.QuorumMalformed},
		{"stop list in a product", func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "gw-100", func(s object) { s["x-countersign-stop"] = []any{} })
		}, reason.Profile},
		{"high mark in a stop list", func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "gw-100.stop", func(s object) { s["x-countersign-high"] = object{"counter": 0, "floors": object{}} })
		}, reason.Profile},
		{"product without stop role", func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "targets", func(s object) {
				roles := at(s, "delegations", "roles").([]any)
				set(s, roles[:1], "delegations", "roles")
			})
			drop(e, image, "gw-100.stop")
		}, reason.Profile},
		{"no first version of a product", func(_ *testing.T, _ *world, e *event.Event) { drop(e, image, "gw-100") }, reason.Profile},
		{"no first version of a stop list", func(_ *testing.T, _ *world, e *event.Event) { drop(e, image, "gw-100.stop") }, reason.Profile},
		{"product begins with a counter", func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "gw-100", func(s object) { set(s, 5, "x-countersign-high", "counter") })
		}, reason.Profile},
		{"a person's key is online", func(t *testing.T, w *world, e *event.Event) {
			edit(t, e, image, "targets", func(s object) {
				swapKey(s, keysOf(t, "rivera").Public.Image, online.Image)
			})
		}, reason.KeyTwice},
		{"a key is two people", func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "targets", func(s object) {
				for _, role := range []string{"0", "1"} {
					for _, p := range at(s, "delegations", "roles", role, "x-countersign-quorum", "people").([]any) {
						if p.(object)["id"] == "rivera" {
							p.(object)["id"] = "mallory"
						}
					}
				}
			})
		}, reason.KeyTwice},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			plan := strings.ReplaceAll(twoProducts, "bins: 16", "bins: 0")
			plan = plan[:strings.Index(plan, "  pump-9")]
			e, err := event.NewInit(w.plan(plan), w.opening())
			if err != nil {
				t.Fatal(err)
			}
			c.fault(t, w, e)
			_, err = w.opened(e)
			wantReason(t, err, c.want)
		})
	}
	t.Run("second init", func(t *testing.T) {
		w := newWorld(t)
		p := w.found(basicPlan)
		e, err := event.NewInit(p, w.opening())
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.opened(e)
		wantReason(t, err, reason.EventStale)
	})
}
