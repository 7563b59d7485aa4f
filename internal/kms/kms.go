// Package kms signs with keys that a plug-in holds: a smart card, an HSM, a cloud. The plug-in is a
// program sigstore-kms-NAME on PATH that speaks sigstore's KMS plug-in protocol (version v1), one
// process a call, and a key is named by a URI NAME://REST.
//
// Only schemes that the caller allows are looked up. A plug-in is outside code: what it prints is
// bounded, what it takes is timed, it runs in a process group of its own that is ended as a whole, and
// every signature is verified under the key's public half before it is returned, so that a token that
// was swapped in the middle is noticed. The package trusts the program itself: whoever can put one on
// PATH can read what is signed, and a PIN that it is given.
//
// The wire types are those of sigstore's cliplugin/common; its client is not used. It reads a plug-in's
// output without a bound, shows its stderr to the terminal as it comes, waits for ever for a child that
// holds the pipe, crashes at an answer {}, ends the whole program where an algorithm cannot be
// told, and has no way to hand over a PIN.
//
// # Errors of a plug-in
//
// The protocol gives an error as free text. A text that ends in one of these words in brackets has that
// reason: [wrong-pin] [not-found] [exists] [config] [key-malformed] [secret-exposed]. One that ends in
// [pin-wanted] makes the client ask for the PIN and repeat the call with the attribute
// pin-source=file:/dev/fd/3 (RFC 7512) added to the URI, an inherited pipe that holds the PIN and a
// newline. Any other text is plugin-failed; not-found too if it says in words that nothing was found.
package kms

import (
	"context"
	"crypto"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Timeout is how long one call of a plug-in may take where Options say nothing. A person who has to
// touch a token needs some of it.
const Timeout = time.Minute

// Options say how plug-ins are called.
type Options struct {
	// Allow are the schemes that may be looked up, such as "pkcs11". None is allowed by itself.
	Allow []string
	// PIN is asked for before the first call that needs one, and once a Key; nil when the plug-in gets
	// none from here. It reaches the plug-in through a pipe, never in argv, environment or a file. It
	// is not asked for when the URI names a pin-source itself.
	PIN func(ctx context.Context) ([]byte, error)
	// Timeout bounds one call; 0 is Timeout.
	Timeout time.Duration
}

// Key is a key in a plug-in. It is safe for concurrent use. A PIN that was refused is not sent again:
// later calls fail with the same reason, since a token blocks after a few.
type Key struct {
	plugin *plugin
	public crypto.PublicKey
	tuf    *metadata.Key
}

// Open reads the public half of the key that uri names; no PIN is asked for if the plug-in does without.
// Reasons: config (the scheme is not allowed, the URI is malformed), not-found, plugin-failed,
// wrong-pin, key-malformed, secret-exposed.
func Open(ctx context.Context, uri string, o Options) (*Key, error) {
	p, err := find(uri, o)
	if err != nil {
		return nil, err
	}
	return p.key(ctx)
}

// Create makes a key in the plug-in under uri; algorithm is "ed25519" or "p256". A key that is there
// already is never replaced: exists. The other reasons are those of Open; config also where the plug-in
// makes no such keys.
func Create(ctx context.Context, uri, algorithm string, o Options) (*Key, error) {
	p, err := find(uri, o)
	if err != nil {
		return nil, err
	}
	switch _, err := p.key(ctx); {
	case err == nil:
		return nil, reason.Errorf(reason.Exists, "%s names a key that is there already", uri).
			WithHint("use it as it is, or choose another name")
	case !reason.Is(err, reason.NotFound):
		return nil, err
	}
	name, err := p.algorithm(ctx, algorithm)
	if err != nil {
		return nil, err
	}
	made, err := p.createKey(ctx, name)
	if err != nil {
		return nil, err
	}
	k, err := p.key(ctx)
	if err != nil {
		return nil, reason.Wrap(err, "the new key cannot be read back")
	}
	if !equal(made, k.public) {
		return nil, p.failed("it made one key and shows another at the second look")
	}
	if k.tuf.Type != tufTypes[algorithm] {
		return nil, p.failed("asked for a key of type %s it made one of type %s", algorithm, k.tuf.Type)
	}
	return k, nil
}

// tufTypes are TUF's names of the algorithms that Create knows.
var tufTypes = map[string]string{"ed25519": "ed25519", "p256": "ecdsa"}

// spellings are the names that plug-ins give to those algorithms, in lower case.
var spellings = map[string][]string{
	"ed25519": {"ed25519", "eddsa-ed25519", "ec_sign_ed25519", "ecc_nist_edwards25519"},
	"p256":    {"ecdsa-p256", "p256", "p-256", "ecdsa-p256-sha256", "ec_sign_p256_sha256", "ecc_nist_p256", "ecdsa-sha2-256-nistp256"},
}

// algorithm returns what the plug-in calls the algorithm.
func (p *plugin) algorithm(ctx context.Context, algorithm string) (string, error) {
	want, ok := spellings[algorithm]
	if !ok {
		return "", reason.Errorf(reason.Config, "key type %q, wanted ed25519 or p256", algorithm)
	}
	names, err := p.supported(ctx)
	if err != nil {
		return "", err
	}
	for _, w := range want {
		for _, n := range names {
			if strings.EqualFold(n, w) {
				return n, nil
			}
		}
	}
	return "", reason.Errorf(reason.Config, "plug-in %s makes no %s keys; it makes %s", p.name, algorithm, clean(strings.Join(names, ", ")))
}

// key asks for the public half and checks that it is one that Countersign signs with.
func (p *plugin) key(ctx context.Context) (*Key, error) {
	pub, err := p.publicKey(ctx)
	if err != nil {
		return nil, err
	}
	tuf, err := metadata.NewKey(pub)
	if err != nil {
		return nil, reason.Wrap(err, "plug-in %s", p.name)
	}
	return &Key{plugin: p, public: pub, tuf: tuf}, nil
}

func equal(a, b crypto.PublicKey) bool {
	x, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && x.Equal(b)
}

// Public returns the public half.
func (k *Key) Public() crypto.PublicKey { return k.public }
