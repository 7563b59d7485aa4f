package cli

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestSafe(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "build 8812", "build 8812"},
		{"newline forges a line", "ok\ncountersign: hint: rm -rf /", `ok\u{a}countersign: hint: rm -rf /`},
		{"escape sequence", "\x1b[2J", `\u{1b}[2J`},
		{"C1 control", "a\u009bb", `a\u{9b}b`},
		{"tab", "a\tb", `a\u{9}b`},
		{"right-to-left override", "gw\u202egmi.1", `gw\u{202e}gmi.1`},
		{"isolate", "\u2066x\u2069", `\u{2066}x\u{2069}`},
		{"zero width space", "ri\u200bvera", `ri\u{200b}vera`},
		{"soft hyphen", "ri\u00advera", `ri\u{ad}vera`},
		{"no-break space", "a\u00a0b", `a\u{a0}b`},
		{"line separator", "a\u2028b", `a\u{2028}b`},
		{"byte order mark", "\ufeffx", `\u{feff}x`},
		{"Hangul filler", "a\u3164", `a\u{3164}`},
		{"variation selector", "a\ufe0f", `a\u{fe0f}`},
		{"tag", "a\U000e0041", `a\u{e0041}`},
		{"private use", "\ue000", `\u{e000}`},
		{"unassigned", "\u0378", `\u{378}`},
		{"not UTF-8", "a\xffb", `a\x{ff}b`},
		{"Cyrillic in Latin", "r\u0456vera", `r\u{456}vera`},
		{"Cyrillic in Latin behind a filler", "r\u200b\u0456vera", `r\u{200b}\u{456}vera`},
		{"Greek first, then Latin", "\u03bfkafor", `\u{3bf}kafor`},
		{"two scripts without Latin", "\u0456\u03bf", "\u0456\\u{3bf}"},
		{"Latin with a rare script", "a\u10a0", `a\u{10a0}`},
		{"one script each word", "Иван Rivera", "Иван Rivera"},
		{"Cyrillic with digits", "Иван2", "Иван2"},
		{"Japanese", "東京タワーへ", "東京タワーへ"},
		{"Korean with Han", "韓國어", "韓國어"},
		{"umlauts, signs", "Zoë ≥ 40 %, µs – „x“", "Zoë ≥ 40 %, µs – „x“"},
		{"combining mark", "e\u0301", "e\u0301"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Safe(tt.in); got != tt.want {
				t.Errorf("Safe(%+q) = %+q, want %+q", tt.in, got, tt.want)
			}
		})
	}
}

func TestQuote(t *testing.T) {
	if got, want := Quote("a \"b\" \\ \n"), `"a \"b\" \\ \u{a}"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzSafe(f *testing.F) {
	for _, s := range []string{"", "a\x00b", "r\u0456vera", "\u202e", "\xf0\x28", "東京タワー", "\U000e0041"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Safe(s)
		if !utf8.ValidString(got) {
			t.Fatalf("Safe(%+q) is not UTF-8", s)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) || invisible(r) {
				t.Fatalf("Safe(%+q) lets %U through", s, r)
			}
		}
		if again := Safe(got); again != got {
			t.Fatalf("Safe is not stable: %+q, then %+q", got, again)
		}
		if strings.ContainsAny(Quote(s), "\n\x1b") {
			t.Fatalf("Quote(%+q) breaks its line", s)
		}
	})
}
