package featuretests

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/interrextest"
)

// Each of 1 000 claims through a follower is answered once, whatever becomes of
// the leader or of the follower meanwhile, and the answer is true.
func TestEveryForwardedClaimIsAnsweredOnceAndTruly(t *testing.T) {
	t.Parallel()
	c := interrextest.NewCluster(t, 3)
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

// storm is many claims of a name each, and their answers.
type storm struct {
	t       *testing.T
	name    string
	answers []claimed
}

type claimed struct {
	interrex.LeaseAnswer
	err error
	n   int // how many answers there are
}

// request is the claim of a number: one attempt, under an id of its own.
func (s *storm) request(i int) interrex.ClaimRequest {
	return interrex.ClaimRequest{
		Key: key(fmt.Sprintf("storm/%s/%04d", s.name, i)), Holder: fmt.Sprint("h", i), TTL: time.Hour,
		RequestID: fmt.Sprintf("%s, %d", s.name, i),
	}
}

// claim makes all claims over one stream, wave after wave: each begins with the
// first answer of the one before, while the others are under way still. What
// ends comes amid them.
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

// check compares the answers with what is there, and asks again where it is not
// certain what has happened, or certain that nothing has.
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
			r.Attempt = 1
			asking.Go(func() { again[i].LeaseAnswer, again[i].err = leases.Claim(s.t.Context(), r) })
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

// granted demands that the lease is there as the answer says.
func (s *storm) granted(i int, there interrex.Lease) {
	s.t.Helper()
	a := s.answers[i]
	if there.Token != a.Lease.Token || a.Replayed || a.Lease.Key != s.request(i).Key {
		s.t.Errorf("claim %d was answered %+v, and there is %+v", i, a.LeaseAnswer, there)
	}
}

// refused demands that nothing has happened, where the answer says so, and that
// the request is done once in any case.
func (s *storm) refused(i int, there interrex.Lease, again claimed) {
	s.t.Helper()
	a := s.answers[i]
	kind := interrex.KindOf(a.err)
	switch {
	case !kind.Retryable() && kind != interrex.KindOutcomeUnknown:
		s.t.Errorf("claim %d: %v", i, a.err)
	case kind.Retryable() && (there.Token != 0 || again.Replayed):
		s.t.Errorf("claim %d was answered that nothing has happened (%v), and there is %+v", i, a.err, there)
	case again.err != nil:
		s.t.Errorf("claim %d, asked again: %v", i, again.err)
	case there.Token != 0 && (!again.Replayed || again.Lease.Token != there.Token || again.Attempt != 0):
		s.t.Errorf("claim %d, asked again, is answered %+v, and there was %+v", i, again.LeaseAnswer, there)
	}
}

// listed gives what is held of the storm's names.
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

// undisturbed does something with a leader and a follower. When it fails after
// the leader has changed, which may come at any time, it is done again.
func undisturbed(t *testing.T, c *interrextest.Cluster, do func(leader, follower int) error) {
	t.Helper()
	for range 10 {
		leader := c.Leader()
		before, _ := term(c, leader)
		err := do(leader, (leader+1)%len(c.Agents()))
		if err == nil {
			return
		}
		if after, leads := term(c, leader); leads && after == before {
			t.Fatal(err)
		}
		t.Logf("again, since the leader has changed: %v", err)
	}
	t.Fatal("the leader changes all the time")
}

// stood waits until so many claims wait for a name.
func stood(ctx context.Context, leader interrex.Leases, k interrex.Key, want int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		l, _, err := leader.Get(ctx, k, interrex.ReadOptions{})
		switch {
		case err != nil:
			return err
		case l.Waiting == nil:
			return errors.New("another agent leads")
		case *l.Waiting == want:
			return nil
		}
		pause(ctx, 5*time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("%d wait for %s, want %d", *l.Waiting, k, want)
		}
	}
}

// queued has somebody hold a name, and somebody wait for it by a way.
type queued struct {
	key    interrex.Key
	ann    interrex.Lease
	leave  context.CancelFunc
	answer chan claimed
}

func queue(ctx context.Context, leader, by interrex.Leases, r interrex.ClaimRequest) (*queued, error) {
	won, err := leader.Claim(ctx, interrex.ClaimRequest{Key: r.Key, Holder: "ann", TTL: time.Hour})
	if err != nil {
		return nil, err
	}
	q := &queued{key: r.Key, ann: won.Lease, answer: make(chan claimed, 1)}
	ctx, q.leave = context.WithCancel(ctx)
	go func() {
		a, err := by.Claim(ctx, r)
		q.answer <- claimed{LeaseAnswer: a, err: err}
	}()
	return q, nil
}

