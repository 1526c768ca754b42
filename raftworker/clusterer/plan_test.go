package clusterer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/limits"
)

const dead = time.Minute

// agents reads a cluster: each word is an ID, then letters: V voter, N in raft without
// a vote, L leader; d silent for longer than dead, s silent for less; c caught up;
// r removed; n must have no vote; a admitted and not in raft; u unfit; x not seen.
func agents(text string) (all []Agent) {
	for _, word := range strings.Fields(text) {
		id, letters, _ := strings.Cut(word, ":")
		a := Agent{ID: id, Admitted: true, Seen: true, Alive: true, Fit: true}
		for _, c := range letters {
			switch c {
			case 'V':
				a.InRaft, a.Voter, a.CaughtUp = true, true, true
			case 'L':
				a.InRaft, a.Voter, a.CaughtUp, a.Leader = true, true, true, true
			case 'N':
				a.InRaft = true
			case 'd':
				a.Alive, a.Silent = false, dead
			case 's':
				a.Alive, a.Silent = false, dead-1
			case 'c':
				a.CaughtUp = true
			case 'r':
				a.Removed, a.Admitted = true, false
			case 'n':
				a.NonVoter = true
			case 'u':
				a.Fit = false
			case 'x':
				a.Seen = false
			}
		}
		all = append(all, a)
	}
	return all
}

func TestTheNextStep(t *testing.T) {
	for _, test := range []struct{ about, cluster, want string }{
		{"a cluster of one is stable", "a:L", "stable"},
		{"three are stable", "a:L b:V c:V", "stable"},
		{"an admitted agent is added", "a:L b:a", "adding b"},
		{"one that was not seen is not", "a:L b:ax", "stable"},
		{"one that is silent is not", "a:L b:as", "stable"},
		{"one that has not caught up waits", "a:L b:N c:N", "stable"},
		{"one more would make two voters", "a:L b:Nc", "stable"},
		{"two more make three", "a:L b:Nc c:Nc", "promoting b"},
		{"the second follows", "a:L b:V c:Nc", "promoting c"},
		{"of two voters one more makes three", "a:L b:V c:N", "stable"},
		{"one that must not have a vote does not get it", "a:L b:V c:Ncn", "stable"},
		{"nor one whose disk is not recorded", "a:L b:V c:Ncx", "stable"},
		{"nor one that may not lead", "a:L b:V c:Ncu", "stable"},
		{"three and two spares are five", "a:L b:V c:V d:Nc e:Nc", "promoting d"},
		{"three and one spare stay", "a:L b:V c:V d:Nc", "stable"},
		{"five are enough", "a:L b:V c:V d:V e:V f:Nc g:Nc", "stable"},
		{"six founders stay", "a:L b:V c:V d:V e:V f:V g:Nc", "stable"},
		{"a removed agent leaves", "a:L b:V c:V d:Nr", "removing d"},
		{"a removed voter leaves", "a:L b:V c:Vr", "removing c"},
		{"one without a vote first", "a:L b:Vr c:V d:Nr", "removing d"},
		{"not if that is the end of the quorum", "a:L b:Vd c:Vr", "stable"},
		{"a dead one may be removed", "a:L b:V c:Vrd", "removing c"},
		{"a removed leader hands over", "a:Lr b:V c:V", "handing over b"},
		{"not if the others are no quorum", "a:Lr b:Vs c:V", "stable"},
		{"not to one that is removed too", "a:Lr b:Vr c:V", "handing over c"},
		{"nor to one that is silent", "a:Lr b:Vs c:V d:V e:V", "handing over c"},
		{"nor to one that must not have a vote", "a:Lr b:Vn c:V", "handing over c"},
		{"nor if there is nobody", "a:Lr b:Vu c:Vu", "stable"},
		{"a vote is taken from who must not have it", "a:L b:V c:Vn", "demoting c"},
		{"a leader hands over before it loses its vote", "a:Ln b:V c:V", "handing over b"},
		{"the only voter keeps its vote", "a:Ln", "stable"},
		{"a dead voter of three stays without a spare", "a:L b:V c:Vd", "stable"},
		{"it is replaced by a spare", "a:L b:V c:Vd d:Nc", "promoting d"},
		{"then its vote is taken", "a:L b:V c:Vd d:V", "demoting c"},
		{"not that of one that is silent for less long", "a:L b:V c:Vs d:V", "stable"},
		{"of two one may be dead", "a:L b:Vd", "stable"},
		{"of five with a spare", "a:L b:V c:V d:V e:Vd f:Nc", "promoting f"},
		{"not while the others are no quorum", "a:L b:Vd c:Vd d:Vd", "stable"},
		{"before another gets one", "a:L b:V c:Vd d:V e:Nc", "demoting c"},
		{"of six the dead one loses its vote", "a:L b:V c:V d:V e:Vd f:V", "demoting e"},
		{"of six one founder that is dead", "a:L b:V c:V d:V e:V f:Vd", "demoting f"},
		{"with two dead of six, one at a time", "a:L b:V c:V d:V e:Vd f:Vd", "demoting e"},
		{"a spare that is behind replaces nobody", "a:L b:V c:Vd d:N", "stable"},
	} {
		s := Next(agents(test.cluster), dead)
		if got := strings.TrimSpace(s.Kind.String() + " " + s.ID); got != test.want {
			t.Errorf("%s: %s: %s (%s), not %s", test.about, test.cluster, got, s.Why, test.want)
		}
		if (s.Kind == None) != (s.Why == "") {
			t.Errorf("%s: the reason is %q", test.about, s.Why)
		}
	}
}

