package apiserver

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/operations"
)

// indexes is a Reads with scripted indexes.
type indexes func() (uint64, error)

func (f indexes) Index(context.Context) (uint64, error) { return f() }

func TestAReadAsksTheNextLeaderWhenItsOwnAgentLeadsNoMore(t *testing.T) {
	asked := 0
	nd := cluster(t, 1, func(c *Config) {
		c.Reads = func() (consistency.Reads, bool) {
			return indexes(func() (uint64, error) {
				if asked++; asked == 1 {
					return 0, interrex.Errorf(interrex.ErrNotLeader, "no more")
				}
				return 0, nil
			}), true
		}
	})[0]
	if _, err := nd.call(t.Context(), getOp(0, "a/b")); interrex.KindOf(err) != interrex.ErrNotFound || asked != 2 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

func TestAReadWaitsForWhatIsCommitted(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) {
		c.ReadWait = 30 * time.Millisecond
		c.Reads = func() (consistency.Reads, bool) { return indexes(func() (uint64, error) { return 1 << 40, nil }), true }
	})[0]
	if a, err := nd.call(t.Context(), getOp(0, "a/b")); err == nil || interrex.KindOf(err) == interrex.ErrNotFound {
		t.Errorf("answered before: %v, %v", a, err)
	}
}

func TestOfAReadThatTheLeaderDidNotAnswerNothingIsUnknown(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) {
		c.Leadership = constant{interrex.Leadership{Term: 1, LeaderID: "far"}}
		c.Forward = func(context.Context, string) (operations.Forwarder, error) {
			return &script{answers: []error{interrex.Errorf(interrex.ErrOutcomeUnknown, "it broke")}}, nil
		}
	})[0]
	if _, err := nd.call(t.Context(), getOp(0, "a/b")); interrex.KindOf(err) != interrex.ErrUnavailable {
		t.Errorf("%v", err)
	}
}

// A read of this agent's current state does not call the leader.
func TestAnEventualReadNeedsNoRaft(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.Reads = func() (consistency.Reads, bool) { return nil, false } })[0]
	nd.claimed("a/b", "ann")
	get := op(1, interrexv1.LeaseServiceGetProcedure, &interrexv1.GetRequest{Key: "a/b", Consistency: interrexv1.Consistency_CONSISTENCY_EVENTUAL})
	if _, err := nd.call(t.Context(), get); err != nil {
		t.Error(err)
	}
}

func TestAnAgentInQuarantineServesNoReads(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.Quarantine = func() error { return errors.New("its log is too short") } })[0]
	nd.claimed("a/b", "ann")
	for _, c := range []interrexv1.Consistency{interrexv1.Consistency_CONSISTENCY_EVENTUAL, interrexv1.Consistency_CONSISTENCY_STRONG} {
		get := op(1, interrexv1.LeaseServiceGetProcedure, &interrexv1.GetRequest{Key: "a/b", Consistency: c})
		_, err := nd.call(t.Context(), get)
		if interrex.KindOf(err) != interrex.ErrUnavailable || !strings.Contains(err.Error(), "its log is too short") || interrex.RetryAfter(err) <= 0 {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestAReadWithoutRaftSaysWhenToComeAgain(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.Reads = func() (consistency.Reads, bool) { return nil, false } })[0]
	if _, err := nd.call(t.Context(), getOp(0, "a/b")); interrex.KindOf(err) != interrex.ErrUnavailable || interrex.RetryAfter(err) <= 0 {
		t.Errorf("%v", err)
	}
}
