package trust_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
)

// One poll of a device: trust what is genuine, keep what binds, learn what the bytes of a target must be.
func ExampleClient() {
	poll := func(ctx context.Context, server trust.Fetcher, record map[string]trust.InForce) (map[string]trust.InForce, error) {
		root, err := os.ReadFile("/etc/countersign/image-root.json")
		if err != nil {
			return record, err
		}
		c, err := trust.New(trust.Config{
			Deployment: "acme",
			Repository: metadata.Image,
			Root:       root,
			Store:      &trust.FileStore{Dir: "/var/lib/countersign-agent/image"},
			Now:        time.Now,
			Versions:   record,
		})
		if err != nil {
			return record, err
		}
		if err := c.Refresh(ctx, server); err != nil {
			return c.InForce(), err
		}
		target, err := c.Target(ctx, server, "gw-100/2.4.1/gw.img")
		if err != nil {
			return c.InForce(), err
		}
		fmt.Printf("%d bytes with SHA-256 %x\n", target.Length, target.SHA256)
		return c.InForce(), nil
	}
	_ = poll
}
