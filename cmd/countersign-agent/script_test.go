package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){name: main})
}

// TestScripts runs testdata/*.txtar, each against a server of its own with deployment acme and product
// gw-100, on a device gw-0001 of hardware gw-100-c with agent.conf in $WORK. Beside testscript's own
// commands they have:
//
//	device file|slot [LINE…]            agent.conf for this installer, with lines more
//	exit CODE PROGRAM ARG…              run it; it must end with this code
//	release VERSION COUNTER [K=V…]      publish an image; hardware= floor= spread= battery= idle= file=
//	stopped VERSION                     a person stops it
//	serve good|bad|down                 the right images, others, or nothing at all
//	token ID                            write ID.token, for enroll
//	reboot [fails]                      play the boot loader
//	holds FILE VERSION                  FILE begins with this version's image
//	waitfor FILE TEXT                   until it holds it
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"device": cmdDevice, "exit": cmdExit, "release": cmdRelease, "stopped": cmdStopped, "serve": cmdServe,
			"token": cmdToken, "reboot": cmdReboot, "holds": cmdHolds, "waitfor": cmdWaitfor,
		},
	})
}

func setup(env *testscript.Env) error {
	s, err := newServer()
	if err != nil {
		return err
	}
	env.Defer(s.http.Close)
	env.Values[serverKey{}] = s
	env.Setenv("COUNTERSIGN_CONFIG", filepath.Join(env.WorkDir, "agent.conf"))
	env.Setenv("SERVER", s.http.URL)
	root := s.d.Root(metadata.Image, 1)
	if err := os.WriteFile(filepath.Join(env.WorkDir, "ca.pem"), s.caPEM(), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(env.WorkDir, "root.json"), root, 0o600)
}

type serverKey struct{}

func serverOf(ts *testscript.TestScript) *server { return ts.Value(serverKey{}).(*server) }

// image is the firmware of a version.
func image(version string) []byte {
	return bytes.Repeat([]byte("firmware "+version+"\n"), 2000)
}

func cmdDevice(ts *testscript.TestScript, _ bool, args []string) {
	work := ts.Getenv("WORK")
	component := "main product=gw-100 installer=file path=" + work + "/firmware counter=3"
	if args[0] == "slot" {
		component = fmt.Sprintf("main product=gw-100 installer=slot a=%s/a.img b=%s/b.img boot=%s/boot counter=3", work, work, work)
		ts.Check(os.WriteFile(filepath.Join(work, "boot"), []byte(bootScript), 0o700))
		ts.Check(os.WriteFile(filepath.Join(work, "a.img"), image("factory"), 0o600))
		ts.Check(os.WriteFile(filepath.Join(work, "b.img"), nil, 0o600))
		for file, text := range map[string]string{"current": "a", "state.a": "good", "state.b": "unbootable"} {
			put(ts, file, text)
		}
	} else {
		ts.Check(os.WriteFile(filepath.Join(work, "firmware"), image("factory"), 0o755))
	}
	lines := append([]string{
		"# the device of the tests", "", "deployment acme", "device gw-0001", "hardware gw-100-c", "server " + ts.Getenv("SERVER"),
		"root " + work + "/root.json", "director none", "dir " + work + "/state", "ca " + work + "/ca.pem", "component " + component,
	}, args[1:]...)
	ts.Check(os.WriteFile(filepath.Join(work, "agent.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o600))
}

func cmdExit(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var e *exec.ExitError
		if !errors.As(err, &e) {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if neg || got != want {
		ts.Fatalf("exit %d, want %d", got, want)
	}
}

func cmdRelease(ts *testscript.TestScript, _ bool, args []string) {
	s := serverOf(ts)
	counter, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	target := metadatatest.Target{Data: image(args[0]), Installer: "file"}
	if _, err := os.Stat(filepath.Join(ts.Getenv("WORK"), "boot")); err == nil {
		target.Installer = "slot"
	}
	options := map[string]string{}
	for _, a := range args[2:] {
		k, v, _ := strings.Cut(a, "=")
		options[k] = v
	}
	if h := options["hardware"]; h != "" {
		target.Hardware = []string{h}
	}
	target.File = options["file"]
	target.Edit = func(f *metadata.Firmware) {
		number := func(k string) int64 { n, _ := strconv.ParseInt(options[k], 10, 64); return n }
		f.Floor = max(f.Floor, number("floor"))
		f.SpreadHours = int(number("spread"))
		if options["battery"]+options["idle"] != "" {
			f.Conditions = &metadata.Conditions{BatteryPercentMin: int(number("battery")), Idle: options["idle"] == "yes"}
		}
	}
	s.publish(func() { s.d.Release("gw-100", args[0], counter, target) })
}

func cmdStopped(ts *testscript.TestScript, _ bool, args []string) {
	s := serverOf(ts)
	s.publish(func() { s.d.Stop("gw-100/"+args[0]+"/gw.img", "smoke") })
}

func cmdServe(ts *testscript.TestScript, _ bool, args []string) {
	s := serverOf(ts)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = args[0]
}

func cmdToken(ts *testscript.TestScript, _ bool, args []string) {
	data, err := serverOf(ts).token(args[0])
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(ts.Getenv("WORK"), args[0]+".token"), data, 0o600))
}

// bootScript is a boot control command over files in its own folder.
const bootScript = `#!/bin/sh
set -e
cd "$(dirname "$0")"
put() { echo "$2" >"$1.tmp"; mv "$1.tmp" "$1"; }
case $1 in
current) cat current ;;
state) cat "state.$2" ;;
mark) put "state.$2" "$3" ;;
good) put "state.$2" good ;;
*) exit 2 ;;
esac
`

func put(ts *testscript.TestScript, file, text string) {
	ts.Check(os.WriteFile(filepath.Join(ts.Getenv("WORK"), file), []byte(text+"\n"), 0o600))
}

func word(ts *testscript.TestScript, file string) string {
	data, err := os.ReadFile(filepath.Join(ts.Getenv("WORK"), file))
	ts.Check(err)
	return strings.TrimSpace(string(data))
}

func cmdReboot(ts *testscript.TestScript, _ bool, args []string) {
	current, other := word(ts, "current"), "b"
	if current == "b" {
		other = "a"
	}
	switch {
	case word(ts, "state."+other) == "trial" && len(args) == 0:
		put(ts, "current", other)
	case word(ts, "state."+other) == "trial":
		put(ts, "state."+other, "unbootable")
	case word(ts, "state."+current) != "good":
		put(ts, "state."+current, "unbootable")
		put(ts, "current", other)
	}
}

func cmdHolds(ts *testscript.TestScript, neg bool, args []string) {
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	if bytes.HasPrefix(data, image(args[1])) == neg {
		ts.Fatalf("%s holds %.20q…, image %s wanted: %t", args[0], data, args[1], !neg)
	}
}

func cmdWaitfor(ts *testscript.TestScript, _ bool, args []string) {
	for range 600 {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(data), args[1]) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("%s never held %q", args[0], args[1])
}
