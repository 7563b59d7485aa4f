//go:build cgo

// Command sigstore-kms-pkcs11 signs with keys in PKCS#11 tokens: smart cards, HSMs, SoftHSM2. It is a
// plug-in of sigstore's KMS protocol, so Countersign and other sigstore tools use the same key:
//
//	pkcs11://token=chen-yubi;object=sign?module-path=/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so
//
// The URI is that of RFC 7512; docs/formats.md has the attributes. ECDSA P-256 and Ed25519.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"
)

const usage = `sigstore-kms-pkcs11 is run by countersign, countersignd, cosign and other sigstore tools, for keys
whose name begins with pkcs11://. Put it into a folder on their PATH.

  pkcs11://token=LABEL;object=LABEL?module-path=/PATH/OF/MODULE.so

Before the question mark: token, serial, manufacturer, model; object, id (%-encoded bytes). After it,
joined by &: module-path, pin-source=file:/PATH (one newline at the end is cut).
`

func main() {
	stdout, err := ownStdout()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sigstore-kms-pkcs11: error:", err)
		os.Exit(1)
	}
	os.Exit(run(os.Args[1:], os.Stdin, stdout, os.Stderr))
}

// run is one call of the protocol: ARGS is the version and one JSON text, message what is signed.
func run(args []string, message io.Reader, stdout, stderr io.Writer) int {
	if len(args) != 2 {
		_, _ = io.WriteString(stderr, usage)
		return 2
	}
	resp, err := answer(args[0], args[1], message)
	if err != nil {
		resp = &common.PluginResp{ErrorMessage: text(err)}
	}
	if werr := write(stdout, resp); werr != nil {
		fmt.Fprintln(stderr, "sigstore-kms-pkcs11: error:", werr)
		return 1
	}
	if err != nil {
		return 1
	}
	return 0
}
