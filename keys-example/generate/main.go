// Command generate writes keys-example: keys whose seeds are published, the event that would found a
// deployment with them, unsigned and signed, and its root. Encrypted keys and approvals hold random
// bytes and times, so it is run by hand when a format changes, not to compare:
//
//	go run ./keys-example/generate keys-example
package main

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/key"
)

// passphrase is published: vectors.Passphrase, which cannot be imported before its files exist.
const passphrase = "countersign example"

// opened is when the event says that it was opened: the example must not expire while people learn.
var opened = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate DIR")
		os.Exit(2)
	}
	if err := generate(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// example returns the private key that everybody can compute.
func example(who string, r metadata.Repository) crypto.Signer {
	seed := sha256.Sum256([]byte("countersign example key: " + who + " " + string(r)))
	return ed25519.NewKeyFromSeed(seed[:])
}

func generate(dir string) error {
	write := func(name string, data []byte, mode fs.FileMode) error {
		return os.WriteFile(filepath.Join(dir, name), data, mode)
	}
	people := map[string]*key.Private{}
	for _, p := range []key.Public{{Person: "rivera", Name: "Example Engineer"}, {Person: "chen", Name: "Example Quality"}, {Person: "okafor", Name: "Example Regulatory"}} {
		private, err := key.New(p, map[metadata.Repository]crypto.Signer{
			metadata.Image: example(p.Person, metadata.Image), metadata.Director: example(p.Person, metadata.Director),
		})
		if err != nil {
			return err
		}
		people[p.Person] = private
		pub, err := private.Public.Bytes()
		if err != nil {
			return err
		}
		if err := write(p.Person+".pub", pub, 0o644); err != nil {
			return err
		}
		secret, err := private.Encrypt([]byte(passphrase))
		if err != nil {
			return err
		}
		if err := write(p.Person+".key", secret, 0o600); err != nil {
			return err
		}
	}
	online := event.Online{Deployment: "example", URL: "https://updates.example"}
	for r, k := range map[metadata.Repository]**metadata.Key{metadata.Image: &online.Image, metadata.Director: &online.Director} {
		pub, err := metadata.NewKey(example("online", r).Public())
		if err != nil {
			return err
		}
		*k = pub
	}
	pub, err := online.Bytes()
	if err != nil {
		return err
	}
	if err := write("online.pub", pub, 0o644); err != nil {
		return err
	}
	return events(dir, people, write)
}

// events writes the founding event, unsigned and signed by chen and okafor, and its image root.
func events(dir string, people map[string]*key.Private, write func(string, []byte, fs.FileMode) error) error {
	plan, err := event.LoadPlan(filepath.Join(dir, "plan.yaml"))
	if err != nil {
		return err
	}
	e, err := event.NewInit(plan, event.Opening{Now: opened, AllowExample: true})
	if err != nil {
		return err
	}
	unsigned, err := e.Bytes()
	if err != nil {
		return err
	}
	if err := write("example.event", unsigned, 0o644); err != nil {
		return err
	}
	s, err := event.StateFromBase(e, event.Pins{})
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	j, err := event.Judge(e, s, event.Options{Now: now, AllowExample: true})
	if err != nil {
		return err
	}
	for _, who := range []string{"rivera", "chen"} {
		signers, err := people[who].Signers()
		if err != nil {
			return err
		}
		sigs, approval, err := event.Sign(j, signers, event.SignOptions{Reason: "an example", Now: now})
		if err != nil {
			return err
		}
		for _, o := range j.Add(sigs, []statement.Envelope{*approval}) {
			if o.Err != nil {
				return o.Err
			}
		}
	}
	if err := j.Publishable(); err != nil {
		return err
	}
	signed, err := j.Event.Bytes()
	if err != nil {
		return err
	}
	if err := write("example-signed.event", signed, 0o644); err != nil {
		return err
	}
	for i, f := range j.Files {
		if f.Repository == metadata.Image && f.Role == metadata.Root {
			root, err := j.PublishedFile(i)
			if err != nil {
				return err
			}
			return write("image-root.json", root, 0o644)
		}
	}
	return fmt.Errorf("the event holds no image root")
}
