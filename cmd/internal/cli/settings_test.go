package cli

import (
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

func env(m map[string]string) func(string) string { return func(k string) string { return m[k] } }

func TestEnvironmentAnswersNoQuestion(t *testing.T) {
	getenv := env(map[string]string{"COUNTERSIGN_YES": "true", "COUNTERSIGN_EXPECT": "ab", "COUNTERSIGN_PASSPHRASE_FILE": "p", "COUNTERSIGN_JSON": ""})
	for flag, want := range map[string]string{"yes": "", "expect": "", "passphrase-file": "p", "json": ""} {
		got, ok := FromEnvironment(getenv, flag)
		if got != want || ok != (want != "") {
			t.Errorf("--%s: %q, %t, want %q", flag, got, ok, want)
		}
	}
}

func TestPaths(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want Paths
	}{
		{"stick", map[string]string{"COUNTERSIGN_HOME": "/stick", "HOME": "/h", "XDG_STATE_HOME": "/s"}, Paths{"/stick/config.yaml", "/stick/keys", "/stick/state"}},
		{"defaults", map[string]string{"HOME": "/h"}, Paths{"/h/.config/countersign/config.yaml", "/h/.local/share/countersign/keys", "/h/.local/state/countersign"}},
		{
			"xdg",
			map[string]string{"XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d", "XDG_STATE_HOME": "/s"},
			Paths{"/c/countersign/config.yaml", "/d/countersign/keys", "/s/countersign"},
		},
		{"relative xdg is ignored", map[string]string{"HOME": "/h", "XDG_STATE_HOME": "s"}, Paths{"/h/.config/countersign/config.yaml", "/h/.local/share/countersign/keys", "/h/.local/state/countersign"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := PathsFrom(env(tt.env))
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
	if _, err := PathsFrom(env(nil)); !reason.Is(err, reason.Config) {
		t.Errorf("no home: %v", err)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"release", "rehearse", "sign", "status", "publish", "event", "key"}
	for in, want := range map[string]string{
		"relase": "release", "sgin": "sign", "rel": "release", "st": "status", "pubilsh": "publish",
		"kye": "key", "xyz": "", "deploy": "", "s": "", "": "", "evnet": "event",
	} {
		if got := Nearest(in, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestGrouped(t *testing.T) {
	for in, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 9412608: "9,412,608", -1234: "-1,234", -123: "-123"} {
		if got := Grouped(in); got != want {
			t.Errorf("Grouped(%d) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int64]string{12: "12 B", 9412608: "9.4 MB", 1500: "1.5 kB", 2_500_000_000: "2.5 GB"} {
		if got := Size(in); got != want {
			t.Errorf("Size(%d) = %q, want %q", in, got, want)
		}
	}
}
