package cli

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Safe returns outside text as it may stand in a line on a terminal: control characters (newline and
// tab too), bidirectional and invisible ones, spaces other than the plain one, unassigned ones, and
// the letters of a second script inside a word, each as \u{HEX}; a byte that is not UTF-8 as \x{HEX}.
// A word of Latin with another script keeps its Latin letters; Japanese, Korean and Chinese words may
// mix the scripts that they are written in.
func Safe(s string) string {
	if plainASCII(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		n := wordLen(s)
		if n == 0 {
			_, n = utf8.DecodeRuneInString(s)
			writeSafe(&b, s[:n], anyScript)
		} else {
			writeSafe(&b, s[:n], scriptOf(s[:n]))
		}
		s = s[n:]
	}
	return b.String()
}

// Quote returns Safe text between double quotes, with quotes and backslashes escaped, for free text
// such as a reason or a name.
func Quote(s string) string {
	return `"` + Safe(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)) + `"`
}

func plainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// wordLen returns the length in bytes of the word at the start of s: letters, digits and marks.
// Invisible characters belong to it, so that none of them can cut a word in two.
func wordLen(s string) int {
	for i, r := range s {
		if !unicode.In(r, unicode.L, unicode.M, unicode.Nd) && !invisible(r) || r == utf8.RuneError {
			return i
		}
	}
	return len(s)
}

func writeSafe(b *strings.Builder, s string, allowed scripts) {
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(b, `\x{%02x}`, s[0])
		case !unicode.IsPrint(r) || invisible(r) || script(r)&allowed == 0:
			fmt.Fprintf(b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
		s = s[n:]
	}
}

// invisible holds what unicode.IsPrint lets through although nothing is drawn, and the format
// characters, which it does not, so that wordLen sees both.
func invisible(r rune) bool {
	switch {
	case unicode.Is(unicode.Cf, r),
		r == 0x034f,              // combining grapheme joiner
		r == 0x115f, r == 0x1160, // Hangul fillers
		r == 0x3164, r == 0xffa0, //
		r == 0x17b4, r == 0x17b5, // Khmer inherent vowels
		r >= 0x180b && r <= 0x180f,   // Mongolian variation selectors
		r == 0x2800,                  // blank Braille pattern
		r >= 0xfe00 && r <= 0xfe0f,   // variation selectors
		r >= 0xe0000 && r <= 0xe0fff: // tags and more variation selectors
		return true
	}
	return false
}

// scripts is a set of scripts.
type scripts uint32

const (
	latin scripts = 1 << iota
	han
	hiragana
	katakana
	hangul
	bopomofo
	firstOther
	anyScript scripts = 1<<32 - 1
)

// others are the scripts with letters that are taken for Latin ones, and the common living ones. What
// is in none of them counts as one script more.
var others = []*unicode.RangeTable{
	unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Hebrew, unicode.Arabic, unicode.Devanagari,
	unicode.Thai, unicode.Georgian, unicode.Cherokee, unicode.Coptic, unicode.Lisu, unicode.Canadian_Aboriginal,
}

// together are the sets that writing systems mix within a word (UTS 39, highly restrictive).
var together = []scripts{han | hiragana | katakana | latin, han | hangul | latin, han | bopomofo | latin}

// script returns the script of r; signs, digits and marks belong to all.
func script(r rune) scripts {
	switch {
	case r < utf8.RuneSelf, unicode.In(r, unicode.Common, unicode.Inherited):
		return anyScript
	case unicode.Is(unicode.Latin, r):
		return latin
	case unicode.Is(unicode.Han, r):
		return han
	case unicode.Is(unicode.Hiragana, r):
		return hiragana
	case unicode.Is(unicode.Katakana, r):
		return katakana
	case unicode.Is(unicode.Hangul, r):
		return hangul
	case unicode.Is(unicode.Bopomofo, r):
		return bopomofo
	}
	for i, t := range others {
		if unicode.Is(t, r) {
			return firstOther << i
		}
	}
	return firstOther << len(others)
}

// scriptOf returns the scripts that the letters of a word may have: all that occur if they go
// together, else Latin if it occurs, else that of the first letter.
func scriptOf(word string) scripts {
	var all, first scripts
	for _, r := range word {
		s := script(r)
		if r < utf8.RuneSelf && unicode.IsLetter(r) {
			s = latin
		}
		if s == anyScript {
			continue
		}
		if first == 0 {
			first = s
		}
		all |= s
	}
	if all == first {
		return anyScript
	}
	for _, t := range together {
		if all&^t == 0 {
			return anyScript
		}
	}
	if all&latin != 0 {
		return latin
	}
	return first
}
