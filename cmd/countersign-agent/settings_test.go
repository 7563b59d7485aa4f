package main

import (
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

func TestParseConfig(t *testing.T) {
	const good = "# a device\n\ndeployment acme\n  allow_local   yes  \ncomponent main product=gw-100 installer=file path=/x counter=3\n"
	file, err := parseConfig("agent.conf", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if len(file) != 3 || file["deployment"] != "acme" || file["allow-local"] != "yes" ||
		file["component"] != "main product=gw-100 installer=file path=/x counter=3" {
		t.Errorf("parsed %v", file)
	}
	for _, bad := range []string{
		"allow-local yes", "Deployment acme", "deployment", "deployment a\ndeployment b", "config x", "json yes",
		strings.Repeat("#", maxConfig+1), "deployment\tacme",
	} {
		if file, err := parseConfig("agent.conf", []byte(bad)); !reason.Is(err, reason.Config) || file != nil {
			t.Errorf("%.40q = %v, %v; want reason config", bad, file, err)
		}
	}
}

func TestParseComponent(t *testing.T) {
	slot := "main product=gw-100 installer=slot a=/dev/a b=/dev/b boot=/usr/lib/boot counter=3"
	c, err := parseComponent(slot)
	if err != nil {
		t.Fatal(err)
	}
	if *c != (componentLine{id: "main", product: "gw-100", installer: "slot", a: "/dev/a", b: "/dev/b", boot: "/usr/lib/boot", counter: 3}) {
		t.Errorf("parsed %+v", c)
	}
	for _, bad := range []string{
		"", "main", "Main product=gw-100 installer=file path=/x counter=3", "main product=GW installer=file path=/x counter=3",
		"main product=gw-100 installer=file path=/x", "main product=gw-100 installer=file path=/x counter=-1",
		"main product=gw-100 installer=file path=/x counter=three", "main product=gw-100 installer=file path=x counter=3",
		"main product=gw-100 installer=file counter=3", "main product=gw-100 installer=file path=/x a=/y counter=3",
		"main product=gw-100 installer=slot a=/a b=/b counter=3", "main product=gw-100 installer=rauc counter=3",
		"main product=gw-100 product=gw-100 installer=file path=/x counter=3", "main product= installer=file path=/x counter=3",
		"main product=gw-100 installer=file path=/x counter=3 mode=0755", "main product=gw-100 installer=file path=/x counter=3 word",
		slot + " counter=3",
	} {
		if c, err := parseComponent(bad); !reason.Is(err, reason.Config) {
			t.Errorf("%q = %+v, %v; want reason config", bad, c, err)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("deployment acme\ncomponent main product=gw-100 installer=file path=/x counter=3\n"))
	f.Add([]byte("# only a comment"))
	f.Add([]byte("device\x00 x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parseConfig("agent.conf", data)
		if err != nil {
			if !reason.Is(err, reason.Config) || file != nil {
				t.Fatalf("%v, %v", file, err)
			}
			return
		}
		// Written again it reads the same.
		var again strings.Builder
		for name, value := range file {
			again.WriteString(strings.ReplaceAll(name, "-", "_") + " " + value + "\n")
		}
		second, err := parseConfig("agent.conf", []byte(again.String()))
		if err != nil || len(second) != len(file) {
			t.Fatalf("written again: %v, %v; first %v", second, err, file)
		}
		for name, value := range file {
			if second[name] != value {
				t.Fatalf("%s is %q, was %q", name, second[name], value)
			}
		}
		if line, ok := file["component"]; ok {
			if c, err := parseComponent(line); err == nil && c.check() != nil {
				t.Fatalf("%+v", c)
			}
		}
	})
}
