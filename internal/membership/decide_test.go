package membership

import (
	"slices"
	"strings"
	"testing"

	"github.com/interrex/interrex/internal/peering"
)

// said builds a hello from "id:met1,met2"; an incarnation other than 1 follows a
// slash, as in "b/2".
func said(text string) peering.Hello {
	id, met, _ := strings.Cut(text, ":")
	h := peering.Hello{Expect: 3}
	h.ID, h.Incarnation = named(id)
	for _, m := range strings.FieldsFunc(met, func(r rune) bool { return r == ',' }) {
		other, incarnation := named(m)
		h.Met = append(h.Met, peering.Met{ID: other, Incarnation: incarnation})
	}
	return h
}

func named(text string) (id, incarnation string) {
	id, incarnation, ok := strings.Cut(text, "/")
	if !ok {
		incarnation = "1"
	}
	return id, incarnation
}

func TestClusterIsBootstrappedWhenAllKnowExactlyAll(t *testing.T) {
	for _, c := range []struct {
		name   string
		n      int
		hellos string // self first
		change func(all []peering.Hello)
		ids    string // "" when it must wait
		err    string
	}{
		{name: "all know all", n: 3, hellos: "b:a,c a:b,c c:a,b", ids: "a b c"},
		{name: "one alone", n: 1, hellos: "a", change: func(h []peering.Hello) { h[0].Expect = 1 }, ids: "a"},
		{name: "not asked to", n: 0, hellos: "a"},
		{name: "one is missing", n: 3, hellos: "a:b b:a"},
		{name: "one has not met all", n: 3, hellos: "a:b,c b:a,c c:a"},
		{name: "one has met itself in place of another", n: 3, hellos: "a:a,b b:a,c c:a,b"},
		{name: "one knows an older life of another", n: 3, hellos: "a:b/2,c b/2:a,c c:a,b"},
		{name: "we know an older life than it says", n: 3, hellos: "a:b,c b/2:a,c c:a,b/2"},
		{name: "somebody is in a cluster", n: 3, hellos: "a:b,c b:a,c c:a,b", change: func(h []peering.Hello) { h[2].ClusterID = "x" }},
		{name: "we are in a cluster", n: 3, hellos: "a:b,c b:a,c c:a,b", change: func(h []peering.Hello) { h[0].ClusterID = "x" }},
		{name: "one more was met", n: 3, hellos: "a:b,c,d b:a,c c:a,b d:a", err: "3 agents are expected and 4 are present (a, b, c, d)"},
		{name: "one more was met by another", n: 3, hellos: "a:b,c b:a,c,d c:a,b", err: "4 are present (a, b, c, d)"},
		{name: "one expects another number", n: 3, hellos: "a:b,c b:a,c c:a,b", change: func(h []peering.Hello) { h[1].Expect = 5 }, err: "a expects 3 agents and b expects 5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all []peering.Hello
			for _, text := range strings.Fields(c.hellos) {
				all = append(all, said(text))
			}
			if c.change != nil {
				c.change(all)
			}
			ids, ok, err := Decide(all[0], all[1:], c.n)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || ok {
					t.Fatalf("got %v, %v; want an error with %q", ok, err, c.err)
				}
				return
			}
			if want := strings.Fields(c.ids); err != nil || ok != (c.ids != "") || ok && !slices.Equal(ids, want) {
				t.Errorf("got %v, %v, %v; want %v", ids, ok, err, want)
			}
		})
	}
}
