// Package kms signs with keys that a plug-in holds: a smart card, an HSM, a cloud. The plug-in is a
// program sigstore-kms-NAME on PATH that speaks sigstore's KMS plug-in protocol (version v1), one
// process a call, and a key is named by a URI NAME://REST.
//
// Only schemes that the caller allows are looked up. A plug-in is outside code: what it prints is
// bounded, what it takes is timed, and every signature is verified under the key's public half before
// it is returned, so that a token that was swapped in the middle is noticed. The package trusts the
// program itself: whoever can put one on PATH can read what is signed, and a PIN that it is given.
package kms

import (
	"context"
	"crypto"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Timeout is how long one call of a plug-in may take where Options say nothing.
const Timeout = time.Minute

// Options say how plug-ins are called.
type Options struct {
	// Allow are the schemes that may be looked up, such as "pkcs11". None is allowed by itself.
	Allow []string
	// PIN is asked for before the first call that needs one, and once a Key; nil when the plug-in gets
	// none from here. It reaches the plug-in through a pipe, never in argv, environment or a file.
	PIN func(ctx context.Context) ([]byte, error)
	// Timeout bounds one call; 0 is Timeout.
	Timeout time.Duration
}

// Key is a key in a plug-in. It is safe for concurrent use.
type Key struct{}

// IsURI reports whether ref names a key in a plug-in, NAME://REST, rather than a file.
func IsURI(ref string) bool { return false }

// Open reads the public half of the key that uri names; no PIN is asked for if the plug-in does without.
// Reasons: config (the scheme is not allowed, the URI is malformed), not-found, plugin-failed,
// wrong-pin, key-malformed.
func Open(ctx context.Context, uri string, o Options) (*Key, error) {
	return nil, reason.Errorf(reason.PluginFailed, "unfinished")
}

// Create makes a key in the plug-in under uri; algorithm is "ed25519" or "p256". A key that is there
// already is never replaced: exists.
func Create(ctx context.Context, uri, algorithm string, o Options) (*Key, error) {
	return nil, reason.Errorf(reason.PluginFailed, "unfinished")
}

// Public returns the public half.
func (k *Key) Public() crypto.PublicKey { return nil }

// Signer returns a signer whose calls end with ctx. Each signature was verified under Public. Reasons
// of its errors: wrong-pin, plugin-failed, signature-bad.
func (k *Key) Signer(ctx context.Context) signature.Signer { return nil }
