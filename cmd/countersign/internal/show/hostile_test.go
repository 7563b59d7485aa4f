package show

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/event"
)

// hostile are words with which somebody wants to deceive who reads a review, and how they are shown
// between quotes.
var hostile = []struct{ name, word, shown string }{
	{"clears the screen", "ok\x1b[2J\x1b[1;1H", `"ok\u{1b}[2J\u{1b}[1;1H"`},
	{"writes the title", "\x1b]0;done\a", `"\u{1b}]0;done\u{7}"`},
	{"hides by conceal", "\x1b[8mnot approved\x1b[0m", `"\u{1b}[8mnot approved\u{1b}[0m"`},
	{"links elsewhere", "\x1b]8;;https://evil.example\x1b\\CVE", `"\u{1b}]8;;https://evil.example\u{1b}\\CVE"`},
	{"control sequence of one byte", "a\u009b2Jb", `"a\u{9b}2Jb"`},
	{"raw byte of a control sequence", "a\x9b2Jb", `"a\x{9b}2Jb"`},
	{"goes back and writes over", "no\r\b\bok", `"no\u{d}\u{8}\u{8}ok"`},
	{"a line of its own", "x\nquorum   quality 2/2 chen 09:14", `"x\u{a}quorum   quality 2/2 chen 09:14"`},
	{"a line by another break", "x\u2028quorum   complete\u0085follows  nothing", `"x\u{2028}quorum   complete\u{85}follows  nothing"`},
	{"right to left", "gw-100 \u202eimg.2.4.1\u202c", `"gw-100 \u{202e}img.2.4.1\u{202c}"`},
	{"isolates", "\u2066chen\u2069", `"\u{2066}chen\u{2069}"`},
	{"nothing to see", "ri\u200bve\u200dra\ufeff", `"ri\u{200b}ve\u{200d}ra\u{feff}"`},
	{"soft hyphen and joiner", "ok\u00ada\u034ffor", `"ok\u{ad}a\u{34f}for"`},
	{"a word of tags", "chen\U000e0065\U000e0076", `"chen\u{e0065}\u{e0076}"`},
	{"blank letters", "a\u3164\u2800\u00a0b", `"a\u{3164}\u{2800}\u{a0}b"`},
	{"Cyrillic among Latin", "ch\u0435n", `"ch\u{435}n"`},
	{"Greek among Latin", "\u03bfkafor", `"\u{3bf}kafor"`},
	{"closes the quote", `ok" quality 2/2 chen "ok`, `"ok\" quality 2/2 chen \"ok"`},
	{"closes the bracket", "Ana) 3abd72ec6352, chen (Chen", `"Ana) 3abd72ec6352, chen (Chen"`},
	{"the facts beside it", "CVE-1    sbom gw.cdx.json", `"CVE-1    sbom gw.cdx.json"`},
}

