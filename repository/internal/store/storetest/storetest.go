// Package storetest judges implementations of store.Store.
//
// Run is the conformance suite, which every implementation passes; Compare drives an implementation
// and Model with the same random transactions and compares all that can be read. Model lives here
// because it is for tests only.
package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// Maker makes an empty store for one test and closes it at the test's end.
type Maker func(t *testing.T) store.Store

// Run runs the suite.
func Run(t *testing.T, open Maker) {
	t.Run("transactions", func(t *testing.T) { testTransactions(t, open) })
	t.Run("roles", func(t *testing.T) { testRoles(t, open) })
	t.Run("used", func(t *testing.T) { testUsed(t, open) })
	t.Run("events", func(t *testing.T) { testEvents(t, open) })
	t.Run("people", func(t *testing.T) { testPeople(t, open) })
	t.Run("others", func(t *testing.T) { testOthers(t, open) })
	t.Run("recovery", func(t *testing.T) { testRecovery(t, open) })
}

var ctx = context.Background()

// update runs fn in a transaction with an audit entry.
func update(t *testing.T, s store.Store, fn func(tx store.Tx) error) error {
	t.Helper()
	return s.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Audit(&pb.AuditRecord{Action: "test"}); err != nil {
			return err
		}
		return fn(tx)
	})
}

func mustUpdate(t *testing.T, s store.Store, fn func(tx store.Tx) error) {
	t.Helper()
	if err := update(t, s, fn); err != nil {
		t.Fatal(err)
	}
}

func mustView(t *testing.T, s store.Store, fn func(v store.View) error) {
	t.Helper()
	if err := s.View(ctx, fn); err != nil {
		t.Fatal(err)
	}
}

func wantReason(t *testing.T, err error, want reason.Reason) {
	t.Helper()
	if got := reason.Of(err); got != want || err == nil {
		t.Errorf("reason %q of %v, want %q", got, err, want)
	}
}

func wantNotFound(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrNotFound) || reason.Of(err) != reason.NotFound {
		t.Errorf("%s: %v, want %v with its reason", what, err, store.ErrNotFound)
	}
}

func wantRecord(t *testing.T, what string, got, want proto.Message, err error) {
	t.Helper()
	if err != nil || !proto.Equal(got, want) {
		t.Errorf("%s: %v, %v; want %v", what, got, err, want)
	}
}

// role is a record whose content and signatures are named.
func role(content, signatures string) *pb.RoleRecord {
	digest := sha256.Sum256([]byte(content))
	return &pb.RoleRecord{Data: []byte(content + "/" + signatures), Digest: digest[:], PublishedAt: 7}
}

func eventID(name string) store.EventID { return sha256.Sum256([]byte(name)) }

// names joins what a list returned.
func names[T any](list []T, name func(T) string) string {
	var all []string
	for _, e := range list {
		all = append(all, name(e))
	}
	return strings.Join(all, " ")
}

// wire is a record as text that compares.
func wire(m proto.Message) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	return fmt.Sprintf("%q %v", b, err)
}
