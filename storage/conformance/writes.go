package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/storage"
)

func testRead(t *testing.T, c Config) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			s := c.New(t)
			written := write(t, s, make(typeAv1, tenancyDefault, "web"))
			settle(t, mode, func() error { return reads(t, s, mode, written.ID, written) })

			anyUID := written.ID
			anyUID.UID = ""
			settle(t, mode, func() error { return reads(t, s, mode, anyUID, written) })

			for _, wrong := range []func(*interrex.ResourceID){
				func(id *interrex.ResourceID) { id.Name = "different" },
				func(id *interrex.ResourceID) { id.UID = "b" },
				// The uid is compared before the group version.
				func(id *interrex.ResourceID) { id.UID, id.Type = "b", typeAv2 },
				func(id *interrex.ResourceID) { id.Tenancy = tenancySpace },
				func(id *interrex.ResourceID) { id.Type.Kind = "b" },
			} {
				id := written.ID
				wrong(&id)
				if _, err := s.Read(bounded(t), mode, id); !errors.Is(err, interrex.ErrNotFound) {
					t.Errorf("%+v: %v, want not found", id, err)
				}
			}

			other := written.ID
			other.Type = typeAv2
			_, err := s.Read(bounded(t), mode, other)
			var mismatch storage.GroupVersionMismatchError
			if !errors.As(err, &mismatch) || mismatch.RequestedType != typeAv2 || !reflect.DeepEqual(mismatch.Stored, written) {
				t.Errorf("another group version: %v (%+v), want the stored %+v", err, mismatch, written)
			}
		})
	}
	t.Run("unknown consistency", func(t *testing.T) {
		s := c.New(t)
		written := write(t, s, make(typeAv1, tenancyDefault, "web"))
		for _, unknown := range []storage.ReadConsistency{-1, 7} {
			if _, err := s.Read(bounded(t), unknown, written.ID); !errors.Is(err, interrex.ErrInconsistent) {
				t.Errorf("read: %v", err)
			}
			if _, err := s.List(bounded(t), unknown, storage.UnversionedTypeFrom(typeAv1), tenancyDefault, ""); !errors.Is(err, interrex.ErrInconsistent) {
				t.Errorf("list: %v", err)
			}
		}
	})
	t.Run("what is returned is the caller's", func(t *testing.T) {
		s := c.New(t)
		written := write(t, s, make(typeAv1, tenancyDefault, "web"))
		got, err := s.Read(bounded(t), storage.StrongConsistency, written.ID)
		if err != nil {
			t.Fatal(err)
		}
		want := written
		want.Metadata, want.Data.Value = maps.Clone(written.Metadata), bytes.Clone(written.Data.Value)
		for _, res := range []interrex.Resource{written, got} {
			res.Metadata["made-by"], res.Data.Value[0] = "somebody else", 'z'
		}
		settle(t, storage.StrongConsistency, func() error { return reads(t, s, storage.StrongConsistency, written.ID, want) })
	})
}

// reads reports whether a read gives what is wanted.
func reads(t *testing.T, s storage.Store, mode storage.ReadConsistency, id interrex.ResourceID, want interrex.Resource) error {
	got, err := s.Read(bounded(t), mode, id)
	if err != nil || !reflect.DeepEqual(got, want) {
		return fmt.Errorf("read %s of %+v: %+v (%v), want %+v", mode, id, got, err, want)
	}
	return nil
}

