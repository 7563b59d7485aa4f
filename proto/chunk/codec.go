package chunk

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	countersignv1 "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Tags of the two payload fields: field number and wire type "length-delimited".
const (
	frameField = 1 // DownloadResponse.data, tag 0x0a
	partField  = 2 // UploadRequest.data, tag 0x12
)

// Codec is a gRPC codec with the wire form of protobuf. The zero value is ready; it is safe for
// concurrent use. It is chosen by ServerOptions and DialOptions and never registered globally.
type Codec struct{}

var _ encoding.CodecV2 = Codec{}

// Name returns "proto": on the wire there is no difference.
func (Codec) Name() string { return proto.Name }

// Marshal implements encoding.CodecV2.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case *Frame:
		return prefixed(frameField, v.Data, false), nil
	case *Part:
		if v.Header != nil {
			return stock().Marshal(&countersignv1.UploadRequest{Part: &countersignv1.UploadRequest_Header{Header: v.Header}})
		}
		return prefixed(partField, v.Data, true), nil
	}
	return stock().Marshal(v)
}

// Unmarshal implements encoding.CodecV2. A frame or part of more than Size bytes of data is refused
// with too-large.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch v := v.(type) {
	case *Frame:
		return v.unmarshal(data)
	case *Part:
		return v.unmarshal(data)
	}
	return stock().Unmarshal(data, v)
}

// stock is gRPC's own codec, which its proto package registers when it is imported.
func stock() encoding.CodecV2 { return encoding.GetCodecV2(proto.Name) }

// prefixed puts tag and length in front of data. Protobuf leaves an empty field out, unless it is the
// member of a oneof.
func prefixed(field protowire.Number, data mem.BufferSlice, oneof bool) mem.BufferSlice {
	n := data.Len()
	if n == 0 && !oneof {
		return nil
	}
	prefix := make([]byte, 0, 1+protowire.SizeVarint(uint64(n)))
	prefix = protowire.AppendTag(prefix, field, protowire.BytesType)
	prefix = protowire.AppendVarint(prefix, uint64(n))
	out := make(mem.BufferSlice, 0, 1+len(data))
	out = append(out, mem.SliceBuffer(prefix))
	data.Ref() // the transport frees what it is given
	return append(out, data...)
}

func (f *Frame) unmarshal(msg mem.BufferSlice) error {
	f.Free()
	if data, ok := payload(frameField, msg); ok {
		return f.take(data)
	}
	var whole countersignv1.DownloadResponse
	if err := stock().Unmarshal(msg, &whole); err != nil {
		return err
	}
	return f.take(slice(whole.GetData()))
}

func (f *Frame) take(data mem.BufferSlice) error {
	if err := bounded(data); err != nil {
		return err
	}
	f.Data = data
	return nil
}

func (p *Part) unmarshal(msg mem.BufferSlice) error {
	p.Free()
	if data, ok := payload(partField, msg); ok {
		return p.take(data)
	}
	var whole countersignv1.UploadRequest
	if err := stock().Unmarshal(msg, &whole); err != nil {
		return err
	}
	if h := whole.GetHeader(); h != nil {
		p.Header = h
		return nil
	}
	return p.take(slice(whole.GetData()))
}

func (p *Part) take(data mem.BufferSlice) error {
	if err := bounded(data); err != nil {
		return err
	}
	p.Data = data
	return nil
}

func bounded(data mem.BufferSlice) error {
	if n := data.Len(); n > Size {
		data.Free()
		return reason.Errorf(reason.TooLarge, "a chunk holds %d bytes, at most %d are allowed", n, Size)
	}
	return nil
}

func slice(b []byte) mem.BufferSlice {
	if len(b) == 0 {
		return nil
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}
}

// payload returns views of the data of a message that consists of exactly the one field, written in
// the shortest way, as every encoder does. Anything else is left to protobuf, so that this package
// has no meaning of its own for repeated, unknown or damaged fields. The caller owns the views.
func payload(field protowire.Number, msg mem.BufferSlice) (mem.BufferSlice, bool) {
	var head [1 + 4]byte // a length below 2^28
	n := msg.CopyTo(head[:])
	if n < 2 || head[0] != byte(protowire.EncodeTag(field, protowire.BytesType)) {
		return nil, false
	}
	length, used := protowire.ConsumeVarint(head[1:n])
	if used < 0 || used != protowire.SizeVarint(length) || length != uint64(msg.Len()-1-used) {
		return nil, false
	}
	skip := 1 + used
	var out mem.BufferSlice
	for _, b := range msg {
		if skip >= b.Len() {
			skip -= b.Len()
			continue
		}
		out = append(out, b.Slice(skip, b.Len()))
		skip = 0
	}
	return out, true
}
