package kms_test

import (
	"context"
	"crypto"
	"errors"
	"io"
	"os"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/handler"
)

// stock is a plug-in as other people write it: with the library's handler.
func stock() {
	args, err := handler.GetPluginArgs(os.Args)
	if err != nil {
		_ = handler.WriteErrorResponse(os.Stdout, err)
		os.Exit(1)
	}
	note("args-"+args.MethodName, os.Args[1]+" "+os.Args[2])
	if _, err := handler.Dispatch(os.Stdout, os.Stdin, args, &keyFile{args.InitOptions.KeyResourceID}); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// keyFile is a KMS whose key is a seed in a file.
type keyFile struct{ path string }

func (k *keyFile) load() (signature.SignerVerifier, error) {
	data, err := os.ReadFile(k.path)
	if err != nil {
		return nil, err
	}
	signer, err := cryptoutils.UnmarshalPEMToPrivateKey(data, cryptoutils.SkipPassword)
	if err != nil {
		return nil, err
	}
	return signature.LoadSignerVerifier(signer, crypto.SHA256)
}

func (k *keyFile) PublicKey(opts ...signature.PublicKeyOption) (crypto.PublicKey, error) {
	s, err := k.load()
	if err != nil {
		return nil, err
	}
	return s.PublicKey(opts...)
}

func (k *keyFile) SignMessage(message io.Reader, opts ...signature.SignOption) ([]byte, error) {
	s, err := k.load()
	if err != nil {
		return nil, err
	}
	return s.SignMessage(message, opts...)
}

func (k *keyFile) VerifySignature(sig, message io.Reader, opts ...signature.VerifyOption) error {
	s, err := k.load()
	if err != nil {
		return err
	}
	return s.VerifySignature(sig, message, opts...)
}

func (k *keyFile) CreateKey(_ context.Context, algorithm string) (crypto.PublicKey, error) {
	var s crypto.Signer = seeded(7)
	if algorithm == "ecdsa-p256" {
		s = seededP256()
	}
	data, err := cryptoutils.MarshalPrivateKeyToPEM(s)
	if err != nil {
		return nil, err
	}
	return s.Public(), os.WriteFile(k.path, data, 0o600)
}

func (k *keyFile) CryptoSigner(context.Context, func(error)) (crypto.Signer, crypto.SignerOpts, error) {
	return nil, nil, errors.ErrUnsupported
}
func (k *keyFile) SupportedAlgorithms() []string { return []string{"ecdsa-p256", "ed25519"} }
func (k *keyFile) DefaultAlgorithm() string      { return "ecdsa-p256" }
