// Package agent keeps one device's firmware current, and never lets it become anything that the
// people who answer for the device did not sign.
//
// It is for the maker of a gateway, pump or monitor who builds updating into a program of their own;
// cmd/countersign-agent is this package with flags.
//
// # Where to start
//
// Open takes a Config: the device's ids, the deployment's image root as built into the image, a
// Transport to the server (agent/transport/rpc for gRPC, agent/transport/web for HTTPS), and the
// component to update with its Installer (agent/install: a file, or a pair of slots). Then Run does
// everything for ever:
//
//	server, err := rpc.New(rpc.Config{
//		Address: "updates.example:8443", CA: ca,
//		Certificate: transport.FromFiles("/data/agent/identity.pem", "/data/agent/identity.key"),
//	})
//	if err != nil {
//		return err
//	}
//	defer server.Close()
//	slots := install.NewSlot(install.SlotConfig{
//		A: "/dev/mmcblk0p2", B: "/dev/mmcblk0p3",
//		Boot: install.NewBoot("/usr/lib/gw/boot"), State: "/data/agent/installer.main",
//	})
//	a, err := agent.Open(ctx, agent.Config{
//		Dir: "/data/agent", Transport: server, Root: root, // embedded: 1.root.json of the deployment
//		Deployment: "acme", Device: "gw-0001", Hardware: "gw-100-c",
//		Components: map[string]agent.Component{"main": {Product: "gw-100", Installer: slots, Counter: 17}},
//	})
//	if err != nil {
//		return err
//	}
//	defer a.Close()
//	err = a.Run(ctx)
//	if errors.Is(err, agent.ErrReboot) {
//		return reboot()
//	}
//	return err
//
// Or step by step:
//
//	Check    fetches and verifies metadata; says what to install, or nil
//	Stage    brings the bytes to the disk, verified, resumable
//	Install  verifies again, asks the gates, installs and activates
//	Confirm  ends a trial for good; with ConfirmAuto the agent does it itself
//	Revert   ends a trial the other way
//
// After Install, Status says whether a reboot is needed. After the reboot, Open finds out what runs
// and carries on: a slot image that does not come up is taken back by the boot loader's count, even
// if the agent never starts. Call Open first thing in the new image; its returning is the proof that
// ConfirmAuto wants. ReadStatus reads a directory without its lock.
//
// # What is checked
//
// An image is installed only if people of every class that its product demands signed it (DESIGN
// 1.2), it is for this product, component, hardware and installer, its counter is above the highest
// confirmed one, nobody stopped it, its requirements are met, and its gates are open (agent/gate);
// once at Check, again before the first write and again before activation. Every refusal is a reason
// of proto/reason: class NotAuthentic must reach a person, NotReachable may be repeated, NotAllowed
// and NotYet say what has to change. A refusal leaves what runs untouched, and the next Check starts
// afresh. The keys of keys-example are always refused.
//
// # Files
//
// In Config.Dir, mode 0700, which updates must not wipe:
//
//	lock                 held by one process
//	record.0  record.1   two copies of the record: states, counters, floors, stops, versions in force
//	image/ROLE.json      role files as served
//	stage/               images that are being fetched, or wait to be installed
//
// The record is the commit point: role files are durable first, then the record, then comes the
// clean-up. A power cut between any two writes costs nothing; one damaged copy of the record neither.
// With both lost the counters start from Component.Counter, which is built into the image, so wiping
// the directory opens no way back.
//
// # What it does not protect against
//
// Whoever is root on the device, or can write its directory or its slots, has the device. A server
// can withhold updates until the timestamp expires, which Status shows. Time is the wall clock, not
// below Config.Built: a clock that is set back lets metadata seem fresh that is not, but never an
// image with a lower counter. One component is handled, and a release that states spread_hours is
// left to devices that are SpreadExempt.
package agent
