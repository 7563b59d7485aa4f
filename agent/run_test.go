package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

// tripwire is a log that ends something when a word is written to it.
type tripwire struct {
	bytes.Buffer
	word string
	trip func()
}

func (w *tripwire) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(w.word)) {
		w.trip()
	}
	return w.Buffer.Write(p)
}

func TestRunStopsCleanly(t *testing.T) {
	v := newDevice(t, fileInstaller(t))
	v.release("2.4.1", 17, nil)
	ctx, cancel := context.WithCancel(ctx)
	v.cfg.Log = slog.New(slog.NewTextHandler(&tripwire{word: "msg=installed", trip: cancel}, nil))
	if err := v.open().Run(ctx); err != nil {
		t.Errorf("Run = %v after its context ended, want nil", err)
	}
	v.runs("2.4.1")
}

func TestRunEndsForAReboot(t *testing.T) {
	v := newDevice(t, slotInstaller(t))
	v.release("2.4.1", 17, nil)
	a := v.open()
	if err := a.Run(ctx); !errors.Is(err, ErrReboot) {
		t.Errorf("Run = %v, want ErrReboot", err)
	}
	a.Close()
	a = v.open()
	if err := a.Run(ctx); !errors.Is(err, ErrReboot) {
		t.Errorf("Run again before the reboot = %v, want ErrReboot", err)
	}
}

func TestRunEndsWhenItsDirectoryFails(t *testing.T) {
	v := newDevice(t, fileInstaller(t))
	a := v.open()
	for _, name := range []string{"record.0", "record.1"} {
		path := filepath.Join(v.cfg.Dir, name)
		must(t, os.Remove(path))
		must(t, os.MkdirAll(filepath.Join(path, "x"), 0o700))
	}
	wantReason(t, a.Run(ctx), reason.StateDamaged)
}

// TestReportOnce: a refusal that stands for weeks is logged once.
func TestReportOnce(t *testing.T) {
	var log bytes.Buffer
	a := &Agent{log: slog.New(slog.NewTextHandler(&log, nil))}
	var last string
	refusal := reason.Errorf(reason.Spread, "it states a spread of 3 h")
	for range 3 {
		must(t, a.report(nil, refusal, &last))
	}
	must(t, a.report(nil, reason.Errorf(reason.HashMismatch, "other bytes"), &last))
	must(t, a.report(nil, nil, &last))
	must(t, a.report(nil, refusal, &last))
	if got := log.String(); strings.Count(got, "spread") != 4 || strings.Count(got, "level=ERROR") != 1 {
		t.Errorf("logged:\n%s", got) // text and reason hold the word, twice each
	}
	damaged := reason.Errorf(reason.StateDamaged, "the record")
	if err := a.report(nil, damaged, &last); !errors.Is(err, damaged) {
		t.Errorf("report of a damaged directory = %v", err)
	}
}
