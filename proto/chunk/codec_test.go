package chunk

import (
	"bytes"
	"fmt"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	countersignv1 "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
)

// counted counts buffers that are out, so that a test sees a leak.
type counted struct{ out int }

func (c *counted) Get(n int) *[]byte { c.out++; b := make([]byte, n); return &b }
func (c *counted) Put(b *[]byte)     { c.out--; clear(*b) }

// pieces cuts b into pooled buffers of n bytes, as a transport delivers them.
func pieces(p *counted, b []byte, n int) mem.BufferSlice {
	var out mem.BufferSlice
	for len(b) > 0 {
		c := min(n, len(b))
		// Above the threshold below which gRPC does not pool, so that the count is true.
		backing := make([]byte, c, max(c, 4096))
		copy(backing, b)
		p.out++
		out = append(out, mem.NewBuffer(&backing, p))
		b = b[c:]
	}
	return out
}

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

var sizes = []int{0, 1, 127, 128, 4096, 16383, 16384, 16385, Size - 1, Size}

func TestFrameHasTheWireFormOfDownloadResponse(t *testing.T) {
	for _, n := range sizes {
		for _, cut := range []int{1 << 20, 16384, 4096, 777} {
			t.Run(fmt.Sprintf("%d in %d", n, cut), func(t *testing.T) {
				want, err := proto.Marshal(&countersignv1.DownloadResponse{Data: content(n)})
				if err != nil {
					t.Fatal(err)
				}
				p := &counted{}
				f := &Frame{Data: pieces(p, content(n), cut)}
				msg, err := Codec{}.Marshal(f)
				if err != nil {
					t.Fatal(err)
				}
				f.Free()
				if got := msg.Materialize(); !bytes.Equal(got, want) {
					t.Errorf("sent %d bytes, protobuf sends %d", len(got), len(want))
				}
				msg.Free()

				msg = pieces(p, want, cut)
				err = Codec{}.Unmarshal(msg, f)
				msg.Free()
				if err != nil {
					t.Fatal(err)
				}
				if got := f.Data.Materialize(); !bytes.Equal(got, content(n)) {
					t.Errorf("received %d bytes, sent %d", len(got), n)
				}
				f.Free()
				if p.out != 0 {
					t.Errorf("%d buffers leaked", p.out)
				}
			})
		}
	}
}

func TestPartHasTheWireFormOfUploadRequest(t *testing.T) {
	header := &countersignv1.UploadHeader{Sha256: content(32), Length: 1 << 34, Offset: 5}
	messages := []*countersignv1.UploadRequest{{Part: &countersignv1.UploadRequest_Header{Header: header}}}
	parts := []*Part{{Header: header}}
	for _, n := range sizes {
		messages = append(messages, &countersignv1.UploadRequest{Part: &countersignv1.UploadRequest_Data{Data: content(n)}})
		parts = append(parts, &Part{Data: slice(content(n))})
	}
	for i, m := range messages {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			want, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			msg, err := Codec{}.Marshal(parts[i])
			if err != nil {
				t.Fatal(err)
			}
			if got := msg.Materialize(); !bytes.Equal(got, want) {
				t.Errorf("sent %x…, protobuf sends %x…", got[:min(8, len(got))], want[:min(8, len(want))])
			}
			p := &counted{}
			var back Part
			in := pieces(p, want, 16384)
			err = Codec{}.Unmarshal(in, &back)
			in.Free()
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(back.Header, m.GetHeader()) || !bytes.Equal(back.Data.Materialize(), m.GetData()) {
				t.Errorf("received header %v and %d bytes, want %v and %d", back.Header, back.Data.Len(), m.GetHeader(), len(m.GetData()))
			}
			back.Free()
			if p.out != 0 {
				t.Errorf("%d buffers leaked", p.out)
			}
		})
	}
}