// answered waits for the waiter's answer.
func (q *queued) answered() (claimed, error) {
	select {
	case a := <-q.answer:
		return a, nil
	case <-time.After(patience):
		return claimed{}, errors.New("the claim is not answered")
	}
}

// free demands that nobody has the name once it is free.
func (q *queued) free(ctx context.Context, leases interrex.Leases) error {
	if _, err := leases.Revoke(ctx, interrex.RevokeRequest{Key: q.key, Token: q.ann.Token}); err != nil {
		return err
	}
	l, _, err := leases.Get(ctx, q.key, interrex.ReadOptions{})
	if !errors.Is(err, interrex.ErrNotFound) {
		return fmt.Errorf("there is %+v (%v), want nobody", l, err)
	}
	return nil
}

func TestCallerThatGoesLeavesTheLineAtTheLeader(t *testing.T) {
	t.Parallel()
	c := interrextest.NewCluster(t, 3)
	n := 0
	for i, w := range ways(t, c.Agent(0)) {
		for _, id := range []string{"", "one attempt "} {
			t.Run(id+w.name, func(t *testing.T) {
				undisturbed(t, c, func(leader, follower int) error {
					n++
					r := interrex.ClaimRequest{Key: key(fmt.Sprint("line/", n)), Holder: "bob", TTL: 24 * time.Hour, Wait: time.Hour}
					if id != "" {
						r.RequestID = fmt.Sprint(id, n)
					}
					at := c.Agent(leader).Leases()
					q, err := queue(t.Context(), at, ways(t, c.Agent(follower))[i].leases, r)
					if err != nil {
						return err
					}
					defer q.leave()
					if err := stood(t.Context(), at, r.Key, 1); err != nil {
						return err
					}
					q.leave()
					if a, err := q.answered(); err != nil || a.err == nil {
						return fmt.Errorf("the one who has gone is answered %+v, %w", a, err)
					}
					if err := stood(t.Context(), at, r.Key, 0); err != nil {
						return err
					}
					return q.free(t.Context(), at)
				})
			})
		}
	}
}

func TestWaitThroughAFollowerEndsWhenItIsOver(t *testing.T) {
	t.Parallel()
	c := interrextest.NewCluster(t, 3)
	const wait = time.Second
	n := 0
	undisturbed(t, c, func(leader, follower int) error {
		at := c.Agent(leader).Leases()
		var each []*queued
		began := time.Now()
		for _, w := range ways(t, c.Agent(follower)) {
			for _, id := range []string{"", "wait"} {
				n++
				r := interrex.ClaimRequest{Key: key(fmt.Sprint("wait/", n)), Holder: "bob", TTL: time.Hour, Wait: wait}
				if id != "" {
					r.RequestID = fmt.Sprint(id, n)
				}
				q, err := queue(t.Context(), at, w.leases, r)
				if err != nil {
					return err
				}
				defer q.leave()
				each = append(each, q)
			}
		}
		for _, q := range each {
			a, err := q.answered()
			if err != nil || !errors.Is(a.err, interrex.ErrHeld) {
				return fmt.Errorf("a wait that is over is answered %v %v, want held", a.err, err)
			}
			if took := time.Since(began); took < wait*9/10 || took > wait+20*time.Second {
				return fmt.Errorf("the wait ended after %s, want %s", took, wait)
			}
			if err := stood(t.Context(), at, q.key, 0); err != nil {
				return err
			}
			if err := q.free(t.Context(), at); err != nil {
				return err
			}
		}
		return nil
	})
}

