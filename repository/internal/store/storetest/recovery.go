package storetest

import (
	"encoding/binary"
	"fmt"
	"testing"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// testRecovery covers what backup and recovery read and write: newer role files, and the long lists.
func testRecovery(t *testing.T, open Maker) {
	t.Run("newer", func(t *testing.T) {
		s := open(t)
		put := func(r metadata.Repository, role string, version int64, data string) func(store.Tx) error {
			return func(tx store.Tx) error { return tx.PutNewer(r, role, version, &pb.NewerRecord{Data: []byte(data)}) }
		}
		for _, fn := range []func(store.Tx) error{
			put(metadata.Director, "root", 2, "d"), put(metadata.Image, "root", 3, "b"), put(metadata.Image, "gw", 1<<40, "c"),
			put(metadata.Image, "root", 2, "a"), put(metadata.Image, "root", 3, "B"), put(metadata.Image, "gw.stop", 1, "e"),
			func(tx store.Tx) error { return tx.DeleteNewer(metadata.Image, "gw.stop", 1) },
			func(tx store.Tx) error { return tx.DeleteNewer(metadata.Image, "gw.stop", 1) },
		} {
			mustUpdate(t, s, fn)
		}
		wantReason(t, update(t, s, put(metadata.Image, "gw", 0, "x")), reason.IntegerRange)
		wantReason(t, update(t, s, put("other", "gw", 1, "x")), reason.Malformed)
		mustView(t, s, func(v store.View) error {
			all, err := v.Newer()
			got := names(all, func(n store.Newer) string {
				return fmt.Sprintf("%s/%s/%d=%s", n.Repository, n.Role, n.Version, n.Record.Data)
			})
			if want := "image/gw/1099511627776=c image/root/2=a image/root/3=B director/root/2=d"; err != nil || got != want {
				t.Errorf("newer %q, %v; want %q", got, err, want)
			}
			return nil
		})
	})
	t.Run("all blobs and devices", func(t *testing.T) {
		s := open(t)
		const n = 1300 // several reads of any implementation
		mustUpdate(t, s, func(tx store.Tx) error {
			for i := range n {
				var sum [32]byte
				binary.BigEndian.PutUint32(sum[:], uint32(n-i))
				if err := tx.PutBlob(sum, &pb.BlobRecord{Length: int64(n - i)}); err != nil {
					return err
				}
				if err := tx.PutDevice(fmt.Sprintf("gw-%04d", n-i), &pb.DeviceRecord{EnrolledAt: int64(n - i)}); err != nil {
					return err
				}
			}
			return nil
		})
		mustView(t, s, func(v store.View) error {
			blobs, devices := 0, 0
			for b, err := range v.Blobs() {
				if blobs++; err != nil || b.Record.GetLength() != int64(blobs) || binary.BigEndian.Uint32(b.SHA256[:]) != uint32(blobs) {
					t.Fatalf("blob %d: %x, %v, %v", blobs, b.SHA256, b.Record, err)
				}
				if _, err := v.Blob(b.SHA256); err != nil { // a list that is read leaves the view usable
					t.Fatal(err)
				}
			}
			for d, err := range v.Devices() {
				if devices++; err != nil || d.ID != fmt.Sprintf("gw-%04d", devices) || d.Record.GetEnrolledAt() != int64(devices) {
					t.Fatalf("device %d: %s, %v, %v", devices, d.ID, d.Record, err)
				}
			}
			if blobs != n || devices != n {
				t.Errorf("%d blobs and %d devices, want %d of each", blobs, devices, n)
			}
			for _, err := range v.Blobs() {
				if err != nil {
					t.Error(err)
				}
				break
			}
			return nil
		})
	})
}
