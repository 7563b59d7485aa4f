package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func request(c *metadata.Conditions) Request {
	return Request{
		Step: Install, Device: "gw-0001", Component: "main", Product: "gw-100", Version: "2.4.1", Counter: 17,
		Class: "security", Conditions: c,
	}
}

// expect checks that err is a deferral of gate with code, or nil for an empty gate.
func expect(t *testing.T, err error, gate, code string) {
	t.Helper()
	if gate == "" {
		if err != nil {
			t.Errorf("closed: %v", err)
		}
		return
	}
	var d *Deferral
	if !reason.Is(err, reason.Gate) || !errors.As(err, &d) {
		t.Fatalf("Check = %v, want reason gate", err)
	}
	if d.Gate != gate || d.Code != code {
		t.Errorf("closed by %q with %q (%s), want %q with %q", d.Gate, d.Code, d.Detail, gate, code)
	}
}

func charge(percent int) func() (int, error) {
	return func() (int, error) { return percent, nil }
}

func TestLocalGates(t *testing.T) {
	unknown := func() (int, error) { return 0, ErrNoBattery }
	dir := t.TempDir()
	for _, tt := range []struct {
		name       string
		gates      Gates
		conditions *metadata.Conditions
		gate, code string
	}{
		{name: "nothing asked"},
		{name: "empty conditions", conditions: &metadata.Conditions{}},
		{name: "battery as signed", gates: Gates{Battery: charge(40)}, conditions: &metadata.Conditions{BatteryPercentMin: 40}},
		{"battery below the signed", Gates{Battery: charge(39)}, &metadata.Conditions{BatteryPercentMin: 40}, "battery", CodeBattery},
		{"battery below our own", Gates{BatteryMin: 50, Battery: charge(45)}, &metadata.Conditions{BatteryPercentMin: 40}, "battery", CodeBattery},
		{"battery below our own, none signed", Gates{BatteryMin: 50, Battery: charge(45)}, nil, "battery", CodeBattery},
		{"battery unknown", Gates{Battery: unknown}, &metadata.Conditions{BatteryPercentMin: 1}, "battery", CodeBatteryUnknown},
		{name: "mains", gates: Gates{Battery: Mains}, conditions: &metadata.Conditions{BatteryPercentMin: 100}},
		{"idle, nobody vouches", Gates{}, &metadata.Conditions{Idle: true}, "conditions", CodeNotVouched},
		{"downtime, nobody vouches", Gates{}, &metadata.Conditions{DowntimeSeconds: 180}, "conditions", CodeNotVouched},
		{name: "space enough", gates: Gates{FreeMin: 1, FreeDir: dir}},
		{"space short", Gates{FreeMin: 1 << 62, FreeDir: dir}, nil, "space", CodeSpace},
		{"space of nowhere", Gates{FreeMin: 1, FreeDir: filepath.Join(dir, "none")}, nil, "space", CodeSpace},
		{name: "inside the window", gates: Gates{Window: Window{From: 11 * time.Hour, To: 13 * time.Hour}}},
		{"after the window", Gates{Window: Window{From: time.Hour, To: 12 * time.Hour}}, nil, "window", CodeWindow},
		{"outside across midnight", Gates{Window: Window{From: 22 * time.Hour, To: 4 * time.Hour}}, nil, "window", CodeWindow},
		{name: "inside across midnight", gates: Gates{Window: Window{From: 11 * time.Hour, To: 4 * time.Hour}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			expect(t, tt.gates.Check(context.Background(), request(tt.conditions), noon), tt.gate, tt.code)
		})
	}
}

func TestPowerSupply(t *testing.T) {
	dir := t.TempDir()
	write := func(name, kind, capacity string) {
		sub := filepath.Join(dir, name)
		if err := os.MkdirAll(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		os.WriteFile(filepath.Join(sub, "type"), []byte(kind+"\n"), 0o600)
		os.WriteFile(filepath.Join(sub, "capacity"), []byte(capacity+"\n"), 0o600)
	}
	if _, err := PowerSupply(dir)(); !errors.Is(err, ErrNoBattery) {
		t.Errorf("without supplies: %v, want ErrNoBattery", err)
	}
	write("ac", "Mains", "7")
	if _, err := PowerSupply(dir)(); !errors.Is(err, ErrNoBattery) {
		t.Errorf("with mains only: %v, want ErrNoBattery", err)
	}
	write("bat0", "Battery", "80")
	write("bat1", "Battery", "55")
	if got, err := PowerSupply(dir)(); got != 55 || err != nil {
		t.Errorf("PowerSupply = %d, %v; want the lowest, 55", got, err)
	}
	for _, bad := range []string{"101", "-1", "full", ""} {
		write("bat1", "Battery", bad)
		if got, err := PowerSupply(dir)(); err == nil {
			t.Errorf("capacity %q gives %d", bad, got)
		}
	}
}

func TestParseWindow(t *testing.T) {
	for _, good := range []string{"01:00-05:30", "22:00-04:00", "00:00-23:59"} {
		w, err := ParseWindow(good)
		if err != nil || w.String() != good {
			t.Errorf("ParseWindow(%q) = %v, %v", good, w, err)
		}
	}
	for _, bad := range []string{"", "01:00", "1-5", "01:00-25:00", "01:00-01:00", "01:00-02:00-03:00", " 01:00-02:00"} {
		if w, err := ParseWindow(bad); err == nil {
			t.Errorf("ParseWindow(%q) = %v", bad, w)
		}
	}
}

// script puts a program into dir.
func script(t *testing.T, dir, name, body string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func programDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "gates.d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

const (
	opens  = `echo '{"go":true}'`
	closes = `echo '{"go":false,"reason":"not-idle"}'`
)

func TestPrograms(t *testing.T) {
	idle := &metadata.Conditions{Idle: true, DowntimeSeconds: 180}
	for _, tt := range []struct {
		name       string
		body       string
		mode       os.FileMode
		gate, code string
	}{
		{name: "opens and vouches", body: opens, mode: 0o755},
		{"closes", closes, 0o755, "10-therapy", "not-idle"},
		{"fails", opens + "; exit 1", 0o755, "10-therapy", CodeProgram},
		{"dies by a signal", opens + "; kill -9 $$", 0o755, "10-therapy", CodeProgram},
		{"says nothing", "true", 0o755, "10-therapy", CodeProgram},
		{"says half", `echo '{"go":true'`, 0o755, "10-therapy", CodeProgram},
		{"says it twice", opens + "; " + opens, 0o755, "10-therapy", CodeProgram},
		{"closes without a reason", `echo '{"go":false}'`, 0o755, "10-therapy", CodeProgram},
		{"floods", "exec cat /dev/zero", 0o755, "10-therapy", CodeProgram},
		{"hangs", "sleep 60", 0o755, "10-therapy", CodeProgram},
		{"leaves a child that holds the pipe", "sleep 60 & " + opens, 0o755, "10-therapy", CodeProgram},
		{"writable by the group", opens, 0o775, "10-therapy", CodeProgram},
		{"writable by others", opens, 0o757, "10-therapy", CodeProgram},
		{"not executable", opens, 0o644, "10-therapy", CodeProgram},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := programDir(t)
			script(t, dir, "10-therapy", tt.body, tt.mode)
			g := Gates{Dir: dir}
			if tt.name == "hangs" {
				g.Deadline = 200 * time.Millisecond
			}
			if tt.code == CodeProgram && tt.mode != 0o755 {
				tt.gate = filepath.Base(dir)
			}
			expect(t, g.Check(context.Background(), request(idle), noon), tt.gate, tt.code)
		})
	}
}

