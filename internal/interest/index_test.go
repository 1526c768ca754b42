package interest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// covers reports whether a scope covers an event, by its definition.
func covers(s Scope, e Event) bool {
	key := e.Key
	for range s.Skip {
		_, key, _ = strings.Cut(key, "/")
	}
	among := func(all []string, one string) bool { return len(all) == 0 || slices.Contains(all, one) }
	tagged := len(s.Tags) == 0 || slices.ContainsFunc(e.Tags, func(tag string) bool { return slices.Contains(s.Tags, tag) })
	return (s.Table == 0 || s.Table == e.Table) && (len(s.Tags) > 0 || among(s.Kinds, e.Kind)) && tagged &&
		(s.Key == "" || key == s.Key) && strings.HasPrefix(key, s.Prefix)
}

func pick(r *rand.Rand, all ...string) string { return all[r.IntN(len(all))] }

func anyScope(r *rand.Rand) Scope {
	s := Scope{Table: uint16(r.IntN(3)), Skip: r.IntN(MaxSkip + 2)}
	switch r.IntN(5) {
	case 0:
		s.Tags = []string{pick(r, "x", "y"), "z"}
	case 1:
		s.Kinds = []string{pick(r, "k", "l"), "m"}
	case 2:
		s.Key = pick(r, "a/b/c/d", "b/c/d", "d")
	case 3:
		s.Prefix = pick(r, "a", "a/b", "b/c", "c/d", "d", "none")
	}
	return s
}

// An index finds each reader whose scope covers an event, and no other where the scope is
// of one kind of limit.
func TestAnIndexFindsTheReadersOfAnEvent(t *testing.T) {
	for range 300 {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test
		var x Index[int]
		scopes, entries := map[int]Scope{}, map[int]*Entry{}
		for n := range 40 {
			scopes[n] = anyScope(r)
			entries[n] = x.Add(scopes[n], n)
		}
		for n := range 40 {
			if r.IntN(3) == 0 {
				x.Remove(entries[n])
				delete(scopes, n)
			}
		}
		for range 50 {
			e := Event{Table: uint16(r.IntN(3)), Kind: pick(r, "k", "l", "m", "n"), Key: pick(r, "a/b/c/d", "a/b/c", "a/x/d", "d", ""), Tags: []string{pick(r, "x", "y", "z"), "w"}}
			found := map[int]bool{}
			x.Each(e, func(n int) { found[n] = true })
			for n, s := range scopes {
				if found[n] != covers(s, e) && !(found[n] && s.Skip > MaxSkip) {
					t.Fatalf("seed %d: %+v: found is %v for %+v", seed, e, found[n], s)
				}
				delete(found, n)
			}
			if len(found) > 0 {
				t.Fatalf("seed %d: readers that have left are found: %v", seed, found)
			}
		}
		for _, e := range entries {
			x.Remove(e)
			x.Remove(e)
		}
		if !x.Empty() || len(x.readers) != 0 || x.skips != [MaxSkip + 1]int{} || len(x.All()) != 0 {
			t.Fatalf("it is not empty: %+v", x)
		}
	}
}

func TestALongScopeIsIndexedOnce(t *testing.T) {
	var x Index[int]
	s := Scope{Table: 3}
	for n := range maxSubjects + 1 {
		s.Tags = append(s.Tags, fmt.Sprint(n))
	}
	if e := x.Add(s, 1); len(e.places) != 1 || len(x.All()) != 1 {
		t.Errorf("it has %d places", len(e.places))
	}
	found := 0
	x.Each(Event{Table: 3, Tags: []string{"4"}}, func(int) { found++ })
	if found != 1 {
		t.Errorf("it is found %d times", found)
	}
}

func TestOnlyEqualScopesHaveTheSameString(t *testing.T) {
	all := []Scope{{}, {Table: 1}, {Skip: 1}, {Key: "a"}, {Prefix: "a"}, {Kinds: []string{"a"}}, {Tags: []string{"a"}}, {Kinds: []string{"a", "b"}}, {Kinds: []string{"a b"}}, {Kinds: []string{"a"}, Tags: []string{"b"}}, {Kinds: []string{`a" "b`}}}
	seen := map[string]Scope{}
	for _, s := range all {
		if other, is := seen[s.String()]; is {
			t.Errorf("%+v and %+v are %s", s, other, s)
		}
		seen[s.String()] = s
	}
}
