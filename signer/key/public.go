package key

import (
	"unicode/utf8"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/strict"
)

// MaxPublic bounds an ID.pub file in bytes.
const MaxPublic = 16 << 10

// maxName bounds a person's name in bytes.
const maxName = 200

// Public is the content of an ID.pub file.
type Public struct {
	// Person is the id; Name, for people to read, and Class may be empty.
	Person string `json:"person"`
	Name   string `json:"name"`
	Class  string `json:"class"`
	// Image is required, Director nil when there is no key for the director root.
	Image    *metadata.Key `json:"image"`
	Director *metadata.Key `json:"director,omitempty"`
}

// ParsePublic reads an ID.pub file strictly. That the two keys differ is checked, that the person
// holds them is proven by the first signature only.
func ParsePublic(data []byte) (*Public, error) {
	var p Public
	if err := strict.Unmarshal(data, &p, MaxPublic, "public keys"); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return &p, nil
}

func (p *Public) check() error {
	if err := metadata.CheckID("person", p.Person); err != nil {
		return err
	}
	if p.Class != "" {
		if err := metadata.CheckID("class", p.Class); err != nil {
			return err
		}
	}
	if len(p.Name) > maxName || !utf8.ValidString(p.Name) {
		return reason.Errorf(reason.Malformed, "name of %s has %d bytes, wanted at most %d of UTF-8", p.Person, len(p.Name), maxName)
	}
	if err := Check(p.Image); err != nil {
		return reason.Wrap(err, "image key of %s", p.Person)
	}
	if p.Director == nil {
		return nil
	}
	if err := Check(p.Director); err != nil {
		return reason.Wrap(err, "director key of %s", p.Person)
	}
	image, err := metadata.RawKey(p.Image)
	if err != nil {
		return err
	}
	director, err := metadata.RawKey(p.Director)
	if err != nil {
		return err
	}
	if image == director {
		return reason.Errorf(reason.KeyTwice, "%s has one key for both repositories", p.Person)
	}
	return nil
}

// Check makes sure that k is a key that people or servers may sign with, in its one form: key ids
// cover the whole object, so another member would make another key of it.
func Check(k *metadata.Key) error {
	if k == nil {
		return reason.Errorf(reason.KeyMalformed, "there is no key")
	}
	id, err := metadata.KeyID(k)
	if err != nil {
		return err
	}
	pub, err := metadata.CheckKey(id, k, metadata.Profile)
	if err != nil {
		return err
	}
	again, err := metadata.NewKey(pub)
	if err != nil {
		return err
	}
	if want, err := metadata.KeyID(again); err != nil || want != id {
		return reason.Errorf(reason.KeyMalformed, "the key has another form than %s: a member too many", again.Type)
	}
	return nil
}

// Bytes returns the file: one line of compact JSON.
func (p *Public) Bytes() ([]byte, error) {
	canonical, err := metadata.Canonical(p)
	if err != nil {
		return nil, err
	}
	data, err := metadata.FromCanonical(canonical)
	if err != nil {
		return nil, err
	}
	if _, err := ParsePublic(data); err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// Keys returns the keys by repository.
func (p *Public) Keys() map[metadata.Repository]*metadata.Key {
	keys := map[metadata.Repository]*metadata.Key{metadata.Image: p.Image}
	if p.Director != nil {
		keys[metadata.Director] = p.Director
	}
	return keys
}
