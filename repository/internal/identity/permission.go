package identity

import (
	"google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Permission is what a method wants of its caller.
type Permission int

// The permissions. The zero value allows nobody.
const (
	// Nobody is what a method without a row wants.
	Nobody Permission = iota
	// Anybody needs no certificate: what it gives is public, or proves its caller by other means.
	Anybody
	// ReadImages is for devices and operators, and for anybody where images are public.
	ReadImages
	// SelfService is for any operator, about themselves.
	SelfService
	// ReadReleases and WriteReleases are for operators: look at events; upload, open, sign, publish.
	ReadReleases
	WriteReleases
	// ManageIdentities is for operators: invite, list, revoke.
	ManageIdentities
)

// methods is the one table of who may call what (DESIGN 4.3). A method without a row is refused, and
// a test fails for it. Handlers may ask for more, such as Cancel for the opener or a signer.
var methods = map[string]Permission{
	pb.Repository_GetMetadata_FullMethodName: Anybody,
	pb.Repository_Download_FullMethodName:    ReadImages,
	pb.Repository_GetExpiry_FullMethodName:   ReadReleases,

	pb.Device_Enroll_FullMethodName: Anybody, // the token's MAC proves the caller

	pb.Release_UploadStatus_FullMethodName: WriteReleases,
	pb.Release_Upload_FullMethodName:       WriteReleases,
	pb.Release_OpenEvent_FullMethodName:    WriteReleases,
	pb.Release_GetEvent_FullMethodName:     ReadReleases,
	pb.Release_ListEvents_FullMethodName:   ReadReleases,
	pb.Release_AddSignature_FullMethodName: WriteReleases,
	pb.Release_Publish_FullMethodName:      WriteReleases,
	pb.Release_Cancel_FullMethodName:       WriteReleases,
	pb.Release_OfferFiles_FullMethodName:   WriteReleases,

	pb.Identity_Login_FullMethodName:          Anybody, // the token's MAC proves the caller
	pb.Identity_Renew_FullMethodName:          SelfService,
	pb.Identity_WhoAmI_FullMethodName:         SelfService,
	pb.Identity_InviteOperator_FullMethodName: ManageIdentities,
	pb.Identity_ListOperators_FullMethodName:  ManageIdentities,
	pb.Identity_RevokeOperator_FullMethodName: ManageIdentities,
	pb.Identity_InviteDevices_FullMethodName:  ManageIdentities,

	grpc_health_v1.Health_Check_FullMethodName: Anybody,
	grpc_health_v1.Health_Watch_FullMethodName: Anybody,
	grpc_health_v1.Health_List_FullMethodName:  Anybody,

	reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName:      Anybody,
	reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName: Anybody,
}

// MethodPermission returns what a full gRPC method name wants; Nobody without a row.
func MethodPermission(method string) Permission { return methods[method] }

// roleAllows says what an operator's role grants. Every role grants every permission of operators.
func roleAllows(_ string, p Permission) bool {
	switch p {
	case ReadImages, SelfService, ReadReleases, WriteReleases, ManageIdentities:
		return true
	}
	return false
}

// Allow reports whether the caller may do what p stands for: nil, the caller's own fault where its
// certificate was refused, or reason permission.
func (c Caller) Allow(p Permission, publicImages bool) error {
	if p == Anybody || (p == ReadImages && publicImages) {
		return nil
	}
	if c.Err != nil {
		return c.Err
	}
	switch c.Kind {
	case enroll.Operator:
		for _, r := range c.Roles {
			if roleAllows(r, p) {
				return nil
			}
		}
		return reason.Errorf(reason.Permission, "%s may not do this", c)
	case enroll.Device:
		if p == ReadImages {
			return nil
		}
		return reason.Errorf(reason.Permission, "%s is a device and may not do this", c)
	}
	return reason.Errorf(reason.Permission, "this needs a certificate, and the caller showed none").WithHint("countersign login")
}
