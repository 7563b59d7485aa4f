package integration

import (
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/integration/docrun"
	"github.com/countersign-ota/countersign/integration/loopback"
)

// docs/keys.md is executed line by line, with SoftHSM2 for tokens.
func TestKeysDocument(t *testing.T) {
	var replace [][2]string
	for _, host := range []string{"updates", "second"} {
		for _, port := range []string{"8443", "8444"} {
			address, err := loopback.Address()
			must(t, err)
			replace = append(replace, [2]string{host + ".example:" + port, address})
		}
		replace = append(replace, [2]string{host + ".example", "127.0.0.1"})
	}
	replace = append(replace, [2]string{"/media/stick", ""}, [2]string{"/media/lost", ""})
	docrun.Run(t, "../docs/keys.md", docrun.Options{
		Path:    []string{programs.Dir},
		Replace: replace,
		Secret: func(who, prompt string) string {
			switch {
			case strings.Contains(prompt, "SO PIN"):
				return "73918264"
			case strings.Contains(prompt, "PIN"):
				return "482913"
			}
			return "the passphrase of " + who
		},
	})
}