func TestProgramsInOrder(t *testing.T) {
	dir := programDir(t)
	trace := filepath.Join(t.TempDir(), "trace")
	for _, name := range []string{"20-b", "10-a", "30-c", ".hidden"} {
		body := "echo " + name + " >>" + trace + "; " + opens
		if name == "20-b" {
			body = "echo " + name + " >>" + trace + "; " + closes
		}
		script(t, dir, name, body, 0o700)
	}
	g := Gates{Dir: dir}
	expect(t, g.Check(context.Background(), request(nil), noon), "20-b", "not-idle")
	got, _ := os.ReadFile(trace)
	if string(got) != "10-a\n20-b\n" {
		t.Errorf("asked %q, want 10-a and then 20-b", got)
	}
}

// TestProgramDirectories: whatever somebody else could have put there closes the gate.
func TestProgramDirectories(t *testing.T) {
	for name, make := range map[string]func(t *testing.T, dir string){
		"missing":            func(t *testing.T, dir string) { os.RemoveAll(dir) },
		"writable by others": func(t *testing.T, dir string) { os.Chmod(dir, 0o777) },
		"a file": func(t *testing.T, dir string) {
			os.RemoveAll(dir)
			script(t, filepath.Dir(dir), "gates.d", opens, 0o755)
		},
		"holds a folder": func(t *testing.T, dir string) { os.Mkdir(filepath.Join(dir, "sub"), 0o700) },
		"holds a link": func(t *testing.T, dir string) {
			os.Symlink(script(t, filepath.Dir(dir), "elsewhere", opens, 0o755), filepath.Join(dir, "10-link"))
		},
		"holds too many": func(t *testing.T, dir string) {
			for i := range maxPrograms + 1 {
				script(t, dir, fmt.Sprint(i), opens, 0o700)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := programDir(t)
			make(t, dir)
			g := Gates{Dir: dir}
			expect(t, g.Check(context.Background(), request(nil), noon), "gates.d", CodeProgram)
		})
	}
	t.Run("empty", func(t *testing.T) {
		g := Gates{Dir: programDir(t)}
		expect(t, g.Check(context.Background(), request(nil), noon), "", "")
		// Nobody vouches in an empty directory either.
		expect(t, g.Check(context.Background(), request(&metadata.Conditions{Idle: true}), noon), "conditions", CodeNotVouched)
	})
}

func TestQuestion(t *testing.T) {
	dir := programDir(t)
	asked := filepath.Join(t.TempDir(), "asked")
	script(t, dir, "10-a", "cat >"+asked+"; env >>"+asked+".env; "+opens, 0o700)
	t.Setenv("COUNTERSIGN_SECRET", "hunter2")
	g := Gates{Dir: dir, Battery: charge(90)}
	r := request(&metadata.Conditions{BatteryPercentMin: 40, Idle: true, DowntimeSeconds: 180})
	r.Step = Activate
	expect(t, g.Check(context.Background(), r, noon), "", "")
	data, err := os.ReadFile(asked)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"v":1,"step":"activate","device":"gw-0001","component":"main","product":"gw-100","version":"2.4.1",` +
		`"counter":17,"class":"security","conditions":{"battery_percent_min":40,"idle":true,"downtime_seconds":180}}`
	if string(data) != want || !json.Valid(data) {
		t.Errorf("asked %s\nwant  %s", data, want)
	}
	env, _ := os.ReadFile(asked + ".env")
	if strings.Contains(string(env), "hunter2") {
		t.Error("the program got the agent's environment")
	}
}

func TestCancelClosesTheGate(t *testing.T) {
	dir := programDir(t)
	script(t, dir, "10-a", "sleep 60", 0o700)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g := Gates{Dir: dir}
	expect(t, g.Check(ctx, request(nil), noon), "10-a", CodeProgram)
}
