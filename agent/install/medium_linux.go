package install

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/countersign-ota/countersign/agent/internal/stage"
	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
)

// copySize is the buffer of an unbuffered read, in bytes; a multiple of every block size.
const copySize = 256 << 10

// write copies img.File to a device or file, durably. The bytes are hashed on the way: what is
// written is what was signed, whatever happened to the file since it was checked.
func write(ctx context.Context, dst string, img Image) error {
	in, err := os.Open(img.File)
	if err != nil {
		return reason.Errorf(reason.InstallFailed, "cannot read staged image: %w", err)
	}
	defer in.Close()
	flag := os.O_WRONLY
	info, err := os.Stat(dst)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		flag |= os.O_CREATE | os.O_EXCL
	case err != nil:
		return reason.Errorf(reason.InstallFailed, "cannot write %q: %w", dst, err)
	case block(info):
		// Exclusive: the kernel refuses a device that is mounted or otherwise in use.
		flag |= os.O_EXCL
	case !info.Mode().IsRegular():
		return reason.Errorf(reason.InstallFailed, "%q is neither a block device nor a file", dst)
	}
	out, err := os.OpenFile(dst, flag, 0o600)
	if err != nil {
		return reason.Errorf(reason.InstallFailed, "cannot write %q: %w", dst, err)
	}
	defer out.Close()
	if err := fits(out, img.Length); err != nil {
		return err
	}
	h := sha256.New()
	if n, err := stage.Copy(ctx, io.MultiWriter(h, out), io.LimitReader(in, img.Length+1)); err != nil {
		return failedWrite(ctx, dst, err)
	} else if n != img.Length {
		return reason.Errorf(reason.LengthMismatch, "staged image %q has another length than the signed %d", img.File, img.Length)
	}
	if got := [32]byte(h.Sum(nil)); got != img.SHA256 {
		return reason.Errorf(reason.HashMismatch, "staged image %q: sha256 %x, signed %x", img.File, got, img.SHA256)
	}
	if info, err := out.Stat(); err == nil && info.Mode().IsRegular() {
		if err := out.Truncate(img.Length); err != nil {
			return failedWrite(ctx, dst, err)
		}
	}
	durable.Step("sync", dst)
	if err := out.Sync(); err != nil {
		return failedWrite(ctx, dst, err)
	}
	if flag&os.O_CREATE != 0 {
		return durable.SyncDir(filepath.Dir(dst))
	}
	return nil
}

// readBack hashes what the medium holds, past the page cache, and compares it with what was signed.
func readBack(ctx context.Context, path string, img Image) error {
	h := sha256.New()
	n, err := direct(ctx, h, path, img.Length)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		// The file system knows no unbuffered reads: drop what is cached instead.
		h.Reset()
		n, err = uncached(ctx, h, path, img.Length)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return reason.Errorf(reason.InstallFailed, "cannot read %q back: %w", path, err)
	case n != img.Length:
		return reason.Errorf(reason.LengthMismatch, "read %d bytes back from %q, signed %d", n, path, img.Length)
	}
	if got := [32]byte(h.Sum(nil)); got != img.SHA256 {
		return reason.Errorf(reason.HashMismatch, "read back from %q: sha256 %x, signed %x", path, got, img.SHA256)
	}
	return nil
}

// direct copies the first length bytes of path to w with O_DIRECT.
func direct(ctx context.Context, w io.Writer, path string, length int64) (int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	// A mapping begins at a page, which is what unbuffered reads want of an address.
	buf, err := unix.Mmap(-1, 0, copySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Munmap(buf) }()
	var total int64
	for total < length {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		// The kernel wants whole blocks; the last one may reach beyond the image.
		n, err := f.ReadAt(buf, total)
		n = int(min(int64(n), length-total))
		if n > 0 {
			_, _ = w.Write(buf[:n]) // a hash does not fail
			total += int64(n)
			if total == length {
				return total, nil
			}
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// uncached copies the first length bytes of path to w after asking the kernel to forget them.
func uncached(ctx context.Context, w io.Writer, path string, length int64) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return 0, err
	}
	return stage.Copy(ctx, w, io.LimitReader(f, length))
}

// fits checks the size of a block device; a file grows as far as its disk does.
func fits(f *os.File, length int64) error {
	info, err := f.Stat()
	if err != nil || !block(info) {
		return nil //nolint:nilerr // the write that follows reports what is wrong
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return reason.Errorf(reason.InstallFailed, "cannot measure %q: %w", f.Name(), err)
	}
	if length > size {
		return reason.Errorf(reason.DiskFull, "image of %d bytes does not fit %q of %d bytes", length, f.Name(), size)
	}
	return nil
}

func failedWrite(ctx context.Context, path string, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case durable.IsFull(err):
		return reason.Errorf(reason.DiskFull, "cannot write %q: %w", path, err)
	}
	return reason.Errorf(reason.InstallFailed, "cannot write %q: %w", path, err)
}

func block(info fs.FileInfo) bool {
	return info.Mode()&fs.ModeDevice != 0 && info.Mode()&fs.ModeCharDevice == 0
}

// sameDevice reports whether two device nodes, which may be different files, name one device.
func sameDevice(a, b fs.FileInfo) bool {
	x, okX := a.Sys().(*syscall.Stat_t)
	y, okY := b.Sys().(*syscall.Stat_t)
	return okX && okY && block(a) && block(b) && x.Rdev == y.Rdev
}

// owner returns user and group of a file.
func owner(info fs.FileInfo) (uid, gid int) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid), int(s.Gid)
	}
	return os.Getuid(), os.Getgid()
}

// syncFile makes content, mode and owner of a file durable.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return reason.Errorf(reason.InstallFailed, "cannot sync %q: %w", path, err)
	}
	return nil
}

// duplicate copies a file with its mode and owner, durably but for its name.
func duplicate(ctx context.Context, src, dst string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = stage.Copy(ctx, out, in)
	uid, gid := owner(info)
	return errors.Join(err, out.Chown(uid, gid), out.Chmod(info.Mode().Perm()), out.Sync(), out.Close())
}