// whole returns the review of a kind in which every field says something, as a server or a colleague
// could send it.
func whole(kind string) (*event.Review, Context) {
	r, c := transcript()
	r.Kind = kind
	a := &r.Added[0]
	a.Fixes, a.InstallerArgs, a.Class = []string{"CVE-2026-0001"}, map[string]any{"device": "/dev/x"}, "security"
	a.Requires = []metadata.Requirement{{Product: "pump-9", MinCounter: 3}}
	stops := []event.StopReview{
		{Path: a.Path, Counter: 17, SHA256: a.SHA256, At: c.Now, Reason: "link", Target: event.StopListed, Component: "main", Hardware: []string{"gw-100-c"}},
		{Path: a.Path, Counter: 16, SHA256: a.SHA256, At: c.Now, Reason: "link", Target: event.StopWithdrawn},
		{Path: a.Path, Counter: 15, SHA256: a.SHA256, At: c.Now, Reason: "link", Leaves: true},
	}
	roles := []event.RoleReview{
		{
			Repository: metadata.Image, Role: "gw-100", New: true, SBOM: "required", Bins: 16, Retired: true,
			Classes: []event.ClassReview{{Class: "quality", Need: 1, Meaning: "approved"}},
			People:  []event.PersonReview{{ID: "chen", Name: "Chen", Class: "quality", KeyID: "3abd72ec6352"}},
		},
		{
			Repository: metadata.Image, Role: "pump-9", OldSBOM: "none", SBOM: "required", Retired: true, OldThreshold: 1, Threshold: 2,
			Classes: []event.ClassReview{{Class: "quality", OldNeed: 1, Need: 2, OldMeaning: "seen", Meaning: "approved"}},
			People: []event.PersonReview{
				{ID: "chen", OldName: "Chen", Name: "Dr. Chen", OldClass: "quality", Class: "regulatory", OldKeyID: "aa", KeyID: "bb"},
				{ID: "okafor", OldName: "Okafor", OldClass: "quality", OldKeyID: "cc"},
				{ID: "dumont", Name: "Dumont", Class: "quality", KeyID: "dd"},
			},
		},
		{Repository: metadata.Image, Role: metadata.Timestamp, OldOnlineKey: "111111111111aa", OnlineKey: "222222222222bb"},
	}
	second := event.FileReview{Repository: metadata.Image, Role: metadata.Root, OldVersion: 1, Version: 2, OldExpires: c.Now, Expires: c.Now, SHA256: a.SHA256}
	q := r.Quorum[0]
	q.File, q.By = 1, "root 1"
	r.Warnings = []string{"spread is shorter"}
	switch kind {
	case event.Init, event.Root, event.Product:
		r.Added, r.Roles, r.Files, r.Quorum = nil, roles, append(r.Files, second), append(r.Quorum, q)
	case event.Withdraw:
		r.Reason, r.Removed, r.Added = "link", r.Added, nil
	case event.Stop:
		r.Added, r.Stops = nil, stops
	case event.Refresh:
		r.Added, r.Files, r.Quorum = nil, append(r.Files, second), append(r.Quorum, q)
	}
	return r, c
}

// setStrings puts word in place of every text in v, names of maps too, and returns how many there were.
func setStrings(v reflect.Value, word string) int {
	n := 0
	switch v.Kind() {
	case reflect.String:
		if v.String() != "" {
			v.SetString(word)
			n++
		}
	case reflect.Pointer:
		if !v.IsNil() {
			n = setStrings(v.Elem(), word)
		}
	case reflect.Slice:
		for i := range v.Len() {
			n += setStrings(v.Index(i), word)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return 0
		}
		for i := range v.NumField() {
			n += setStrings(v.Field(i), word)
		}
	case reflect.Map:
		if v.IsNil() {
			return 0
		}
		fresh := reflect.MakeMap(v.Type())
		for _, key := range v.MapKeys() {
			k, e := reflect.New(key.Type()).Elem(), reflect.New(v.Type().Elem()).Elem()
			k.Set(key)
			e.Set(v.MapIndex(key))
			n += setStrings(k, word) + setStrings(e, word)
			fresh.SetMapIndex(k, e)
		}
		v.Set(fresh)
	case reflect.Interface:
		v.Set(reflect.ValueOf(word))
		n++
	}
	return n
}

var kinds = []string{event.Init, event.Root, event.Product, event.Release, event.Withdraw, event.Stop, event.Refresh}

// begins are the words with which a line of a review may begin.
var begins = regexp.MustCompile(`^(event|reason|file|added|removed|stopped|ends|people|changes|online|key|follows|warning|quorum|) +[^ ]`)

// harmless reports what of a text could deceive a terminal or a reader.
func harmless(t *testing.T, text string) {
	t.Helper()
	for _, r := range strings.ReplaceAll(text, "\n", " ") {
		if !unicode.IsPrint(r) || unicode.In(r, unicode.Cf, unicode.Cyrillic, unicode.Greek) {
			t.Fatalf("%U in\n%q", r, text)
		}
	}
}

// Whatever strangers put into any field of any kind of event, each line of the review begins with our
// word, and none of it moves the cursor, changes its direction, is hidden or looks like another letter.
// Ids, paths and digests are of a fixed form and never get so far; here they are hostile too, so that
// nothing hangs on that.
func TestHostileWordsInEveryField(t *testing.T) {
	for _, kind := range kinds {
		clean, c := whole(kind)
		want := strings.Count(Review(clean, c), "\n")
		for _, h := range hostile {
			t.Run(kind+"/"+h.name, func(t *testing.T) {
				r, c := whole(kind)
				if n := setStrings(reflect.ValueOf(r).Elem(), h.word); n < 15 {
					t.Fatalf("%d texts were hostile", n)
				}
				for i := range r.Files { // the place of a file decides over its line
					r.Files[i].Repository, r.Files[i].Role = clean.Files[i].Repository, clean.Files[i].Role
				}
				r.Kind = kind
				for i := range c.Artifacts {
					c.Artifacts[i].File, c.Artifacts[i].Blob.Path = "/tmp/"+h.word, h.word
				}
				text := Review(r, c)
				harmless(t, text)
				if got := strings.Count(text, "\n"); got > want {
					t.Errorf("%d lines, without hostile words %d:\n%s", got, want, text)
				}
				lines := strings.Split(text, "\n")
				for _, line := range lines[1:] {
					if !begins.MatchString(line) {
						t.Errorf("a line begins with a stranger's word: %q", line)
					}
				}
				if kind == event.Release {
					harmless(t, Release(r))
				}
			})
		}
	}
}

