package trust_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// damages are what flash and power do to a file.
var damages = []struct {
	name string
	do   func(t *testing.T, path string)
}{
	{"absent", func(t *testing.T, path string) { must(t, os.Remove(path)) }},
	{"empty", func(t *testing.T, path string) { must(t, os.WriteFile(path, nil, 0o600)) }},
	{"truncated", func(t *testing.T, path string) {
		data := read(t, path)
		must(t, os.WriteFile(path, data[:len(data)/2], 0o600))
	}},
	{"zeroed", func(t *testing.T, path string) {
		must(t, os.WriteFile(path, make([]byte, len(read(t, path))), 0o600))
	}},
	{"flipped", func(t *testing.T, path string) {
		data := read(t, path)
		data[len(data)/2] ^= 0x01
		must(t, os.WriteFile(path, data, 0o600))
	}},
	{"flipped in a signature", func(t *testing.T, path string) {
		data := read(t, path)
		i := bytes.Index(data, []byte(`"sig":"`)) + 10
		if data[i] == '0' {
			data[i] = '1'
		} else {
			data[i] = '0'
		}
		must(t, os.WriteFile(path, data, 0o600))
	}},
	{"too large", func(t *testing.T, path string) { must(t, os.WriteFile(path, make([]byte, 1<<20), 0o600)) }},
	{"unreadable", func(t *testing.T, path string) {
		must(t, os.Remove(path))
		must(t, os.Symlink(".", path))
	}},
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}

// A damaged file counts as absent, is fetched again, and its version binds meanwhile.
func TestDamagedRoleFiles(t *testing.T) {
	d, newer := published(t), published(t)
	goOn(newer)
	for _, role := range []string{"root", "root.copy", "timestamp", "snapshot", "targets", "gw-100", "gw-100.stop"} {
		for _, damage := range damages {
			t.Run(role+"/"+damage.name, func(t *testing.T) {
				v := newDevice(t, d)
				v.mustCycle(serve(newer), firmware)
				before := v.files()
				path := filepath.Join(v.dir, role+".json")
				damage.do(t, path)

				// The repository of before the damage, with genuine signatures, is refused.
				if err := v.cycle(serve(d), firmware); !reason.Is(err, reason.Rollback) {
					t.Errorf("older repository: %v [%s], want %s", err, reason.Of(err), reason.Rollback)
				}
				v.mustCycle(serve(newer), firmware)
				if got := changed(before, v.files()); got != nil {
					t.Errorf("not restored: %q", got)
				}
			})
		}
	}
}

func TestAllRoleFilesLost(t *testing.T) {
	d := published(t)
	v := newDevice(t, d)
	d.RotateRoot(metadata.Image, nil)
	v.mustCycle(serve(d), firmware)
	must(t, os.RemoveAll(v.dir))
	must(t, os.Mkdir(v.dir, 0o700))

	s := serve(published(t))
	if err := v.cycle(s, firmware); !reason.Is(err, reason.Rollback) {
		t.Errorf("chain that ends at an older root: %v [%s], want %s", err, reason.Of(err), reason.Rollback)
	}
	v.mustCycle(serve(d), firmware)
}

func TestBothCopiesOfTheRootLost(t *testing.T) {
	d := published(t)
	for _, damage := range damages {
		t.Run(damage.name, func(t *testing.T) {
			v := newDevice(t, d)
			v.mustCycle(serve(d), firmware)
			embedded := v.root
			damage.do(t, filepath.Join(v.dir, "root.json"))
			damage.do(t, filepath.Join(v.dir, "root.copy.json"))
			v.root = nil
			if err := v.cycle(serve(d)); !reason.Is(err, reason.StateDamaged) {
				t.Fatalf("without an embedded root: %v [%s], want %s", err, reason.Of(err), reason.StateDamaged)
			}
			v.root = embedded
			v.mustCycle(serve(d), firmware)
		})
	}
}

