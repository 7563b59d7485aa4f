package metadata

import (
	"regexp"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/proto/reason"
)

// MaxSignatures is how many signatures a file may carry (DESIGN 6).
const MaxSignatures = 64

// Guard reads a role file token by token and refuses what is known to crash or mislead go-tuf and
// encoding/json (DESIGN 7): size, depth, duplicate and folded names, nulls, wrong shapes, integers out
// of range. It yields no content. role decides the shape: root, timestamp, snapshot, or any other name
// for a targets file.
func Guard(data []byte, role string, m Mode) error {
	_, err := guard(data, role, m)
	return err
}

// span is where a value lies in a file.
type span struct{ start, end int }

// parts is where the values lie that Parse goes on with: the file's two members and, in targets and
// snapshots, the long map targets or meta.
type parts struct {
	signed, signatures, entries span
}

func guard(data []byte, role string, m Mode) (parts, error) {
	if !isTopLevel(role) {
		role = Targets
	}
	if max := MaxSize(m, role); int64(len(data)) > max {
		return parts{}, reason.Errorf(reason.TooLarge, "%d bytes, at most %d are allowed", len(data), max)
	}
	g := &guardian{lexer: lexer{data: data}}
	file := schemas[m][role]
	if err := g.check(file); err != nil {
		return parts{}, g.locate(err)
	}
	if err := g.end(); err != nil {
		return parts{}, err
	}
	return g.parts, nil
}

// guardian walks a file along its schema.
type guardian struct {
	lexer
	path  [][]byte
	parts parts
}

// locate puts the path of members in front of an error.
func (g *guardian) locate(err error) error {
	if len(g.path) == 0 {
		return err
	}
	path := make([]string, 0, len(g.path))
	for _, name := range g.path {
		path = append(path, string(clip(name)))
	}
	return reason.Wrap(err, "%s", strings.Join(path, "."))
}

// check reads one value of the shape s.
func (g *guardian) check(s *shape) error {
	start := g.pos
	if g.peek(); s.capture != nil {
		start = g.pos
	}
	if err := g.value(s); err != nil {
		return err
	}
	if s.capture != nil {
		*s.capture(&g.parts) = span{start, g.pos}
	}
	return nil
}

func (g *guardian) value(s *shape) error {
	switch s.kind {
	case ofAny:
		return g.skip(false)
	case ofAnyNotNull:
		return g.skip(true)
	case ofBool:
		if c := g.peek(); c != 't' && c != 'f' {
			return g.unexpected(c, "true or false")
		}
		_, err := g.literal()
		return err
	case ofInteger:
		n, err := g.integer()
		if err == nil && (n < s.min || (s.max != 0 && n > s.max)) {
			err = g.errorf(reason.IntegerRange, "the integer %d is out of range", n)
		}
		return err
	case ofText:
		g.peek()
		start := g.pos
		str, err := g.str()
		if err == nil && s.verbatim && g.pos-start != len(str)+2 {
			err = g.errorf(reason.Malformed, "hex with escapes")
		}
		if err == nil && s.accept != nil {
			err = s.accept(string(str))
		}
		return err
	case ofList:
		return g.list(s)
	case ofMap:
		return g.mapping(s)
	}
	return g.fixed(s)
}

// member reads the value of a member and keeps the path for errors.
func (g *guardian) member(name []byte, s *shape) error {
	g.path = append(g.path, name)
	if err := g.check(s); err != nil {
		return err
	}
	g.path = g.path[:len(g.path)-1]
	return nil
}

// mapping reads an object whose names are data.
func (g *guardian) mapping(s *shape) error {
	missing := s.require
	err := g.object(func(name []byte) error {
		if string(name) == missing {
			missing = ""
		}
		return g.member(name, s.elem)
	})
	if err == nil && missing != "" {
		err = g.errorf(reason.Malformed, "member %q is missing", missing)
	}
	return err
}

// list reads an array, within its bound, its elements distinct where the shape says so.
func (g *guardian) list(s *shape) error {
	var seen map[string]bool
	return g.array(func(i int) error {
		if s.max != 0 && int64(i) >= s.max {
			return g.errorf(s.tooMany, "more than %d elements", s.max)
		}
		if s.distinct == "" {
			return g.check(s.elem)
		}
		if seen == nil {
			seen = map[string]bool{}
		}
		start := g.pos
		if err := g.check(s.elem); err != nil {
			return err
		}
		id, err := memberOf(g.data[start:g.pos], s.distinct)
		if err != nil {
			return err
		}
		if seen[id] {
			return g.errorf(s.twice, "%s %q stands twice", s.distinct, clip([]byte(id)))
		}
		seen[id] = true
		return nil
	})
}

// memberOf reads one string member of an object that was checked before.
func memberOf(data []byte, member string) (string, error) {
	l := &lexer{data: data}
	var id string
	err := l.object(func(name []byte) error {
		if string(name) != member {
			return l.skip(false)
		}
		s, err := l.str()
		id = string(s)
		return err
	})
	return id, err
}

// fixed reads an object with known members.
func (g *guardian) fixed(s *shape) error {
	var got uint64
	err := g.object(func(name []byte) error {
		i, err := g.known(s, name)
		if err != nil {
			return err
		}
		if i < 0 {
			return g.member(name, s.others)
		}
		got |= 1 << i
		return g.member(name, s.fields[i].shape)
	})
	if err != nil {
		return err
	}
	for i, f := range s.fields {
		if f.required && got&(1<<i) == 0 {
			return g.errorf(reason.Malformed, "member %q is missing", f.name)
		}
	}
	for _, pair := range s.exclusive {
		if got&(1<<s.index(pair[0])) != 0 && got&(1<<s.index(pair[1])) != 0 {
			return g.errorf(reason.Malformed, "both %q and %q", pair[0], pair[1])
		}
	}
	return nil
}

// known returns the index of a known member, or -1. A name that encoding/json would take for a known
// one is refused: it folds case, and takes U+017F for s and U+212A for k.
func (g *guardian) known(s *shape, name []byte) (int, error) {
	for i := range s.fields {
		if s.fields[i].name == string(name) {
			return i, nil
		}
	}
	for _, f := range s.fields {
		if strings.EqualFold(f.name, string(name)) {
			return 0, g.errorf(reason.FoldedName, "member %q can be taken for %q", clip(name), f.name)
		}
	}
	if s.closed {
		return 0, g.errorf(reason.UnknownMember, "unknown member %q", clip(name))
	}
	return -1, nil
}

var (
	specVersion = regexp.MustCompile(`^1\.[0-9]{1,9}(\.[0-9]{1,9})?$`)
	wholeSecond = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`)
)

// acceptTime takes whole seconds in UTC with a Z: another form of the same time would change when
// go-tuf writes it again.
func acceptTime(s string) error {
	_, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return reason.Errorf(reason.Malformed, "%q is not a time", clip([]byte(s)))
	}
	if !wholeSecond.MatchString(s) {
		return reason.Errorf(reason.NotCanonical, "the time %q: want whole seconds in UTC, ending in Z", clip([]byte(s)))
	}
	return nil
}

func acceptHex(s string) error {
	if len(s)%2 != 0 {
		return reason.Errorf(reason.Malformed, "hex of odd length")
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return reason.Errorf(reason.Malformed, "%q is not hex", clip([]byte(s)))
		}
	}
	return nil
}

func acceptSpecVersion(s string) error {
	if !specVersion.MatchString(s) {
		return reason.Errorf(reason.Malformed, "spec_version %q, wanted 1.x", clip([]byte(s)))
	}
	return nil
}
