package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A terminal that is closed, or any other end that can be heeded, takes the plug-in along: it would hold the
// token, and may have the PIN.
func TestPluginEndsWithTheTool(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			dir := t.TempDir()
			pidFile := filepath.Join(dir, "pid")
			for name, text := range map[string]string{
				"sigstore-kms-slow": "#!/bin/sh\necho $$ >" + pidFile + ".new && mv " + pidFile + ".new " + pidFile + "\nexec sleep 600\n",
				"config.yaml":       "kms: [slow]\n",
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("countersign", "key", "new", "--person", "chen", "--store", "slow://image")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "COUNTERSIGN_HOME="+dir, "PATH="+dir+":"+os.Getenv("PATH"))
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var pid int
			await(t, "the plug-in runs", func() bool {
				data, err := os.ReadFile(pidFile)
				pid, _ = strconv.Atoi(strings.TrimSpace(string(data)))
				return err == nil
			})
			t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("exit %d, want 130 (%s)", code, cmd.ProcessState)
			}
			if syscall.Kill(pid, 0) == nil {
				t.Error("the plug-in lives on")
			}
		})
	}
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 30_000 {
		if done() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}
