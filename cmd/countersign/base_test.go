package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/remote"
)

// output is how a run of the program ended.
type output struct {
	code           int
	stdout, stderr string
}

// at runs the program in a person's folder below dir.
func at(t *testing.T, dir, person string, args ...string) output {
	t.Helper()
	folder := filepath.Join(dir, person)
	cmd := exec.Command("countersign", args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "COUNTERSIGN_HOME="+filepath.Join(folder, "countersign"), "NO_COLOR=1")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return output{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// refused wants an exit code and a reason, and nothing on stdout.
func (o output) refused(t *testing.T, exit int, want reason.Reason, text string) {
	t.Helper()
	if o.code != exit || o.stdout != "" || !strings.Contains(o.stderr, "["+string(want)+"]\n") || !strings.Contains(o.stderr, text) {
		t.Errorf("exit %d, wanted %d, %s and %q\n%s%s", o.code, exit, want, text, o.stdout, o.stderr)
	}
}

// deceived is a deployment whose people's machines are asked to believe lies. chen has seen gw-100
// version 2, and the next release waits for chen.
type deceived struct {
	dir  string
	liar *liar
	// true1 is version 1 of gw-100, other2 a version 2 of other content that the same people signed.
	true1, other2 []byte
	// honest is the waiting event, old one on version 1, fork one on other2, foreign one of another
	// deployment of the same name; each with its base.
	honest, old, fork, foreign *event.Event
}

const specText = "class: maintenance\nevidence: {sbom: gw.cdx.json}\ntargets:\n- {file: gw.img, component: main, hardware: [gw-100-c], installer: slot, installer_args: {}}\n"

func newDeceived(t *testing.T) *deceived {
	d := &deceived{dir: t.TempDir()}
	must(t, found(d.dir, "acme", lifetime))
	for name, text := range map[string]string{"release.yaml": specText, "gw.img": "firmware", "gw.cdx.json": `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[]}`} {
		must(t, os.WriteFile(filepath.Join(d.dir, "rivera", name), []byte(text), 0o600))
	}
	// The fork: the same people on machines that forgot, before a copy of the same server.
	fork, foreign := t.TempDir(), t.TempDir()
	must(t, copyTree(d.dir, fork))
	must(t, newPorts(d.dir, fork, filepath.Join(fork, "acme.server")))
	must(t, os.WriteFile(filepath.Join(fork, "rivera", "gw.img"), []byte("other firmware"), 0o600))
	d.serve(t, fork)
	d.publish(t, fork, "2.4.1")
	d.other2 = d.served(t, fork, 2)
	d.fork = d.exported(t, fork, "2.4.2")

	must(t, found(foreign, "acme", lifetime))
	must(t, copyFiles(filepath.Join(d.dir, "rivera"), filepath.Join(foreign, "rivera"), "release.yaml", "gw.img", "gw.cdx.json"))
	d.serve(t, foreign)
	d.foreign = d.exported(t, foreign, "2.4.2")

	d.serve(t, d.dir)
	d.true1 = d.served(t, d.dir, 1)
	d.old = d.exported(t, d.dir, "2.4.0")
	d.run(t, d.dir, "rivera", "event", "cancel", d.old.ID(), "--reason", "wrong build")
	d.publish(t, d.dir, "2.4.1")
	d.honest = d.exported(t, d.dir, "2.4.2")
	for _, p := range everybody {
		d.run(t, d.dir, p, "status")
	}
	var address string
	d.liar, address = newLiar(t, filepath.Join(d.dir, "acme.server"), filepath.Join(d.dir, "okafor", "countersign"))
	for _, p := range []string{"rivera", "chen"} {
		redirect(t, filepath.Join(d.dir, p, "countersign"), address)
	}
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func copyFiles(from, to string, names ...string) error {
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (d *deceived) serve(t *testing.T, dir string) {
	t.Helper()
	stop, err := startServer(filepath.Join(dir, "acme.server"))
	must(t, err)
	t.Cleanup(stop)
}

func (d *deceived) run(t *testing.T, dir, person string, args ...string) string {
	t.Helper()
	out, err := runTool(dir, person, args...)
	must(t, err)
	return out
}

var idOf = regexp.MustCompile(`"id":"([0-9a-f]{64})"`)

// open opens a release as rivera and returns its id.
func (d *deceived) open(t *testing.T, dir, version string) string {
	t.Helper()
	return idOf.FindStringSubmatch(d.run(t, dir, "rivera", "release", "gw-100/"+version, "--spec", "release.yaml", "--json"))[1]
}

func (d *deceived) publish(t *testing.T, dir, version string) {
	t.Helper()
	id := d.open(t, dir, version)
	for _, p := range []string{"rivera", "chen"} {
		d.run(t, dir, p, "sign", id, "--expect", id, "--passphrase-file", filepath.Join(dir, "pass"))
	}
	d.run(t, dir, "rivera", "publish", id)
}

// exported opens a release and returns its event with the base.
func (d *deceived) exported(t *testing.T, dir, version string) *event.Event {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.event")
	d.run(t, dir, "rivera", "event", "export", d.open(t, dir, version), "-o", path)
	data, err := os.ReadFile(path)
	must(t, err)
	e, err := event.Parse(data)
	must(t, err)
	return e
}

// served returns one version of gw-100 as the server of dir has it.
func (d *deceived) served(t *testing.T, dir string, version int64) []byte {
	t.Helper()
	l, _ := newLiar(t, filepath.Join(dir, "acme.server"), filepath.Join(dir, "okafor", "countersign"))
	p, err := l.truth.Published(t.Context(), metadata.Image, "gw-100", version)
	must(t, err)
	return p.File
}

// lie returns a copy of an event, changed by how.
func lie(e *event.Event, how func(e *event.Event)) *event.Event {
	c := *e
	c.Base, c.Proposal.Files = slices.Clone(e.Base), slices.Clone(e.Proposal.Files)
	how(&c)
	return &c
}

// base changes one file of an event's base; one that becomes empty is left out.
func base(e *event.Event, role string, change func(data []byte) []byte) *event.Event {
	return lie(e, func(e *event.Event) {
		for i, f := range e.Base {
			if f.Role == role && f.Repository == metadata.Image {
				e.Base[i].File = change(f.File)
			}
		}
		e.Base = slices.DeleteFunc(e.Base, func(f event.BaseFile) bool { return len(f.File) == 0 })
	})
}

// version changes the proposed version of gw-100, and with it the id of the event.
func version(t *testing.T, e *event.Event, to int64) *event.Event {
	t.Helper()
	return lie(e, func(e *event.Event) {
		f, err := metadata.ParseTargets(encoded(t, e.Proposal.Files[0].Signed), metadata.Profile)
		must(t, err)
		f.Signed.Version = to
		signed, err := metadata.Signed(f.Signed)
		must(t, err)
		e.Proposal.Files[0].Signed = signed
	})
}

func encoded(t *testing.T, signed []byte) []byte {
	t.Helper()
	data, err := metadata.EncodeRaw(metadata.Targets, signed, nil)
	must(t, err)
	return data
}

func gone([]byte) []byte { return nil }

// Nobody signs blind: what cannot be verified, is older than what this machine has seen, or is another
// content of it, is refused before anything is asked, from a server as from a file. Neither the memory of
// the machine nor the file changes, and no signature leaves it.
func TestEventsThatAreNotSignedBlind(t *testing.T) {
	d := newDeceived(t)
	noSignatures := func(data []byte) []byte {
		var f map[string]json.RawMessage
		must(t, json.Unmarshal(data, &f))
		f["signatures"] = json.RawMessage("[]")
		data, err := json.Marshal(f)
		must(t, err)
		return data
	}
	edited := func(old, fresh string) func([]byte) []byte {
		return func(data []byte) []byte {
			if !bytes.Contains(data, []byte(old)) {
				t.Fatalf("no %s in %s", old, data)
			}
			return bytes.Replace(data, []byte(old), []byte(fresh), 1)
		}
	}
	for _, tt := range []struct {
		name  string
		event *event.Event
		exit  int
		want  reason.Reason
		text  string
	}{
		{"no base", lie(d.honest, func(e *event.Event) { e.Base = nil }), 3, reason.Malformed, "carries no base to verify it against"},
		{"no product in the base", base(d.honest, "gw-100", gone), 3, reason.Malformed, "builds on gw-100 version 2, which is not here"},
		{"as if the product were new", base(lie(d.honest, func(e *event.Event) { e.Proposal.Files[0].Base = nil }), "gw-100", gone), 4, reason.Profile, "must hold the file of a product that exists"},
		{"no targets in the base", base(d.honest, "targets", gone), 3, reason.Malformed, ""},
		{"no root in the base", base(d.honest, "root", gone), 3, reason.Malformed, ""},
		{"a base without signatures", base(d.honest, "gw-100", noSignatures), 3, reason.Threshold, "gw-100"},
		{"targets without signatures", base(d.honest, "targets", noSignatures), 3, reason.Threshold, "targets"},
		{"a product that was edited", base(d.honest, "gw-100", edited("gw-100-c", "gw-100-x")), 3, reason.Threshold, "gw-100"},
		{"people who were edited", base(d.honest, "targets", edited(`"quality":1`, `"quality":0`)), 3, reason.Threshold, "targets"},
		{"a base of another deployment of that name", d.foreign, 3, reason.VersionUsed, "this machine trusts"},
		{"an older base", d.old, 3, reason.BaseTooOld, "builds on gw-100 version 1, this machine has seen 2"},
		{"an old product in a new event", base(d.honest, "gw-100", func([]byte) []byte { return d.true1 }), 3, reason.BaseTooOld, "builds on gw-100 version 1, this machine has seen 2"},
		{"other content of the version seen", d.fork, 3, reason.VersionUsed, "gw-100 version 2 is "},
		{"other content in the base alone", base(d.honest, "gw-100", func([]byte) []byte { return d.other2 }), 3, reason.VersionUsed, "gw-100 version 2 is "},
		{"version 2^53 - 1", version(t, d.honest, 1<<53-1), 3, reason.IntegerRange, "9007199254740991"},
		{"the last version", version(t, d.honest, metadata.MaxVersion), 3, reason.IntegerRange, "wanted at most 1048576 more"},
		{"the version in force", version(t, d.honest, 2), 3, reason.VersionUsed, "gw-100 has version 2, 2 is in force"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			history := filepath.Join(d.dir, "chen", "countersign", "state", "acme", "history.json")
			before, err := os.ReadFile(history)
			must(t, err)
			id := tt.event.ID()
			data, err := tt.event.Bytes()
			must(t, err)
			path := filepath.Join(t.TempDir(), "x.event")
			must(t, os.WriteFile(path, data, 0o600))
			d.liar.event = tt.event
			defer func() { d.liar.event = nil }()
			for _, command := range [][]string{{"sign", id}, {"sign", path}} {
				o := at(t, d.dir, "chen", append(command, "--expect", id, "--passphrase-file", filepath.Join(d.dir, "pass"))...)
				o.refused(t, tt.exit, tt.want, tt.text)
				if !strings.Contains(o.stderr, "nothing was signed") && !strings.Contains(o.stderr, "carries no base") {
					t.Errorf("it does not say what stands\n%s", o.stderr)
				}
			}
			for _, command := range [][]string{{"event", "show", id}, {"event", "show", path}, {"event", "export", id, "-o", "no.event"}, {"publish", path}, {"event", "import", path}} {
				at(t, d.dir, "chen", command...).refused(t, tt.exit, tt.want, tt.text)
			}
			if after, err := os.ReadFile(history); err != nil || !bytes.Equal(after, before) {
				t.Errorf("the memory changed: %v", err)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, data) {
				t.Errorf("the file changed: %v", err)
			}
			if _, err := os.Stat(filepath.Join(d.dir, "chen", "no.event")); err == nil {
				t.Error("the event was exported")
			}
			if n := d.liar.taken.Load(); n != 0 {
				t.Errorf("the server was given %d things", n)
			}
		})
	}
	// The same machine signs the honest one, so that all of these were refused for their lie. It leaps
	// by what may have been signed in vain, and the review says so.
	leap := version(t, d.honest, 1000)
	for _, e := range []*event.Event{leap, d.honest} {
		data, err := e.Bytes()
		must(t, err)
		path := filepath.Join(t.TempDir(), "x.event")
		must(t, os.WriteFile(path, data, 0o600))
		o := at(t, d.dir, "chen", "sign", path, "--expect", e.ID(), "--passphrase-file", filepath.Join(d.dir, "pass"))
		leaps := strings.Contains(o.stdout, "\nwarning  gw-100 goes from version 2 to 1000: ")
		if o.code != 0 || leaps != (e == leap) {
			t.Errorf("%+v", o)
		}
	}
}

// A server that shows an older role, another content of one, a forged one, or says that all versions are
// used up, gets no new event out of anybody.
func TestServerThatLiesAboutWhatIsPublished(t *testing.T) {
	d := newDeceived(t)
	replace := func(data []byte) func(string, int64, *remote.Published) {
		return func(role string, version int64, p *remote.Published) {
			if role == "gw-100" && version == 0 {
				p.File = data
			}
		}
	}
	edited := bytes.Replace(d.other2, []byte("gw-100-c"), []byte("gw-100-x"), 1)
	used := func(version, counter int64) func(string, int64, *remote.Published) {
		return func(role string, _ int64, p *remote.Published) {
			if !strings.Contains(role, ".") {
				p.Version, p.Counter = version, counter
			}
		}
	}
	d.run(t, d.dir, "okafor", "event", "cancel", d.honest.ID(), "--reason", "for what comes")
	opening := [][]string{
		{"release", "gw-100/2.4.3", "--spec", "release.yaml", "-o", "no.event"},
		{"withdraw", "gw-100/2.4.1", "--reason", "link drops"},
		{"refresh", "gw-100"},
	}
	stop := []string{"stop", "gw-100/2.4.1", "--reason", "link drops", "--expect", "gw-100/2.4.1", "--passphrase-file", filepath.Join(d.dir, "pass")}
	reading := [][]string{{"status"}, {"change", "plan.yaml"}, stop}
	for _, tt := range []struct {
		name     string
		lie      func(string, int64, *remote.Published)
		commands [][]string
		want     reason.Reason
		text     string
	}{
		{"an older version", replace(d.true1), append(reading, opening...), reason.BaseTooOld, "localhost shows gw-100 1, this machine has seen 2"},
		{"another content", replace(d.other2), append(reading, opening...), reason.VersionUsed, "localhost shows another gw-100 2 than this machine has seen"},
		{"a forged file", replace(edited), append(reading, opening...), reason.Threshold, "gw-100"},
		{"version 2^53 - 1 is used up", used(1<<53-2, 0), opening, reason.IntegerRange, "gw-100 has version 9007199254740991"},
		{"all but the last version", used(metadata.MaxVersion-1, 0), opening, reason.IntegerRange, "gw-100 goes from version 2 to "},
		{"all counters", used(0, 1<<53-2), opening[:1], reason.IntegerRange, "counter 9007199254740991"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d.liar.published = tt.lie
			defer func() { d.liar.published = nil }()
			for _, command := range tt.commands {
				at(t, d.dir, "rivera", command...).refused(t, 3, tt.want, tt.text)
			}
			if _, err := os.Stat(filepath.Join(d.dir, "rivera", "no.event")); err == nil {
				t.Error("an event was written")
			}
			if n := d.liar.taken.Load(); n != 0 {
				t.Errorf("the server was given %d things", n)
			}
		})
	}
	if o := at(t, d.dir, "rivera", opening[0]...); o.code != 0 {
		t.Errorf("%+v", o)
	}
}
