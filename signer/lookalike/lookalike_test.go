package lookalike

import (
	"testing"
	"unicode"
)

func TestSame(t *testing.T) {
	for _, tt := range []struct {
		name, a, b string
		want       bool
	}{
		{"itself", "chen", "chen", false},
		{"others", "chen", "rivera", false},
		{"zero", "okafor", "0kafor", true},
		{"one and l", "gw-100", "gw-l00", true},
		{"i and l", "pump-i", "pump-l", true},
		{"capital I and l", "lima", "Iima", true},
		{"rn and m", "arnold", "amold", true},
		{"vv and w", "gvv-100", "gw-100", true},
		{"another number", "gw-100", "gw-101", false},
		{"another version", "2.4.1", "2.4.2", false},
		{"a longer version", "2.4.1", "2.4.11", false},
		{"a letter in a version", "2.4.1", "2.4.l", true},
		{"case", "Chen", "chen", true},
		{"Cyrillic", "chen", "\u0441\u04bb\u0435\u043f", true},
		{"Cyrillic capitals", "TOM", "\u0422\u041e\u041c", true},
		{"Greek", "okafor", "\u03bfkaf\u03bfr", true},
		{"Armenian", "o", "\u0585", true},
		{"full width", "chen", "\uff43\uff48\uff45\uff4e", true},
		{"mathematical", "chen", "\U0001d41c\U0001d421\U0001d41e\U0001d427", true},
		{"accent", "rivera", "rivér\u00e0", true},
		{"not drawn", "rivera", "ri\u200bve\u00adra", true},
		{"spaces", "Ana Rivera", "Ana  Rivera\u00a0", true},
		{"hyphens", "gw-100", "gw\u2011100", true},
		{"dashes", "gw-100", "gw\u2212100", true},
		{"dots are no hyphens", "gw-100", "gw.100", false},
		{"empty and not drawn", "", "\u200b", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Same(tt.a, tt.b); got != tt.want {
				t.Errorf("%+q and %+q: %t, want %t (%+q, %+q)", tt.a, tt.b, got, tt.want, Skeleton(tt.a), Skeleton(tt.b))
			}
			if Same(tt.a, tt.b) != Same(tt.b, tt.a) {
				t.Error("it depends on the order")
			}
		})
	}
}

// No letter of the table stands for two, and what one is drawn like is itself in its place.
func TestTable(t *testing.T) {
	for r, like := range drawnLike {
		if unicode.ToLower(r) != r || r == like || drawnLike[like] != 0 {
			t.Errorf("%+q stands for %q", r, like)
		}
	}
}

func FuzzSkeleton(f *testing.F) {
	for _, s := range []string{"", "okafor", "\u0441\u04bb\u0435\u043f", "rnrn", "vvv", "\xff\xfe", "\u200b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1000 {
			return
		}
		if got := Skeleton(s); len(got) > 40*len(s) {
			t.Errorf("%d bytes of %d", len(got), len(s))
		}
	})
}
