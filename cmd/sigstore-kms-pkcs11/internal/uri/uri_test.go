package uri

import (
	"reflect"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want URI
	}{
		{"token=chen-yubi;object=sign?module-path=/usr/lib/p11.so", URI{Token: "chen-yubi", Object: "sign", Module: "/usr/lib/p11.so"}},
		{
			"token=The%20Software%20PKCS%2311;serial=0a1b;manufacturer=Acme&Co;model=v2;object=a=b;id=%69%95%3e%5C;type=private?module-path=/m.so&pin-source=file:/run/pin",
			URI{Token: "The Software PKCS#11", Serial: "0a1b", Manufacturer: "Acme&Co", Model: "v2", Object: "a=b", ID: []byte{0x69, 0x95, 0x3e, 0x5c}, Module: "/m.so", PINFile: "/run/pin"},
		},
		{"id=a;serial=1?pin-source=file:///dev/fd/3&module-path=/m.so", URI{Serial: "1", ID: []byte("a"), Module: "/m.so", PINFile: "/dev/fd/3"}},
		{"token=%c3%a9;object=o;type=public?module-path=/m.so", URI{Token: "é", Object: "o", Module: "/m.so"}},
	} {
		got, err := Parse(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%q\nis   %+v\nwant %+v", c.text, *got, c.want)
		}
		if again, err := Parse(got.String()); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%q was written as %q (%v)", c.text, got, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const good = "token=t;object=o?module-path=/m.so"
	for _, c := range []struct{ text, says string }{
		{"", "NAME=VALUE"},
		{"token=t;object=o", "names no module"},
		{"object=o?module-path=/m.so", "names no token"},
		{"token=t?module-path=/m.so", "names no key"},
		{"token=t;object=o?module-path=m.so", "not an absolute path"},
		{"token=t;object=o?module-path=", "NAME=VALUE"},
		{"token=t;object=o?", "NAME=VALUE"},
		{"token;object=o?module-path=/m.so", "NAME=VALUE"},
		{"=t;object=o?module-path=/m.so", "NAME=VALUE"},
		{"token=t;;object=o?module-path=/m.so", "NAME=VALUE"},
		{"token=t;token=u;object=o?module-path=/m.so", `"token" stands twice`},
		{good + "&module-path=/n.so", `"module-path" stands twice`},
		{good + "&token=t", `"token" stands twice`},
		{"token=t;object=o;module-path=m.so", `no attribute "module-path" before`},
		{"token=t;object=o;slot-id=1?module-path=/m.so", `no attribute "slot-id" before`},
		{"token=t;Object=o?module-path=/m.so", `no attribute "Object" before`},
		{"token=t;object=o;type=cert?module-path=/m.so", "type is"},
		{good + "&module-name=p11", `no attribute "module-name" after`},
		{good + "&object=p", `"object" stands twice`},
		{good + "&pin-value=1234", "holds a PIN (pin-value)"},
		{good + "&pin-source=/run/pin", "want file:/PATH"},
		{good + "&pin-source=|cat", "want file:/PATH"},
		{good + "&pin-source=file:pin", "absolute"},
		{good + "&pin-source=file://host/pin", "absolute"},
		{good + "&pin-source=file:////pin", "absolute"},
		{"token=a b;object=o?module-path=/m.so", "write %20"},
		{"token=a/b;object=o?module-path=/m.so", "write %2F"},
		{"token=a%2;object=o?module-path=/m.so", "two hexadecimal digits"},
		{"token=a%zz;object=o?module-path=/m.so", "two hexadecimal digits"},
		{"token=a%00;object=o?module-path=/m.so", "cannot be shown"},
		{"token=a%1b;object=o?module-path=/m.so", "cannot be shown"},
		{"token=%ff;object=o?module-path=/m.so", "cannot be shown"},
		{"token=t;object=%e2%80%ae?module-path=/m.so", "cannot be shown"},
		{"token=" + strings.Repeat("t", 33) + ";object=o?module-path=/m.so", "33 bytes"},
		{"token=t;id=" + strings.Repeat("%01", 256) + "?module-path=/m.so", "256 bytes"},
		{strings.Repeat("a", maxURI+1), "4097 bytes"},
		{"token=t#x;object=o?module-path=/m.so", "write %23"},
	} {
		u, err := Parse(c.text)
		if u != nil || !reason.Is(err, reason.Config) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.80q: got %v, %v, want %q", c.text, u, err, c.says)
		}
		if err != nil && strings.Contains(err.Error(), "1234") {
			t.Errorf("%q shows the PIN", err)
		}
	}
}

// What Parse takes is written back as the same URI, and what it refuses is config.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"token=chen-yubi;object=sign?module-path=/usr/lib/p11.so&pin-source=file:/dev/fd/3",
		"serial=1;id=%00%ff?module-path=/m.so", "token=%41&;model=m;manufacturer=x;type=private;object=~?module-path=/%20|?",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := Parse(s)
		if err != nil {
			if !reason.Is(err, reason.Config) {
				t.Fatalf("%v", err)
			}
			return
		}
		again, err := Parse(u.String())
		if err != nil || !reflect.DeepEqual(u, again) {
			t.Errorf("%q was written as %q and read as %v (%v)", s, u, again, err)
		}
	})
}
