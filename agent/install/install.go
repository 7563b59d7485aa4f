// Package install puts verified images where they run (DESIGN 5.3). An installer is handed a file
// whose hash the agent has just checked again; it writes, activates, confirms and takes back, and it
// says what runs. Whether an image may be installed is not judged here: the agent asks metadata,
// stops, floors and gates before each call.
//
// File replaces one file atomically and keeps the previous one. Slot writes A/B partitions or files
// and talks to the boot loader through a command, Boot. Both keep a small record beside the agent's
// state, so that after a power cut they know which hash they put where. The interface that both
// satisfy is declared where it is used, in package agent.
//
// Every method is idempotent: the agent repeats a call that a power cut interrupted until it
// succeeds. A method that returned nil left its effect durable. Methods are not safe for concurrent
// use; the agent holds the lock of its directory.
package install

// Image is what an installer is handed.
type Image struct {
	// Component that the image is for.
	Component string
	// Path is the target path, PRODUCT/VERSION/FILE.
	Path string
	// Counter of the image.
	Counter int64
	// Length in bytes.
	Length int64
	// SHA256 of the whole file, as signed.
	SHA256 [32]byte
	// Args are the signed installer_args. An installer ignores those that it does not know.
	Args map[string]any
	// File holds the bytes; the installer reads it and leaves it.
	File string
}

// Running says what runs, as far as the installer knows.
type Running struct {
	// SHA256 that Install recorded for what runs. Zero: the installer did not put it there, or its
	// record is lost.
	SHA256 [32]byte
	// Slot that runs; empty where there are none.
	Slot string
	// Trial is true when what runs was activated and is not confirmed.
	Trial bool
	// Next is the slot that the next boot takes, if that is another one.
	Next string
	// NeedsReboot is true when only a reboot completes the last Activate or Revert.
	NeedsReboot bool
}