func testWrite(t *testing.T, c Config) {
	t.Run("by version", func(t *testing.T) {
		s := c.New(t)
		res := make(typeB, tenancyDefault, "web")
		res.Version = "some-version"
		if _, err := s.WriteCAS(bounded(t), res); !errors.Is(err, interrex.ErrCASFailure) {
			t.Fatalf("create with a version: %v", err)
		}
		res.Version = ""
		first := write(t, s, res)
		if first.Version == "" {
			t.Fatal("the version is empty")
		}
		res.Version = first.Version
		second := write(t, s, res)
		if second.Version == "" || second.Version == first.Version {
			t.Fatalf("versions %q and %q", first.Version, second.Version)
		}
		for _, stale := range []string{"", first.Version} {
			res.Version = stale
			if _, err := s.WriteCAS(bounded(t), res); !errors.Is(err, interrex.ErrCASFailure) {
				t.Errorf("write with version %q: %v", stale, err)
			}
		}
	})
	t.Run("uid stays", func(t *testing.T) {
		s := c.New(t)
		stored := write(t, s, make(typeB, tenancyDefault, "web"))
		for _, uid := range []string{"", "b"} {
			res := stored
			res.ID.UID = uid
			if _, err := s.WriteCAS(bounded(t), res); !errors.Is(err, interrex.ErrWrongUID) {
				t.Errorf("write with uid %q: %v", uid, err)
			}
			// The uid is compared before the version.
			res.Version = "some-version"
			if _, err := s.WriteCAS(bounded(t), res); !errors.Is(err, interrex.ErrWrongUID) {
				t.Errorf("write with uid %q and another version: %v", uid, err)
			}
		}
		stored = write(t, s, stored)
		if err := s.DeleteCAS(bounded(t), stored.ID, stored.Version); err != nil {
			t.Fatal(err)
		}
		again := make(typeB, tenancyDefault, "web")
		again.ID.UID = "b"
		if got := write(t, s, again); got.ID.UID != "b" {
			t.Errorf("made again as %+v", got.ID)
		}
	})
	t.Run("another group version replaces", func(t *testing.T) {
		s := c.New(t)
		stored := write(t, s, make(typeAv1, tenancyDefault, "web"))
		stored.ID.Type = typeAv2
		stored = write(t, s, stored)
		settle(t, storage.StrongConsistency, func() error { return reads(t, s, storage.StrongConsistency, stored.ID, stored) })
		stored.ID.Type = typeAv1
		if err := s.DeleteCAS(bounded(t), stored.ID, stored.Version); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(bounded(t), storage.StrongConsistency, stored.ID); !errors.Is(err, interrex.ErrNotFound) {
			t.Errorf("deleted under the other group version: %v", err)
		}
	})
	t.Run("what is given is not changed", func(t *testing.T) {
		s := c.New(t)
		res, same := make(typeAv1, tenancyDefault, "web"), make(typeAv1, tenancyDefault, "web")
		write(t, s, res)
		if !reflect.DeepEqual(res, same) {
			t.Errorf("%+v, and was %+v", res, same)
		}
		res.Metadata["made-by"], res.Data.Value[0] = "somebody else", 'z'
		got, err := s.Read(bounded(t), storage.StrongConsistency, res.ID)
		if err != nil || got.Metadata["made-by"] != "conformance" || got.Data.Value[0] == 'z' {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func testDelete(t *testing.T, c Config) {
	t.Run("by version", func(t *testing.T) {
		s := c.New(t)
		stored := write(t, s, make(typeB, tenancyDefault, "web"))
		for _, wrong := range []string{"", "some-version"} {
			if err := s.DeleteCAS(bounded(t), stored.ID, wrong); !errors.Is(err, interrex.ErrCASFailure) {
				t.Errorf("delete with version %q: %v", wrong, err)
			}
		}
		if err := s.DeleteCAS(bounded(t), stored.ID, stored.Version); err != nil {
			t.Fatal(err)
		}
		for _, mode := range modes {
			settle(t, mode, func() error {
				if _, err := s.Read(bounded(t), mode, stored.ID); !errors.Is(err, interrex.ErrNotFound) {
					return fmt.Errorf("read %s after the delete: %v", mode, err)
				}
				return nil
			})
		}
		for _, version := range []string{"", stored.Version, "7"} {
			if err := s.DeleteCAS(bounded(t), stored.ID, version); err != nil {
				t.Errorf("delete of nothing with version %q: %v", version, err)
			}
		}
	})
	t.Run("by uid", func(t *testing.T) {
		s := c.New(t)
		stored := write(t, s, make(typeB, tenancyDefault, "web"))
		for _, uid := range []string{"", "b"} {
			id := stored.ID
			id.UID = uid
			if err := s.DeleteCAS(bounded(t), id, stored.Version); err != nil {
				t.Errorf("delete with uid %q: %v", uid, err)
			}
			settle(t, storage.StrongConsistency, func() error { return reads(t, s, storage.StrongConsistency, stored.ID, stored) })
		}
	})
}
