package capacity

import (
	"cmp"
	"iter"
	"slices"
)

// MaxShown is the number of namespaces or kinds that have a number of their own in
// metrics: callers make names, and each would be a line.
const MaxShown = 256

// Others is the name under which Biggest has the rest. No namespace or kind has it.
const Others = "*"

// Counts returns how many things each namespace has, as Biggest does.
func (u *Used) Counts() map[string]int64 {
	return Biggest(func(yield func(string, int64) bool) {
		for namespace, has := range u.namespaces {
			if !yield(namespace, has.Count) {
				return
			}
		}
	})
}

// Biggest returns the MaxShown biggest of some numbers, of equals the first by name, and
// the sum of the rest under Others. What has none is absent.
func Biggest(of iter.Seq2[string, int64]) map[string]int64 {
	type one struct {
		name string
		n    int64
	}
	var all []one
	var others int64
	shrink := func() {
		slices.SortFunc(all, func(a, b one) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.name, b.name)) })
		for ; len(all) > MaxShown; all = all[:len(all)-1] {
			others += all[len(all)-1].n
		}
	}
	for name, n := range of {
		if all = append(all, one{name, n}); len(all) == 8*MaxShown { // sorting is rare
			shrink()
		}
	}
	shrink()
	shown := make(map[string]int64, len(all))
	for _, o := range all {
		shown[o.name] = o.n
	}
	if others > 0 {
		shown[Others] = others
	}
	return shown
}
