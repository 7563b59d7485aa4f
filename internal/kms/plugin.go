package kms

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"time"
	"unicode"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"

	"github.com/countersign-ota/countersign/proto/reason"
)

// prefix of a plug-in's program; its scheme follows.
const prefix = "sigstore-kms-"

// maxPIN bounds a PIN in bytes, so that a pipe takes it without a reader.
const maxPIN = 1024

// plugin calls one program for one key.
type plugin struct {
	name    string // sigstore-kms-NAME
	program string // its absolute path
	rest    string // the URI behind NAME://
	timeout time.Duration
	ask     func(ctx context.Context) ([]byte, error)

	turn chan struct{} // holds one value while a caller has the fields below
	pin  []byte
	// proven says that a call with the PIN succeeded: from then on calls run side by side. Before, one
	// at a time, so that a wrong PIN costs the token one try and not one a caller.
	proven bool
	// refused is why no more calls are made.
	refused error
}

// find looks the plug-in of uri up: only a scheme that is allowed, only on PATH, never in the current
// folder.
func find(uri string, o Options) (*plugin, error) {
	scheme, rest, err := check(uri, o.Allow)
	if err != nil {
		return nil, err
	}
	p := &plugin{
		name: prefix + scheme, rest: rest, timeout: o.Timeout, ask: o.PIN,
		turn: make(chan struct{}, 1),
	}
	if p.timeout <= 0 {
		p.timeout = Timeout
	}
	if p.program, err = exec.LookPath(p.name); err != nil {
		return nil, reason.Errorf(reason.PluginFailed, "the plug-in for %s:// cannot be run: %w", scheme, err).
			WithHint("install %s and put its folder on PATH", p.name)
	}
	return p, nil
}

// call calls method, with the PIN once it is known to be needed.
func (p *plugin) call(ctx context.Context, method common.MethodArgs, message []byte) (*answer, error) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, reason.Errorf(reason.PluginFailed, "plug-in %s was not called: %w", p.name, context.Cause(ctx))
	}
	if p.refused != nil {
		defer p.release()
		return nil, p.refused
	}
	if p.proven {
		pin := p.pin
		p.release()
		a, err := p.once(ctx, method, message, pin)
		if reason.Is(err, reason.WrongPIN) { // another token than the one that took it
			p.turn <- struct{}{}
			p.refused = err
			p.release()
		}
		return a, err
	}
	defer p.release()
	a, err := p.once(ctx, method, message, p.pin)
	if errors.Is(err, errPINWanted) {
		if err := p.askPIN(ctx, err); err != nil {
			return nil, err
		}
		a, err = p.once(ctx, method, message, p.pin)
	}
	switch {
	case reason.Is(err, reason.WrongPIN):
		p.refused = err
	case err == nil && (method.MethodName == common.SignMessageMethodName || method.MethodName == common.CreateKeyMethodName):
		p.proven = true
	}
	return a, err
}

func (p *plugin) release() { <-p.turn }

// askPIN gets the PIN, once; the caller has the turn. wanted is the plug-in's error.
func (p *plugin) askPIN(ctx context.Context, wanted error) error {
	if p.ask == nil || p.pin != nil || attribute(p.rest, "pin-source") {
		return wanted
	}
	pin, err := p.ask(ctx)
	switch {
	case err != nil:
	case len(pin) == 0:
		err = reason.Errorf(reason.WrongPIN, "the PIN is empty")
	case len(pin) > maxPIN:
		err = reason.Errorf(reason.WrongPIN, "the PIN has %d bytes, at most %d are allowed", len(pin), maxPIN)
	case bytes.ContainsFunc(pin, unicode.IsControl): // a file of two lines; it would cost a try
		err = reason.Errorf(reason.WrongPIN, "the PIN holds a control character; it was not sent")
	default:
		p.pin = slices.Clone(pin)
		return nil
	}
	if ctx.Err() == nil {
		p.refused = err
	}
	return err
}

// once is one process: method's argument and message in, one answer out.
func (p *plugin) once(ctx context.Context, method common.MethodArgs, message, pin []byte) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	rest := p.rest
	if pin != nil {
		rest = withPipe(rest)
	}
	args, err := json.Marshal(common.PluginArgs{
		InitOptions: &common.InitOptions{
			CtxDeadline: &deadline, ProtocolVersion: common.ProtocolVersion, KeyResourceID: rest,
			HashFunc: crypto.SHA256, RPCOptions: rpcOptions(deadline),
		},
		MethodArgs: withDeadline(method, deadline),
	})
	if err != nil {
		return nil, p.failed("%v", err)
	}
	out, err := p.run(ctx, string(args), message, pin)
	if err != nil {
		return nil, err
	}
	return p.judge(method.MethodName, out)
}

func rpcOptions(deadline time.Time) *common.RPCOptions {
	return &common.RPCOptions{CtxDeadline: &deadline, KeyVersion: new(string), RemoteVerification: new(bool)}
}

// withDeadline puts the deadline where each method has its own place for it.
func withDeadline(m common.MethodArgs, deadline time.Time) *common.MethodArgs {
	rpc := *rpcOptions(deadline)
	switch m.MethodName {
	case common.PublicKeyMethodName:
		m.PublicKey = &common.PublicKeyArgs{PublicKeyOptions: &common.PublicKeyOptions{RPCOptions: rpc}}
	case common.SignMessageMethodName:
		m.SignMessage = &common.SignMessageArgs{SignOptions: &common.SignOptions{RPCOptions: rpc}}
	case common.CreateKeyMethodName:
		m.CreateKey = &common.CreateKeyArgs{CtxDeadline: &deadline, Algorithm: m.CreateKey.Algorithm}
	}
	return &m
}

// failed is an error that the plug-in, not the person, has to answer for.
func (p *plugin) failed(format string, args ...any) *reason.Error {
	e := reason.Errorf(reason.PluginFailed, format, args...)
	e.Text = "plug-in " + p.name + " failed: " + e.Text
	return e
}
