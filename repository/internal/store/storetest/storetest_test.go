package storetest

import (
	"testing"

	"github.com/countersign-ota/countersign/repository/internal/store"
)

func TestModel(t *testing.T) {
	Run(t, func(t *testing.T) store.Store {
		m := NewModel()
		t.Cleanup(func() { m.Close() })
		return m
	})
}
