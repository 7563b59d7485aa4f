package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// Compare carries out the same random transactions on a store and on Model. After each one, every
// answer during it and all that can be read afterwards must be the same.
func Compare(t *testing.T, open func() (store.Store, error)) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := open()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		model := NewModel()
		for range rapid.IntRange(1, 12).Draw(t, "transactions") {
			ops := rapid.SliceOfN(rapid.Custom(drawOp), 0, 8).Draw(t, "ops")
			fails := rapid.IntRange(0, 4).Draw(t, "fails") == 0
			got, want := carryOut(s, ops, fails), carryOut(model, ops, fails)
			if got != want {
				t.Fatalf("answers differ\ngot:\n%s\nwant:\n%s", got, want)
			}
			if got, want := dump(s), dump(model); got != want {
				t.Fatalf("states differ\ngot:\n%s\nwant:\n%s", got, want)
			}
		}
	})
}

// op is one call of a Tx, drawn beforehand so that both stores get the same.
type op struct {
	name string
	do   func(store.Tx) error
}

// String lets rapid print a failing example.
func (o op) String() string { return o.name }

// The small spaces from which ops are drawn, so that they meet.
var (
	repositories = []metadata.Repository{metadata.Image, metadata.Director}
	roleNames    = []string{"root", "gw", "gw.stop"}
	ids          = []string{"a", "b", "c"}
	keys         = []string{"", "k1", "k2", "k3"}
	contents     = []string{"x", "y"}
)

func drawOp(t *rapid.T) op {
	r := rapid.SampledFrom(repositories).Draw(t, "repository")
	name := rapid.SampledFrom(roleNames).Draw(t, "role")
	id := rapid.SampledFrom(ids).Draw(t, "id")
	key := rapid.SampledFrom(keys).Draw(t, "key")
	next := rapid.SampledFrom(keys).Draw(t, "next")
	content := rapid.SampledFrom(contents).Draw(t, "content")
	n := rapid.Int64Range(0, 4).Draw(t, "n")
	all := []op{
		{fmt.Sprintf("PutRole(%s, %s, %d, %s, %s)", r, name, n, content, key), func(tx store.Tx) error {
			return tx.PutRole(r, name, n, role(content, key))
		}},
		{fmt.Sprintf("PutUsed(%s, %s, %d)", r, name, n), func(tx store.Tx) error {
			return tx.PutUsed(r, name, &pb.UsedRecord{Version: n, Counter: 4 - n})
		}},
		{fmt.Sprintf("PutEvent(%s, %s, %d)", id, content, n), func(tx store.Tx) error {
			rec := &pb.EventRecord{Event: []byte(content), Order: uint64(n)}
			err := tx.PutEvent(eventID(id), rec)
			return errors.Join(err, fmt.Errorf("order %d", rec.Order))
		}},
		{fmt.Sprintf("SetOpen(%s, %s, %s)", r, name, id), func(tx store.Tx) error {
			return tx.SetOpen(r, name, eventID(id))
		}},
		{fmt.Sprintf("ClearOpen(%s, %s)", r, name), func(tx store.Tx) error { return tx.ClearOpen(r, name) }},
		{fmt.Sprintf("PutBlob(%s, %d)", id, n), func(tx store.Tx) error {
			return tx.PutBlob(eventID(id), &pb.BlobRecord{Length: n})
		}},
		{fmt.Sprintf("PutNewer(%s, %s, %d, %s)", r, name, n, content), func(tx store.Tx) error {
			return tx.PutNewer(r, name, n, &pb.NewerRecord{Data: []byte(content)})
		}},
		{fmt.Sprintf("DeleteNewer(%s, %s, %d)", r, name, n), func(tx store.Tx) error { return tx.DeleteNewer(r, name, n) }},
		{fmt.Sprintf("PutOperator(%s, %s, %s)", id, key, next), func(tx store.Tx) error {
			return tx.PutOperator(id, operator(key, next))
		}},
		{fmt.Sprintf("PutDevice(%s, %s)", id, key), func(tx store.Tx) error { return tx.PutDevice(id, device(key)) }},
		{fmt.Sprintf("PutToken(%s, %s)", id, content), func(tx store.Tx) error {
			return tx.PutToken(id, &pb.TokenRecord{Subject: content})
		}},
		{fmt.Sprintf("DeleteToken(%s)", id), func(tx store.Tx) error { return tx.DeleteToken(id) }},
		{fmt.Sprintf("SetMeta(%s, %s)", id, content), func(tx store.Tx) error { return tx.SetMeta(id, content) }},
		{fmt.Sprintf("Audit(%s)", content), func(tx store.Tx) error {
			seq, err := tx.Audit(&pb.AuditRecord{Detail: content})
			return errors.Join(err, fmt.Errorf("number %d", seq))
		}},
	}
	return rapid.SampledFrom(all).Draw(t, "op")
}

