package key

import (
	"context"
	"crypto"
	"errors"
	"io/fs"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/internal/kms"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/strict"
)

// referenceVersion is raised when older programs must refuse the file.
const referenceVersion = 1

// both are the repositories in the order in which their keys are looked at.
var both = []metadata.Repository{metadata.Image, metadata.Director}

// Reference is an ID.key file whose keys are in stores: one line of JSON,
//
//	{"countersign_key":1,"public":{…ID.pub…},"image":"pkcs11://…","director":"pkcs11://…"}
//
// It holds no secret; mode 0600 keeps others from pointing it at another key.
type Reference struct {
	Version int    `json:"countersign_key"`
	Public  Public `json:"public"`
	// Image and Director are the URIs of the keys that Public has.
	Image    string `json:"image"`
	Director string `json:"director,omitempty"`
}

// ParseReference reads such a file strictly. Whether the stores have the keys is not known before Open.
// Reasons: those of package strict, of ParsePublic and of CheckURI, malformed, and key-twice.
func ParseReference(data []byte) (*Reference, error) {
	var r Reference
	if err := strict.Unmarshal(data, &r, maxFile, "key reference"); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return &r, nil
}

func (r *Reference) check() error {
	if r.Version != referenceVersion {
		return reason.Errorf(reason.Malformed, "key reference of form %d, this program reads %d", r.Version, referenceVersion)
	}
	if err := r.Public.check(); err != nil {
		return err
	}
	if (r.Director == "") != (r.Public.Director == nil) {
		return reason.Errorf(reason.Malformed, "key reference of %s: director key and its URI do not go together", r.Public.Person)
	}
	stores := r.Stores()
	for _, repository := range both {
		uri, ok := stores[repository]
		if !ok {
			continue
		}
		if err := CheckURI(uri); err != nil {
			return reason.Wrap(err, "%s key of %s", repository, r.Public.Person)
		}
	}
	if r.Image == r.Director {
		return reason.Errorf(reason.KeyTwice, "%s has one key for both repositories: %q", r.Public.Person, r.Image)
	}
	return nil
}

// CheckURI makes sure that a text can name a key in a store, whether or not that store may be opened
// here. A URI that holds a PIN cannot. Reason: config.
func CheckURI(uri string) error {
	scheme, _, _ := strings.Cut(uri, "://")
	return kms.Check(uri, []string{scheme})
}

// Stores returns the URIs by repository.
func (r *Reference) Stores() map[metadata.Repository]string {
	stores := map[metadata.Repository]string{metadata.Image: r.Image}
	if r.Director != "" {
		stores[metadata.Director] = r.Director
	}
	return stores
}

// Bytes returns the file.
func (r *Reference) Bytes() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	canonical, err := metadata.Canonical(r)
	if err != nil {
		return nil, err
	}
	data, err := metadata.FromCanonical(canonical)
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// Save writes the reference into a new file of mode 0600, durable on return. A file that is there is
// never overwritten: exists.
func (r *Reference) Save(path string) error {
	data, err := r.Bytes()
	if err != nil {
		return err
	}
	return save(path, data)
}

func save(path string, data []byte) error {
	err := durable.CreateNew(path, data, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return reason.Errorf(reason.Exists, "%s exists; a key is never overwritten", path)
	case durable.IsFull(err):
		return reason.Errorf(reason.DiskFull, "%v", err)
	}
	return err
}

// openReference finds the wanted keys in their stores and compares them with the file.
func openReference(ctx context.Context, data []byte, o Options) (*Private, error) {
	ref, err := ParseReference(data)
	if err != nil {
		return nil, err
	}
	p := &Private{Public: ref.Public, stored: map[metadata.Repository]signature.Signer{}}
	stores, keys := ref.Stores(), ref.Public.Keys()
	for _, r := range both {
		if stores[r] == "" || !o.wants(r) {
			continue
		}
		k, err := kms.Open(ctx, stores[r], o.store(stores[r]))
		if err != nil {
			return nil, reason.Wrap(err, "%s key of %s", r, ref.Public.Person)
		}
		if err := isKey(k.Public(), keys[r], stores[r]); err != nil {
			return nil, reason.Wrap(err, "%s key of %s", r, ref.Public.Person)
		}
		p.stored[r] = k.Signer(ctx)
	}
	return p, nil
}

// isKey refuses a key of a store that is not the one that was adopted.
func isKey(public crypto.PublicKey, want *metadata.Key, uri string) error {
	got, err := metadata.NewKey(public)
	if err != nil {
		return err
	}
	if sameKey(got, want) {
		return nil
	}
	gotID, err := metadata.KeyID(got)
	if err != nil {
		return err
	}
	wantID, err := metadata.KeyID(want)
	if err != nil {
		return err
	}
	return reason.Errorf(reason.Malformed, "%s holds key %.12s, this file was made for %.12s", uri, gotID, wantID).
		WithHint("use the token that holds %.12s; if its key was replaced, make a new file for it: countersign key new --store, then countersign change", wantID)
}
