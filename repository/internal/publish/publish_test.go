package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/blob"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

func TestNextOnline(t *testing.T) {
	now := time.Unix(1795599060, 999)
	for _, tt := range []struct{ previous, want int64 }{
		{0, 1795599060},
		{1795599059, 1795599060},
		{1795599060, 1795599061},
		{1795599999, 1795600000}, // a clock that went back
	} {
		if got := nextOnline(tt.previous, now); got != tt.want {
			t.Errorf("after %d: %d, want %d", tt.previous, got, tt.want)
		}
	}
}

// Each threshold is told once, on the way down, and again after a refresh.
func TestWarnings(t *testing.T) {
	var log bytes.Buffer
	p := &Publisher{Config: Config{Log: slog.New(slog.NewTextHandler(&log, nil))}}
	now := time.Unix(1795599060, 0)
	d := Deadline{
		RoleVersion: event.RoleVersion{Repository: metadata.Image, Role: "gw-100", Version: 7},
		Require:     map[string]int{"quality": 2, "engineering": 1},
	}
	var told []string
	for _, days := range []int{90, 60, 45, 31, 30, 29, 14, 8, 7, 2, 1, 0, -1, -5, 365, 59} {
		log.Reset()
		d.Expires = now.Add(time.Duration(days) * day)
		p.warnOf([]Deadline{d}, now)
		if log.Len() > 0 {
			told = append(told, fmt.Sprint(days))
		}
		if expired := strings.Contains(log.String(), "expired=true"); expired && days > 0 {
			t.Errorf("%d days: %s", days, log.String())
		}
	}
	if got := strings.Join(told, " "); got != "60 30 14 7 1 0 59" {
		t.Errorf("told at %s", got)
	}
}

// Each warning says who must act, and what they paste.
func TestWarningsSayWhoMustAct(t *testing.T) {
	now := time.Unix(1795599060, 0)
	id := strings.Repeat("ab", 32)
	for _, tt := range []struct {
		name string
		d    Deadline
		want []string
	}{
		{
			"nobody began",
			Deadline{RoleVersion: event.RoleVersion{Repository: metadata.Image, Role: "gw-100"}, Require: map[string]int{"quality": 2, "engineering": 1}},
			[]string{`role="image gw-100"`, `sign="engineering 1, quality 2"`, `event=""`, `hint="countersign refresh gw-100"`},
		},
		{
			"an event is open",
			Deadline{RoleVersion: event.RoleVersion{Repository: metadata.Image, Role: "gw-100.stop"}, Require: map[string]int{"stop": 1}, Event: id},
			[]string{`role="image gw-100.stop"`, `sign="stop 1"`, "event=" + id, `hint="countersign sign abababababab"`},
		},
		{
			"a root",
			Deadline{RoleVersion: event.RoleVersion{Repository: metadata.Director, Role: metadata.Root}, Require: map[string]int{"holder": 2}},
			[]string{`role="director root"`, `hint="countersign refresh director-root"`},
		},
		{
			"bins",
			Deadline{RoleVersion: event.RoleVersion{Repository: metadata.Image, Role: "gw-100.bin-1f"}, Require: map[string]int{"quality": 1}, Bins: 3},
			[]string{`role="image gw-100.bin-1f"`, "bins=3", `hint="countersign refresh gw-100"`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			p := &Publisher{Config: Config{Log: slog.New(slog.NewTextHandler(&log, nil))}}
			tt.d.Expires = now.Add(20 * day)
			p.warnOf([]Deadline{tt.d}, now)
			for _, want := range append(tt.want, "days=20") {
				if !strings.Contains(log.String(), want) {
					t.Errorf("%s is not in %s", want, log.String())
				}
			}
		})
	}
}

// A file is served while a role in force names it, and by no other name.
func TestIndex(t *testing.T) {
	d := metadatatest.New(t, metadatatest.Options{})
	d.AddProduct("gw-100", metadatatest.Product{})
	x := &index{files: map[file]entry{}, roles: map[string][]file{}}
	put := func() {
		t.Helper()
		settle, err := x.announce([]published{{metadata.Image, roleFile{role: "gw-100", data: d.File(metadata.Image, "gw-100")}, true}})
		if err != nil {
			t.Fatal(err)
		}
		settle(true)
	}
	path := d.Release("gw-100", "2.4.1", 1, metadatatest.Target{Data: []byte("one")})[0]
	put()
	put() // the same again counts once
	sum := sha256.Sum256([]byte("one"))
	if n, ok := x.length(path, sum); !ok || n != 3 {
		t.Errorf("%s: length %d, %v", path, n, ok)
	}
	for name, f := range map[string]file{
		"other path": {"gw-100/2.4.1/other", sum}, "other content": {path, sha256.Sum256([]byte("two"))},
	} {
		if n, ok := x.length(f.path, f.sha256); ok || n != blob.AnyLength {
			t.Errorf("%s: %d, %v", name, n, ok)
		}
	}
	d.Withdraw("gw-100", path)
	put()
	if _, ok := x.length(path, sum); ok {
		t.Error("a withdrawn file is still named")
	}
	if len(x.files) != 0 {
		t.Errorf("left in the index: %v", x.files)
	}
	for role := range map[string]bool{metadata.Targets: true, "gw-100.stop": true, metadata.Root: true} {
		if err := x.put(role, []byte("not looked at")); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
	if err := x.put("gw-100", []byte("{}")); err == nil {
		t.Error("a broken product file was taken")
	}
}

// commits is a store in which every change fails, after a look at what is served meanwhile.
type commits struct {
	store.Store
	meanwhile func()
}

func (c commits) Update(context.Context, func(store.Tx) error) error {
	c.meanwhile()
	return reason.Errorf(reason.DiskFull, "no room")
}

// Files are served from before a reader can see the metadata that names them; files of metadata that
// did not become public are served no more; files in force are served throughout.
func TestFilesAreServedBeforeTheirMetadata(t *testing.T) {
	d := metadatatest.New(t, metadatatest.Options{})
	d.AddProduct("gw-100", metadatatest.Product{})
	release := func(version, text string) (f file, role []published) {
		path := d.Release("gw-100", version, 1, metadatatest.Target{Data: []byte(text)})[0]
		return file{path, sha256.Sum256([]byte(text))},
			[]published{{metadata.Image, roleFile{role: "gw-100", data: d.File(metadata.Image, "gw-100")}, true}}
	}
	p := &Publisher{index: index{files: map[file]entry{}, roles: map[string][]file{}}}
	served := func(f file) bool {
		_, ok := p.index.length(f.path, f.sha256)
		return ok
	}
	old, files := release("1.0", "one")
	settle, err := p.index.announce(files)
	if err != nil {
		t.Fatal(err)
	}
	settle(true)
	d.Withdraw("gw-100", old.path)
	next, files := release("2.0", "two")
	looked := false
	p.Config = Config{Now: time.Now, Store: commits{meanwhile: func() {
		looked = true
		if !served(old) || !served(next) {
			t.Errorf("while it commits: old %v, new %v", served(old), served(next))
		}
	}}}
	if _, err := p.commit(t.Context(), "rivera", store.EventID{}, &event.Event{}, files); !reason.Is(err, reason.DiskFull) || !looked {
		t.Fatalf("%v, looked %v", err, looked)
	}
	if !served(old) || served(next) {
		t.Errorf("after a commit that failed: old %v, new %v", served(old), served(next))
	}
	settle, err = p.index.announce(files)
	if err != nil {
		t.Fatal(err)
	}
	settle(true)
	if served(old) || !served(next) {
		t.Errorf("after a commit: old %v, new %v", served(old), served(next))
	}
}
