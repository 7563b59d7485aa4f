package storetest

import (
	"testing"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

func operator(key, next string) *pb.OperatorRecord {
	return &pb.OperatorRecord{PublicKey: []byte(key), NextPublicKey: []byte(next), Site: "s"}
}

func device(key string) *pb.DeviceRecord { return &pb.DeviceRecord{PublicKey: []byte(key)} }

func testPeople(t *testing.T, open Maker) {
	s := open(t)
	steps := []struct {
		name string
		do   func(store.Tx) error
		want reason.Reason // of the refusal; empty: done
		// owners are "key=id", or "key=" for nobody, of operators and of devices.
		operators, devices map[string]string
	}{
		{"operators without keys", func(tx store.Tx) error {
			if err := tx.PutOperator("okafor", operator("", "")); err != nil {
				return err
			}
			return tx.PutOperator("chen", operator("", ""))
		}, "", map[string]string{"": ""}, nil},
		{
			"enrolment", func(tx store.Tx) error { return tx.PutOperator("chen", operator("k1", "")) }, "",
			map[string]string{"k1": "chen", "": ""},
			nil,
		},
		{
			"another's key", func(tx store.Tx) error { return tx.PutOperator("okafor", operator("k1", "")) }, reason.KeyTwice,
			map[string]string{"k1": "chen"},
			nil,
		},
		{
			"renewal: both keys count", func(tx store.Tx) error { return tx.PutOperator("chen", operator("k1", "k2")) }, "",
			map[string]string{"k1": "chen", "k2": "chen"},
			nil,
		},
		{
			"another's next key", func(tx store.Tx) error { return tx.PutOperator("okafor", operator("k2", "")) }, reason.KeyTwice,
			map[string]string{"k2": "chen"},
			nil,
		},
		{
			"another's key as the next one", func(tx store.Tx) error { return tx.PutOperator("okafor", operator("k9", "k1")) }, reason.KeyTwice,
			map[string]string{"k1": "chen", "k9": ""},
			nil,
		},
		{
			"the new key alone", func(tx store.Tx) error { return tx.PutOperator("chen", operator("k2", "")) }, "",
			map[string]string{"k1": "", "k2": "chen"},
			nil,
		},
		{
			"a free key", func(tx store.Tx) error { return tx.PutOperator("okafor", operator("k1", "k1")) }, "",
			map[string]string{"k1": "okafor", "k2": "chen"},
			nil,
		},
		{
			"no key any more", func(tx store.Tx) error { return tx.PutOperator("okafor", operator("", "")) }, "",
			map[string]string{"k1": ""},
			nil,
		},
		{
			"devices have keys of their own", func(tx store.Tx) error { return tx.PutDevice("chen", device("k2")) }, "",
			map[string]string{"k2": "chen"},
			map[string]string{"k2": "chen"},
		},
		{
			"a device's new key", func(tx store.Tx) error { return tx.PutDevice("chen", device("k3")) }, "",
			nil,
			map[string]string{"k2": "", "k3": "chen"},
		},
		{
			"another device's key", func(tx store.Tx) error { return tx.PutDevice("gw", device("k3")) }, reason.KeyTwice,
			nil,
			map[string]string{"k3": "chen"},
		},
		{"an operator without id", func(tx store.Tx) error { return tx.PutOperator("", operator("", "")) }, reason.Malformed, nil, nil},
		{"a device without id", func(tx store.Tx) error { return tx.PutDevice("", device("")) }, reason.Malformed, nil, nil},
		{
			"a huge key", func(tx store.Tx) error { return tx.PutDevice("gw", device(string(make([]byte, store.MaxKey+1)))) },
			reason.KeyMalformed, nil, nil,
		},
		{"a huge next key", func(tx store.Tx) error {
			return tx.PutOperator("gw", operator("", string(make([]byte, store.MaxKey+1))))
		}, reason.KeyMalformed, nil, nil},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			err := update(t, s, step.do)
			if step.want != "" {
				wantReason(t, err, step.want)
			} else if err != nil {
				t.Fatal(err)
			}
			mustView(t, s, func(v store.View) error {
				for key, want := range step.operators {
					id, rec, err := v.OperatorByKey([]byte(key))
					wantOwner(t, "operator", key, id, want, err)
					if rec == nil && want != "" {
						t.Errorf("no record of %q", want)
					}
				}
				for key, want := range step.devices {
					id, _, err := v.DeviceByKey([]byte(key))
					wantOwner(t, "device", key, id, want, err)
				}
				return nil
			})
		})
	}
	mustView(t, s, func(v store.View) error {
		all, err := v.Operators()
		if got := names(all, func(o store.Operator) string { return o.ID }); err != nil || got != "chen okafor" {
			t.Errorf("operators %q, %v", got, err)
		}
		rec, err := v.Operator("chen")
		wantRecord(t, "chen", rec, operator("k2", ""), err)
		_, err = v.Operator("gw")
		wantNotFound(t, "operator", err)
		got, err := v.Device("chen")
		wantRecord(t, "device", got, device("k3"), err)
		_, err = v.Device("gw")
		wantNotFound(t, "device", err)
		return nil
	})
}

func wantOwner(t *testing.T, kind, key, got, want string, err error) {
	t.Helper()
	if want == "" {
		wantNotFound(t, kind+" by key "+key, err)
	} else if err != nil || got != want {
		t.Errorf("%s by key %q: %q, %v; want %q", kind, key, got, err, want)
	}
}
