// Package conformance owns the tests that every storage.Store must pass.
package conformance

import (
	"context"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/storage"
)

// Config configures Run.
type Config struct {
	// New returns an empty store, which must live until the test ends.
	New func(t *testing.T) storage.Store
	// Restart replaces the content by itself, as a restore does, so that watches
	// end with ErrWatchClosed. nil: the store has no restore.
	Restart func(t *testing.T, s storage.Store)
}

// patience is how long an eventual read, or a watch, may take to show a write.
const patience = 30 * time.Second

// Run tests a store.
func Run(t *testing.T, c Config) {
	t.Run("Read", func(t *testing.T) { testRead(t, c) })
	t.Run("WriteCAS", func(t *testing.T) { testWrite(t, c) })
	t.Run("DeleteCAS", func(t *testing.T) { testDelete(t, c) })
	t.Run("ListByOwner", func(t *testing.T) { testListByOwner(t, c) })
	t.Run("List", func(t *testing.T) { testList(t, c) })
	t.Run("WatchListSnapshot", func(t *testing.T) { testWatchSnapshot(t, c) })
	t.Run("WatchListChanges", func(t *testing.T) { testWatchChanges(t, c) })
	t.Run("WatchEnds", func(t *testing.T) { testWatchEnds(t, c) })
	t.Run("Concurrent", func(t *testing.T) { testConcurrent(t, c) })
	t.Run("Names", func(t *testing.T) { testNames(t, c) })
}

// The fixtures.
var (
	typeAv1 = interrex.ResourceType{Group: "test", GroupVersion: "v1", Kind: "a"}
	typeAv2 = interrex.ResourceType{Group: "test", GroupVersion: "v2", Kind: "a"}
	typeB   = interrex.ResourceType{Group: "test", GroupVersion: "v1", Kind: "b"}

	tenancyDefault = interrex.Tenancy{Partition: "default", Namespace: "default"}
	tenancyOther   = interrex.Tenancy{Partition: "billing", Namespace: "payments"}
	tenancySpace   = interrex.Tenancy{Partition: "default", Namespace: "other"}
)

// seed are the resources that lists and watches select from.
func seed() []interrex.Resource {
	return []interrex.Resource{
		make(typeAv1, tenancyDefault, "admin"),
		make(typeAv1, tenancyDefault, "api"),
		make(typeAv2, tenancyDefault, "web"),
		make(typeAv1, tenancyOther, "api"),
		make(typeB, tenancyDefault, "admin"),
		make(typeAv1, tenancySpace, "autoscaler"),
	}
}

// selections are what a list or a watch of test.a asks for, and which of seed it
// gets.
var selections = map[string]struct {
	tenancy interrex.Tenancy
	prefix  string
	want    []int
}{
	"one tenancy":                {tenancyDefault, "", []int{0, 1, 2}},
	"another tenancy":            {tenancyOther, "", []int{3}},
	"one tenancy and a prefix":   {tenancyDefault, "a", []int{0, 1}},
	"every tenancy":              {interrex.Tenancy{Partition: "*", Namespace: "*"}, "", []int{0, 1, 2, 3, 5}},
	"every namespace":            {interrex.Tenancy{Partition: "default", Namespace: "*"}, "", []int{0, 1, 2, 5}},
	"every partition":            {interrex.Tenancy{Partition: "*", Namespace: "default"}, "", []int{0, 1, 2}},
	"every tenancy and a prefix": {interrex.Tenancy{Partition: "*", Namespace: "*"}, "a", []int{0, 1, 3, 5}},
	"a prefix of nothing":        {tenancyDefault, "A", nil},
}

// make makes a resource that is not stored, with the uid "a".
func make(t interrex.ResourceType, tenancy interrex.Tenancy, name string) interrex.Resource {
	return interrex.Resource{
		ID:       interrex.ResourceID{Type: t, Tenancy: tenancy, Name: name, UID: "a"},
		Metadata: map[string]string{"made-by": "conformance"},
		Data:     interrex.ResourceData{TypeURL: "type.googleapis.com/google.protobuf.StringValue", Value: []byte("\n\x01x")},
	}
}

// modes are the two ways to read: a strong read shows what was written at once,
// an eventual one after a time.
var modes = map[string]storage.ReadConsistency{
	"eventual": storage.EventualConsistency,
	"strong":   storage.StrongConsistency,
}

// settle repeats check until it finds nothing wrong; a strong read has one try.
func settle(t *testing.T, mode storage.ReadConsistency, check func() error) {
	t.Helper()
	if mode == storage.StrongConsistency {
		if err := check(); err != nil {
			t.Fatal(err)
		}
		return
	}
	eventually(t, check)
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// write writes a resource that must be accepted.
func write(t *testing.T, s storage.Store, res interrex.Resource) interrex.Resource {
	t.Helper()
	got, err := s.WriteCAS(bounded(t), res)
	if err != nil {
		t.Fatalf("write %s: %v", res.ID.Name, err)
	}
	return got
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
