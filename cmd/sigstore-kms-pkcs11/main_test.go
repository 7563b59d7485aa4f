//go:build cgo

package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"
)

// Arguments that no caller should send end in an answer, not in a crash.
func TestArguments(t *testing.T) {
	const init = `"initOptions":{"keyResourceID":"token=a;object=b","hashFunc":5}`
	for _, c := range []struct{ name, version, args, says string }{
		{"version", "v2", `{}`, `protocol version "v2": this plug-in speaks v1`},
		{"no JSON", "v1", `x`, "not those of the protocol"},
		{"nothing", "v1", `{}`, "lack initOptions or methodName"},
		{"null", "v1", `null`, "lack initOptions or methodName"},
		{"no method", "v1", `{` + init + `}`, "lack initOptions or methodName"},
		{"no options", "v1", `{"methodName":"publicKey"}`, "lack initOptions or methodName"},
		{"unknown method", "v1", `{` + init + `,"methodName":"exportKey"}`, `no method "exportKey"`},
		{"sign without arguments", "v1", `{` + init + `,"methodName":"signMessage"}`, "lacks its arguments"},
		{"sign without options", "v1", `{` + init + `,"methodName":"signMessage","signMessage":{}}`, "lacks its arguments"},
		{"create without arguments", "v1", `{` + init + `,"methodName":"createKey"}`, "lacks its arguments"},
		{"verify without options", "v1", `{` + init + `,"methodName":"verifySignature","verifySignature":{}}`, "lacks its arguments"},
		{"bad URI", "v1", `{` + init + `,"methodName":"publicKey"}`, "names no module [config]"},
		{"long", "v1", strings.Repeat(" ", maxArgs+1), "bytes of arguments"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run([]string{c.version, c.args}, strings.NewReader(""), &out, &errs); code != 1 {
				t.Errorf("exit %d, want 1", code)
			}
			var resp common.PluginResp
			if err := json.Unmarshal(out.Bytes(), &resp); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(resp.ErrorMessage, c.says) {
				t.Errorf("%q does not say %q", resp.ErrorMessage, c.says)
			}
		})
	}
	var out, errs bytes.Buffer
	if code := run(nil, strings.NewReader(""), &out, &errs); code != 2 || out.Len() != 0 || errs.String() != usage {
		t.Errorf("without arguments: exit %d, %q, %q", code, out.String(), errs.String())
	}
}
