package api

import (
	"context"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/repository/internal/identity"
)

// identityService is about operators, and invites devices.
type identityService struct {
	pb.UnimplementedIdentityServer
	a *API
}

func (s *identityService) Login(ctx context.Context, q *pb.LoginRequest) (*pb.LoginResponse, error) {
	certs, roles, err := s.a.Registry.Enroll(ctx, identity.Request{
		Kind: enroll.Operator, ID: q.GetOperator(), PublicKey: q.GetPublicKey(), TokenID: q.GetTokenId(), MAC: q.GetMac(),
	})
	if err != nil {
		return nil, err
	}
	return &pb.LoginResponse{Certificates: certs, Roles: roles}, nil
}

func (s *identityService) Renew(ctx context.Context, q *pb.RenewRequest) (*pb.RenewResponse, error) {
	certs, err := s.a.Registry.Renew(ctx, callerOf(ctx), q.GetPublicKey())
	if err != nil {
		return nil, err
	}
	return &pb.RenewResponse{Certificates: certs}, nil
}

func (s *identityService) WhoAmI(ctx context.Context, _ *pb.WhoAmIRequest) (*pb.WhoAmIResponse, error) {
	c := callerOf(ctx)
	return &pb.WhoAmIResponse{
		Deployment: s.a.Deployment, Operator: c.ID, Roles: c.Roles,
		Expires: c.Expires.Unix(), Now: s.a.Now().Unix(),
	}, nil
}

func (s *identityService) InviteOperator(ctx context.Context, q *pb.InviteOperatorRequest) (*pb.InviteOperatorResponse, error) {
	t, err := s.a.Registry.InviteOperator(ctx, callerOf(ctx).String(), q.GetOperator(), q.GetRoles(), q.GetSite())
	if err != nil {
		return nil, err
	}
	return &pb.InviteOperatorResponse{Token: t}, nil
}

func (s *identityService) ListOperators(ctx context.Context, _ *pb.ListOperatorsRequest) (*pb.ListOperatorsResponse, error) {
	all, err := s.a.Registry.Operators(ctx)
	if err != nil {
		return nil, err
	}
	return &pb.ListOperatorsResponse{Operators: all}, nil
}

func (s *identityService) RevokeOperator(ctx context.Context, q *pb.RevokeOperatorRequest) (*pb.RevokeOperatorResponse, error) {
	if err := s.a.Registry.Revoke(ctx, callerOf(ctx).String(), q.GetOperator(), q.GetReason()); err != nil {
		return nil, err
	}
	return &pb.RevokeOperatorResponse{}, nil
}

func (s *identityService) InviteDevices(ctx context.Context, q *pb.InviteDevicesRequest) (*pb.InviteDevicesResponse, error) {
	tokens, err := s.a.Registry.InviteDevices(ctx, callerOf(ctx).String(), q.GetDevices())
	if err != nil {
		return nil, err
	}
	return &pb.InviteDevicesResponse{Tokens: tokens}, nil
}

// deviceService is what devices ask for, over gRPC and posted over HTTPS.
type deviceService struct {
	pb.UnimplementedDeviceServer
	a *API
}

func (s *deviceService) Enroll(ctx context.Context, q *pb.EnrollRequest) (*pb.EnrollResponse, error) {
	certs, _, err := s.a.Registry.Enroll(ctx, identity.Request{
		Kind: enroll.Device, ID: q.GetDevice(), PublicKey: q.GetPublicKey(), TokenID: q.GetTokenId(), MAC: q.GetMac(),
	})
	if err != nil {
		return nil, err
	}
	return &pb.EnrollResponse{Certificates: certs}, nil
}
