package kms

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Bounds of an answer's parts: bytes of a signature, names of algorithms.
const (
	maxSignature  = 1024
	maxAlgorithms = 64
)

// answer is the part of common.PluginResp that the method asked for. Members that later versions of
// the protocol add are not looked at.
type answer struct {
	publicKeyPEM []byte
	signature    []byte
	algorithms   []string
}

// judge turns what a process left behind into an answer or an error.
func (p *plugin) judge(method string, out *output) (*answer, error) {
	a, message, err := parseAnswer(method, out.stdout)
	switch {
	case message != "":
		return nil, p.problem(method, message)
	case err != nil && out.exit != nil:
		return nil, p.failed("%v and %v%s", out.exit, err, said(out.stderr))
	case err != nil:
		return nil, p.failed("%v%s", err, said(out.stderr))
	case out.exit != nil:
		// The protocol says to ignore it; but what ends with a failure has no answer to rely on.
		return nil, p.failed("%v beside an answer%s", out.exit, said(out.stderr))
	}
	return a, nil
}

// parseAnswer reads stdout: one JSON object with the method's member, or with an error message.
func parseAnswer(method string, stdout []byte) (a *answer, message string, err error) {
	malformed := func(format string, args ...any) (*answer, string, error) {
		return nil, "", reason.Errorf(reason.PluginFailed, format, args...)
	}
	if len(strings.TrimSpace(string(stdout))) == 0 {
		return malformed("no answer")
	}
	// A map, since a struct would take ErrorMessage for errorMessage.
	var members map[string]json.RawMessage
	if err := json.Unmarshal(stdout, &members); err != nil {
		return malformed("its answer is not a JSON object: %v", err)
	}
	if text, ok := members["errorMessage"]; ok {
		if err := json.Unmarshal(text, &message); err != nil {
			return malformed("its answer's errorMessage is not a text")
		}
		if message != "" {
			return nil, message, nil
		}
	}
	var resp struct {
		PublicKeyPEM        []byte   `json:"publicKeyPEM"`
		Signature           []byte   `json:"signature"`
		SupportedAlgorithms []string `json:"supportedAlgorithms"`
	}
	member, ok := members[method]
	if !ok {
		return malformed("its answer has no member %s", method)
	}
	if err := json.Unmarshal(member, &resp); err != nil {
		return malformed("its answer's %s cannot be read: %v", method, err)
	}
	switch {
	case len(resp.Signature) > maxSignature:
		return malformed("its signature has %d bytes, at most %d are allowed", len(resp.Signature), maxSignature)
	case len(resp.SupportedAlgorithms) > maxAlgorithms:
		return malformed("it names %d algorithms, at most %d are allowed", len(resp.SupportedAlgorithms), maxAlgorithms)
	case method == common.SignMessageMethodName && len(resp.Signature) == 0:
		return malformed("its answer holds no signature")
	case (method == common.PublicKeyMethodName || method == common.CreateKeyMethodName) && len(resp.PublicKeyPEM) == 0:
		return malformed("its answer holds no public key")
	}
	return &answer{publicKeyPEM: resp.PublicKeyPEM, signature: resp.Signature, algorithms: resp.SupportedAlgorithms}, "", nil
}

func (p *plugin) publicKey(ctx context.Context) (crypto.PublicKey, error) {
	a, err := p.call(ctx, common.MethodArgs{MethodName: common.PublicKeyMethodName}, nil)
	if err != nil {
		return nil, err
	}
	return p.parsePublicKey(a)
}

func (p *plugin) createKey(ctx context.Context, algorithm string) (crypto.PublicKey, error) {
	a, err := p.call(ctx, common.MethodArgs{MethodName: common.CreateKeyMethodName, CreateKey: &common.CreateKeyArgs{Algorithm: algorithm}}, nil)
	if err != nil {
		return nil, err
	}
	return p.parsePublicKey(a)
}

func (p *plugin) supported(ctx context.Context) ([]string, error) {
	a, err := p.call(ctx, common.MethodArgs{MethodName: common.SupportedAlgorithmsMethodName, SupportedAlgorithms: &common.SupportedAlgorithmsArgs{}}, nil)
	if err != nil {
		return nil, err
	}
	return a.algorithms, nil
}

// parsePublicKey reads one PEM block and nothing else.
func (p *plugin) parsePublicKey(a *answer) (crypto.PublicKey, error) {
	block, rest := pem.Decode(a.publicKeyPEM)
	if block == nil || block.Type != "PUBLIC KEY" || len(strings.TrimSpace(string(rest))) != 0 {
		return nil, reason.Errorf(reason.KeyMalformed, "plug-in %s: want one PEM block \"PUBLIC KEY\"", p.name)
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, reason.Errorf(reason.KeyMalformed, "plug-in %s: the public key cannot be read: %v", p.name, err)
	}
	return pub, nil
}
