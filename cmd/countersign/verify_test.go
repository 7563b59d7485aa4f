package main

import (
	"archive/tar"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/countersign-ota/countersign/repository"
)

// cmdCopied copies all that a server serves to anybody, as a mirror does, and the images from its
// folder, which it gives to devices only.
func cmdCopied(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: copied DEPLOYMENT DIR")
	}
	c, err := newCopier(filepath.Join(ts.Getenv("WORK"), args[0]+".server"), ts.MkAbs(args[1]))
	ts.Check(err)
	defer c.client.CloseIdleConnections()
	ts.Check(c.all())
}

// copier copies one repository.
type copier struct {
	client          *http.Client
	url, server, to string
}

func newCopier(server, to string) (*copier, error) {
	cfg, err := repository.LoadConfig(filepath.Join(server, repository.ConfigFile))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(server, "identity", "root.pem"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	return &copier{client, cfg.URL, server, to}, nil
}

// meta are the members of role files that lead to others.
type meta struct {
	Signed struct {
		Meta map[string]struct {
			Version int64 `json:"version"`
		} `json:"meta"`
		Targets map[string]struct {
			Hashes struct {
				SHA256 string `json:"sha256"`
			} `json:"hashes"`
		} `json:"targets"`
	} `json:"signed"`
}

func (c *copier) all() error {
	for v := 1; ; v++ {
		ok, _, err := c.role(fmt.Sprintf("%d.root", v))
		if err != nil {
			return err
		}
		if !ok {
			break
		}
	}
	_, timestamp, err := c.role("timestamp")
	if err != nil {
		return err
	}
	_, snapshot, err := c.role(fmt.Sprintf("%d.snapshot", timestamp.Signed.Meta["snapshot.json"].Version))
	if err != nil {
		return err
	}
	for name, m := range snapshot.Signed.Meta {
		role := strings.TrimSuffix(name, ".json")
		// The versions before it too: a mirror keeps what it copied.
		for v := m.Version; v > 0; v-- {
			_, file, err := c.role(fmt.Sprintf("%d.%s", v, role))
			if err != nil {
				return err
			}
			for target, t := range file.Signed.Targets {
				if err := c.image(target, t.Hashes.SHA256); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// role copies a role file with its approvals; ok is false when there is none.
func (c *copier) role(name string) (ok bool, m meta, err error) {
	data, err := c.get(name + ".json")
	if data == nil || err != nil {
		return false, m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return false, m, err
	}
	_, err = c.get("approvals/" + name + ".jsonl")
	return true, m, err
}

// get copies a file and returns it; nil when there is none.
func (c *copier) get(name string) ([]byte, error) {
	r, err := c.client.Get(c.url + "/" + name)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode == http.StatusNotFound {
		return nil, err
	}
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", name, r.Status)
	}
	return data, c.write(name, data)
}

func (c *copier) image(target, sum string) error {
	if _, err := hex.DecodeString(sum); err != nil || len(sum) != 64 {
		return fmt.Errorf("%s has sha256 %q", target, sum)
	}
	data, err := os.ReadFile(filepath.Join(c.server, "blobs", sum[:2], sum))
	if err != nil {
		return err
	}
	return c.write("targets/"+path.Dir(target)+"/"+sum+"."+path.Base(target), data)
}

func (c *copier) write(name string, data []byte) error {
	file := filepath.Join(c.to, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

// cmdBundle makes an uncompressed tar of a directory; with a number, only its first bytes in percent.
func cmdBundle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: bundle DIR FILE [PERCENT]")
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	ts.Check(w.AddFS(os.DirFS(ts.MkAbs(args[0]))))
	ts.Check(w.Close())
	data := b.Bytes()
	if len(args) == 3 {
		percent := 0
		_, err := fmt.Sscanf(args[2], "%d", &percent)
		ts.Check(err)
		data = data[:len(data)*percent/100]
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o644))
}

// cmdReplace puts one text for another in the files of a directory that a pattern names; it must be there.
func cmdReplace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILES OLD NEW")
	}
	files, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	done := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		ts.Check(err)
		if changed := bytes.Replace(data, []byte(args[1]), []byte(args[2]), 1); !bytes.Equal(changed, data) {
			ts.Check(os.WriteFile(file, changed, fs.FileMode(0o644)))
			done++
		}
	}
	if done == 0 {
		ts.Fatalf("%q stands in none of %q", args[1], files)
	}
}
