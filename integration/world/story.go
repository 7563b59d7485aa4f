package world

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The people of every World that Start founds: two classes between them, and all three hold roots.
const (
	Engineer  = "rivera"
	Quality   = "chen"
	Regulator = "okafor"
)

// People are all of them.
var People = []string{Engineer, Quality, Regulator}

// TwoClasses is a product that one engineer and one person of quality sign, in a plan's YAML.
const TwoClasses = "{require: {engineering: 1, quality: 1}, people: {engineering: [rivera], quality: [chen, okafor]}, stop: [rivera, chen, okafor], sbom: none}"

// Start makes everybody's keys, founds the server, holds the root ceremony by files, publishes it and
// logs everybody in. The server runs when it returns.
func (w *World) Start() error {
	if err := w.Found(Engineer); err != nil {
		return err
	}
	if err := w.Ceremony(); err != nil {
		return err
	}
	if _, err := w.Serve(); err != nil {
		return err
	}
	return w.Enter()
}

// Ceremony makes everybody's keys and has them sign the first roots, two of them on a copy of the
// event. Engineer ends with chen.event and okafor.event.
func (w *World) Ceremony() error {
	for _, p := range People {
		flags, ok := w.KeyFlags[p]
		if !ok {
			flags = []string{"--director"}
		}
		if _, err := w.NewKey(p, flags...); err != nil {
			return err
		}
		if p != Engineer {
			if err := w.Give(p, Engineer, p+".pub"); err != nil {
				return err
			}
		}
	}
	online, err := os.ReadFile(filepath.Join(w.ServerDir(), "online.pub"))
	if err != nil {
		return err
	}
	if err := w.Put(Engineer, "online.pub", string(online)); err != nil {
		return err
	}
	if err := w.Put(Engineer, "plan.yaml", w.plan(nil).YAML()); err != nil {
		return err
	}
	id, err := w.Open(Engineer, "init", "plan.yaml", "-o", "acme.event")
	if err != nil {
		return err
	}
	if err := w.Sign(Engineer, "acme.event", id, "--reason", "first roots").Err(); err != nil {
		return err
	}
	for _, p := range []string{Quality, Regulator} {
		if err := w.Give(Engineer, p, "acme.event"); err != nil {
			return err
		}
		if err := w.Sign(p, "acme.event", id, "--reason", "first roots, read over the phone").Err(); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(w.Desk(p), "acme.event"), filepath.Join(w.Desk(p), p+".event")); err != nil {
			return err
		}
		if err := w.Give(p, Engineer, p+".event"); err != nil {
			return err
		}
	}
	return nil
}

// Enter logs Engineer in with the first token, publishes the roots, and invites the others.
func (w *World) Enter() error {
	if err := w.login(Engineer, filepath.Join(w.ServerDir(), Engineer+".token")); err != nil {
		return err
	}
	if err := w.As(Engineer, "publish", "chen.event", "okafor.event", "--no-input", "--yes").Err(); err != nil {
		return err
	}
	for _, p := range []string{Quality, Regulator} {
		token := filepath.Join(w.Desk(p), p+".token")
		if err := w.As(Engineer, "operator", "invite", p, "--role", "engineering", "-o", token, "--no-input", "--yes").Err(); err != nil {
			return err
		}
		if err := w.login(p, token); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) login(person, token string) error {
	return w.As(person, "login", "--token-file", token, "--no-input", "--yes").Err()
}

func (w *World) plan(products map[string]string) Plan {
	return Plan{Deployment: w.Deployment, People: People, Holders: People, Products: products}
}

// AddProduct adds a product, described in a plan's YAML, to a deployment that has none.
func (w *World) AddProduct(id, yaml string) error {
	return w.AddProducts(map[string]string{id: yaml})
}

// AddProducts publishes the plan with these products and no others, signed by Engineer, Quality and
// more.
func (w *World) AddProducts(products map[string]string, more ...string) error {
	if err := w.Put(Engineer, "plan.yaml", w.plan(products).YAML()); err != nil {
		return err
	}
	event, err := w.Open(Engineer, "change", "plan.yaml", "--no-input", "--yes")
	if err != nil {
		return err
	}
	return w.SignAndPublish(event, "new product", append([]string{Engineer, Quality}, more...)...)
}

// SignAndPublish has people sign an event on the server, and the first of them publish it.
func (w *World) SignAndPublish(id, reason string, signers ...string) error {
	for _, p := range signers {
		if err := w.Sign(p, id, id, "--reason", reason).Err(); err != nil {
			return err
		}
	}
	return w.As(signers[0], "publish", id, "--no-input", "--yes").Err()
}

// OpenRelease opens a release of images, files on Engineer's desk, for gw-100-c and -d, and returns
// the event's id. more are further lines of the release spec.
func (w *World) OpenRelease(release, image string, more ...string) (string, error) {
	spec := fmt.Sprintf("class: maintenance\n%stargets:\n- {file: %s, component: main, hardware: [gw-100-c, gw-100-d], installer: slot, installer_args: {}}\n",
		lines(more), image)
	if err := w.Put(Engineer, "release.yaml", spec); err != nil {
		return "", err
	}
	return w.Open(Engineer, "release", release, "--spec", "release.yaml", "--no-input", "--yes")
}

func lines(l []string) string {
	if len(l) == 0 {
		return ""
	}
	return strings.Join(l, "\n") + "\n"
}

// Release opens a release, has two people sign it and publishes it.
func (w *World) Release(release, image string, more ...string) error {
	id, err := w.OpenRelease(release, image, more...)
	if err != nil {
		return err
	}
	return w.SignAndPublish(id, "release "+release, Engineer, Quality)
}

// EnrolledDevice makes a device that trusts root 1 and enrols it.
func (w *World) EnrolledDevice(id string, o DeviceOptions) (*Device, error) {
	if err := w.As(Engineer, "device", "invite", id, "-o", ".", "--no-input", "--yes").Err(); err != nil {
		return nil, err
	}
	if o.Root == "" {
		root, err := w.Root()
		if err != nil {
			return nil, err
		}
		o.Root = string(root)
	}
	d, err := w.NewDevice(id, o)
	if err != nil {
		return nil, err
	}
	return d, d.Run("enroll", "--token-file", filepath.Join(w.Desk(Engineer), id+".token")).Err()
}

// ErrNotInstalled means that a device did not reach the step that Update wanted.
var ErrNotInstalled = errors.New("not installed")

// Update lets a device take what it is offered, boot it and confirm it.
func (d *Device) Update() error {
	if r := d.Run("once"); r.Exit != 10 {
		return fmt.Errorf("%w: want exit 10, reboot to try it\n%s", ErrNotInstalled, r)
	}
	if err := d.Reboot(); err != nil {
		return err
	}
	return d.Run("confirm").Err()
}
