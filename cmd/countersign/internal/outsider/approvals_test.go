package outsider_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/outsider"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
)

// Words put into somebody's mouth: each forgery of an approval is refused for what it is, whoever put it
// into the repository.
func TestForgedApprovals(t *testing.T) {
	other := strings.Repeat("cd", 32)
	for _, tt := range []struct {
		name  string
		lines func(t *testing.T, d *metadatatest.Deployment, good *statement.Approval) []byte
		want  reason.Reason
	}{
		{"by a stranger's key", func(t *testing.T, _ *metadatatest.Deployment, good *statement.Approval) []byte {
			return line(t, good, "mallory")
		}, reason.SignatureBad},
		{"by a colleague's key", func(t *testing.T, _ *metadatatest.Deployment, good *statement.Approval) []byte {
			return line(t, good, "chen")
		}, reason.SignatureBad},
		{"in a colleague's name", func(t *testing.T, _ *metadatatest.Deployment, good *statement.Approval) []byte {
			good.Person, good.Name = "chen", "Dr. chen"
			return line(t, good, "rivera")
		}, reason.SignatureBad},
		{"of other bytes", func(t *testing.T, _ *metadatatest.Deployment, good *statement.Approval) []byte {
			good.Files[0].Digest = other
			return line(t, good, "rivera")
		}, reason.HashMismatch},
		{"of another version", func(t *testing.T, _ *metadatatest.Deployment, good *statement.Approval) []byte {
			good.Files[0].Version--
			return line(t, good, "rivera")
		}, reason.Malformed},
		{"of another event", func(t *testing.T, d *metadatatest.Deployment, good *statement.Approval) []byte {
			good.Event = other
			return slices.Concat(line(t, approve(t, d, "chen", "quality", "approved", "gw-100"), "chen"), line(t, good, "rivera"))
		}, reason.Malformed},
		{"given twice", func(t *testing.T, _ *metadatatest.Deployment, good *statement.Approval) []byte {
			first := line(t, good, "rivera")
			good.Reason = "and again"
			return append(first, line(t, good, "rivera")...)
		}, reason.Malformed},
		{"with a changed reason", func(t *testing.T, _ *metadatatest.Deployment, good *statement.Approval) []byte {
			e, err := statement.ParseEnvelope(bytes.TrimSuffix(line(t, good, "rivera"), []byte("\n")))
			if err != nil {
				t.Fatal(err)
			}
			e.Payload = bytes.Replace(e.Payload, []byte("record 8812"), []byte("record 8813"), 1)
			data, err := e.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			return append(data, '\n')
		}, reason.SignatureBad},
		{"a statement of another kind", func(t *testing.T, _ *metadatatest.Deployment, good *statement.Approval) []byte {
			payload, err := good.Payload()
			if err != nil {
				t.Fatal(err)
			}
			e, err := statement.Sign("receipt", payload, metadatatest.NewKey(t, "rivera", metadata.Image).Signer)
			if err != nil {
				t.Fatal(err)
			}
			data, err := e.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			return append(data, '\n')
		}, reason.Malformed},
		{"cut off", func(t *testing.T, _ *metadatatest.Deployment, good *statement.Approval) []byte {
			return bytes.TrimSuffix(line(t, good, "rivera"), []byte("\n"))
		}, reason.Malformed},
		{"an empty line", func(t *testing.T, _ *metadatatest.Deployment, good *statement.Approval) []byte {
			return append(line(t, good, "rivera"), '\n')
		}, reason.Malformed},
		{"a page of a web server", func(*testing.T, *metadatatest.Deployment, *statement.Approval) []byte {
			return []byte("<!doctype html><title>welcome</title>\n")
		}, reason.Malformed},
		{"more than anybody gives", func(t *testing.T, d *metadatatest.Deployment, _ *statement.Approval) []byte {
			return bytes.Repeat(line(t, approve(t, d, "rivera", "stop", "stopped", "gw-100.stop"), "rivera"), 65)
		}, reason.TooLarge},
		{"a line without an end", func(*testing.T, *metadatatest.Deployment, *statement.Approval) []byte {
			return bytes.Repeat([]byte(" "), statement.MaxEnvelope+2)
		}, reason.TooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := acme(t)
			m := &inMemory{files: d.Files()}
			m.files[approvals(d, "gw-100")] = tt.lines(t, d, approve(t, d, "rivera", "engineering", "authored", "gw-100"))
			r, err := verify(d, m, asked{})
			if got := reason.Of(err); got != tt.want || r != nil {
				t.Errorf("%v, %v [%s], want %s", r, err, got, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), approvals(d, "gw-100")) {
				t.Errorf("%v does not name the file", err)
			}
		})
	}
}

