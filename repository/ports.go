package repository

// Port is an address that listens.
type Port struct {
	Listen   string `json:"listen"`
	Protocol string `json:"protocol"`
	For      []Use  `json:"for"`
}

// Use is what somebody finds at a port.
type Use struct {
	Who   string `json:"who"`
	What  string `json:"what"`
	Proof string `json:"proof"`
}

// Ports says what the server listens on, for whom, and how they prove who they are.
func (c *Config) Ports() []Port {
	operators := Use{"operators", "uploads, events, people, devices", "certificate of the identity CA, 24 hours, and the key in force"}
	devices := Use{"devices", "images", "the public key in their record, by any certificate over it"}
	images := ""
	if c.PublicImages {
		devices, images = Use{"devices", "images", "nothing: images are public"}, ", images"
	}
	return []Port{
		{Listen: c.GRPC, Protocol: "gRPC", For: []Use{
			operators, devices,
			{"anybody", "metadata" + images + ", health, reflection", "nothing: it is public"},
			{"newcomers", "Login and Enroll", "HMAC under a one-time token"},
		}},
		{Listen: c.HTTPS, Protocol: "HTTPS", For: []Use{
			{"operators", "images", operators.Proof},
			devices,
			{"anybody", "metadata" + images + ", in the TUF layout", "nothing: it is public"},
			{"newcomers", "POST Enroll", "HMAC under a one-time token"},
		}},
	}
}
