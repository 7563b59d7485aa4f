package metadata

import (
	"crypto/ed25519"
	"encoding/hex"
	"slices"

	"github.com/countersign-ota/countersign/proto/reason"
)

// smallOrder are the y coordinates of the points of small order on edwards25519 in every encoding that
// crypto/ed25519 takes, without the sign bit: also those of 0 and 1 plus 2^255-19.
var smallOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// checkOrder refuses public keys of small order, such as 32 zero bytes: everybody can make signatures
// that verify with them, which RFC 8032 leaves to protocols to prevent.
func checkOrder(pub ed25519.PublicKey) error {
	y := slices.Clone(pub)
	y[len(y)-1] &= 0x7f
	if slices.Contains(smallOrder, hex.EncodeToString(y)) {
		return reason.Errorf(reason.KeyMalformed, "ed25519 key of small order, with which everybody can sign")
	}
	return nil
}