// What stands there rightly and counts for nobody here: approvals of other files of the event, and of
// people whose signature is not among those that count, since they have left or have another key by now.
func TestApprovalsBesideTheRole(t *testing.T) {
	d := acme(t)
	// Only rivera and okafor signed this version.
	d.Edit("gw-100", func(signed map[string]any) { signed["version"] = versionOf(d, "gw-100") + 1 }, "rivera", "okafor")
	m := &inMemory{files: d.Files()}
	m.files[approvals(d, "gw-100")] = slices.Concat(
		line(t, approve(t, d, "mallory", "holder", "approved", "targets"), "mallory"), // of another file: nobody here can judge it
		line(t, approve(t, d, "chen", "quality", "approved", "gw-100"), "chen"),
		line(t, approve(t, d, "chen", "quality", "approved", "gw-100"), "mallory"),
		line(t, approve(t, d, "silva", "quality", "approved", "gw-100"), "silva"),
		line(t, approve(t, d, "rivera", "engineering", "authored", "gw-100"), "rivera"))
	r, err := verify(d, m, asked{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := signers(r.Roles[3]), []string{"rivera engineering authored record 8812", "okafor quality approved -"}; !slices.Equal(got, want) {
		t.Errorf("signed by %q, want %q", got, want)
	}
	if text := r.Text("", ""); strings.Contains(text, "silva") || strings.Contains(text, "mallory") {
		t.Errorf("people who do not count are named:\n%s", text)
	}
}

// Names, classes and meanings change in a plan; what a person signed under the old ones stays theirs, and
// is shown as theirs.
func TestApprovalsInOtherWords(t *testing.T) {
	d := acme(t)
	m := &inMemory{files: d.Files()}
	a := approve(t, d, "rivera", "development", "written", "gw-100")
	a.Name = "R. Rivera\x1b"
	m.files[approvals(d, "gw-100")] = line(t, a, "rivera")
	r, err := verify(d, m, asked{})
	if err != nil {
		t.Fatal(err)
	}
	s := r.Roles[3].Signers[0]
	if s.Class != "engineering" || s.Meaning != "authored" || s.Name != "Dr. rivera" || s.Approval.Class != "development" || s.Approval.Meaning != "written" || s.Approval.Name != a.Name {
		t.Errorf("%+v, %+v", s, s.Approval)
	}
	if text := r.Text("", ""); !strings.Contains(text, `by their own words as "R. Rivera\u{1b}", development "written"`) {
		t.Errorf("the words are not shown:\n%s", text)
	}
}

// FuzzApprovals holds the reader to the rule that whatever stands in a file of approvals, only what the
// people signed is believed.
func FuzzApprovals(f *testing.F) {
	d := acme(f)
	good := slices.Concat(
		line(f, approve(f, d, "rivera", "engineering", "authored", "gw-100"), "rivera"),
		line(f, approve(f, d, "chen", "quality", "approved", "gw-100"), "chen"))
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(bytes.Replace(good, []byte("payloadType"), []byte("PayloadType"), 1))
	f.Add([]byte("\n\n"))
	f.Add([]byte("{}\n"))
	f.Add([]byte{})
	parse := func(role string) *metadata.File[metadata.TargetsRole] {
		file, err := metadata.ParseTargets(d.File(metadata.Image, role), metadata.Profile)
		if err != nil {
			f.Fatal(err)
		}
		return file
	}
	targets, product := parse(metadata.Targets), parse("gw-100")
	if believed, err := outsider.Believed(bytes.NewReader(good), targets, product, "gw-100"); err != nil || len(believed) != 2 {
		f.Fatalf("of good approvals %d are believed: %v", len(believed), err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		believed, err := outsider.Believed(bytes.NewReader(data), targets, product, "gw-100")
		if err != nil {
			if class := reason.Of(err).Class(); class != reason.NotAuthentic || believed != nil {
				t.Fatalf("%v, %v [%s]", believed, err, reason.Of(err))
			}
			return
		}
		for _, a := range believed {
			if a.Reason != "record 8812" || a.Event != event || !a.At.Equal(d.Now) || (a.Person != "rivera" && a.Person != "chen") {
				t.Fatalf("believed %+v", a)
			}
		}
	})
}

// A repository that does not give approvals, or fails to, says so as with any other file.
func TestApprovalsThatCannotBeRead(t *testing.T) {
	d := acme(t)
	where, o := kinds["directory"](t, d.Files())
	source, err := outsider.Open(where, o)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := outsider.Verify(ctx, outsider.Config{Root: d.Root(metadata.Image, 1), Source: source, Now: d.Now, Progress: quiet}, release); err == nil {
		t.Error("a run that was ended gives a report")
	}
}