func TestOtherMessagesPassThrough(t *testing.T) {
	in := &countersignv1.GetMetadataRequest{Role: "gw-100.stop", Version: 3}
	msg, err := Codec{}.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	out := &countersignv1.GetMetadataRequest{}
	if err := (Codec{}).Unmarshal(msg, out); err != nil || !proto.Equal(in, out) {
		t.Errorf("got %v, %v, want %v", out, err, in)
	}
	if _, err := (Codec{}).Marshal("not a message"); err == nil {
		t.Error("a string was sent")
	}
	if (Codec{}).Name() != "proto" {
		t.Errorf("name %q", Codec{}.Name())
	}
}

func TestMoreThanAChunkIsRefused(t *testing.T) {
	big := content(Size + 1)
	frame, _ := proto.Marshal(&countersignv1.DownloadResponse{Data: big})
	part, _ := proto.Marshal(&countersignv1.UploadRequest{Part: &countersignv1.UploadRequest_Data{Data: big}})
	cases := []struct {
		name string
		msg  []byte
		into any
	}{
		{"frame", frame, &Frame{}},
		{"frame behind an unknown field", append([]byte{0x78, 1}, frame...), &Frame{}},
		{"part", part, &Part{}},
		{"part behind an unknown field", append([]byte{0x78, 1}, part...), &Part{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := &counted{}
			in := pieces(p, c.msg, 16384)
			err := Codec{}.Unmarshal(in, c.into)
			in.Free()
			if !reason.Is(err, reason.TooLarge) {
				t.Errorf("got %v, want [too-large]", err)
			}
			if p.out != 0 {
				t.Errorf("%d buffers leaked", p.out)
			}
		})
	}
}

// FuzzUnmarshal holds the decoder against protobuf's: both take the same messages and see the same
// data in them.
func FuzzUnmarshal(f *testing.F) {
	frame, _ := proto.Marshal(&countersignv1.DownloadResponse{Data: []byte("firmware")})
	part, _ := proto.Marshal(&countersignv1.UploadRequest{Part: &countersignv1.UploadRequest_Data{Data: []byte("firmware")}})
	header, _ := proto.Marshal(&countersignv1.UploadRequest{Part: &countersignv1.UploadRequest_Header{Header: &countersignv1.UploadHeader{Length: 9}}})
	for _, seed := range [][]byte{
		nil, frame, part, header,
		append(bytes.Clone(frame), frame...), // repeated: the last one counts
		append(bytes.Clone(part), header...), // oneof: the last one counts
		append([]byte{0x78, 1}, frame...),    // unknown field in front
		{0x0a, 0x81, 0x00, 'x'},
		{0x12, 0x81, 0x00, 'x'}, // length in more bytes than needed
		{0x8a, 0x00, 1, 'x'},    // tag in more bytes than needed
		{0x0a},
		{0x0a, 5, 'x'},
		{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f},
		{0x0b, 0x0c}, // cut off, too long, a group
	} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, msg []byte, cut int) {
		cut = 1 + (cut&0x7fffffff)%64
		p := &counted{}

		var frame Frame
		in := pieces(p, msg, cut)
		err := Codec{}.Unmarshal(in, &frame)
		in.Free()
		var download countersignv1.DownloadResponse
		want := proto.Unmarshal(msg, &download)
		if (err == nil) != (want == nil) || !bytes.Equal(frame.Data.Materialize(), download.GetData()) && want == nil {
			t.Fatalf("frame %x: %v, protobuf %v", msg, err, want)
		}
		frame.Free()

		var part Part
		in = pieces(p, msg, cut)
		err = Codec{}.Unmarshal(in, &part)
		in.Free()
		var upload countersignv1.UploadRequest
		want = proto.Unmarshal(msg, &upload)
		if (err == nil) != (want == nil) || want == nil &&
			(!bytes.Equal(part.Data.Materialize(), upload.GetData()) || !proto.Equal(part.Header, upload.GetHeader())) {
			t.Fatalf("part %x: %v, protobuf %v", msg, err, want)
		}
		part.Free()
		if p.out != 0 {
			t.Fatalf("%d buffers leaked by %x", p.out, msg)
		}
	})
}
