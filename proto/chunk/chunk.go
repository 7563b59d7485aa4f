// Package chunk moves file bytes over gRPC without copying them in the codec (DESIGN 6).
//
// The messages stay what the .proto files say, so a stock gRPC client and a stock server understand
// every byte. Codec differs from gRPC's own only for two Go types: Frame stands for DownloadResponse
// and Part for UploadRequest. On sending, their bytes go to the transport in the buffer into which the
// file was read; on receiving, in the buffers that the transport filled. All other messages pass
// through protobuf as usual.
//
// A server is made with ServerOptions and a connection with DialOptions. Send and SendParts read a
// file into a stream, Reader reads a stream as an io.Reader. Nothing here checks a hash or a length
// of a file; whoever stages the bytes does.
package chunk

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"

	countersignv1 "github.com/countersign-ota/countersign/proto/countersign/v1"
)

// Size is the most file bytes in one message (DESIGN 6). A receiver refuses more.
const Size = 256 << 10

// MaxMessage is the largest message other than an event that either side receives, in bytes: a chunk
// or a role file, and room for their framing.
const MaxMessage = 1 << 20

// Flow control windows in bytes. They are static, because gRPC's estimator starts at 64 KiB, takes
// round trips to grow, and sends pings that wake a device's radio. A client's window covers the time
// that its disk takes for a batch of writes; a 256 MiB download over loopback took 533, 461 and 399 ms
// at best with 1, 2 and 4 MiB. It is the most that lies unread in a device's memory (DESIGN 5.5). A
// server has many uploads, so one of them gets less.
const (
	downloadWindow   = 4 << 20
	uploadWindow     = 1 << 20
	serverConnWindow = 4 << 20
)

// bufferSize is how many bytes are batched for one write to, or read from, the connection: four TLS
// records.
const bufferSize = 64 << 10

// While a call waits and nothing comes, the client asks after this long whether the server is still
// there, and gives the connection up when it does not answer; else a cable that was pulled would
// look like a slow server for ever. Without a call there are no such pings: a device then sleeps.
const (
	pingAfter = time.Minute
	pingWait  = 20 * time.Second
)

// Frame is a DownloadResponse.
type Frame struct {
	// Data is the payload, at most Size bytes. After receiving, the caller owns it and calls Free.
	// For sending, the caller keeps its own reference and may free it when SendMsg returned.
	Data mem.BufferSlice
}

// Free releases the data. The frame can be received into again.
func (f *Frame) Free() {
	f.Data.Free()
	f.Data = nil
}

// Part is an UploadRequest: Header in the first message of an upload, Data in the others.
type Part struct {
	Header *countersignv1.UploadHeader
	// Data is the payload, with the same ownership as in Frame. It is used when Header is nil.
	Data mem.BufferSlice
}

// Free releases the data. The part can be received into again.
func (p *Part) Free() {
	p.Data.Free()
	p.Data, p.Header = nil, nil
}

// ServerOptions are what a server needs to send and receive chunks well: the codec, static windows,
// buffers, and leave for the pings of DialOptions. Limits of messages and connections stay the server's own.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(Codec{}),
		grpc.StaticStreamWindowSize(uploadWindow),
		grpc.StaticConnWindowSize(serverConnWindow),
		grpc.WriteBufferSize(bufferSize),
		grpc.ReadBufferSize(bufferSize),
		// By default a server takes such pings for abuse when it has nothing to send for a while.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingAfter / 2}),
	}
}

// DialOptions are the same for a connection.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(Codec{}), grpc.MaxCallRecvMsgSize(MaxMessage)),
		grpc.WithStaticStreamWindowSize(downloadWindow),
		grpc.WithStaticConnWindowSize(downloadWindow),
		grpc.WithWriteBufferSize(bufferSize),
		grpc.WithReadBufferSize(bufferSize),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingWait}),
	}
}
