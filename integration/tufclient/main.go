// Command tufclient is a client of plain TUF behind the command line that clients under the public TUF
// conformance suite have:
//
//	tufclient --metadata-dir MD init ROOT
//	tufclient --metadata-url U --metadata-dir MD refresh
//	tufclient --metadata-url U --metadata-dir MD --target-name N [--target-name N2] --target-dir TD --target-base-url B download
//
// It exits with 0 or 1. It is agent/trust in plain mode over net/http and nothing else, so that the
// suite judges the client that devices run. MD holds the role files byte for byte, without versions,
// each from the moment it verified.
//
// The time comes from running date, since the suite fakes it for C programs and their children, which
// Go programs do not notice.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "tufclient: error: %v [%s]\n", err, reason.Of(err))
		os.Exit(1)
	}
}

// options are the flags, which stand before the sub-command.
type options struct {
	metadataDir, metadataURL string
	targetDir, targetURL     string
	targets                  []string
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	var o options
	flags := flag.NewFlagSet("tufclient", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.metadataDir, "metadata-dir", "", "folder of the trusted role files")
	flags.StringVar(&o.metadataURL, "metadata-url", "", "where the repository serves role files")
	flags.StringVar(&o.targetDir, "target-dir", "", "folder for downloaded targets")
	flags.StringVar(&o.targetURL, "target-base-url", "", "where the repository serves targets")
	flags.Func("target-name", "path of a target; may be repeated", func(s string) error {
		o.targets = append(o.targets, s)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return reason.Errorf(reason.UsageError, "%w", err)
	}
	if o.metadataDir == "" {
		return reason.Errorf(reason.UsageError, "--metadata-dir is missing")
	}
	command, rest := flags.Arg(0), flags.Args()
	switch {
	case command == "init" && len(rest) == 2:
		return o.init(rest[1])
	case command == "refresh" && len(rest) == 1 && o.metadataURL != "":
		_, err := o.refresh(ctx)
		return err
	case command == "download" && len(rest) == 1 && o.metadataURL != "" && o.targetURL != "" && o.targetDir != "" && len(o.targets) > 0:
		return o.download(ctx)
	}
	return reason.Errorf(reason.UsageError, "want init ROOT, refresh or download, after the flags that each needs")
}

func (o *options) store() *trust.FileStore {
	return &trust.FileStore{Dir: o.metadataDir, Mode: metadata.Plain}
}

// client makes a client over the stored files, and over root if there is one.
func (o *options) client(root []byte) (*trust.Client, error) {
	now, err := date()
	if err != nil {
		return nil, err
	}
	return trust.New(trust.Config{
		Mode: metadata.Plain, Root: root, Store: o.store(), Now: func() time.Time { return now },
	})
}

// init stores the root to trust. A newer one that is stored stays.
func (o *options) init(path string) error {
	root, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	c, err := o.client(root)
	if err != nil {
		return err
	}
	return o.store().Save(metadata.Root, c.Root().Bytes())
}

// refresh brings the top-level roles up to date.
func (o *options) refresh(ctx context.Context) (*trust.Client, error) {
	c, err := o.client(nil)
	if err != nil {
		return nil, err
	}
	return c, c.Refresh(ctx, newWeb(o.metadataURL))
}

// download refreshes once and brings the targets in order, up to the first failure.
func (o *options) download(ctx context.Context) error {
	c, err := o.refresh(ctx)
	if err != nil {
		return err
	}
	metadataWeb, targetWeb := newWeb(o.metadataURL), newWeb(o.targetURL)
	for _, path := range o.targets {
		target, err := c.Target(ctx, metadataWeb, path)
		if err != nil {
			return err
		}
		if err := targetWeb.download(ctx, target, c.Root().Signed.ConsistentSnapshot, o.targetDir); err != nil {
			return reason.Wrap(err, "target %q", path)
		}
	}
	return nil
}

// date returns the time as a child process sees it.
func date() (time.Time, error) {
	out, err := exec.Command("date", "+%s").Output()
	if err != nil {
		return time.Time{}, errors.Join(errors.New("date"), err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("date: %w", err)
	}
	return time.Unix(seconds, 0), nil
}
