package repository

import "fmt"

// configYAML returns server.yaml with comments for whoever opens it first.
func configYAML(c *Config) []byte {
	return fmt.Appendf(nil, `# The Countersign server of deployment %[1]s. docs/formats.md describes every member;
# "countersignd config check --config FILE" judges a change.

# Never change the deployment: every signed file names it.
deployment: %[1]s

# Everything the server keeps. Names below that are not absolute are relative to it.
dir: %[2]q

# Where tools, devices, mirrors and TUF clients reach the HTTPS side: https://HOST[:PORT]. The gRPC
# side is reached at the same host and the port of listen.grpc. The TLS certificate is for HOST.
url: %[3]s

# [HOST]:PORT of the two sides. Both speak TLS 1.3 and nothing else.
listen: {grpc: %[4]q, https: %[5]q}

# true: anybody may download images. false: it takes a device's or an operator's certificate.
public_images: false

# The keys that sign snapshot and timestamp (image) and what one device shall install (director). A
# file with mode 0600, or credential:NAME for one that the service manager hands over. image may also be
# in a token: "pkcs11://token=…;object=…?module-path=/…&pin-source=file:/…". They cannot make firmware;
# when they were stolen, have a root with new ones signed.
online: {image: %[6]s, director: %[7]s}

# The plug-ins that may hold online.image: programs sigstore-kms-NAME on the server's PATH.
kms: [pkcs11]

# Empty: from the identity intermediate, renewed by itself. Otherwise PEM files; they are read again
# when they change. Keep the key: the director's root names it.
tls: {cert: "", key: ""}
`, c.Deployment, c.Dir, c.URL, c.GRPC, c.HTTPS, c.OnlineImage, c.OnlineDirector)
}
