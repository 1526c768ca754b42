package featuretests

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/interrextest"
)

// Each of 1 000 claims through a follower is answered once, whatever happens to the
// leader or the follower meanwhile, and the answer is true.
func TestEveryForwardedClaimIsAnsweredOnceAndTruly(t *testing.T) {
	t.Parallel()
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
	for _, round := range []struct {
		name     string
		ends     func(leader, follower int)
		recovers func(leader, follower int)
	}{
		{"the leader stops", func(l, _ int) { c.Stop(l) }, func(l, _ int) { c.Start(l) }},
		{"the leader is killed", func(l, _ int) { c.Kill(l) }, func(l, _ int) { c.Start(l) }},
		{"the leader is cut off", func(l, _ int) { c.Isolate(l) }, func(int, int) { c.Heal() }},
		{"the follower stops", func(_, f int) { c.Stop(f) }, func(_, f int) { c.Start(f) }},
		{"the follower is killed", func(_, f int) { c.Kill(f) }, func(_, f int) { c.Start(f) }},
	} {
		t.Run(round.name, func(t *testing.T) {
			leader := c.Leader()
			follower := (leader + 1) % 3
			s := &storm{name: round.name, t: t, answers: make([]claimed, 1000)}
			s.claim(c.Client(follower).Leases(), func() { round.ends(leader, follower) })
			round.recovers(leader, follower)
			for _, a := range c.Agents() {
				ready(t, a.Ready)
			}
			s.check(c.Client().Leases())
		})
	}
}

func ready(t *testing.T, agent func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := agent(ctx); err != nil {
		t.Fatal(err)
	}
}

// storm is many claims, each of its own name, and their answers.
type storm struct {
	t       *testing.T
	name    string
	answers []claimed
}

type claimed struct {
	interrex.LeaseAnswer
	err error
	n   int // the number of answers
}

// request returns the claim of a number: one attempt, under its own id.
func (s *storm) request(i int) interrex.ClaimRequest {
	return interrex.ClaimRequest{
		Key: key(fmt.Sprintf("storm/%s/%04d", s.name, i)), Holder: fmt.Sprint("h", i), TTL: time.Hour,
		RequestID: fmt.Sprintf("%s, %d", s.name, i),
	}
}

// claim makes all claims over one stream, wave after wave: each begins with the first
// answer of the one before, while its others are still in flight. The agent ends
// amid them.
func (s *storm) claim(leases interrex.Leases, ends func()) {
	s.t.Helper()
	const waves = 10
	size := len(s.answers) / waves
	var calls sync.WaitGroup
	for wave := range waves {
		first := make(chan struct{})
		var once sync.Once
		for i := wave * size; i < (wave+1)*size; i++ {
			calls.Go(func() {
				a := &s.answers[i]
				a.LeaseAnswer, a.err = leases.Claim(s.t.Context(), s.request(i))
				a.n++
				once.Do(func() { close(first) })
			})
		}
		s.wait(first)
		if wave == 2 {
			calls.Go(ends)
		}
	}
	all := make(chan struct{})
	go func() { calls.Wait(); close(all) }()
	s.wait(all)
}

func (s *storm) wait(done <-chan struct{}) {
	s.t.Helper()
	select {
	case <-done:
	case <-time.After(2 * patience):
		s.t.Fatal("claims are not answered")
	}
}

// check compares the answers with the leases, and retries where the outcome is
// unknown or nothing has happened.
func (s *storm) check(leases interrex.Leases) {
	s.t.Helper()
	there := s.listed(leases)
	kinds, tokens := map[interrex.Kind]int{}, map[interrex.Token]int{}
	again := make([]claimed, len(s.answers))
	var asking sync.WaitGroup
	for i, a := range s.answers {
		if a.n != 1 {
			s.t.Errorf("claim %d has %d answers", i, a.n)
		}
		kinds[interrex.KindOf(a.err)]++
		if a.err != nil {
			r := s.request(i)
			asking.Go(func() {
				// On a machine that is slow another leader may be elected meanwhile.
				for again[i].err = interrex.ErrOutcomeUnknown; r.Attempt < 10 && errors.Is(again[i].err, interrex.ErrOutcomeUnknown); {
					r.Attempt++
					again[i].LeaseAnswer, again[i].err = leases.Claim(s.t.Context(), r)
				}
			})
		}
	}
	asking.Wait()
	for i, a := range s.answers {
		r := s.request(i)
		l := there[r.Key]
		if l.Token != 0 && l.Holder != r.Holder {
			s.t.Errorf("claim %d: %q holds the name of %q", i, l.Holder, r.Holder)
		}
		if a.err == nil {
			s.granted(i, l)
		} else {
			s.refused(i, l, again[i])
			a = again[i]
		}
		if other, found := tokens[a.Lease.Token]; found && a.err == nil {
			s.t.Errorf("token %s is given to %d and %d", a.Lease.Token, other, i)
		}
		tokens[a.Lease.Token] = i
	}
	s.t.Logf("the answers: %v", kinds)
}

// granted checks that the lease is as the answer says.
func (s *storm) granted(i int, there interrex.Lease) {
	s.t.Helper()
	a := s.answers[i]
	if there.Token != a.Lease.Token || a.Replayed || a.Lease.Key != s.request(i).Key {
		s.t.Errorf("claim %d was answered %+v, and there is %+v", i, a.LeaseAnswer, there)
	}
}

// refused checks that nothing has happened if the answer says so, and that the
// request is done once in any case.
func (s *storm) refused(i int, there interrex.Lease, again claimed) {
	s.t.Helper()
	a := s.answers[i]
	kind := interrex.KindOf(a.err)
	switch {
	case !kind.Retryable() && kind != interrex.ErrOutcomeUnknown:
		s.t.Errorf("claim %d: %v", i, a.err)
	case kind.Retryable() && (there.Token != 0 || again.Replayed && again.Attempt == 0):
		s.t.Errorf("claim %d was answered that nothing has happened (%v), and there is %+v", i, a.err, there)
	case again.err != nil:
		s.t.Errorf("claim %d, retried: %v", i, again.err)
	case there.Token != 0 && (!again.Replayed || again.Lease.Token != there.Token || again.Attempt != 0):
		s.t.Errorf("claim %d, retried, is answered %+v, and there was %+v", i, again.LeaseAnswer, there)
	}
}

// listed returns the storm's names that are held.
func (s *storm) listed(leases interrex.Leases) map[interrex.Key]interrex.Lease {
	s.t.Helper()
	there := map[interrex.Key]interrex.Lease{}
	r := interrex.ListRequest{Namespace: "storm", Prefix: s.name + "/", PageSize: 300, ReadOptions: interrex.ReadOptions{Consistency: interrex.Strong}}
	for {
		page, err := leases.List(s.t.Context(), r)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, l := range page.Items {
			there[l.Key] = l
		}
		if r.PageToken = page.NextPageToken; r.PageToken == "" {
			return there
		}
	}
}
