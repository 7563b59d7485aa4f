// Package lookalike says which names people may take for each other on a screen: okafor and 0kafor,
// gw-100 and gw-l00, chen and one with Cyrillic letters. Start with Same.
//
// It helps the eye and decides nothing: ids are compared byte by byte everywhere else. It knows letters
// of scripts that are drawn like Latin ones, and what Unicode holds twice, not every font.
package lookalike

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Same reports whether two different texts may be taken for each other. A text is no look-alike of
// itself.
func Same(a, b string) bool { return a != b && Skeleton(a) == Skeleton(b) }

// Skeleton returns what is left of a text once everything is put away by which texts differ that look
// alike: case, accents, what is not drawn, spaces, and letters that are drawn like others. Texts with one
// skeleton may be taken for each other; it is no text to show.
func Skeleton(s string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(s) {
		r = unicode.ToLower(r)
		switch {
		case unicode.In(r, unicode.M, unicode.Cf, unicode.Cc, unicode.Z):
			continue
		case unicode.Is(unicode.Pd, r) || r == '\u2212':
			r = '-'
		}
		if like, ok := drawnLike[r]; ok {
			r = like
		}
		b.WriteRune(r)
	}
	return pairs.Replace(b.String())
}

// pairs are letters that together look like one.
var pairs = strings.NewReplacer("rn", "m", "vv", "w")

// drawnLike gives for a small letter, digit or sign the Latin letter that it is drawn like, itself or
// as a capital. 0, 1, i and l have one skeleton each with o and l.
var drawnLike = func() map[rune]rune {
	like := map[rune]rune{}
	for latin, others := range map[rune]string{
		'a': "аαɑ", 'b': "вβьƅ", 'c': "сϲᴄ", 'd': "ԁɗ", 'e': "еεєҽ", 'f': "ϝғ", 'g': "ɡց",
		'h': "һнհ", 'j': "јϳ", 'k': "кκқ", 'l': "1i|іιӏıⅼ\u05c0", 'm': "мμⅿ", 'n': "пηոռ", 'o': "0оοօσ\u05e1\u0665",
		'p': "рρ", 'q': "ԛգ", 'r': "гᴦ", 's': "ѕꜱ", 't': "тτ", 'u': "υս", 'v': "νѵᴠⅴ", 'w': "ԝωѡ",
		'x': "хχ", 'y': "уγүყ", 'z': "ᴢζ",
	} {
		for _, r := range others {
			like[r] = latin
		}
	}
	return like
}()
