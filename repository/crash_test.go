//go:build faults

package repository_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
	"github.com/countersign-ota/countersign/signer/remote"
)

// A crash test runs one scenario against a server process again and again; in round n the process is
// killed (SIGKILL) before its n-th step towards durability, in every second round after undoing what
// was not synced, as a power cut may. Then it is started anew, and everything that was acknowledged
// must be there, nothing half, and the checker content.

// crashed runs the scenario in a server that kills itself at step n; it returns false when the server
// outlived the scenario. The process is gone on return.
func (b *bed) crashed(n int, drop bool, scenario func()) bool {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), child+"="+filepath.Join(b.dir, repository.ConfigFile), fmt.Sprintf("COUNTERSIGN_FAULT_AT=%d", n))
	if drop {
		cmd.Env = append(cmd.Env, "COUNTERSIGN_FAULT_DROP=1")
	}
	cmd.Stderr = b.log
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	dead := make(chan error, 1)
	go func() { dead <- cmd.Wait() }()
	up := false
	for !up {
		select {
		case err := <-dead:
			wantKilled(b.t, err)
			return true // before it served
		case <-time.After(5 * time.Millisecond):
			c, err := net.Dial("tcp", b.webAddress())
			if up = err == nil; up {
				c.Close()
			}
		}
	}
	scenario()
	select {
	case err := <-dead:
		wantKilled(b.t, err)
		return true
	default:
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	err = <-dead
	if err == nil {
		return false
	}
	wantKilled(b.t, err) // while it stopped
	return true
}

func wantKilled(t testing.TB, err error) {
	t.Helper()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the server ended with %v, want SIGKILL", err)
	}
}

// keep returns a function that puts the server's directory back to what it is now.
func (b *bed) keep() (restore func()) {
	b.t.Helper()
	kept := filepath.Join(b.t.TempDir(), "kept")
	copyDir(b.t, b.dir, kept)
	return func() {
		b.t.Helper()
		if err := os.RemoveAll(b.dir); err != nil {
			b.t.Fatal(err)
		}
		copyDir(b.t, kept, b.dir)
	}
}

// rounds calls round with n = 1, 1 + stride, … until it reports that the process outlived the scenario.
func rounds(t *testing.T, stride int, round func(n int, drop bool) bool) {
	t.Helper()
	for n := 1; ; n += stride {
		if n > 500 {
			t.Fatal("the server still dies at step 500")
		}
		if !round(n, n/stride%2 == 1) {
			t.Logf("fewer than %d steps", n)
			if n < 3 {
				t.Fatal("no steps: the server was built without fault points")
			}
			return
		}
	}
}

// Init is killed before each of its steps: there is a whole server, or none, and init can be run again.
func TestPowerCutInInit(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	whole, none := 0, 0
	rounds(t, 5, func(n int, drop bool) bool {
		dir := filepath.Join(t.TempDir(), "server")
		run := func(env ...string) error {
			cmd := exec.Command(self)
			cmd.Env = append(append(os.Environ(), initChild+"="+dir), env...)
			return cmd.Run()
		}
		env := []string{fmt.Sprintf("COUNTERSIGN_FAULT_AT=%d", n)}
		if drop {
			env = append(env, "COUNTERSIGN_FAULT_DROP=1")
		}
		err := run(env...)
		if err != nil {
			wantKilled(t, err)
		}
		if _, statErr := os.Stat(dir); statErr == nil {
			whole++
		} else {
			none++
			if again := run(); again != nil {
				t.Errorf("step %d: init again: %v", n, again)
			}
		}
		r, checkErr := repository.Check(ctx, dir, time.Now())
		if checkErr != nil || len(r.Problems) > 0 || r.Checked["operators"] != 1 {
			t.Errorf("step %d: %v, %v", n, checkErr, r)
		}
		for _, name := range []string{repository.ConfigFile, repository.OnlineFile, repository.RootKeyFile, "rivera.token"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Errorf("step %d: %v", n, err)
			}
		}
		return err != nil && !t.Failed()
	})
	if whole == 0 || none == 0 {
		t.Errorf("%d rounds ended with a server, %d without: the kills do not surround its birth", whole, none)
	}
}

