package cli

import (
	"path/filepath"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Paths are the places of the tool's files.
type Paths struct {
	// Config is the configuration file.
	Config string
	// Keys is the directory of private keys.
	Keys string
	// State is the directory under which each deployment has its own.
	State string
}

// PathsFrom returns the places that the environment names: under COUNTERSIGN_HOME if it is set, as
// on a stick, else by the XDG variables and their defaults under HOME. Relative XDG directories are
// ignored, as that specification demands.
func PathsFrom(getenv func(string) string) (Paths, error) {
	if home := getenv("COUNTERSIGN_HOME"); home != "" {
		return Paths{filepath.Join(home, "config.yaml"), filepath.Join(home, "keys"), filepath.Join(home, "state")}, nil
	}
	var err error
	dir := func(variable, fallback string) string {
		if d := getenv(variable); filepath.IsAbs(d) {
			return filepath.Join(d, "countersign")
		}
		home := getenv("HOME")
		if home == "" {
			err = reason.Errorf(reason.Config, "neither COUNTERSIGN_HOME nor %s nor HOME is set", variable).
				WithHint("export COUNTERSIGN_HOME=DIR")
		}
		return filepath.Join(home, fallback, "countersign")
	}
	p := Paths{
		Config: filepath.Join(dir("XDG_CONFIG_HOME", ".config"), "config.yaml"),
		Keys:   filepath.Join(dir("XDG_DATA_HOME", ".local/share"), "keys"),
		State:  dir("XDG_STATE_HOME", ".local/state"),
	}
	if err != nil {
		return Paths{}, err
	}
	return p, nil
}

// Deployment returns the directory of one deployment's pinned roots, versions seen, checkpoints and
// certificate.
func (p Paths) Deployment(id string) string { return filepath.Join(p.State, id) }
