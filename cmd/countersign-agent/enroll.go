package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// enrolled is the JSON of enroll.
type enrolled struct {
	Deployment string `json:"deployment"`
	Device     string `json:"device"`
	Server     string `json:"server"`
	// Certificate is the SHA-256 of the certificate.
	Certificate string `json:"certificate"`
	Expires     string `json:"certificate_expires"`
	// Root is the fingerprint of the image root at hand, RootVersion its version.
	Root        string `json:"root"`
	RootVersion int64  `json:"root_version"`
}

func enrollCommand() *command {
	var file string
	return &command{
		name: "enroll", args: "--token-file FILE", short: "Make this device's key and exchange a one-time token for its certificate.",
		example: name + " enroll --token-file gw-0001.token",
		flags:   func(fs *flag.FlagSet) { fs.StringVar(&file, "token-file", "", "FILE from `countersign device invite`") },
		run:     func(ctx context.Context, p *program, _ []string) error { return p.enroll(ctx, file) },
	}
}

// enroll is idempotent: cut off at any point, the same command with the same token ends it.
func (p *program) enroll(ctx context.Context, file string) error {
	if file == "" {
		return cli.Usagef("enroll wants --token-file FILE").WithHint("on the server: countersign device invite ID -o DIR")
	}
	values, err := p.all()
	if err != nil {
		return err
	}
	token, err := readToken(file, values)
	if err != nil {
		return err
	}
	dir := values["dir"]
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return reason.Errorf(reason.StateDamaged, "directory %q: %w", dir, err)
	}
	lock, err := durable.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return reason.Errorf(reason.Locked, "directory %q: %w", dir, err).WithHint("stop the agent while it enrolls")
	}
	defer lock.Close() //nolint:errcheck // nothing was written
	server := values["server"]
	if server == "" {
		server = "grpc://" + token.Server
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: token.CA.Raw})
	c, err := dial(server, ca, nil)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the connection ends either way
	leaf, err := certify(ctx, c, token, dir)
	if err != nil {
		return err
	}
	if err := write(values["ca"], ca, 0o644); err != nil {
		return err
	}
	root, err := keepRoot(ctx, c, token, values["root"])
	if err != nil {
		return err
	}
	digest, fingerprint := root.Digest(), sha(leaf.Raw)
	r := enrolled{
		Deployment: token.Deployment, Device: token.Subject, Server: server, Certificate: fingerprint,
		Expires: leaf.NotAfter.UTC().Format("2006-01-02T15:04:05Z"), Root: hex.EncodeToString(digest[:]), RootVersion: root.Signed.Version,
	}
	err = p.out.Result(r, func() {
		p.out.Line("enrolled %s in %s at %s", token.Subject, token.Deployment, cli.Safe(server))
		p.out.Line("certificate %s, until %s", fingerprint, leaf.NotAfter.UTC().Format("2006-01-02"))
		p.out.Line("image root %d, fingerprint %x", root.Signed.Version, digest)
	})
	if values["server"] == "" {
		p.out.Hint("put this line into agent.conf: server %s", cli.Safe(server))
	}
	return err
}

// readToken reads a token for this device.
func readToken(file string, values map[string]string) (*enroll.TokenFile, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, reason.Errorf(reason.UsageError, "token: %w", err)
	}
	token, err := enroll.ParseTokenFile(data)
	if err != nil {
		return nil, reason.Wrap(err, "%q", file)
	}
	if token.Kind != enroll.Device {
		return nil, reason.Errorf(reason.TokenInvalid, "%q is a token for an %s, not for a device", file, token.Kind)
	}
	for _, want := range []struct{ setting, got string }{{"deployment", token.Deployment}, {"device", token.Subject}} {
		if v := values[want.setting]; v != "" && v != want.got {
			return nil, reason.Errorf(reason.TokenInvalid, "the token is for %s %q, this device is of %q", want.setting, want.got, v)
		}
	}
	return token, nil
}

// certify makes the device's key, once, and gets a certificate for it.
func certify(ctx context.Context, c client, token *enroll.TokenFile, dir string) (*x509.Certificate, error) {
	key, err := deviceKey(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	mac := enroll.MAC(token.Secret, enroll.Device, token.Subject, spki)
	answer, err := c.Enroll(ctx, &pb.EnrollRequest{Device: token.Subject, PublicKey: spki, TokenId: token.ID, Mac: mac[:]})
	if err != nil {
		return nil, err
	}
	var chain bytes.Buffer
	var certs []*x509.Certificate
	for _, der := range answer.Certificates {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, reason.Errorf(reason.Malformed, "certificate from the server: %w", err)
		}
		certs = append(certs, cert)
		if err := pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return nil, err
		}
	}
	if err := isOurs(certs, token, spki); err != nil {
		return nil, err
	}
	return certs[0], write(filepath.Join(dir, certificateFile), chain.Bytes(), 0o644)
}

// keepRoot returns the image root at hand. Where there is none it fetches root 1, which must be the one
// that the token names, so that nothing is trusted on first use.
func keepRoot(ctx context.Context, c client, token *enroll.TokenFile, path string) (*metadata.File[metadata.RootRole], error) {
	data, err := os.ReadFile(path)
	fetched := errors.Is(err, fs.ErrNotExist)
	switch {
	case fetched && token.Root == "":
		return nil, reason.Errorf(reason.Config, "no image root at %q, and the token names none", path).
			WithHint("bring the deployment's 1.root.json to %s", path)
	case fetched:
		if data, err = c.Fetch(ctx, metadata.Root, 1, metadata.MaxSize(metadata.Profile, metadata.Root)); err != nil {
			return nil, reason.Wrap(err, "image root 1")
		}
	case err != nil:
		return nil, reason.Errorf(reason.Config, "image root: %w", err)
	}
	root, err := metadata.ParseRoot(data, metadata.Profile)
	if err == nil {
		err = metadata.CheckRoot(root, token.Deployment, metadata.Image)
	}
	if err == nil {
		err = metadata.CheckNoExampleKeys(root)
	}
	if err != nil {
		return nil, reason.Wrap(err, "image root")
	}
	// A later root came with the image; the agent follows the chain from there.
	if digest := root.Digest(); root.Signed.Version == 1 && token.Root != "" && hex.EncodeToString(digest[:]) != token.Root {
		return nil, reason.Errorf(reason.HashMismatch, "image root 1 has fingerprint %x, the token names %s", digest, token.Root).
			WithHint("do not use this root; ask a security officer which one is right")
	}
	if fetched && root.Signed.Version != 1 {
		return nil, reason.Errorf(reason.Rollback, "asked for image root 1, got %d", root.Signed.Version)
	}
	if !fetched {
		return root, nil
	}
	return root, write(path, data, 0o644)
}

func write(path string, data []byte, mode fs.FileMode) error {
	if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return reason.Errorf(reason.StateDamaged, "%w", err)
	}
	if err := durable.Replace(path, data, mode); err != nil {
		return reason.Errorf(reason.StateDamaged, "%w", err)
	}
	return nil
}
