package publish

import (
	"crypto"
	"encoding/hex"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// OnlineFile is an online.pub file and the ids of the keys in it.
type OnlineFile struct {
	File                []byte
	ImageID, DirectorID string
}

// Public is a key's public half, as every crypto.Signer has it.
type Public interface{ Public() crypto.PublicKey }

// OnlinePub returns the online.pub file for the plan: what a server says of its own keys. tls are the
// SPKI hashes of its TLS anchors.
func OnlinePub(deployment, url string, image, director Public, tls [][32]byte) (*OnlineFile, error) {
	o := event.Online{Deployment: deployment, URL: url}
	f := &OnlineFile{}
	for _, k := range []struct {
		name   string
		signer Public
		key    **metadata.Key
		id     *string
	}{{"image", image, &o.Image, &f.ImageID}, {"director", director, &o.Director, &f.DirectorID}} {
		var err error
		if *k.key, err = metadata.NewKey(k.signer.Public()); err != nil {
			return nil, reason.Wrap(err, "online %s key", k.name)
		}
		if *k.id, err = metadata.KeyID(*k.key); err != nil {
			return nil, err
		}
	}
	for _, h := range tls {
		o.TLS = append(o.TLS, hex.EncodeToString(h[:]))
	}
	var err error
	f.File, err = o.Bytes()
	return f, err
}