// carryOut runs ops in one transaction and returns what they answered.
func carryOut(s store.Store, ops []op, fails bool) string {
	var answers strings.Builder
	err := s.Update(ctx, func(tx store.Tx) error {
		answers.Reset()
		for _, o := range ops {
			err := o.do(tx)
			fmt.Fprintf(&answers, "%s: %v [%s]\n", o.name, err, reason.Of(err))
		}
		dumpView(&answers, tx)
		if fails {
			return errors.New("the function fails")
		}
		return nil
	})
	fmt.Fprintf(&answers, "update: %v\n", err)
	return answers.String()
}

// dump returns all that can be read, within the small spaces.
func dump(s store.Store) string {
	var out strings.Builder
	err := s.View(ctx, func(v store.View) error { dumpView(&out, v); return nil })
	fmt.Fprintf(&out, "view: %v\n", err)
	return out.String()
}

func dumpView(out *strings.Builder, v store.View) {
	line := func(what string, values ...any) { fmt.Fprintf(out, "%s: %q\n", what, fmt.Sprint(values...)) }
	for _, r := range repositories {
		roles, err := v.Roles(r)
		line("roles", r, roles, err)
		for _, name := range roleNames {
			version, rec, err := v.Current(r, name)
			line("current", r, name, version, wire(rec), err)
			for n := range int64(5) {
				rec, err := v.Role(r, name, n)
				line("role", r, name, n, wire(rec), err)
			}
			used, err := v.Used(r, name)
			line("used", r, name, wire(used), err)
			id, ok, err := v.OpenEvent(r, name)
			line("open", r, name, id, ok, err)
		}
	}
	for _, all := range []bool{true, false} {
		for before := range uint64(5) {
			for e, err := range v.Events(store.EventQuery{All: all, Before: before}) {
				line("events", all, before, e.ID, wire(e.Record), err)
			}
		}
	}
	for _, prefix := range []string{"", "3", "3e", "2e7"} {
		found, err := v.EventsByPrefix(prefix, 2)
		line("events by prefix", prefix, found, err)
	}
	for _, id := range ids {
		event, err := v.Event(eventID(id))
		line("event", id, wire(event), err)
		blob, err := v.Blob(eventID(id))
		line("blob", id, wire(blob), err)
		op, err := v.Operator(id)
		line("operator", id, wire(op), err)
		dev, err := v.Device(id)
		line("device", id, wire(dev), err)
		token, err := v.Token(id)
		line("token", id, wire(token), err)
		meta, err := v.Meta(id)
		line("meta", id, meta, err)
	}
	for _, key := range keys {
		id, op, err := v.OperatorByKey([]byte(key))
		line("operator by key", key, id, wire(op), err)
		id, dev, err := v.DeviceByKey([]byte(key))
		line("device by key", key, id, wire(dev), err)
	}
	operators, err := v.Operators()
	line("operators", names(operators, func(o store.Operator) string { return o.ID + wire(o.Record) }), err)
	for b, err := range v.Blobs() {
		line("blobs", b.SHA256, wire(b.Record), err)
	}
	for d, err := range v.Devices() {
		line("devices", d.ID, wire(d.Record), err)
	}
	newer, err := v.Newer()
	line("newer", names(newer, func(n store.Newer) string { return fmt.Sprint(n.Repository, n.Role, n.Version, wire(n.Record)) }), err)
	tokens, err := v.Tokens()
	line("tokens", names(tokens, func(k store.Token) string { return k.ID + wire(k.Record) }), err)
	for _, from := range []uint64{0, 2} {
		log, err := v.AuditLog(from, 20)
		line("audit", from, names(log, func(e store.AuditEntry) string { return fmt.Sprint(e.Seq, wire(e.Record)) }), err)
	}
}
