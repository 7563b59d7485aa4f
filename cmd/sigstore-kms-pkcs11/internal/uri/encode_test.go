package uri

import (
	"fmt"
	"strings"
)

// String returns the URI behind "pkcs11://", as Parse reads it.
func (u *URI) String() string {
	var path, query []string
	add := func(to *[]string, name, value, more string) {
		if value != "" {
			*to = append(*to, name+"="+encode(value, more))
		}
	}
	add(&path, "token", u.Token, "&")
	add(&path, "serial", u.Serial, "&")
	add(&path, "manufacturer", u.Manufacturer, "&")
	add(&path, "model", u.Model, "&")
	add(&path, "object", u.Object, "&")
	if u.ID != nil {
		path = append(path, "id="+EncodeID(u.ID))
	}
	add(&query, "module-path", u.Module, "/|")
	if u.PINFile != "" {
		add(&query, "pin-source", "file:"+u.PINFile, "/|")
	}
	return strings.Join(path, ";") + "?" + strings.Join(query, "&")
}

func encode(s, more string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; isFree(c) || strings.IndexByte(more, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}
