package durable

import "os"

// linkNoReplace renames in two steps, the first of which fails if the new name is taken.
func linkNoReplace(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}
