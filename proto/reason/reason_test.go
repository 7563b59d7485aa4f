package reason

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestEveryReasonHasAClassAndAMeaning(t *testing.T) {
	for _, r := range All() {
		t.Run(string(r), func(t *testing.T) {
			if c := r.Class(); c < Usage || c > Machine {
				t.Errorf("class %d is outside %d…%d", c, Usage, Machine)
			}
			if m := r.Meaning(); m == "" || strings.HasSuffix(m, ".") || strings.Contains(m, "|") {
				t.Errorf("meaning %q must be one sentence without full stop or bar", m)
			}
			if strings.ToLower(string(r)) != string(r) || strings.ContainsAny(string(r), " _.") {
				t.Errorf("%q is not lower case with hyphens", r)
			}
			if r.Code().String() == "OK" {
				t.Error("a refusal must not be OK")
			}
		})
	}
}

func TestWrapKeepsReasonHintAndCause(t *testing.T) {
	cause := errors.New("disk gone")
	inner := Errorf(DiskFull, "write part: %w", cause).WithHint("free %d bytes", 7)
	err := Wrap(fmt.Errorf("stage: %w", inner), "update of %q", "main")
	if got := Of(err); got != DiskFull {
		t.Errorf("reason %q, want %q", got, DiskFull)
	}
	if got := HintOf(err); got != "free 7 bytes" {
		t.Errorf("hint %q", got)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	if got, want := err.Error(), `update of "main": stage: write part: disk gone`; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if Exit(err) != 8 || Exit(nil) != 0 || Exit(cause) != 1 {
		t.Error("exit codes")
	}
	if Wrap(nil, "x") != nil {
		t.Error("Wrap(nil) must be nil")
	}
	if got := Reason("of-a-newer-peer").Class(); got != Failed {
		t.Errorf("unknown reason has class %d, want %d", got, Failed)
	}
}

// docs/formats.md lists the reasons to begin with; each must exist in the class that it states.
func TestReasonsOfTheFormatsDocument(t *testing.T) {
	doc, err := os.ReadFile("../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rows, ok := strings.Cut(string(doc), "| exit | reasons |")
	if !ok {
		t.Fatal("no table of reasons in docs/formats.md")
	}
	checked := 0
	for line := range strings.Lines(rows) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		var class int
		if _, err := fmt.Sscan(cells[1], &class); err != nil {
			continue
		}
		for name := range strings.SplitSeq(cells[2], ",") {
			name, _, _ = strings.Cut(strings.TrimSpace(name), " ")
			if r := Reason(name); !r.Known() || int(r.Class()) != class {
				t.Errorf("%q: known %t, class %d, the document says %d", name, r.Known(), r.Class(), class)
			}
			checked++
		}
	}
	if checked < 50 {
		t.Errorf("only %d reasons found in the document", checked)
	}
}
