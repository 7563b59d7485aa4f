package stage

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

func FuzzParsePoint(f *testing.F) {
	h := sha256.New()
	h.Write([]byte("firmware"))
	good := point{offset: 8, state: state(h)}.bytes()
	f.Add(good, int64(8))
	f.Add(good, int64(7))
	f.Add(good[:len(good)-1], int64(8))
	f.Add(bytes.Repeat([]byte{0}, len(good)), int64(8))
	f.Add([]byte(pointMagic), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, length int64) {
		p, err := parsePoint(b, max(length, 0))
		if err != nil {
			return
		}
		if p.offset < 0 || p.offset > length {
			t.Fatalf("offset %d of %d", p.offset, length)
		}
		if !bytes.Equal(p.bytes(), b) {
			t.Fatalf("%x is written back as %x", b, p.bytes())
		}
	})
}
