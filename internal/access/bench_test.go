package access_test

import (
	"testing"

	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/accesstoken"
)

// BenchmarkCheck is what a call costs because of its token: it is looked up, and its
// rules are read.
func BenchmarkCheck(b *testing.B) {
	w := &world{T: nil, Table: access.New()}
	for n := range 100 {
		c, err := w.Decode(create(byte(n), "ann").Append(nil))
		if err != nil {
			b.Fatal(err)
		}
		w.Apply(w.turn(), c)
	}
	text := numbered(7).String()
	b.ReportAllocs()
	for b.Loop() {
		g, err := w.Grant(text)
		if err != nil || !g.Allows(accesstoken.Use{Table: "lease", Verb: "extend", Key: "default/a"}) {
			b.Fatal(err)
		}
	}
}
