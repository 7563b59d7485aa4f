package integration

import (
	"os"
	"regexp"
	"testing"

	"github.com/countersign-ota/countersign/integration/docrun"
	"github.com/countersign-ota/countersign/integration/loopback"
	"github.com/countersign-ota/countersign/integration/world"
)

// docs/ceremony.md is executed line by line, by people with folders of their own.
func TestCeremonyDocument(t *testing.T) {
	grpc, err := loopback.Address()
	must(t, err)
	https, err := loopback.Address()
	must(t, err)
	docrun.Run(t, "../docs/ceremony.md", docrun.Options{
		Path:    []string{programs.Dir},
		Replace: [][2]string{{"updates.example:8443", grpc}, {"updates.example:8444", https}, {"updates.example", "127.0.0.1"}, {"/media/stick", ""}},
		Secret:  func(string, string) string { return world.Passphrase },
	})
}

// Nobody types more than four commands, in the founding as in the replacement of a key.
func TestCeremonyIsShort(t *testing.T) {
	text, err := os.ReadFile("../docs/ceremony.md")
	must(t, err)
	parts := regexp.MustCompile(`(?m)^## 6 `).Split(string(text), -1)
	if len(parts) != 2 {
		t.Fatalf("%d ceremonies in the document, wanted 2", len(parts))
	}
	for i, part := range parts {
		typed := map[string]int{}
		for _, m := range regexp.MustCompile(`(?m)^([a-z]+)\$ countersign `).FindAllStringSubmatch(part, -1) {
			typed[m[1]]++
		}
		for person, n := range typed {
			if n > 4 {
				t.Errorf("ceremony %d: %s types %d commands", i+1, person, n)
			}
		}
		if len(typed) != 3 {
			t.Errorf("ceremony %d: %d people, wanted 3", i+1, len(typed))
		}
	}
}
