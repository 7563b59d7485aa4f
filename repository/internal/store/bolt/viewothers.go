package bolt

import (
	"iter"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// Blob implements store.View, as do the methods below.
func (t *tx) Blob(sha256 [32]byte) (*pb.BlobRecord, error) {
	rec := new(pb.BlobRecord)
	found, err := t.record(bucketBlob, sha256[:], rec)
	if err == nil && !found {
		err = store.NotFound("blob %x", sha256)
	}
	if err != nil {
		return nil, err
	}
	return rec, nil
}

func (t *tx) Blobs() iter.Seq2[store.Blob, error] {
	return func(yield func(store.Blob, error) bool) {
		err := t.pages(bucketBlob, func(k, v []byte) (func() bool, error) {
			if len(k) != 32 {
				return nil, t.damaged(bucketBlob, k)
			}
			b := store.Blob{SHA256: [32]byte(k), Record: new(pb.BlobRecord)}
			return func() bool { return yield(b, nil) }, t.decode(bucketBlob, k, v, b.Record)
		})
		if err != nil {
			yield(store.Blob{}, err)
		}
	}
}

func (t *tx) Newer() ([]store.Newer, error) {
	var image, director []store.Newer
	err := t.scan(bucketNewer, nil, nil, func(k, v []byte) (bool, error) {
		r, role, version, ok := parseVersionKey(k)
		if !ok {
			return false, t.damaged(bucketNewer, k)
		}
		n := store.Newer{Repository: r, Role: role, Version: version, Record: new(pb.NewerRecord)}
		if r == metadata.Image {
			image = append(image, n)
		} else {
			director = append(director, n)
		}
		return true, t.decode(bucketNewer, k, v, n.Record)
	})
	if err != nil {
		return nil, err
	}
	return append(image, director...), nil
}

func (t *tx) Operator(id string) (*pb.OperatorRecord, error) {
	rec := new(pb.OperatorRecord)
	found, err := t.record(bucketOperator, []byte(id), rec)
	if err == nil && !found {
		err = store.NotFound("operator %q", id)
	}
	if err != nil {
		return nil, err
	}
	return rec, nil
}

func (t *tx) OperatorByKey(spki []byte) (string, *pb.OperatorRecord, error) {
	id, err := t.get(bucketOperatorKey, spki)
	if err == nil && id == nil {
		err = store.NotFound("operator with this key")
	}
	if err != nil {
		return "", nil, err
	}
	rec, err := t.Operator(string(id))
	if err != nil {
		return "", nil, err
	}
	return string(id), rec, nil
}

func (t *tx) Operators() ([]store.Operator, error) {
	var all []store.Operator
	err := t.scan(bucketOperator, nil, nil, func(k, v []byte) (bool, error) {
		rec := new(pb.OperatorRecord)
		all = append(all, store.Operator{ID: string(k), Record: rec})
		return true, t.decode(bucketOperator, k, v, rec)
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func (t *tx) Device(id string) (*pb.DeviceRecord, error) {
	rec := new(pb.DeviceRecord)
	found, err := t.record(bucketDevice, []byte(id), rec)
	if err == nil && !found {
		err = store.NotFound("device %q", id)
	}
	if err != nil {
		return nil, err
	}
	return rec, nil
}

func (t *tx) DeviceByKey(spki []byte) (string, *pb.DeviceRecord, error) {
	id, err := t.get(bucketDeviceKey, spki)
	if err == nil && id == nil {
		err = store.NotFound("device with this key")
	}
	if err != nil {
		return "", nil, err
	}
	rec, err := t.Device(string(id))
	if err != nil {
		return "", nil, err
	}
	return string(id), rec, nil
}

func (t *tx) Devices() iter.Seq2[store.Device, error] {
	return func(yield func(store.Device, error) bool) {
		err := t.pages(bucketDevice, func(k, v []byte) (func() bool, error) {
			d := store.Device{ID: string(k), Record: new(pb.DeviceRecord)}
			return func() bool { return yield(d, nil) }, t.decode(bucketDevice, k, v, d.Record)
		})
		if err != nil {
			yield(store.Device{}, err)
		}
	}
}

func (t *tx) Token(id string) (*pb.TokenRecord, error) {
	rec := new(pb.TokenRecord)
	found, err := t.record(bucketToken, []byte(id), rec)
	if err == nil && !found {
		err = store.NotFound("token %q", id)
	}
	if err != nil {
		return nil, err
	}
	return rec, nil
}

func (t *tx) Tokens() ([]store.Token, error) {
	var all []store.Token
	err := t.scan(bucketToken, nil, nil, func(k, v []byte) (bool, error) {
		rec := new(pb.TokenRecord)
		all = append(all, store.Token{ID: string(k), Record: rec})
		return true, t.decode(bucketToken, k, v, rec)
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func (t *tx) AuditLog(from uint64, limit int) ([]store.AuditEntry, error) {
	var entries []store.AuditEntry
	err := t.scan(bucketAudit, number(from), nil, func(k, v []byte) (bool, error) {
		if len(entries) >= limit {
			return false, nil
		}
		seq, ok := parseNumber(k)
		if !ok {
			return false, t.damaged(bucketAudit, k)
		}
		rec := new(pb.AuditRecord)
		entries = append(entries, store.AuditEntry{Seq: seq, Record: rec})
		return true, t.decode(bucketAudit, k, v, rec)
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}