// apply does a step as raft would.
func apply(all []Agent, s Step) {
	i := slices.IndexFunc(all, func(a Agent) bool { return a.ID == s.ID })
	a := &all[i]
	switch s.Kind {
	case AddNonvoter:
		a.InRaft = true
	case Promote:
		a.Voter = true
	case Demote:
		a.Voter = false
	case Remove:
		a.InRaft, a.Voter = false, false
	case HandOver:
		for k := range all {
			all[k].Leader = k == i
		}
	}
}

func voters(all []Agent) (n, living int) {
	for _, a := range all {
		if a.Voter {
			n++
			if a.Alive {
				living++
			}
		}
	}
	return n, living
}

// From any cluster the steps come to an end, and none of them takes a quorum.
func TestStepsComeToAnEnd(t *testing.T) {
	for seed := range uint64(20_000) {
		r := rand.New(rand.NewPCG(seed, 1))
		all := random(r)
		first := fmt.Sprint(all)
		began, _ := voters(all)
		operator := slices.ContainsFunc(all, func(a Agent) bool { return a.Voter && (a.Removed || a.NonVoter) })
		for n := 0; ; n++ {
			s := Next(all, dead)
			if s.Kind == None {
				break
			}
			before, _ := voters(all)
			apply(all, s)
			after, living := voters(all)
			if living <= after/2 {
				t.Fatalf("%s: %v takes the quorum: %v", first, s, all)
			}
			if after < before && before <= minVoters && !operator {
				t.Fatalf("%s: %v leaves %d voters", first, s, after)
			}
			if after > before && after > max(limits.MaxVoters, began)+1 {
				t.Fatalf("%s: %v makes %d voters", first, s, after)
			}
			if i := slices.IndexFunc(all, func(a Agent) bool { return a.Leader }); !all[i].Voter {
				t.Fatalf("%s: %v: the leader has no vote", first, s)
			}
			if n > 3*len(all) {
				t.Fatalf("%s: the steps do not end, the last is %v: %v", first, s, all)
			}
		}
		end(t, first, all)
	}
}

// end checks the cluster in which there is no next step.
func end(t *testing.T, first string, all []Agent) {
	t.Helper()
	n, _ := voters(all)
	spares := (plan{agents: all, dead: dead}).spares()
	switch {
	case n%2 == 0 && n < limits.MaxVoters && len(spares) > 0:
		t.Errorf("%s ends with %d voters and a spare: %v", first, n, all)
	case n < minVoters && n%2 == 1 && len(spares) > 1:
		t.Errorf("%s ends with %d voters and spares: %v", first, n, all)
	}
	for _, a := range all {
		if a.Admitted && a.Seen && a.Alive && !a.InRaft {
			t.Errorf("%s ends without %s: %v", first, a.ID, all)
		}
	}
}

// random returns a cluster whose leader has a quorum.
func random(r *rand.Rand) []Agent {
	for {
		all := []Agent{{ID: "a", InRaft: true, Voter: true, Leader: true, Admitted: true, Seen: true, Alive: true, CaughtUp: true, Fit: true}}
		for i := range 1 + r.IntN(8) {
			a := Agent{ID: string(rune('b' + i)), Admitted: true, Seen: true, Alive: true, Fit: r.IntN(8) > 0, CaughtUp: r.IntN(3) > 0}
			a.InRaft = r.IntN(4) > 0
			a.Voter = a.InRaft && r.IntN(2) == 0
			if r.IntN(4) == 0 {
				a.Alive, a.Silent = false, time.Duration(r.IntN(2))*dead
			}
			if r.IntN(8) == 0 {
				a.Removed, a.Admitted = true, false
			}
			a.NonVoter = r.IntN(8) == 0
			a.Seen = a.InRaft || r.IntN(3) > 0
			all = append(all, a)
		}
		all[0].NonVoter = r.IntN(10) == 0
		if n, living := voters(all); living > n/2 {
			return all
		}
	}
}