func TestEmbeddedRootThatCannotBeUsed(t *testing.T) {
	d, other := published(t), metadatatest.New(t, metadatatest.Options{Deployment: "evil"})
	for _, tt := range []struct {
		name string
		root []byte
		want reason.Reason
	}{
		{"none", nil, reason.StateDamaged},
		{"garbage", []byte("{}"), reason.Malformed},
		{"of another deployment", other.Root(metadata.Image, 1), reason.ScopeMismatch},
		{"of the director", d.Root(metadata.Director, 1), reason.ScopeMismatch},
		{"a byte changed", bytes.Replace(d.Root(metadata.Image, 1), []byte("Dr. chen"), []byte("Dr. Chen"), 1), reason.Threshold},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := newDevice(t, d)
			v.root = tt.root
			if err := v.cycle(serve(d)); !reason.Is(err, tt.want) {
				t.Errorf("error %v [%s], want %s", err, reason.Of(err), tt.want)
			}
			if files := v.files(); len(files) != 0 {
				t.Errorf("%d files were stored", len(files))
			}
		})
	}
}

// A record that is older than the files is a power cut between both: the files are taken.
func TestFilesNewerThanTheRecordBind(t *testing.T) {
	d, old := published(t), published(t)
	goOn(d)
	v := newDevice(t, d)
	v.mustCycle(serve(old), firmware)
	record := v.record
	v.mustCycle(serve(d), firmware)
	v.record = record
	if err := v.cycle(serve(old), firmware); !reason.Is(err, reason.Rollback) {
		t.Errorf("older repository: %v [%s], want %s", err, reason.Of(err), reason.Rollback)
	}
	if v.record["timestamp"].Version != d.Version(metadata.Image, "timestamp") {
		t.Error("the newer stored timestamp is not in the record")
	}
	v.mustCycle(serve(d), firmware)
}

// Bytes that are stored under the version of the record but are not the recorded ones are damaged.
func TestStoredFileThatIsNotTheRecordedOne(t *testing.T) {
	d := published(t)
	v := newDevice(t, d)
	v.mustCycle(serve(d), firmware)
	spaced := append(bytes.Clone(d.File(metadata.Image, "timestamp")), ' ')
	must(t, os.WriteFile(filepath.Join(v.dir, "timestamp.json"), spaced, 0o600))
	v.mustCycle(serve(d), firmware)
	if got := read(t, filepath.Join(v.dir, "timestamp.json")); !bytes.Equal(got, d.File(metadata.Image, "timestamp")) {
		t.Error("the recorded timestamp was not fetched again")
	}
}

func TestStoredFilesAlone(t *testing.T) {
	d := published(t)
	month := 31 * 24 * time.Hour
	for _, tt := range []struct {
		name   string
		target string
		after  time.Duration
		lose   string
		want   reason.Reason
	}{
		{name: "all there", target: firmware},
		{name: "timestamp and snapshot expired", target: firmware, after: month},
		{name: "everything expired", target: firmware, after: 13 * month, want: reason.Expired},
		{name: "stopped", target: stopped, want: reason.Stopped},
		{name: "unknown target", target: "gw-100/2.4.1/other.img", want: reason.NotFound},
		{name: "product never fetched", target: binned, want: reason.StopListMissing},
		{name: "no timestamp", target: firmware, lose: "timestamp", want: reason.StateDamaged},
		{name: "no snapshot", target: firmware, lose: "snapshot", want: reason.StateDamaged},
		{name: "no targets", target: firmware, lose: "targets", want: reason.StateDamaged},
		{name: "no product", target: firmware, lose: "gw-100", want: reason.NotFound},
		{name: "no stop list", target: firmware, lose: "gw-100.stop", want: reason.StopListMissing},
		{name: "one copy of the root", target: firmware, lose: "root"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := newDevice(t, d)
			v.mustCycle(serve(d), firmware)
			if tt.lose != "" {
				must(t, os.WriteFile(filepath.Join(v.dir, tt.lose+".json"), nil, 0o600))
			}
			before := v.files()
			v.now = v.now.Add(tt.after)
			c, err := trust.New(v.config())
			must(t, err)
			target, err := c.Target(context.Background(), nil, tt.target)
			if !reason.Is(err, tt.want) || (err == nil) != (target != nil) {
				t.Errorf("error %v [%s], want %q", err, reason.Of(err), tt.want)
			}
			if got := changed(before, v.files()); got != nil {
				t.Errorf("changed on disk: %q", got)
			}
		})
	}
}

func TestStoredFilesAloneOfANewDevice(t *testing.T) {
	v := newDevice(t, published(t))
	c, err := trust.New(v.config())
	must(t, err)
	if _, err := c.Target(context.Background(), nil, firmware); !reason.Is(err, reason.NotFound) {
		t.Errorf("error %v [%s], want %s", err, reason.Of(err), reason.NotFound)
	}
}
