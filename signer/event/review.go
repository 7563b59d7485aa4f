package event

// Review is what a person must see before signing, computed from the bytes to be signed and the
// verified state (DESIGN 3). All fields have JSON names; text is made by the caller.
type Review struct{}

// Review returns the review.
func (j *Judgement) Review() *Review { panic("event: being written") }

// CompareArtifact hashes the firmware at path, a file or a folder, and compares it with the blobs of
// the event. Reasons: artifact-differs, not-found (nothing there has the name of a blob).
func (j *Judgement) CompareArtifact(path string) ([]Artifact, error) { panic("event: being written") }