func TestPowerCutInPublish(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	e, s := b.release("2.4.1", basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen")
	device := b.device("gw-0001")
	b.stop()
	restore := b.keep()
	published, unpublished := 0, 0
	rounds(t, 1, func(n int, drop bool) bool {
		restore()
		acknowledged := false
		killed := b.crashed(n, drop, func() {
			stop := b.readWhileUp(b.browser(device))
			defer stop()
			_, err := b.operators["rivera"].Publish(ctx, id)
			acknowledged = err == nil
		})
		b.start()
		code, _ := b.get("/3.gw-100.json")
		if acknowledged && code != 200 {
			t.Errorf("step %d: publication was acknowledged, and version 3 is not there: %d", n, code)
		}
		if code == 200 {
			published++
		} else {
			unpublished++
		}
		b.consistent(b.browser(device))
		if got := b.publish(id); got["image/gw-100"] != 3 {
			t.Errorf("step %d: published again: %v", n, got)
		}
		b.consistent(b.browser(device))
		b.checked()
		return killed && !t.Failed()
	})
	if published == 0 || unpublished == 0 {
		t.Errorf("%d rounds ended before, %d after publication: the kills do not surround it", unpublished, published)
	}
}

// readWhileUp reads whole sets until stop; a server that is gone is no fault, half a set is.
func (b *bed) readWhileUp(client *http.Client) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			resp, err := client.Get(b.cfg.URL + "/timestamp.json")
			if err != nil {
				return
			}
			resp.Body.Close()
			if !b.tryConsistent(client) {
				return
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

func TestPowerCutInUpload(t *testing.T) {
	b := newBed(t)
	data := bytes.Repeat([]byte("firmware"), 100_000)
	sum := sha256.Sum256(data)
	path := b.write("gw.img", data)
	cert := b.certificate("rivera")
	b.stop()
	restore := b.keep()
	rounds(t, 1, func(n int, drop bool) bool {
		restore()
		var acknowledged int64
		killed := b.crashed(n, drop, func() {
			c := pb.NewReleaseClient(b.stock(cert))
			for at := int64(0); at < int64(len(data)); at += 200_000 { // four sittings
				answer, err := send(t, c, &pb.UploadHeader{Sha256: sum[:], Length: int64(len(data)), Offset: at}, data[at:at+200_000])
				if err != nil {
					return
				}
				acknowledged = answer.GetOffset()
			}
		})
		b.start()
		c := pb.NewReleaseClient(b.stock(cert))
		if offset, complete := uploadStatus(t, c, sum); offset < acknowledged || (acknowledged == int64(len(data)) && !complete) {
			t.Errorf("step %d: %d bytes were acknowledged, %d are there (complete %v)", n, acknowledged, offset, complete)
		}
		if err := b.operators["rivera"].Upload(ctx, path, sum, int64(len(data)), remote.Watch{}); err != nil {
			t.Errorf("step %d: the upload does not go on: %v [%s]", n, err, reason.Of(err))
		}
		b.checked()
		return killed && !t.Failed()
	})
}

// Signing: a signature that was acknowledged is there, and one that was not can be added again.
func TestPowerCutInSigning(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	e, s := b.release("2.4.1", basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	first, firstApproval := b.signed(id, "rivera")
	second, secondApproval := b.signed(id, "chen")
	b.stop()
	restore := b.keep()
	rounds(t, 1, func(n int, drop bool) bool {
		restore()
		acknowledged := 0
		killed := b.crashed(n, drop, func() {
			if _, err := b.operators["rivera"].AddSignatures(ctx, id, first, firstApproval); err != nil {
				return
			}
			acknowledged++
			if _, err := b.operators["rivera"].AddSignatures(ctx, id, second, secondApproval); err == nil {
				acknowledged++
			}
		})
		b.start()
		held, _, err := b.operators["rivera"].Event(ctx, id)
		if err != nil || len(held.Signatures) < acknowledged {
			t.Errorf("step %d: %d signatures were acknowledged, the event has %d; %v", n, acknowledged, len(held.Signatures), err)
		}
		if _, err := b.operators["rivera"].AddSignatures(ctx, id, append(first, second...), append(firstApproval, secondApproval...)); err != nil {
			t.Errorf("step %d: sign again: %v", n, err)
		}
		b.publish(id)
		b.checked()
		return killed && !t.Failed()
	})
}

// A real kill -9 from outside, in the middle of an upload.
func TestKillInUpload(t *testing.T) {
	b := newBed(t)
	data := bytes.Repeat([]byte("firmware"), 500_000)
	sum := sha256.Sum256(data)
	path := b.write("gw.img", data)
	cert := b.certificate("rivera")
	b.stop()
	cmd := b.startProcess()
	c := pb.NewReleaseClient(b.stock(cert))
	s, err := c.Upload(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	header := &pb.UploadRequest{Part: &pb.UploadRequest_Header{Header: &pb.UploadHeader{Sha256: sum[:], Length: int64(len(data))}}}
	if err := s.Send(header); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < 2_000_000; at += 250_000 {
		if err := s.Send(&pb.UploadRequest{Part: &pb.UploadRequest_Data{Data: data[at : at+250_000]}}); err != nil {
			t.Fatal(err)
		}
	}
	waitOffset(t, c, sum, 2_000_000)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	wantKilled(t, cmd.Wait())
	b.start()
	if err := b.operators["rivera"].Upload(ctx, path, sum, int64(len(data)), remote.Watch{}); err != nil {
		t.Errorf("the upload does not go on: %v", err)
	}
	b.checked()
	if strings.Contains(b.log.String(), "panic") {
		t.Error("a panic in the log")
	}
}
