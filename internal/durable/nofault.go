//go:build !faults

package durable

// Without the build tag faults there are no fault points and nothing is remembered.

// Step does nothing; with the build tag faults it is a fault point.
func Step(kind, path string) {}

func step(kind, path string)          {}
func created(path string)             {}
func wrote(path string, synced int64) {}
func fileSynced(path string)          {}
func keep(path string) string         { return "" }
func renamed(from, to string)         {}
func replaced(from, to, saved string) {}
func removed(path, saved string)      {}
func dirSynced(dir string)            {}
func forget(path string)              {}
