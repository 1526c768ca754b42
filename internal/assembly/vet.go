package assembly

import (
	"context"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/health"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/state"
)

// vet returns how this leader examines a command before it is proposed; nil: it does
// not. It knows what the state does not: which agents respond.
func (s *Set) vet(_ state.TableID, c state.Command) func(context.Context) error {
	switch c := c.(type) {
	case *member.Remove:
		return func(ctx context.Context) error {
			if err := s.recorded(ctx, c.ID); err != nil {
				return err
			}
			return health.MayLeave(c.ID, s.view().Members(), c.Force)
		}
	case *member.SetVoter:
		return func(ctx context.Context) error { return s.recorded(ctx, c.ID) }
	}
	return nil
}

// recordTimeout bounds the wait until a founder is recorded.
const recordTimeout = 5 * time.Second

// recorded waits until a member is in the table: a founder need not be. Of one that is
// no member nothing is to be recorded.
func (s *Set) recorded(ctx context.Context, id string) error {
	table := running[*member.Table](s, StateName)
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	for table != nil && table.Member(id) == nil && !table.WasRemoved(id) && s.inRaft(id) {
		s.recording.Store(true)
		select {
		case <-ctx.Done():
			return interrex.Errorf(interrex.ErrUnavailable, "the leader has not recorded %s, a founder of the cluster, yet: try again", id)
		case <-s.config.Agent.Clock.After(50 * time.Millisecond):
		}
	}
	return nil
}
