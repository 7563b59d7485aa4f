package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
)

// timeout bounds one request and its answer; a server that trickles is cut.
const timeout = 60 * time.Second

// web fetches files below one URL.
type web struct {
	base   string
	client *http.Client
}

var _ trust.Fetcher = (*web)(nil)

func newWeb(base string) *web {
	return &web{
		base: strings.TrimSuffix(base, "/") + "/",
		// The bytes that were signed, not what a server packs them into.
		client: &http.Client{Timeout: timeout, Transport: &http.Transport{DisableCompression: true, Proxy: http.ProxyFromEnvironment}},
	}
}

// Fetch asks once for <version>.<role>.json, or <role>.json for version 0.
func (w *web) Fetch(ctx context.Context, role string, version, max int64) ([]byte, error) {
	name := trust.EscapeRole(role) + ".json"
	if version > 0 {
		name = fmt.Sprintf("%d.%s", version, name)
	}
	body, err := w.get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer body.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(body, max+1))
	if err != nil {
		return nil, reason.Errorf(reason.Unreachable, "%s: %w", name, err)
	}
	if int64(len(data)) > max {
		return nil, reason.Errorf(reason.TooLarge, "%s: more than %d bytes", name, max)
	}
	return data, nil
}

func (w *web) get(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, reason.Errorf(reason.Unreachable, "%w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.Body, nil
	case http.StatusNotFound, http.StatusForbidden:
		// Object stores say forbidden of what is not there.
		err = fmt.Errorf("%s: %w", path, trust.ErrNotFound)
	default:
		err = reason.Errorf(reason.Unreachable, "%s: %s", path, resp.Status)
	}
	return nil, errors.Join(err, resp.Body.Close())
}

// download brings a target to dir, under its escaped path, unless it is there already. The name gets
// the bytes only once all of them were verified.
func (w *web) download(ctx context.Context, t *trust.Target, hashed bool, dir string) error {
	to := filepath.Join(dir, trust.EscapeRole(t.Path))
	if there, err := holds(to, t); err != nil || there {
		return err
	}
	path, err := urlPath(t, hashed)
	if err != nil {
		return err
	}
	body, err := w.get(ctx, path)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // only read
	f, err := durable.Temp(dir, 0o644)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // removes it unless it was renamed
	// One byte more than signed shows that there is more.
	if err := check(io.TeeReader(io.LimitReader(body, t.Length+1), f), t); err != nil {
		return err
	}
	return f.Rename(to)
}

// urlPath returns where a repository serves a target: with its hash in front of the file's name where
// snapshots are consistent (TUF 5.7.3).
func urlPath(t *trust.Target, hashed bool) (string, error) {
	parts := strings.Split(t.Path, "/")
	if hashed {
		sum, ok := t.Hashes["sha256"]
		if !ok {
			sum, ok = t.Hashes["sha512"]
		}
		if !ok {
			return "", reason.Errorf(reason.HashMismatch, "no known hash is signed")
		}
		parts[len(parts)-1] = hex.EncodeToString(sum) + "." + parts[len(parts)-1]
	}
	for i := range parts {
		parts[i] = trust.EscapeRole(parts[i])
	}
	return strings.Join(parts, "/"), nil
}

// holds reports whether a file has the signed bytes.
func holds(path string, t *trust.Target) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // only read
	return check(f, t) == nil, nil
}

// check reads all of r and compares it with what is signed.
func check(r io.Reader, t *trust.Target) error {
	if len(t.Hashes) == 0 {
		return reason.Errorf(reason.HashMismatch, "no hash is signed")
	}
	sums := map[string]hash.Hash{}
	var writers []io.Writer
	for name := range t.Hashes {
		switch name {
		case "sha256":
			sums[name] = sha256.New()
		case "sha512":
			sums[name] = sha512.New()
		default:
			return reason.Errorf(reason.HashMismatch, "hash %q is not known", name)
		}
		writers = append(writers, sums[name])
	}
	n, err := io.Copy(io.MultiWriter(writers...), r)
	if err != nil {
		return reason.Errorf(reason.Unreachable, "%w", err)
	}
	if n != t.Length {
		return reason.Errorf(reason.LengthMismatch, "%d bytes or more, signed are %d", n, t.Length)
	}
	for name, want := range t.Hashes {
		if got := sums[name].Sum(nil); !bytes.Equal(got, want) {
			return reason.Errorf(reason.HashMismatch, "%s %x, signed is %x", name, got, want)
		}
	}
	return nil
}
