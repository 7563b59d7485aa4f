package gate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// ErrNoBattery says that no charge can be measured. Where a release or the device demands one, the
// gate stays closed.
var ErrNoBattery = errors.New("no battery found")

// Mains is the Battery of a device that never runs on one.
func Mains() (int, error) { return 100, nil }

// PowerSupply measures the lowest charge of the batteries in Linux's dir, which is
// /sys/class/power_supply.
func PowerSupply(dir string) func() (int, error) {
	return func() (int, error) {
		kinds, err := filepath.Glob(filepath.Join(dir, "*", "type"))
		if err != nil {
			return 0, err
		}
		lowest := -1
		for _, kind := range kinds {
			text, err := os.ReadFile(kind)
			if err != nil || strings.TrimSpace(string(text)) != "Battery" {
				continue
			}
			text, err = os.ReadFile(filepath.Join(filepath.Dir(kind), "capacity"))
			if err != nil {
				return 0, err
			}
			percent, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil || percent < 0 || percent > 100 {
				return 0, fmt.Errorf("capacity %q of %s, want 0 to 100", text, filepath.Dir(kind))
			}
			if lowest < 0 || percent < lowest {
				lowest = percent
			}
		}
		if lowest < 0 {
			return 0, ErrNoBattery
		}
		return lowest, nil
	}
}

func (g *Gates) checkBattery(c *metadata.Conditions) *Deferral {
	least := g.BatteryMin
	if c != nil {
		least = max(least, c.BatteryPercentMin)
	}
	if least == 0 {
		return nil
	}
	measure := g.Battery
	if measure == nil {
		measure = PowerSupply("/sys/class/power_supply")
	}
	percent, err := measure()
	if err != nil {
		return closed("battery", CodeBatteryUnknown, "want %d %%, %v", least, err)
	}
	if percent < least {
		return closed("battery", CodeBattery, "want %d %%, found %d %%", least, percent)
	}
	return nil
}

func (g *Gates) checkSpace() *Deferral {
	if g.FreeMin == 0 {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(g.FreeDir, &st); err != nil {
		return closed("space", CodeSpace, "%s: %v", g.FreeDir, err)
	}
	// Field types differ between architectures.
	free := int64(st.Bavail) * int64(st.Bsize) //nolint:unconvert // Bsize is int32 on arm
	if free < g.FreeMin {
		return closed("space", CodeSpace, "want %d bytes free at %s, found %d", g.FreeMin, g.FreeDir, free)
	}
	return nil
}

// Window is a span of each day, in UTC, that may cross midnight. The zero value is the whole day.
type Window struct {
	// From and To are offsets from midnight; To is no longer inside.
	From, To time.Duration
}

// ParseWindow reads "HH:MM-HH:MM".
func ParseWindow(text string) (Window, error) {
	from, to, ok := strings.Cut(text, "-")
	start, err1 := time.Parse("15:04", from)
	end, err2 := time.Parse("15:04", to)
	if !ok || err1 != nil || err2 != nil {
		return Window{}, fmt.Errorf("window %q, want HH:MM-HH:MM in UTC", text)
	}
	w := Window{From: sinceMidnight(start), To: sinceMidnight(end)}
	if w.From == w.To {
		return Window{}, fmt.Errorf("window %q is empty", text)
	}
	return w, nil
}

// String is the form that ParseWindow reads.
func (w Window) String() string {
	clock := func(d time.Duration) string {
		return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60)
	}
	return clock(w.From) + "-" + clock(w.To)
}

func sinceMidnight(t time.Time) time.Duration {
	t = t.UTC()
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute +
		time.Duration(t.Second())*time.Second
}

func (w Window) check(now time.Time) *Deferral {
	if w == (Window{}) {
		return nil
	}
	at := sinceMidnight(now)
	inside := at >= w.From && at < w.To
	if w.From > w.To {
		inside = at >= w.From || at < w.To
	}
	if !inside {
		return closed("window", CodeWindow, "want %s UTC, it is %s", w, now.UTC().Format("15:04"))
	}
	return nil
}
