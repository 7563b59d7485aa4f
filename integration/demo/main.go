// Command demo runs Countersign's main job on real firmware with real processes: a root ceremony, a
// product that needs engineering and quality, two releases, a device that installs them; then attacks,
// each of which must be refused for its own reason. `make demo` builds what it needs and runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/integration/thief"
	"github.com/countersign-ota/countersign/integration/world"
)

func main() {
	bin := flag.String("bin", "", "folder with the three programs")
	dir := flag.String("dir", "", "folder for the demonstration; must not exist")
	oldImage := flag.String("old", "", "first firmware image")
	newImage := flag.String("new", "", "second firmware image")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := run(ctx, world.Programs{Dir: *bin}, *dir, *oldImage, *newImage); err != nil {
		fmt.Fprintln(os.Stderr, "demo: error:", err)
		os.Exit(1)
	}
}

// demo is one run.
type demo struct {
	*world.World
	images  [2]string
	attacks int
	// ahead counts the thieves that re-signed something, old is the server before release 1.1.0.
	ahead int64
	// shown is the highest version of a timestamp that a thief served.
	shown int64
	old   *thief.Thief
}

func run(ctx context.Context, p world.Programs, dir, oldImage, newImage string) (err error) {
	start := time.Now()
	w, err := world.New(dir, "acme", p)
	if err != nil {
		return err
	}
	defer func() {
		if e := w.Close(); err == nil {
			err = e
		}
	}()
	d := &demo{World: w}
	if d.images[0], err = filepath.Abs(oldImage); err != nil {
		return err
	}
	if d.images[1], err = filepath.Abs(newImage); err != nil {
		return err
	}
	w.Trace, w.Traced = d.trace, d.traced
	for _, step := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"Keys and roots: two of three holders sign the first roots", d.ceremony},
		{"A product that needs one engineer and one person of quality", d.product},
		{"Release 1.0.0, signed by two people, and a device that installs it", d.first},
		{"Release 1.1.0", d.second},
		{"Attacks: what a thief, a mirror or a mistake would try", d.attack},
	} {
		fmt.Printf("\n== %s\n", step.title)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(step.title), err)
		}
	}
	fmt.Printf("\n%d attacks refused, each for its own reason; the device runs what its people released. %.0f s\n",
		d.attacks, time.Since(start).Seconds())
	return nil
}

// trace prints a command as its person would type it.
func (d *demo) trace(who string, args []string) {
	var shown []string
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "--passphrase-file", "--config":
			i++
			continue
		case "--no-input", "--json", "--yes":
			continue
		}
		arg := args[i]
		if len(arg) == 64 {
			arg = arg[:12]
		}
		if strings.HasPrefix(arg, d.Dir) || strings.HasPrefix(arg, "/") {
			arg = filepath.Base(arg)
		}
		if strings.ContainsAny(arg, " ") {
			arg = fmt.Sprintf("%q", arg)
		}
		shown = append(shown, arg)
	}
	fmt.Printf("%s$ %s\n", who, strings.Join(shown, " "))
}

// traced prints what a person wants to see of the result: the last line of stdout, and errors.
func (d *demo) traced(r world.Result) {
	out := strings.TrimSpace(r.Stdout)
	if out != "" && !strings.HasPrefix(out, "{") {
		lines := strings.Split(out, "\n")
		fmt.Println("  " + lines[len(lines)-1])
	}
	for line := range strings.Lines(r.Stderr) {
		if strings.Contains(line, "error: ") {
			fmt.Println("  " + strings.TrimSpace(line))
		}
	}
}
