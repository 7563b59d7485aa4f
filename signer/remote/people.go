package remote

import (
	"context"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/reason"
)

// WhoAmI returns how the server sees the caller.
func (c *Client) WhoAmI(ctx context.Context) (*pb.WhoAmIResponse, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.people.WhoAmI(ctx, &pb.WhoAmIRequest{})
	return answer, c.failed(ctx, err)
}

// InviteOperator returns a one-time token for a person.
func (c *Client) InviteOperator(ctx context.Context, operator string, roles []string, site string) (*enroll.TokenFile, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.people.InviteOperator(ctx, &pb.InviteOperatorRequest{Operator: operator, Roles: roles, Site: site})
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	return token(enroll.Operator, operator, answer.GetToken())
}

// InviteDevices returns one token a device, in order.
func (c *Client) InviteDevices(ctx context.Context, devices []string) ([]*enroll.TokenFile, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.people.InviteDevices(ctx, &pb.InviteDevicesRequest{Devices: devices})
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	if len(answer.GetTokens()) != len(devices) {
		return nil, reason.Errorf(reason.Malformed, "the server gave %d tokens for %d devices", len(answer.GetTokens()), len(devices))
	}
	tokens := make([]*enroll.TokenFile, len(devices))
	for i, p := range answer.GetTokens() {
		if tokens[i], err = token(enroll.Device, devices[i], p); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}

// token refuses a token for somebody else: it would be written into the wrong hands.
func token(kind enroll.Kind, subject string, p *pb.Token) (*enroll.TokenFile, error) {
	t, err := enroll.FromProto(kind, p)
	if err != nil {
		return nil, err
	}
	if t.Subject != subject {
		return nil, reason.Errorf(reason.Malformed, "the server gave a token for %q, wanted %q", t.Subject, subject)
	}
	return t, nil
}

// Operators returns all operators by id.
func (c *Client) Operators(ctx context.Context) ([]*pb.Operator, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.people.ListOperators(ctx, &pb.ListOperatorsRequest{})
	return answer.GetOperators(), c.failed(ctx, err)
}

// RevokeOperator refuses a person from the next call on.
func (c *Client) RevokeOperator(ctx context.Context, operator, why string) error {
	ctx, cancel := c.call(ctx)
	defer cancel()
	_, err := c.people.RevokeOperator(ctx, &pb.RevokeOperatorRequest{Operator: operator, Reason: why})
	return c.failed(ctx, err)
}
