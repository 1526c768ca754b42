package assembly

import (
	"context"
	"errors"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/forward"
	"github.com/interrex/interrex/internal/health"
	"github.com/interrex/interrex/raftworker"
)

// Leave takes the agent out of its cluster, for good: it hands leadership over,
// releases the leases that are held through it, has itself removed, and waits until
// raft's configuration is without it. It then has no key of the cluster's CA any more.
// What remains is to drain and stop it; with purge, raft's data in its directory is
// deleted when that is closed. After an error the agent goes on.
func (s *Set) Leave(ctx context.Context, purge bool) error {
	dir, client := running[*datadir.Dir](s, identityName), running[*localClient](s, ClientName)
	if dir == nil || client == nil {
		return interrex.Errorf(interrex.ErrUnavailable, "cannot leave: the agent is starting")
	}
	if s.WithoutRaft() {
		return s.leaveForwarding(ctx, client)
	}
	if s.removal.Err() == nil {
		if err := s.leave(ctx, dir.ID, client); err != nil {
			return err
		}
	}
	s.forgetCAKey(dir)
	if purge {
		return dir.Purge()
	}
	return nil
}

func (s *Set) leave(ctx context.Context, id string, client *localClient) error {
	members, _, err := client.Members().List(ctx, interrex.ReadOptions{})
	if err == nil {
		err = health.MayLeave(id, members, false)
	}
	if err != nil {
		return err
	}
	s.logger("agent").Infof("leaving the cluster")
	step := func(what string) { s.draining.Store(&what) }
	step("another agent to lead")
	if raft := running[*raftworker.Worker](s, RaftName); raft != nil {
		if err := raft.HandOver(ctx, ""); err != nil { // the next leader asks for it again
			s.logger("raft").Infof("%v", err)
		}
	}
	step("the leases that are held through this agent to be released")
	s.release(ctx, client)
	step("the cluster to remove this agent")
	_, err = client.Members().Remove(ctx, id)
	if err != nil && !errors.Is(err, interrex.ErrRemoved) {
		s.stay()
		return err
	}
	select {
	case <-s.removal.Done():
		return nil
	case <-ctx.Done():
		s.stay()
		return interrex.Errorf(interrex.ErrTimeout, "%s is to be removed, and is in raft's configuration still: the other voters must be running; it goes on until then, and may leave again", id)
	}
}

// leaveForwarding takes an agent without raft out of its cluster. No member needs it, and
// there is nothing to purge.
func (s *Set) leaveForwarding(ctx context.Context, client *localClient) error {
	g := running[*forward.Gateway](s, gatewayName)
	if g == nil {
		return interrex.Errorf(interrex.ErrUnavailable, "cannot leave: %v", noGateway())
	}
	s.logger("agent").Infof("leaving the cluster")
	step := "the leases that are held through this agent to be released"
	s.draining.Store(&step)
	s.release(ctx, client)
	if err := g.Leave(ctx); err != nil {
		s.stay()
		return err
	}
	return nil
}

// release ends the holds of leases through this agent, as in a drain.
func (s *Set) release(ctx context.Context, client *localClient) {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	if err := client.DrainHolds(ctx); err != nil {
		s.logger("leases").Warningf("%v", err)
	}
}

// stay ends an attempt to leave that has failed. The client, which ends all holds, is
// made anew.
func (s *Set) stay() {
	s.draining.Store(nil)
	if w := s.Lives.Worker(s.Name(ClientName)); w != nil {
		w.Kill()
	}
}
