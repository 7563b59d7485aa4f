package outsider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/reason"
)

// DefaultSilence is how long an https repository may say nothing.
const DefaultSilence = 30 * time.Second

// Bounds of a repository at https.
const (
	maxHeader    = 64 << 10 // bytes
	maxRedirects = 5
)

// web is a repository at an https URL. It shows no certificate of its own.
type web struct {
	base    *url.URL
	client  *http.Client
	silence time.Duration
	agent   string
}

var _ Source = (*web)(nil)

func newWeb(where string, o Options) (Source, error) {
	base, err := url.Parse(where)
	if err != nil || base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, reason.Errorf(reason.UsageError, "repository %q is not https://HOST[:PORT][/PATH]", where)
	}
	if o.Silence <= 0 {
		o.Silence = DefaultSilence
	}
	return &web{base: base, silence: o.Silence, agent: o.Agent, client: &http.Client{
		CheckRedirect: stillSecure,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{RootCAs: o.CA, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: maxHeader,
			DisableCompression:     true, // a length that is signed is that of what is sent
		},
	}}, nil
}

// stillSecure follows redirects, as content networks use them, to https only.
func stillSecure(next *http.Request, via []*http.Request) error {
	if next.URL.Scheme != "https" {
		return fmt.Errorf("redirect to %q, which is not https", next.URL.Redacted())
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	return nil
}

// Open implements Source. The body ends when the repository falls silent.
func (w *web) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	quiet := time.AfterFunc(w.silence, func() {
		cancel(reason.Errorf(reason.Unreachable, "%s silent for %s", w.base.Host, w.silence))
	})
	b := &body{ctx: ctx, quiet: quiet, silence: w.silence, end: func() { quiet.Stop(); cancel(nil) }}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base.JoinPath(path).String(), nil)
	if err != nil {
		b.end()
		return nil, reason.Errorf(reason.UsageError, "%w", err)
	}
	r.Header.Set("User-Agent", w.agent)
	answer, err := w.client.Do(r) //nolint:bodyclose // b closes it
	if err != nil {
		err = b.failed(w.broken(err))
		b.end()
		return nil, err
	}
	b.r = answer.Body
	quiet.Reset(w.silence)
	switch answer.StatusCode {
	case http.StatusOK:
		return b, nil
	case http.StatusNotFound, http.StatusGone:
		err = fmt.Errorf("%s: %w", path, trust.ErrNotFound)
	case http.StatusUnauthorized, http.StatusForbidden:
		err = reason.Errorf(reason.Permission, "%s: %s: %w", path, answer.Status, ErrNotGiven)
	default:
		err = reason.Errorf(reason.Unreachable, "%s: the repository answered %q", path, answer.Status)
	}
	_ = b.Close()
	return nil, err
}

// broken is the error of a request that had no answer.
func (w *web) broken(err error) error {
	var inner *url.Error // its text repeats method and URL
	if errors.As(err, &inner) {
		err = inner.Err
	}
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	if errors.As(err, &unknown) || errors.As(err, &invalid) || errors.As(err, &name) {
		return reason.Errorf(reason.ServerUnproven, "%s: %w", w.base.Host, err).WithHint("name its certificate authority: --ca FILE")
	}
	return reason.Errorf(reason.Unreachable, "%s: %w", w.base.Host, err)
}

// Copy implements Source.
func (w *web) Copy() bool { return false }

// Close implements Source.
func (w *web) Close() error {
	w.client.CloseIdleConnections()
	return nil
}

// body is what an answer brings.
type body struct {
	ctx     context.Context //nolint:containedctx // of the one request
	r       io.ReadCloser
	quiet   *time.Timer
	silence time.Duration
	end     func()
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if n > 0 {
		b.quiet.Reset(b.silence)
	}
	// A repository may end its answer properly when the connection closes because ctx ended.
	if err != nil && (err != io.EOF || b.ctx.Err() != nil) { //nolint:errorlint // a body returns it bare
		err = b.failed(reason.Errorf(reason.Unreachable, "the answer broke off: %w", err))
	}
	return n, err
}

// failed prefers to say that nothing came, or that the run was ended.
func (b *body) failed(err error) error {
	if why := context.Cause(b.ctx); why != nil {
		return why
	}
	return err
}

// Close implements io.Closer.
func (b *body) Close() error {
	defer b.end()
	return b.r.Close()
}
