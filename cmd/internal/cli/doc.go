// Package cli is what the three programs share on the command line: exit codes, the form of results,
// errors, warnings and hints, the one printing function for outside text, questions and passphrases,
// progress, the order of settings, and paths (docs/commands.md 1).
//
// It imports no flag library, so that the agent stays small; package tree beside it wires commands
// with cobra for countersign and countersignd. Start with Output, Fail, Safe and Terminal.
//
// It does not decide what is asked or printed; it only makes sure that outside text cannot move the
// cursor, forge a line or answer a question.
package cli
