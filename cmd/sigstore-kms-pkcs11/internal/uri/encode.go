package uri

import (
	"fmt"
	"strings"
)

// EncodeID returns an id as it stands in a URI, every byte encoded.
func EncodeID(id []byte) string {
	var b strings.Builder
	for _, c := range id {
		fmt.Fprintf(&b, "%%%02x", c)
	}
	return b.String()
}
