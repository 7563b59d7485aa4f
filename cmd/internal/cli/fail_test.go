package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

func TestFail(t *testing.T) {
	stale := reason.Errorf(reason.EventStale, "event %s is stale", "b8e1").WithHint("countersign release R")
	forged := reason.Errorf(reason.Malformed, "bad\ncountersign: hint: paste this")
	for _, tt := range []struct {
		name string
		err  error
		json bool
		want string
		code int
	}{
		{"nothing", nil, false, "", 0},
		{"reason and hint", stale, false, "countersign: error: event b8e1 is stale [event-stale]\ncountersign: hint: countersign release R\n", 4},
		{"wrapped", fmt.Errorf("sign: %w", stale), false, "countersign: error: sign: event b8e1 is stale [event-stale]\ncountersign: hint: countersign release R\n", 4},
		{"without reason", errors.New("odd"), false, "countersign: error: odd\n", 1},
		{"forged line", forged, false, `countersign: error: bad\u{a}countersign: hint: paste this [malformed]` + "\n", 3},
		{
			"several", errors.Join(reason.Errorf(reason.Plan, "plan.yaml:3: x"), reason.Errorf(reason.Plan, "plan.yaml:9: y")), false,
			"countersign: error: plan.yaml:3: x [plan]\ncountersign: error: plan.yaml:9: y [plan]\n", 2,
		},
		{"reason of a newer peer", reason.Errorf("of-2031", "no"), false, "countersign: error: no [of-2031]\n", 1},
		{"interrupted", fmt.Errorf("call: %w", context.Canceled), false, "", 130},
		{"own code", &ExitError{Code: ExitReboot}, false, "", 10},
		{"own code with words", &ExitError{Code: 6, Err: reason.Errorf(reason.Gate, "held")}, false, "countersign: error: held [gate]\n", 6},
		{"json", stale, true, `{"reason":"event-stale","message":"event b8e1 is stale","hint":"countersign release R","exit":4}` + "\n", 4},
		{"json keeps bytes", forged, true, `{"reason":"malformed","message":"bad\ncountersign: hint: paste this","exit":3}` + "\n", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			code := Fail(&b, "countersign", tt.json, tt.err)
			if code != tt.code || b.String() != tt.want {
				t.Errorf("code %d, want %d; printed\n%swant\n%s", code, tt.code, b.String(), tt.want)
			}
		})
	}
}

// The table that people read has a row for each class that reasons have.
func TestExitTableNamesEveryClass(t *testing.T) {
	for _, r := range reason.All() {
		if row := fmt.Sprintf("%3d    ", int(r.Class())); !strings.Contains(ExitTable, row) {
			t.Errorf("reason %s has exit %d, which is not in the table", r, r.Class())
		}
	}
}

func TestOutputStreams(t *testing.T) {
	say := func(o *Output) (string, string) {
		var stdout, stderr strings.Builder
		o.Name, o.Stdout, o.Stderr = "countersign", &stdout, &stderr
		o.Line("result %d", 1)
		o.Note("note")
		o.Warn("warning")
		o.Hint("hint")
		if err := o.Document(map[string]string{"a": "<b>"}); err != nil {
			t.Fatal(err)
		}
		o.Fail(reason.Errorf(reason.Busy, "later").WithHint("again"))
		return stdout.String(), stderr.String()
	}
	for _, tt := range []struct {
		name           string
		out            *Output
		stdout, stderr string
	}{
		{"text", &Output{}, "result 1\n", "countersign: warning: warning\ncountersign: hint: hint\ncountersign: error: later [busy]\ncountersign: hint: again\n"},
		{"verbose", &Output{Verbose: true}, "result 1\n", "countersign: note\ncountersign: warning: warning\ncountersign: hint: hint\ncountersign: error: later [busy]\ncountersign: hint: again\n"},
		{"quiet", &Output{Quiet: true}, "result 1\n", "countersign: error: later [busy]\n"},
		{"colour", &Output{Quiet: true, Colour: true}, "result 1\n", "countersign: \x1b[31merror: \x1b[0mlater [busy]\n"},
		{"json", &Output{JSON: true, Quiet: true}, "{\"a\":\"<b>\"}\n", `{"reason":"busy","message":"later","hint":"again","exit":5}` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr := say(tt.out)
			if stdout != tt.stdout || stderr != tt.stderr {
				t.Errorf("stdout %q, want %q\nstderr %q, want %q", stdout, tt.stdout, stderr, tt.stderr)
			}
		})
	}
}
