package cli

import (
	"fmt"
	"runtime"
)

// Version is the version of the program, set by the linker.
var Version = "unknown"

// About is what `version` prints.
type About struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// AboutProgram describes the running program.
func AboutProgram(name string) About {
	return About{name, Version, runtime.Version(), runtime.GOOS, runtime.GOARCH}
}

// String returns one line.
func (a About) String() string {
	return fmt.Sprintf("%s %s %s %s/%s", a.Name, a.Version, a.Go, a.OS, a.Arch)
}
