package metadata_test

import (
	"crypto/sha256"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// A content is named by its canonical signed part, whoever signed it and however it was written.
func TestDigestAndType(t *testing.T) {
	d := deployment(t)
	before, err := metadata.ParseTargets(d.File(metadata.Image, "gw-100"), metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	if before.Digest() != sha256.Sum256(before.Canonical()) {
		t.Error("the digest is not that of the canonical signed part")
	}
	d.SignedBy("gw-100", "rivera")
	after, err := metadata.ParseTargets(d.File(metadata.Image, "gw-100"), metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	if after.Digest() != before.Digest() {
		t.Error("other signatures change the digest")
	}
	for text, want := range map[string]string{
		string(before.Canonical()): "targets", `{"_type":"root"}`: "root", `{"A":1,"_type":"snapshot"}`: "snapshot",
	} {
		if got, err := metadata.TypeOf([]byte(text)); err != nil || got != want {
			t.Errorf("TypeOf(%.30s) = %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]reason.Reason{
		`{}`: reason.Malformed, `{"_type":"gw-100"}`: reason.Malformed, `{"_type":1}`: reason.Malformed, `{"_type": "root"}`: reason.NotCanonical, `x`: reason.NotCanonical,
	} {
		_, err := metadata.TypeOf([]byte(text))
		wantReason(t, err, want)
	}
}
