package trust_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// memory is a Store without a disk.
type memory map[string][]byte

func (m memory) Load(role string) ([]byte, error)    { return m[role], nil }
func (m memory) Save(role string, data []byte) error { m[role] = bytes.Clone(data); return nil }
func (m memory) Drop(role string) error              { delete(m, role); return nil }

// history returns what an honest repository served at four moments: genuine files of all ages, from
// which a hostile server chooses. The last is the newest.
func history(t testing.TB) (ages []map[string][]byte, root []byte, d *metadatatest.Deployment) {
	d = published(t)
	root = d.Root(metadata.Image, 1)
	ages = append(ages, d.Files())
	d.Release("gw-100", "2.4.2", 18, metadatatest.Target{Data: []byte("two")})
	ages = append(ages, d.Files())
	d.RotateOnline(metadata.Image, "online-2")
	d.Stop(firmware, "leaks")
	ages = append(ages, d.Files())
	d.Hold(metadata.Image, 2, "chen", "okafor", "silva")
	goOn(d)
	return append(ages, d.Files()), root, d
}

// tape serves files as the fuzzer chooses: each request takes an operation, and its operands, from the
// input.
type tape struct {
	input []byte
	ages  []map[string][]byte
	names []string
}

func (p *tape) next() int {
	if len(p.input) == 0 {
		return 0
	}
	b := p.input[0]
	p.input = p.input[1:]
	return int(b)
}

func (p *tape) Fetch(_ context.Context, role string, version, max int64) ([]byte, error) {
	path := fetchPath(role, version)
	op := p.next()
	data := bytes.Clone(p.ages[p.next()%len(p.ages)][path])
	switch op % 8 {
	case 1: // another genuine file in its place
		data = bytes.Clone(p.ages[len(p.ages)-1][p.names[(p.next()<<8|p.next())%len(p.names)]])
	case 2:
		data = nil
	case 3:
		if len(data) > 0 {
			data[(p.next()<<8|p.next())%len(data)] ^= byte(1 << (p.next() % 8))
		}
	case 4:
		if len(data) > 0 {
			data = data[:(p.next()<<8|p.next())%len(data)]
		}
	case 5:
		return nil, reason.Errorf(reason.Unreachable, "reset")
	case 6:
		at := 0
		if len(data) > 0 {
			at = (p.next()<<8 | p.next()) % len(data)
		}
		n := min(p.next()%16, len(p.input))
		data = slices.Insert(data, at, p.input[:n]...)
	}
	if data == nil {
		return nil, trust.ErrNotFound
	}
	return data, nil
}

// Whatever a server answers, in whatever order: nothing panics, an error has a reason, no version in
// force goes back while its keys stay, what is stored verifies, a target that is found is genuine, and
// the honest repository is taken in the next cycle.
func FuzzSequence(f *testing.F) {
	ages, root, d := history(f)
	known := contents(f, ages)
	names := slices.Sorted(maps.Keys(ages[len(ages)-1]))
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{2, 0, 0, 0, 0, 0, 3, 0, 1, 20, 3, 0, 0})
	f.Add([]byte{0, 3, 0, 3, 0, 3, 0, 2, 0, 1, 0, 0})
	f.Add([]byte{1, 0, 0, 7, 4, 0, 1, 1, 6, 0, 0, 9, 4, 1, 2, 3, 4})
	f.Add([]byte{2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 1, 0, 0})
	targets := []string{firmware, stopped, binned, "gw-100/2.4.2/gw.img"}
	f.Fuzz(func(t *testing.T, input []byte) {
		store, record := memory{}, map[string]trust.InForce(nil)
		config := func() trust.Config {
			return trust.Config{Deployment: "acme", Repository: metadata.Image, Root: root, Store: store, Now: func() time.Time { return d.Now }, Versions: record}
		}
		p := &tape{input: input, ages: ages, names: names}
		for range 3 {
			c, err := trust.New(config())
			if err != nil {
				t.Fatalf("stored state cannot be opened: %v", err)
			}
			err = c.Refresh(context.Background(), p)
			var target *trust.Target
			if err == nil {
				path := targets[p.next()%len(targets)]
				if target, err = c.Target(context.Background(), p, path); err == nil && !genuine(ages, path, target) {
					t.Fatalf("target %s is not what anybody signed", path)
				}
			}
			if err != nil && reason.Of(err) == "" {
				t.Fatalf("error without a reason: %v", err)
			}
			now := c.InForce()
			rotated := now[metadata.Root].Version > record[metadata.Root].Version
			for role, old := range record {
				if v, ok := now[role]; (!ok || v.Version < old.Version) && (!rotated || !slices.Contains(online, role)) {
					t.Fatalf("%s went from version %d to %d after %v", role, old.Version, v.Version, err)
				}
			}
			record = now
			for role, data := range store {
				if !known[string(data)] && !known[content(t, data)] {
					t.Fatalf("stored %s is no file that anybody signed", role)
				}
			}
		}
		c, err := trust.New(config())
		if err != nil {
			t.Fatal(err)
		}
		honest := &tape{ages: ages[len(ages)-1:]}
		if err := c.Refresh(context.Background(), honest); err != nil {
			t.Fatalf("honest cycle: %v [%s]", err, reason.Of(err))
		}
		if _, err := c.Target(context.Background(), honest, "gw-100/2.4.2/gw.img"); err != nil {
			t.Fatalf("honest cycle: %v [%s]", err, reason.Of(err))
		}
	})
}

// contents returns all role files that were ever published, and their canonical signed parts.
func contents(t testing.TB, ages []map[string][]byte) map[string]bool {
	known := map[string]bool{}
	for _, files := range ages {
		for path, data := range files {
			if strings.HasSuffix(path, ".json") {
				known[string(data)], known[content(t, data)] = true, true
			}
		}
	}
	return known
}

func content(t testing.TB, file []byte) string {
	t.Helper()
	var f struct {
		Signed json.RawMessage `json:"signed"`
	}
	must(t, json.Unmarshal(file, &f))
	canonical, err := metadata.Canonical(f.Signed)
	must(t, err)
	return string(canonical)
}

func genuine(ages []map[string][]byte, path string, target *trust.Target) bool {
	p, err := metadata.ParseTargetPath(path)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(ages, func(files map[string][]byte) bool {
		_, ok := files["targets/"+p.Product+"/"+p.Version+"/"+hex.EncodeToString(target.SHA256[:])+"."+p.File]
		return ok
	})
}
