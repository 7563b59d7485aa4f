package event

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Bytes returns the event as compact JSON with a newline at its end. The same event gives the same
// bytes.
func (e *Event) Bytes() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, reason.Wrap(err, "event")
	}
	sorted := Event{Proposal: e.Proposal, Signatures: slices.Clone(e.Signatures), Approvals: slices.Clone(e.Approvals)}
	sorted.normalise()
	proposal, err := metadata.FromCanonical(e.Proposal.canonical())
	if err != nil {
		return nil, reason.Wrap(err, "event")
	}
	out := make([]byte, 0, len(proposal)+e.sizeOfBase()+256*len(sorted.Signatures)+4096)
	out = append(out, `{"countersign_event":1,"proposal":`...)
	out = append(out, proposal...)
	out = append(out, `,"base":[`...)
	for i, b := range e.Base {
		if !json.Valid(b.File) {
			return nil, reason.Errorf(reason.Malformed, "event: base file %s %q is not JSON", b.Repository, b.Role)
		}
		out = appendComma(out, i)
		out = append(out, `{"repository":`...)
		out = appendString(out, string(b.Repository))
		out = append(out, `,"role":`...)
		out = appendString(out, b.Role)
		out = append(out, `,"file":`...)
		out = append(out, b.File...)
		out = append(out, '}')
	}
	out = append(out, `],"signatures":[`...)
	for i, s := range sorted.Signatures {
		out = appendComma(out, i)
		out = append(out, `{"file":`...)
		out = strconv.AppendInt(out, int64(s.File), 10)
		out = append(out, `,"keyid":"`...)
		out = append(out, s.KeyID...)
		out = append(out, `","sig":"`...)
		out = hex.AppendEncode(out, s.Sig)
		out = append(out, `"}`...)
	}
	out = append(out, `],"approvals":[`...)
	for i := range sorted.Approvals {
		envelope, err := sorted.Approvals[i].Bytes()
		if err != nil {
			return nil, reason.Wrap(err, "event")
		}
		out = appendComma(out, i)
		out = append(out, envelope...)
	}
	out = append(out, "]}\n"...)
	if len(out) > MaxSize {
		return nil, reason.Errorf(reason.TooLarge, "event has more than %d bytes", MaxSize)
	}
	return out, nil
}

func (e *Event) sizeOfBase() int {
	n := 0
	for _, b := range e.Base {
		n += len(b.File) + 64
	}
	return n
}

// canonical returns the canonical JSON of the proposal, built by hand: Signed has its canonical form
// already, and the server computes an id on every call.
func (p *Proposal) canonical() []byte {
	size := 1024
	for _, f := range p.Files {
		size += len(f.Signed) + 256
	}
	out := append(make([]byte, 0, size), `{"blobs":[`...)
	for i, b := range p.Blobs {
		out = append(appendComma(out, i), `{"length":`...)
		out = strconv.AppendInt(out, b.Length, 10)
		out = append(out, `,"path":`...)
		out = appendString(out, b.Path)
		out = append(out, `,"sha256":`...)
		out = append(appendString(out, b.SHA256), '}')
	}
	out = append(out, `],"deployment":`...)
	out = appendString(out, p.Deployment)
	out = append(out, `,"files":[`...)
	for i, f := range p.Files {
		out = append(appendComma(out, i), '{')
		if f.Base != nil {
			out = append(out, `"base":{"sha256":`...)
			out = appendString(out, f.Base.SHA256)
			out = append(out, `,"version":`...)
			out = strconv.AppendInt(out, f.Base.Version, 10)
			out = append(out, "},"...)
		}
		out = append(out, `"repository":`...)
		out = appendString(out, string(f.Repository))
		out = append(out, `,"role":`...)
		out = appendString(out, f.Role)
		out = append(out, `,"signed":`...)
		out = append(append(out, f.Signed...), '}')
	}
	out = append(out, `],"kind":`...)
	out = appendString(out, p.Kind)
	if p.Reason != "" {
		out = append(out, `,"reason":`...)
		out = appendString(out, p.Reason)
	}
	out = append(out, `,"subject":`...)
	return append(appendString(out, p.Subject), '}')
}

func appendComma(out []byte, i int) []byte {
	if i > 0 {
		return append(out, ',')
	}
	return out
}

// appendString appends a string in canonical JSON, where only backslash and quotation mark are
// escaped.
func appendString(out []byte, s string) []byte {
	out = append(out, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			out = append(out, '\\')
		}
		out = append(out, s[i])
	}
	return append(out, '"')
}
