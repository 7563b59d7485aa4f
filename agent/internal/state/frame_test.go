package state

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"
)

// sample is a record with something in every kind of field.
func sample() *Record {
	return &Record{
		Roles:      map[string]*RoleInForce{"image/root": {Version: 4, Sha256: bytes.Repeat([]byte{1}, 32), Expires: 1795606260}},
		Components: map[string]*Component{"main": {Counter: 17, Floor: 12, Path: "gw-100/2.4.1/gw.img"}},
		Set: &Set{State: State_STATE_TRIAL, Attempts: 1, Members: []*Member{{
			Component: "main", Path: "gw-100/2.4.2/gw.img", Length: 9412608, Counter: 18, Installed: true, BootId: "b",
		}}},
		TimeFloor: 1795606260, Stops: []*Stop{{Path: "gw-100/2.4.0/gw.img", Counter: 16}}, Contact: 1795606261,
	}
}

func frame(t testing.TB, seq uint64, r *Record) []byte {
	t.Helper()
	data, err := encode(seq, r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestFrameRoundTrip(t *testing.T) {
	for _, r := range []*Record{sample(), new(Record)} {
		seq, got, err := decode(frame(t, 7, r))
		if err != nil || seq != 7 || !proto.Equal(got, r) {
			t.Errorf("decode = %d, %v, %v; want 7, %v", seq, got, err, r)
		}
	}
}

func TestFrameRefusesLargeRecord(t *testing.T) {
	if _, err := encode(1, &Record{Prev: make([]byte, MaxRecord)}); err == nil {
		t.Error("a record above MaxRecord was encoded")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(frame(f, 1, sample()))
	f.Add(frame(f, maxSeq-1, new(Record)))
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Add(make([]byte, headerLen+sumLen))
	f.Fuzz(func(t *testing.T, data []byte) {
		seq, r, err := decode(data)
		if err != nil {
			if !errors.Is(err, errDamaged) || r != nil || seq != 0 {
				t.Fatalf("decode = %d, %v, %v", seq, r, err)
			}
			return
		}
		// What was read is what a commit would write, whatever order its fields came in.
		again := frame(t, seq, r)
		seq2, r2, err := decode(again)
		if err != nil || seq2 != seq || !proto.Equal(r, r2) {
			t.Fatalf("written again it reads %d, %v, %v", seq2, r2, err)
		}
	})
}
