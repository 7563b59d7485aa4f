package cli

import "strings"

// Environment names the variable of a flag: COUNTERSIGN_ and its name in capitals. The order of
// settings is flag, environment, file, default. It is empty for the flags that no environment may
// answer: one that stands around for ever must not sign or agree.
func Environment(flag string) string {
	switch flag {
	case "yes", "expect", "passphrase", "help":
		return ""
	}
	return "COUNTERSIGN_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// FromEnvironment returns the value that the environment gives to a flag, and whether it does.
// An empty variable counts as absent.
func FromEnvironment(getenv func(string) string, flag string) (string, bool) {
	name := Environment(flag)
	if name == "" {
		return "", false
	}
	v := getenv(name)
	return v, v != ""
}
