package accesstoken

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
)

// Grant is what a caller may do. It is immutable, until it ends.
type Grant struct {
	Name     string
	Operator bool
	Rules    []interrex.AccessRule
	// Valid is done when the grant ends; its cause says why.
	Valid context.Context
}

// Use is one use of the API.
type Use struct {
	Table string
	Verb  string // empty: any of them will do
	// Key is the key that it is about; empty: none, or all.
	Key string
	// Prefix reports that it is about all keys that begin with Key.
	Prefix bool
	// Holder is the holder that it names, or the owner of a pin; empty: none.
	Holder string
	// Held is the holder of the lease whose token it shows; empty: none.
	Held string
}

// Allows reports whether one of the rules allows a use.
func (g *Grant) Allows(u Use) bool {
	return g.Operator || slices.ContainsFunc(g.Rules, func(r interrex.AccessRule) bool { return allows(r, u, g.Name) })
}

func allows(r interrex.AccessRule, u Use, name string) bool {
	if r.Table != u.Table && r.Table != "*" || r.Own && !u.Own(name) {
		return false
	}
	if u.Verb != "" && !slices.Contains(r.Verbs, u.Verb) && !slices.Contains(r.Verbs, "*") {
		return false
	}
	if first, begins := strings.CutSuffix(r.Prefix, "*"); begins {
		return strings.HasPrefix(u.Key, first)
	}
	return !u.Prefix && u.Key == r.Prefix
}

// Own reports whether it concerns no holder but the named one.
func (u Use) Own(name string) bool {
	return (u.Holder == "" || u.Holder == name) && (u.Held == "" || u.Held == name)
}

// Binds reports whether a rule binds the caller to its own name.
func (g *Grant) Binds() bool {
	return slices.ContainsFunc(g.Rules, func(r interrex.AccessRule) bool { return r.Own })
}

// Missing returns the text of a rule that would allow a use. Of a key that is longer
// than the prefix of a rule, it has the beginning.
func (u Use) Missing() string {
	r := interrex.AccessRule{Table: u.Table, Verbs: []string{cmp.Or(u.Verb, "read")}, Prefix: u.Key}
	if u.Prefix || u.Key == "" {
		r.Prefix += "*"
	}
	if len(r.Prefix) > limits.MaxRulePrefix {
		r.Prefix = strings.ToValidUTF8(r.Prefix[:limits.MaxRulePrefix-1], "") + "*"
	}
	return r.String()
}
