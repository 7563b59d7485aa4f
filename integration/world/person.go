package world

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Desk is the folder in which a person works, with their home beside it.
func (w *World) Desk(person string) string { return filepath.Join(w.Dir, "people", person) }

// KeyFile is a person's encrypted private key.
func (w *World) KeyFile(person string) string {
	return filepath.Join(w.Desk(person), ".countersign", "keys", person+".key")
}

// As runs countersign as a person, in their Desk.
func (w *World) As(person string, args ...string) Result {
	desk := w.Desk(person)
	if err := os.MkdirAll(desk, 0o700); err != nil {
		return Result{Args: args, Exit: -1, Stderr: err.Error()}
	}
	home := filepath.Join(desk, ".countersign")
	return w.command(person, desk, []string{"COUNTERSIGN_HOME=" + home, "COUNTERSIGN_DEPLOYMENT=" + w.Deployment}, "countersign", args...)
}

// NewKey makes a person's key and returns the path of the public file.
func (w *World) NewKey(person string, args ...string) (string, error) {
	args = append([]string{"key", "new", "--person", person, "--passphrase-file", w.secret(person)}, args...)
	if err := w.As(person, args...).Err(); err != nil {
		return "", err
	}
	return filepath.Join(w.Desk(person), person+".pub"), nil
}

// secret is the file with what opens a person's keys.
func (w *World) secret(person string) string {
	if path, ok := w.Secrets[person]; ok {
		return path
	}
	return w.PassphraseFile()
}

// Opened is what release, change and init print with --json.
type Opened struct {
	ID string `json:"id"`
}

// Open runs a command that makes an event and returns the event's full id.
func (w *World) Open(person string, args ...string) (string, error) {
	r := w.As(person, append(args, "--json")...)
	if err := r.Err(); err != nil {
		return "", err
	}
	var o Opened
	if err := r.JSON(&o); err != nil {
		return "", err
	}
	if len(o.ID) != 64 {
		return "", fmt.Errorf("no full event id\n%s", r)
	}
	return o.ID, nil
}

// Sign signs an event, a file or an id on the server, whose full id is known.
func (w *World) Sign(person, event, id string, args ...string) Result {
	args = append([]string{"sign", event, "--expect", id, "--no-input", "--passphrase-file", w.secret(person)}, args...)
	return w.As(person, args...)
}

// Give copies a file from one person's desk to another's, as on a stick.
func (w *World) Give(from, to, name string) error {
	data, err := os.ReadFile(filepath.Join(w.Desk(from), name))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(w.Desk(to), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.Desk(to), name), data, 0o600)
}

// Put writes a file onto a person's desk.
func (w *World) Put(person, name, content string) error {
	path := filepath.Join(w.Desk(person), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o600)
}

// Plan is the text of a plan.yaml in which every person of holders holds the roots, two at a time.
type Plan struct {
	Deployment string
	People     []string
	Holders    []string
	// Products are lines of YAML by product id.
	Products map[string]string
}

// YAML writes the plan; people's files are ID.pub.
func (p Plan) YAML() string {
	var b strings.Builder
	fmt.Fprintf(&b, "deployment: %s\nonline: online.pub\npeople:\n", p.Deployment)
	for _, id := range p.People {
		fmt.Fprintf(&b, "  %s: %s.pub\n", id, id)
	}
	b.WriteString("meaning: {holder: approved, engineering: authored, quality: approved, stop: stopped}\n")
	fmt.Fprintf(&b, "roots: {require: {holder: 2}, people: {holder: [%s]}}\n", strings.Join(p.Holders, ", "))
	if len(p.Products) > 0 {
		b.WriteString("products:\n")
	}
	var ids []string
	for id := range p.Products {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		fmt.Fprintf(&b, "  %s: %s\n", id, p.Products[id])
	}
	return b.String()
}
