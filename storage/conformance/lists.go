package conformance

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/storage"
)

func testListByOwner(t *testing.T, c Config) {
	s := c.New(t)
	owner := write(t, s, make(typeAv1, tenancyDefault, "owner"))
	owned := func(typ interrex.ResourceType, name string) interrex.Resource {
		res := make(typ, tenancyDefault, name)
		res.Owner = owner.ID
		return write(t, s, res)
	}
	one, two := owned(typeB, "r1"), owned(typeAv2, "r2")
	write(t, s, make(typeB, tenancyDefault, "free"))
	lists := func(id interrex.ResourceID, want ...interrex.Resource) {
		t.Helper()
		eventually(t, func() error {
			got, err := s.ListByOwner(bounded(t), id)
			return same(got, err, want)
		})
	}
	lists(owner.ID, one, two)
	other := owner.ID
	other.Type = typeAv2
	lists(other, one, two)
	for _, uid := range []string{"different", ""} {
		other = owner.ID
		other.UID = uid
		lists(other)
	}
	if err := s.DeleteCAS(bounded(t), owner.ID, owner.Version); err != nil {
		t.Fatal(err)
	}
	lists(owner.ID, one, two)
	if err := s.DeleteCAS(bounded(t), two.ID, two.Version); err != nil {
		t.Fatal(err)
	}
	lists(owner.ID, one)
	t.Run("is not behind a watch", func(t *testing.T) { testOwnerGoes(t, c) })
}

// testOwnerGoes wants every reference to be listed once a watch has told that the
// owner is gone.
func testOwnerGoes(t *testing.T, c Config) {
	s := c.New(t)
	for round := range 20 {
		owner := write(t, s, make(typeAv1, tenancyDefault, fmt.Sprint("owner", round)))
		w := watch(t, s, tenancyDefault, owner.ID.Name)
		wantUpsert(t, w, owner)
		res := make(typeB, tenancyDefault, fmt.Sprint("owned", round))
		res.Owner = owner.ID
		owned := write(t, s, res)
		if err := s.DeleteCAS(bounded(t), owner.ID, owner.Version); err != nil {
			t.Fatal(err)
		}
		wantDelete(t, w, owner)
		got, err := s.ListByOwner(bounded(t), owner.ID)
		if err := same(got, err, []interrex.Resource{owned}); err != nil {
			t.Fatal(err)
		}
		w.Close()
	}
}

// same compares a list with what is wanted, in any order.
func same(got []interrex.Resource, err error, want []interrex.Resource) error {
	if err != nil {
		return err
	}
	left := slices.Clone(want)
	for _, res := range got {
		i := slices.IndexFunc(left, func(w interrex.Resource) bool { return reflect.DeepEqual(w, res) })
		if i < 0 {
			return fmt.Errorf("%+v is listed, and not wanted (once more)", res)
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		return fmt.Errorf("%+v are not listed", left)
	}
	return nil
}

// sown writes the seed, and returns it as it is stored.
func sown(t *testing.T, s storage.Store) []interrex.Resource {
	t.Helper()
	all := seed()
	for i := range all {
		all[i] = write(t, s, all[i])
	}
	return all
}

func pick(all []interrex.Resource, indices []int) []interrex.Resource {
	picked := []interrex.Resource{}
	for _, i := range indices {
		picked = append(picked, all[i])
	}
	return picked
}

func testList(t *testing.T, c Config) {
	s := c.New(t)
	all := sown(t, s)
	for name, sel := range selections {
		for _, mode := range modes {
			t.Run(fmt.Sprint(name, ", ", mode), func(t *testing.T) {
				settle(t, mode, func() error {
					got, err := s.List(bounded(t), mode, storage.UnversionedTypeFrom(typeAv1), sel.tenancy, sel.prefix)
					if err == nil && got == nil {
						return errors.New("the list is nil")
					}
					return same(got, err, pick(all, sel.want))
				})
			})
		}
	}
}

// testNames are names that a careless key or prefix would mix up.
func testNames(t *testing.T, c Config) {
	s := c.New(t)
	var all []interrex.Resource
	for _, name := range []string{"a", "A", "a/b", "ab", "a*", "*", "größe", "a b"} {
		all = append(all, write(t, s, make(typeAv1, tenancyDefault, name)))
	}
	for prefix, want := range map[string][]int{"a": {0, 2, 3, 4, 7}, "A": {1}, "a/": {2}, "*": {5}, "gr": {6}, "a*": {4}} {
		got, err := s.List(bounded(t), storage.StrongConsistency, storage.UnversionedTypeFrom(typeAv1), tenancyDefault, prefix)
		if err := same(got, err, pick(all, want)); err != nil {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
	for _, res := range all {
		if err := reads(t, s, storage.StrongConsistency, res.ID, res); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "a\x00b"} {
		if _, err := s.WriteCAS(bounded(t), make(typeAv1, tenancyDefault, name)); !errors.Is(err, interrex.ErrInvalid) {
			t.Errorf("name %q: %v, want invalid", name, err)
		}
	}
	if _, err := s.WriteCAS(bounded(t), make(typeAv1, interrex.Tenancy{Partition: "*", Namespace: "default"}, "x")); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("a wildcard in a write: %v, want invalid", err)
	}
}
