package featuretests

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/interrextest"
)

// undisturbed does something with a leader and a follower. If it fails after a
// change of leader, which may happen at any time, it is done again.
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

// stood waits until that many claims wait for a name.
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

// queued makes one caller hold a name, and another wait for it by a way.
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

// free checks that no caller gets the name once it is free.
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
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
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
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
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

// A claim that waits through a follower keeps waiting at the next leader. On a machine
// that is slow the election may take longer than an agent waits for a leader: then it
// is held again.
func TestWaitersOutliveTheirLeader(t *testing.T) {
	t.Parallel()
	for range 5 {
		slow := outlive(t)
		if slow == nil {
			return
		}
		t.Log(slow)
	}
	t.Error("no election was quick enough")
}

// outlive returns an error if nobody led for too long.
func outlive(t *testing.T) (slow error) {
	t.Helper()
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
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
		a, err := q.answered()
		if errors.Is(a.err, interrex.ErrNoLeader) {
			return a.err
		}
		if err != nil || a.err != nil || a.Lease.Holder != "bob" || a.Lease.Token <= q.ann.Token {
			t.Errorf("by %s the one who waits is answered %+v, %v %v", by[i].name, a.Lease, a.err, err)
		}
	}
	return nil
}

// A claim that waits through an agent that stops has left the queue when its caller
// is answered.
func TestWaitersOfAnAgentThatStopsLeaveTheLine(t *testing.T) {
	t.Parallel()
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
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
			// The agent does not wait until the leader confirms that it has left.
			if kind := interrex.KindOf(a.err); err != nil || kind != interrex.ErrDraining && kind != interrex.ErrOutcomeUnknown {
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
