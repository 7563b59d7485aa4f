package identity

import (
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Who may call what, in one table: a change of permission.go shows here.
func TestWhoMayCallWhat(t *testing.T) {
	callers := []struct {
		name string
		Caller
	}{
		{"anybody", Caller{}},
		{"device", Caller{Kind: enroll.Device, ID: "gw-0001"}},
		{"operator", Caller{Kind: enroll.Operator, ID: "rivera", Roles: []string{"admin"}}},
		{"operator without roles", Caller{Kind: enroll.Operator, ID: "chen"}},
	}
	for method, want := range map[string]string{
		"Repository/GetMetadata":  "anybody,device,operator,operator without roles",
		"Repository/Download":     "device,operator",
		"Repository/GetExpiry":    "operator",
		"Device/Enroll":           "anybody,device,operator,operator without roles",
		"Release/UploadStatus":    "operator",
		"Release/Upload":          "operator",
		"Release/OpenEvent":       "operator",
		"Release/GetEvent":        "operator",
		"Release/ListEvents":      "operator",
		"Release/AddSignature":    "operator",
		"Release/Publish":         "operator",
		"Release/Cancel":          "operator",
		"Identity/Login":          "anybody,device,operator,operator without roles",
		"Identity/Renew":          "operator",
		"Identity/WhoAmI":         "operator",
		"Identity/InviteOperator": "operator",
		"Identity/ListOperators":  "operator",
		"Identity/RevokeOperator": "operator",
		"Identity/InviteDevices":  "operator",
		"Release/Unheard":         "",
	} {
		var may []string
		for _, c := range callers {
			err := c.Allow(MethodPermission("/countersign.v1."+method), false)
			if err == nil {
				may = append(may, c.name)
			} else if reason.Of(err) != reason.Permission {
				t.Errorf("%s, %s: %v", method, c.name, err)
			}
		}
		if got := strings.Join(may, ","); got != want {
			t.Errorf("%s: %q may call it, want %q", method, got, want)
		}
	}
	if err := (Caller{}).Allow(ReadImages, true); err != nil {
		t.Errorf("public images: %v", err)
	}
	if err := (Caller{}).Allow(WriteReleases, true); reason.Of(err) != reason.Permission {
		t.Errorf("public images open more than images: %v", err)
	}
}