// A leader that is cut off says nothing, and a follower does not know it yet.
func TestCallerWithLittleTimeIsAnsweredThoughTheLeaderIsSilent(t *testing.T) {
	t.Parallel()
	c := interrextest.NewCluster(t, 3)
	leader := c.Leader()
	follower := (leader + 1) % 3
	by := ways(t, c.Agent(follower))
	url := apiOf(c.Agent(follower))
	for i, w := range by { // so that all connections are there
		if _, err := w.leases.Claim(t.Context(), interrex.ClaimRequest{Key: key(fmt.Sprint("warm/", i)), Holder: "ann"}); err != nil {
			t.Fatal(err)
		}
	}
	const timeout = 300 * time.Millisecond
	hasty := dial(t, client.Config{Addresses: []string{url}, Timeout: timeout})
	by = append(by, way{"a client whose calls are short", hasty.Leases()})
	c.Isolate(leader)
	answers := make([]claimed, len(by))
	request := func(i int) interrex.ClaimRequest {
		return interrex.ClaimRequest{Key: key(fmt.Sprint("hasty/", i)), Holder: "ann", TTL: time.Hour, RequestID: fmt.Sprint("hasty ", i)}
	}
	var calls sync.WaitGroup
	began := time.Now()
	for i, w := range by {
		calls.Go(func() {
			ctx, cancel := t.Context(), context.CancelFunc(func() {})
			if i < len(by)-1 {
				ctx, cancel = context.WithTimeout(ctx, timeout)
			}
			defer cancel()
			answers[i].LeaseAnswer, answers[i].err = w.leases.Claim(ctx, request(i))
		})
	}
	calls.Wait()
	if took := time.Since(began); took > timeout+10*time.Second {
		t.Errorf("the answers took %s, want about %s", took, timeout)
	}
	c.Heal()
	all := c.Client().Leases()
	for i, a := range answers {
		kind := interrex.KindOf(a.err)
		l, _, err := all.Get(t.Context(), request(i).Key, interrex.ReadOptions{})
		switch {
		case kind.Retryable() && !errors.Is(err, interrex.ErrNotFound):
			t.Errorf("by %s the answer is %v, and there is %+v (%v)", by[i].name, a.err, l, err)
		case a.err == nil && l.Token != a.Lease.Token: // another leader was there in time
			t.Errorf("by %s the lease is granted under %s, and there is %+v (%v)", by[i].name, a.Lease.Token, l, err)
		case a.err != nil && !kind.Retryable() && kind != interrex.KindOutcomeUnknown:
			t.Errorf("by %s the answer is %v", by[i].name, a.err)
		}
		t.Logf("by %s: %v", by[i].name, a.err)
	}
}

// Who waits through a follower waits on at the next leader.
func TestWaitersOutliveTheirLeader(t *testing.T) {
	t.Parallel()
	c := interrextest.NewCluster(t, 3)
	leader := c.Leader()
	follower := (leader + 1) % 3
	var line []*queued
	by := ways(t, c.Agent(follower))
	for i, w := range by {
		r := interrex.ClaimRequest{Key: key(fmt.Sprint("stays/", i)), Holder: "bob", TTL: time.Minute, Wait: time.Hour}
		q, err := queue(t.Context(), c.Agent(leader).Leases(), w.leases, r)
		if err != nil {
			t.Fatal(err)
		}
		defer q.leave()
		waiting(t, c.Agent(leader).Leases(), r.Key, 1)
		line = append(line, q)
	}
	c.Stop(leader)
	rest := c.Client(follower, (leader+2)%3).Leases()
	for i, q := range line {
		if _, err := rest.Revoke(t.Context(), interrex.RevokeRequest{Key: q.key, Token: q.ann.Token}); err != nil {
			t.Fatal(err)
		}
		if a, err := q.answered(); err != nil || a.err != nil || a.Lease.Holder != "bob" || a.Lease.Token <= q.ann.Token {
			t.Errorf("by %s the one who waits is answered %+v, %v %v", by[i].name, a.Lease, a.err, err)
		}
	}
}

// Who waits through an agent that stops has left the line when it is told so.
func TestWaitersOfAnAgentThatStopsLeaveTheLine(t *testing.T) {
	t.Parallel()
	c := interrextest.NewCluster(t, 3)
	undisturbed(t, c, func(leader, follower int) error {
		ready(t, c.Agent(follower).Ready)
		at := c.Agent(leader).Leases()
		var line []*queued
		by := ways(t, c.Agent(follower))
		for i, w := range by {
			r := interrex.ClaimRequest{
				Key: key(fmt.Sprintf("goes/%d-%d", follower, i)), Holder: "bob", TTL: 24 * time.Hour, Wait: time.Hour,
				RequestID: fmt.Sprintf("goes %d-%d", follower, i),
			}
			q, err := queue(t.Context(), at, w.leases, r)
			if err != nil {
				return err
			}
			defer q.leave()
			if err := stood(t.Context(), at, r.Key, 1); err != nil {
				return err
			}
			line = append(line, q)
		}
		c.Stop(follower)
		defer c.Start(follower)
		for i, q := range line {
			a, err := q.answered()
			// The agent does not wait for the leader's word that it has left.
			if kind := interrex.KindOf(a.err); err != nil || kind != interrex.KindDraining && kind != interrex.KindOutcomeUnknown {
				return fmt.Errorf("by %s the one who waits is answered %v, %v", by[i].name, a.err, err)
			}
			if err := stood(t.Context(), at, q.key, 0); err != nil {
				return err
			}
			if err := q.free(t.Context(), at); err != nil {
				return err
			}
		}
		return nil
	})
}
