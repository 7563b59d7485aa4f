package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/key"
)

// storedKey is a key that --key names by its URI.
type storedKey struct {
	uri string
	key *key.Stored
	who string // for its PIN, once an event says who it is
}

// keyAt finds the key of a URI in its store.
func (t *tool) keyAt(ctx context.Context, uri string) (ownKey, error) {
	h, err := t.home()
	if err != nil {
		return ownKey{}, err
	}
	at := &storedKey{uri: uri, who: cli.Safe(uri)}
	o := key.Options{Stores: h.KMS(), PIN: func(ctx context.Context, _ string) ([]byte, error) { return t.Ask.PIN(ctx, at.who) }}
	if at.key, err = key.OpenURI(ctx, uri, o); err != nil {
		return ownKey{}, err
	}
	return ownKey{public: &key.Public{Image: at.key.Key}, at: at}, nil
}

// makeSignatures unlocks the key, signs what the person may sign, and remembers it, durably, before a
// signature leaves this machine. On an error nothing was signed.
func (t *tool) makeSignatures(ctx context.Context, j *judged, k ownKey, s *event.Signing, why string) ([]event.Signature, *statement.Envelope, error) {
	keys, tokens, err := t.unlock(ctx, j, k, s)
	if err != nil {
		return nil, nil, undone(err, "nothing was signed")
	}
	var sigs []event.Signature
	var approval *statement.Envelope
	err = j.place.UpdateHistory(func(h *event.History) error {
		var err error
		o := event.SignOptions{Reason: why, Now: t.now(), Memory: h, ReplaceRoot: s.ReplacesRoot}
		if sigs, approval, err = event.Sign(j.Judgement, keys, o); err != nil {
			return err
		}
		h.Sign(j.Judgement, sigs)
		return nil
	})
	if tokens.refused != nil { // the token's own words, without the name of the file that it was to sign
		return nil, nil, tokens.refused
	}
	if err != nil {
		return nil, nil, undone(diskFull(err), "nothing was signed")
	}
	return sigs, approval, nil
}

// wanted are the repositories whose keys will sign.
func wanted(j *judged, s *event.Signing) []metadata.Repository {
	var some []metadata.Repository
	for _, i := range s.Files {
		if r := j.Files[i].Repository; !slices.Contains(some, r) {
			some = append(some, r)
		}
	}
	return some
}

// present finds keys in their stores before anything is asked: a token that is not there, or is another one,
// is told of first. Keys in a file are left alone.
func (t *tool) present(ctx context.Context, j *judged, k ownKey, s *event.Signing) (ownKey, error) {
	if len(k.stores) == 0 {
		return k, nil
	}
	var err error
	k.private, err = t.openFile(ctx, k, wanted(j, s))
	return k, undone(err, "nothing was signed")
}

// openFile opens an ID.key file: asks for a passphrase, or finds the keys in their stores.
func (t *tool) openFile(ctx context.Context, k ownKey, wanted []metadata.Repository) (*key.Private, error) {
	h, err := t.home()
	if err != nil {
		return nil, err
	}
	person := k.public.Person
	return key.Open(ctx, k.path, key.Options{
		Stores: h.KMS(), Repositories: wanted,
		Passphrase: func(key.Public) ([]byte, error) { return t.Ask.Passphrase(ctx, person+", "+k.opens("", wanted)) },
		PIN: func(ctx context.Context, uri string) ([]byte, error) {
			return t.Ask.PIN(ctx, person+", "+k.opens(uri, wanted))
		},
	})
}

// unlock asks for the passphrase or PIN and returns the signers of the keys that will sign.
func (t *tool) unlock(ctx context.Context, j *judged, k ownKey, s *event.Signing) (map[metadata.Repository]signature.Signer, *tokens, error) {
	wanted := wanted(j, s)
	// Each file is signed, and then the approval.
	tokens := &tokens{tool: t, of: len(s.Files) + 1}
	if k.at != nil {
		k.at.who = s.Person.ID + ", " + keyList(s.KeyIDs())
		if err := t.askPIN(ctx, k.at.uri, k.at.who); err != nil {
			return nil, nil, err
		}
		signers := map[metadata.Repository]signature.Signer{}
		for _, r := range wanted {
			signers[r] = touched{k.at.key.Signer(ctx), tokens}
		}
		return signers, tokens, nil
	}
	if k.private == nil {
		var err error
		if k.private, err = t.openFile(ctx, k, wanted); err != nil {
			return nil, nil, err
		}
	}
	signers, err := k.private.Signers()
	if err != nil {
		return nil, nil, err
	}
	for _, r := range wanted {
		uri := k.stores[r]
		if uri == "" {
			continue
		}
		if err := t.askPIN(ctx, uri, k.public.Person+", "+k.opens(uri, wanted)); err != nil {
			return nil, nil, err
		}
		signers[r] = touched{signers[r], tokens}
	}
	return signers, tokens, nil
}

// opens lists the wanted keys that are opened by one PIN with that of the URI, image first; of an encrypted
// file, whose keys have none, all of them.
func (k ownKey) opens(uri string, wanted []metadata.Repository) string {
	var ids []string
	for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
		if key := k.keys()[r]; key != nil && slices.Contains(wanted, r) && tokenOf(k.stores[r]) == tokenOf(uri) {
			if id, err := metadata.KeyID(key); err == nil { // it was made of that key when the file was read
				ids = append(ids, id)
			}
		}
	}
	return keyList(ids)
}

// askPIN asks for the PIN of a token before it is needed, so that nothing waits for it later. A store of
// another kind, or one whose URI says where its PIN is, is not asked for.
func (t *tool) askPIN(ctx context.Context, uri, who string) error {
	if !strings.HasPrefix(uri, "pkcs11:") || strings.Contains(uri, "pin-source=") {
		return nil
	}
	_, err := t.Ask.PIN(ctx, who)
	return err
}

// tokenOf cuts from the URI of a key what tells it from other keys of its token (RFC 7512: id, object and
// type). Of other stores than tokens each key is opened by itself.
func tokenOf(uri string) string {
	rest, ok := strings.CutPrefix(uri, "pkcs11:")
	if !ok {
		return uri
	}
	path, query, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "?")
	var kept []string
	for _, a := range strings.Split(path, ";") {
		if name, _, _ := strings.Cut(a, "="); name != "id" && name != "object" && name != "type" {
			kept = append(kept, a)
		}
	}
	return strings.Join(kept, ";") + "?" + query
}

// tokens counts what the tokens of one command have signed, and keeps a refusal of the PIN.
type tokens struct {
	tool    *tool
	n, of   int
	refused error
}

// touched says before each signature of a token that it may want to be touched.
type touched struct {
	signature.Signer
	tokens *tokens
}

var _ signature.Signer = touched{}

// SignMessage signs after the word to the person.
func (s touched) SignMessage(message io.Reader, o ...signature.SignOption) ([]byte, error) {
	s.tokens.n++
	if t := s.tokens.tool; !t.Out.JSON {
		t.Out.Say("touch it if it blinks (%d of %d)", s.tokens.n, s.tokens.of)
	}
	sig, err := s.Signer.SignMessage(message, o...)
	if reason.Is(err, reason.WrongPIN) {
		s.tokens.refused = err
	}
	return sig, err
}
