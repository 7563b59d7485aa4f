package outsider

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Source gives the files of a repository in the TUF layout, by their path in it (docs/formats.md):
//
//	timestamp.json   N.ROLE.json   approvals/N.ROLE.jsonl   targets/PRODUCT/VERSION/SHA256.FILE
//
// It need not be trusted.
type Source interface {
	// Open returns a file, which the caller reads within bounds and closes. One that does not exist
	// is trust.ErrNotFound, one that is not given to strangers ErrNotGiven.
	Open(ctx context.Context, path string) (io.ReadCloser, error)
	// Copy reports whether this is a copy, as old as it was when it was made, and not the place where
	// new files appear: its timestamp and snapshot may have expired (DESIGN 5.6).
	Copy() bool
	// Close ends its use.
	Close() error
}

// ErrNotGiven says that a repository gives a file only to those who prove who they are.
var ErrNotGiven = errors.New("not given without a certificate")

// Options of Open.
type Options struct {
	// CA are the certificate authorities of an https repository; nil for those of the system.
	CA *x509.CertPool
	// Silence is how long an https repository may say nothing; 0 is DefaultSilence.
	Silence time.Duration
	// Agent is the user agent of requests.
	Agent string
}

// Open opens the repository that an argument names: an https URL, a directory, or a bundle, which is
// an uncompressed tar of such a directory. Reasons: usage, malformed (no bundle).
func Open(where string, o Options) (Source, error) {
	if strings.Contains(where, "://") {
		return newWeb(where, o)
	}
	if o.CA != nil {
		return nil, reason.Errorf(reason.UsageError, "--ca is for repositories at https://HOST, %q is a path", where)
	}
	info, err := os.Stat(where)
	switch {
	case err != nil:
		return nil, reason.Errorf(reason.UsageError, "repository %q: %v", where, cause(err))
	case info.IsDir():
		return openDir(where)
	case info.Mode().IsRegular():
		return openBundle(where)
	}
	return nil, reason.Errorf(reason.UsageError, "%q is neither a directory nor a bundle", where)
}

// fetcher brings role files to a trust client.
type fetcher struct {
	source Source
	// met is called before each fetch of a root.
	met func()
}

var _ trust.Fetcher = (*fetcher)(nil)

// Fetch implements trust.Fetcher.
func (f *fetcher) Fetch(ctx context.Context, role string, version, limit int64) ([]byte, error) {
	f.met()
	path := role + ".json"
	if version > 0 {
		path = fmt.Sprintf("%d.%s", version, path)
	}
	r, err := f.source.Open(ctx, path)
	if errors.Is(err, trust.ErrNotFound) && f.source.Copy() {
		// Of a copy nothing more will come, so it is not "later, perhaps".
		return nil, reason.Errorf(reason.NotFound, "%s is not in this copy: %w", path, trust.ErrNotFound).WithHint("copy the repository anew")
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, reason.Wrap(err, "%s", path)
	}
	if int64(len(data)) > limit {
		return nil, reason.Errorf(reason.TooLarge, "%s has more than %d bytes", path, limit)
	}
	return data, nil
}

// cause is an error of a file without the operation and path that the caller names.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
