package api

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/repository/internal/identity"
)

// Every method that either server knows has a row in the table of permissions: without one nobody may
// call it, and somebody forgot to decide.
func TestEveryMethodHasARow(t *testing.T) {
	a := New(Config{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	var services []string
	for name, info := range a.known.GetServiceInfo() {
		services = append(services, name)
		for _, m := range info.Methods {
			method := "/" + name + "/" + m.Name
			if identity.MethodPermission(method) == identity.Nobody {
				t.Errorf("%s has no row in identity's table", method)
			}
		}
	}
	for name := range a.strangers.GetServiceInfo() {
		if !slices.Contains(services, name) {
			t.Errorf("%s is served to strangers only", name)
		}
	}
	for _, want := range []string{
		"countersign.v1.Repository", "countersign.v1.Device", "countersign.v1.Release", "countersign.v1.Identity",
		"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
	} {
		if !slices.Contains(services, want) {
			t.Errorf("%s is not served", want)
		}
	}
}
