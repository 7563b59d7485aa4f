// Package vectors holds the example plan, keys and events as they lie in this folder, for tests: fixed
// bytes that a change of code must go on reading. Everybody knows the keys; server and agent refuse
// them always (DESIGN 1.4).
package vectors

import "embed"

// Passphrase opens every key in Files.
const Passphrase = "countersign example"

// Files are plan.yaml, PERSON.pub, PERSON.key, online.pub, example.event (unsigned),
// example-signed.event (quorum complete) and image-root.json (root 1 as it would be published).
//
//go:embed plan.yaml *.pub *.key *.event image-root.json
var Files embed.FS
