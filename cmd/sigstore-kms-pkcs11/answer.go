//go:build cgo

package main

import (
	"bytes"
	"crypto"
	"encoding/json"
	"errors"
	"io"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/encoding"

	"github.com/countersign-ota/countersign/cmd/sigstore-kms-pkcs11/internal/token"
	"github.com/countersign-ota/countersign/cmd/sigstore-kms-pkcs11/internal/uri"
	"github.com/countersign-ota/countersign/proto/reason"
)

// maxArgs bounds the JSON argument in bytes.
const maxArgs = 128 << 10

// answer carries a method out. The library's handler package would do it too, but crashes where the
// caller left an argument out.
func answer(version, argument string, message io.Reader) (*common.PluginResp, error) {
	if version != common.ProtocolVersion {
		return nil, reason.Errorf(reason.Config, "protocol version %.20q: this plug-in speaks %s", version, common.ProtocolVersion)
	}
	args, err := parse(argument)
	if err != nil {
		return nil, err
	}
	switch args.MethodName {
	case common.DefaultAlgorithmMethodName:
		return &common.PluginResp{DefaultAlgorithm: &common.DefaultAlgorithmResp{DefaultAlgorithm: token.P256}}, nil
	case common.SupportedAlgorithmsMethodName:
		return &common.PluginResp{SupportedAlgorithms: &common.SupportedAlgorithmsResp{SupportedAlgorithms: []string{token.P256, token.Ed25519}}}, nil
	}
	u, err := uri.Parse(args.InitOptions.KeyResourceID)
	if err != nil {
		return nil, err
	}
	t, err := token.Open(u, args.MethodName == common.CreateKeyMethodName)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	return use(t, args, message)
}

// parse reads the argument and checks that all parts which answer needs are there.
func parse(argument string) (*common.PluginArgs, error) {
	if len(argument) > maxArgs {
		return nil, reason.Errorf(reason.Config, "more than %d bytes of arguments", maxArgs)
	}
	var args common.PluginArgs
	if err := json.Unmarshal([]byte(argument), &args); err != nil {
		return nil, reason.Errorf(reason.Config, "the arguments are not those of the protocol: %v", err)
	}
	if args.InitOptions == nil || args.MethodArgs == nil {
		return nil, reason.Errorf(reason.Config, "the arguments lack initOptions or methodName")
	}
	missing := false
	switch args.MethodName {
	case common.DefaultAlgorithmMethodName, common.SupportedAlgorithmsMethodName, common.PublicKeyMethodName:
	case common.CreateKeyMethodName:
		missing = args.CreateKey == nil
	case common.SignMessageMethodName:
		missing = args.SignMessage == nil || args.SignMessage.SignOptions == nil
	case common.VerifySignatureMethodName:
		missing = args.VerifySignature == nil || args.VerifySignature.VerifyOptions == nil
	default:
		return nil, reason.Errorf(reason.Config, "there is no method %.40q", args.MethodName)
	}
	if missing {
		return nil, reason.Errorf(reason.Config, "method %s lacks its arguments", args.MethodName)
	}
	return &args, nil
}

// use carries out a method that needs the token.
func use(t *token.Token, args *common.PluginArgs, message io.Reader) (*common.PluginResp, error) {
	switch args.MethodName {
	case common.CreateKeyMethodName:
		pub, err := t.Create(args.CreateKey.Algorithm)
		if err != nil {
			return nil, err
		}
		pem, err := cryptoutils.MarshalPublicKeyToPEM(pub)
		return &common.PluginResp{CreateKey: &common.CreateKeyResp{PublicKeyPEM: pem}}, err
	case common.PublicKeyMethodName:
		pub, err := t.Public()
		if err != nil {
			return nil, err
		}
		pem, err := cryptoutils.MarshalPublicKeyToPEM(pub)
		return &common.PluginResp{PublicKey: &common.PublicKeyResp{PublicKeyPEM: pem}}, err
	case common.SignMessageMethodName:
		o := args.SignMessage.SignOptions.MessageOptions
		if err := sha256Only(args.InitOptions.HashFunc, o); err != nil {
			return nil, err
		}
		var digest []byte
		if o.Digest != nil {
			digest = *o.Digest
		}
		sig, err := t.Sign(message, digest)
		return &common.PluginResp{SignMessage: &common.SignMessageResp{Signature: sig}}, err
	}
	return verify(t, args, message)
}

// sha256Only refuses other hashes. 0 is what callers say for Ed25519.
func sha256Only(h crypto.Hash, o common.MessageOptions) error {
	if o.HashFunc != nil {
		h = *o.HashFunc
	}
	if h != crypto.SHA256 && h != 0 {
		return reason.Errorf(reason.Config, "hash function %d: this plug-in signs with SHA-256 (%d)", h, crypto.SHA256)
	}
	return nil
}

func verify(t *token.Token, args *common.PluginArgs, message io.Reader) (*common.PluginResp, error) {
	pub, err := t.Public()
	if err != nil {
		return nil, err
	}
	v, err := signature.LoadVerifier(pub, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	opts := encoding.UnpackVerifyOptions(args.VerifySignature.VerifyOptions)
	if err := v.VerifySignature(bytes.NewReader(args.VerifySignature.Signature), message, opts...); err != nil {
		return nil, reason.Errorf(reason.SignatureBad, "the signature does not verify: %v", err)
	}
	return &common.PluginResp{VerifySignature: &common.VerifySignatureResp{}}, nil
}

// text is an error as the protocol carries it: words for people, and at the end the reason in brackets,
// by which countersign knows what to do next.
func text(err error) string {
	word := "plugin-failed"
	if errors.Is(err, token.ErrPINWanted) {
		word = "pin-wanted"
	} else if r := reason.Of(err); r != "" {
		word = string(r)
	}
	return err.Error() + " [" + word + "]"
}

func write(w io.Writer, resp *common.PluginResp) error {
	data, err := json.Marshal(resp)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}
