package reason

//go:generate go run ./errorsdoc ../../docs/errors.md
