package metadata

import (
	"github.com/countersign-ota/countersign/proto/reason"
)

func acceptType(role string) func(string) error {
	return func(s string) error {
		if s != role {
			return reason.Errorf(reason.Malformed, "_type %q, wanted %q", clip([]byte(s)), role)
		}
		return nil
	}
}

// acceptDelegated refuses delegated roles that pass for a top-level one: go-tuf keeps roles by name.
func acceptDelegated(s string) error {
	if s == "" || isTopLevel(s) {
		return reason.Errorf(reason.Malformed, "delegated role named %q", s)
	}
	return nil
}

func textShape() *shape { return &shape{kind: ofText} }

func hexShape() *shape { return &shape{kind: ofText, accept: acceptHex, verbatim: true} }

func intShape() *shape { return &shape{kind: ofInteger, min: -MaxInteger} }

func keyShape() *shape {
	return fixedOf(must("keytype", textShape()), must("scheme", textShape()), must("keyval", fixedOf(must("public", textShape()))))
}

func keyIDs() *shape {
	return &shape{kind: ofList, elem: textShape(), max: MaxKeys, tooMany: reason.Limit}
}

func thresholdShape() *shape { return &shape{kind: ofInteger, min: 1} }

func rootRoles() *shape {
	role := fixedOf(must("keyids", keyIDs()), must("threshold", thresholdShape()))
	roles := fixedOf(must(Root, role), must(Timestamp, role), must(Snapshot, role), must(Targets, role))
	roles.others = role // go-tuf decodes any name into a *Role
	return roles
}

func metaShape() *shape {
	return fixedOf(
		must("version", &shape{kind: ofInteger, min: 1}),
		may("length", &shape{kind: ofInteger, min: 0}),
		may("hashes", mapOf(hexShape())),
	)
}

func targetShape(m Mode) *shape {
	custom := &shape{kind: ofAny}
	if m == Profile {
		custom = fixedOf(may("countersign", firmwareShape()))
	}
	return fixedOf(must("length", &shape{kind: ofInteger, min: 0}), must("hashes", mapOf(hexShape())), may("custom", custom))
}

func delegationsShape(m Mode) *shape {
	// A missing terminating is go-tuf's false and so not-canonical.
	role := fixedOf(
		must("name", &shape{kind: ofText, accept: acceptDelegated}), must("keyids", keyIDs()),
		must("threshold", thresholdShape()), may("terminating", &shape{kind: ofBool}),
		may("paths", listOf(textShape())), may("path_hash_prefixes", listOf(textShape())),
	)
	role.exclusive = [][2]string{{"paths", "path_hash_prefixes"}}
	succinct := fixedOf(
		must("keyids", keyIDs()), must("threshold", thresholdShape()),
		must("bit_length", &shape{kind: ofInteger, min: 1, max: 32}), must("name_prefix", textShape()),
	)
	if m == Profile {
		role.fields = append(role.fields, may(QuorumField, quorumShape()), may(ProductField, extension(may("sbom", textShape()), may("retired", &shape{kind: ofBool}))))
		succinct.fields = append(succinct.fields, may(QuorumField, quorumShape()))
	}
	roles := &shape{kind: ofList, elem: role, distinct: "name", twice: reason.Malformed}
	ds := fixedOf(must("keys", mapOf(keyShape())), may("roles", roles), may("succinct_roles", succinct))
	ds.exclusive = [][2]string{{"roles", "succinct_roles"}}
	return ds
}

func quorumShape() *shape {
	person := extension(may("id", textShape()), may("class", textShape()), may("keyid", textShape()), may("name", textShape()))
	return extension(may("people", listOf(person)), may("require", mapOf(intShape())), may("meaning", mapOf(textShape())))
}

func firmwareShape() *shape {
	requirement := extension(may("product", textShape()), may("min_counter", intShape()))
	conditions := extension(
		may("battery_percent_min", intShape()), may("idle", &shape{kind: ofBool}), may("downtime_seconds", intShape()),
	)
	evidence := extension(may("path", textShape()), may("sha256", textShape()), may("length", intShape()))
	return extension(
		may("v", intShape()), may("product", textShape()), may("version", textShape()),
		may("counter", intShape()), may("floor", intShape()), may("component", textShape()),
		may("hardware", listOf(textShape())), may("installer", textShape()),
		// The installer's arguments are its own: here null and folding are its business.
		may("installer_args", mapOf(&shape{kind: ofAny})),
		may("requires", listOf(requirement)), may("conditions", conditions), may("spread_hours", intShape()),
		may("class", textShape()), may("fixes", listOf(textShape())), may("evidence", mapOf(evidence)),
	)
}

func highShape() *shape {
	return extension(may("counter", intShape()), may("floors", mapOf(intShape())))
}

func stopShape() *shape {
	return listOf(extension(
		may("path", textShape()), may("counter", intShape()), may("sha256", textShape()),
		may("at", textShape()), may("reason", textShape()),
	))
}