// Free text stands between quotes, whole and unchanged but for what deceives, so that it cannot pass for
// the facts beside it.
func TestFreeTextIsQuoted(t *testing.T) {
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			r, c := whole(event.Release)
			a := &r.Added[0]
			a.Fixes, a.Installer = []string{h.word}, h.word
			a.Evidence = map[string]metadata.EvidenceRef{"sbom": {Path: "gw-100/2.4.1/" + strings.ReplaceAll(h.word, "/", "")}}
			s := &r.Quorum[0].Classes[0].Signed[0]
			s.Name, s.Reason = h.word, ""
			r.Quorum[0].Classes[0].Meaning = h.word
			text := Review(r, c)
			for _, want := range []string{
				"installer " + h.shown, "fixes " + h.shown, "sbom " + strings.ReplaceAll(h.shown, "/", ""),
				"rivera (" + h.shown + ") 09:14 " + h.shown,
			} {
				if !strings.Contains(text, want) {
					t.Errorf("%s is not in\n%s", want, text)
				}
			}
			r, c = whole(event.Withdraw)
			r.Reason = h.word
			if text := Review(r, c); !strings.Contains(text, "\nreason   "+h.shown+"\n") {
				t.Errorf("%s is not the reason in\n%s", h.shown, text)
			}
			r, c = whole(event.Stop)
			r.Stops[0].Reason = h.word
			if text := Review(r, c); !strings.Contains(text, gap+"reason "+h.shown+", 20") {
				t.Errorf("%s is not the reason in\n%s", h.shown, text)
			}
			r, c = whole(event.Product)
			r.Roles[0].People[0].Name, r.Roles[0].Classes[0].Meaning = h.word, h.word
			if text := Review(r, c); !strings.Contains(text, "quality 1 of chen ("+h.shown+") 3abd72ec6352, "+h.shown) {
				t.Errorf("%s is not the name in\n%s", h.shown, text)
			}
		})
	}
}

// Nothing is cut off, however long it is.
func TestNothingIsCutOff(t *testing.T) {
	r, c := whole(event.Release)
	long := strings.Repeat("pump link drops after nine hours ", 30) + "end"
	a := &r.Added[0]
	a.Fixes = nil
	for i := range 200 {
		a.Fixes = append(a.Fixes, "CVE-2026-"+strings.Repeat("9", 4+i%3))
		a.Hardware = append(a.Hardware, strings.Repeat("h", 60))
	}
	r.Quorum[0].Classes[0].Signed[0].Reason = long
	text := Review(r, c)
	for _, want := range []string{r.Event, a.SHA256, long, strings.Join(a.Fixes, ", "), strings.Join(a.Hardware, ", ")} {
		if !strings.Contains(text, want) {
			t.Errorf("%.60s… is cut", want)
		}
	}
	if strings.Contains(text, "…") {
		t.Error("a review cuts")
	}
}

// The same review gives the same text: no order of a map reaches it.
func TestReviewIsDeterministic(t *testing.T) {
	for _, kind := range kinds {
		r, c := whole(kind)
		if kind == event.Release {
			r.Added[0].InstallerArgs = map[string]any{"a": 1, "b": 2, "c": 3, "d": 4}
			r.Added[0].Evidence = map[string]metadata.EvidenceRef{"sbom": {Path: "p/1/a"}, "vex": {Path: "p/1/b"}, "test": {Path: "p/1/c"}}
		}
		want := Review(r, c)
		for range 20 {
			if got := Review(r, c); got != want {
				t.Fatalf("%s: two texts of one review:\n%s\n%s", kind, got, want)
			}
		}
	}
}
