//go:build cgo

package main

import (
	"testing"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"

	"github.com/countersign-ota/countersign/proto/reason"
)

// What parse takes has all parts that the method needs.
func FuzzArguments(f *testing.F) {
	for _, s := range []string{
		`{"initOptions":{"protocolVersion":"v1","keyResourceID":"token=a;object=b","hashFunc":5,"rpcOptions":{"keyVersion":""}},"methodName":"publicKey","publicKey":{"publicKeyOptions":{"rpcOptions":{}}}}`,
		`{"initOptions":{},"methodName":"signMessage","signMessage":{"signOptions":{"messageOptions":{"digest":"QQ==","hashFunc":5}}}}`,
		`{"initOptions":{},"methodName":"createKey","createKey":{"algorithm":"ed25519"}}`,
		`{"initOptions":{},"methodName":"verifySignature","verifySignature":{"signature":"QQ==","verifyOptions":{}}}`,
		`{"initOptions":null,"methodName":"signMessage","signMessage":null}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, argument string) {
		args, err := parse(argument)
		if err != nil {
			if !reason.Is(err, reason.Config) {
				t.Fatalf("%v", err)
			}
			return
		}
		_ = args.InitOptions.KeyResourceID
		switch args.MethodName {
		case common.CreateKeyMethodName:
			_ = args.CreateKey.Algorithm
		case common.SignMessageMethodName:
			_ = args.SignMessage.SignOptions.MessageOptions
		case common.VerifySignatureMethodName:
			_ = args.VerifySignature.VerifyOptions.MessageOptions
		}
	})
}
