package event_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// An event file is strict; what it says otherwise than Bytes would is another file or none.
func TestParse(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	signed := w.sign(w.release("2.4.1", basicSpec), "rivera", nil)
	data, err := signed.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) []byte { return bytes.Replace(data, []byte(old), []byte(new), 1) }
	for _, c := range []struct {
		name string
		data []byte
		want reason.Reason
	}{
		{"none", data, ""},
		{"indented", indent(t, data), ""},
		{"empty", nil, reason.Malformed},
		{"cut off", data[:len(data)/2], reason.Malformed},
		{"two events", append(bytes.Clone(data), data...), reason.Malformed},
		{"another format", replace(`"countersign_event":1`, `"countersign_event":2`), reason.Malformed},
		{"unknown member", replace(`"proposal":`, `"mood":1,"proposal":`), reason.UnknownMember},
		{"proposal twice", replace(`"base":[`, `"proposal":{},"base":[`), reason.DuplicateName},
		{"folded name", replace(`"approvals"`, `"Approvals"`), reason.FoldedName},
		{"member twice in a signed part", replace(`"_type":"targets"`, `"_type":"targets","_type":"root"`), reason.DuplicateName},
		{"null for a list", replace(`"blobs":[`, `"blobs":null,"x":[`), reason.UnknownMember},
		{"no files", replace(`"files":[{`, `"files":[],"x":[{`), reason.UnknownMember},
		{"another repository", replace(`"repository":"image"`, `"repository":"mirror"`), reason.Malformed},
		{"timestamp", replace(`"role":"gw-100"`, `"role":"timestamp"`), reason.Malformed},
		{"role with a path", replace(`"role":"gw-100"`, `"role":"../gw-100"`), reason.Malformed},
		{"base version 0", replace(`"version":1},"repository"`, `"version":0},"repository"`), reason.Malformed},
		{"blobs out of order", replace(`gw.cdx.json","sha256"`, `zz.cdx.json","sha256"`), reason.Malformed},
		{"blob that leaves its folder", replace(`"path":"gw-100/2.4.1/gw.cdx.json"`, `"path":"gw-100/../gw.cdx.json"`), reason.Malformed},
		{"upper-case signature", upperSig(data), reason.NotCanonical},
		{"signature of a file that is not there", replace(`{"file":0,"keyid"`, `{"file":1,"keyid"`), reason.Malformed},
		{"fraction", replace(`"file":0`, `"file":0.5`), reason.NotInteger},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.want != "" && bytes.Equal(c.data, data) {
				t.Fatal("the fault is not in the file")
			}
			e, err := event.Parse(c.data)
			wantReason(t, err, c.want)
			if err != nil {
				return
			}
			if want := w.carry(signed).ID(); e.ID() != want {
				t.Errorf("id %s, want %s", e.ID(), want)
			}
			// Base files keep their bytes, and with them the white space that they came with.
			if again, err := e.Bytes(); err != nil || c.name == "none" && !bytes.Equal(again, data) {
				t.Errorf("written back differs: %v", err)
			}
		})
	}
	t.Run("too many signatures", func(t *testing.T) {
		e := w.carry(w.release("2.4.1", basicSpec))
		for range 65 {
			e.Signatures = append(e.Signatures, event.Signature{KeyID: strings.Repeat("0", 64), Sig: []byte{1}})
		}
		_, err := e.Bytes()
		wantReason(t, err, reason.TooManySignatures)
	})
	// Keys and reasons hold line breaks: canonical JSON is no JSON then, but the file is.
	t.Run("line breaks in strings", func(t *testing.T) {
		e, err := event.NewInit(w.plan(basicPlan), w.opening())
		if err != nil {
			t.Fatal(err)
		}
		data, err := e.Bytes()
		if err != nil || !json.Valid(data) {
			t.Fatalf("no JSON: %v", err)
		}
		read, err := event.Parse(data)
		if err != nil || read.ID() != e.ID() {
			t.Fatalf("another event: %v", err)
		}
		if i := read.Proposal.Index(metadata.Image, "root"); !bytes.Contains(read.Proposal.Files[i].Signed, []byte("PUBLIC KEY-----\n")) {
			t.Error("okafor's key has no line break in canonical form")
		}
	})
}

func indent(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, data, "", "  "); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// upperSig writes the first hex letter of the event's own signature in upper case.
func upperSig(data []byte) []byte {
	out := bytes.Clone(data)
	at := bytes.Index(out, []byte(`],"signatures":[`))
	at += bytes.Index(out[at:], []byte(`"sig":"`)) + len(`"sig":"`)
	for i := at; ; i++ {
		if out[i] >= 'a' && out[i] <= 'f' {
			out[i] -= 'a' - 'A'
			return out
		}
	}
}
