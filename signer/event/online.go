package event

import (
	"maps"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/strict"
	"github.com/countersign-ota/countersign/signer/key"
)

// stopClass is the one class of a stop role (DESIGN 1.8).
const stopClass = "stop"

// Online is an online.pub file: what a server says of its own keys, for the plan.
type Online struct {
	Deployment string `json:"deployment"`
	// URL is the server's address; it is not signed, and empty in a plan that was read back.
	URL      string        `json:"url"`
	Image    *metadata.Key `json:"image"`
	Director *metadata.Key `json:"director"`
	// TLS are the SPKI hashes (SHA-256, hex) of its TLS anchors; an empty list leaves them out of the
	// root.
	TLS []string `json:"tls"`
}

// ParseOnline reads an online.pub file strictly.
func ParseOnline(data []byte) (*Online, error) {
	var o Online
	if err := strict.Unmarshal(data, &o, key.MaxPublic, "online keys"); err != nil {
		return nil, err
	}
	if err := metadata.CheckID("deployment", o.Deployment); err != nil {
		return nil, err
	}
	for _, k := range []struct {
		repository metadata.Repository
		key        *metadata.Key
	}{{metadata.Image, o.Image}, {metadata.Director, o.Director}} {
		if err := key.Check(k.key); err != nil {
			return nil, reason.Wrap(err, "%s key", k.repository)
		}
	}
	if len(o.TLS) > 0 {
		if _, err := metadata.ParseTLS(metadata.TLSValue(o.TLS)); err != nil {
			return nil, err
		}
	}
	return &o, nil
}

// Bytes returns the file: one line of compact JSON.
func (o *Online) Bytes() ([]byte, error) {
	w := *o
	if w.TLS == nil {
		w.TLS = []string{}
	}
	canonical, err := metadata.Canonical(w)
	if err != nil {
		return nil, err
	}
	data, err := metadata.FromCanonical(canonical)
	if err != nil {
		return nil, err
	}
	if _, err := ParseOnline(data); err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
