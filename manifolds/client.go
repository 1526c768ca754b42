package manifolds

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gate"
	"github.com/interrex/interrex/pipe"
)

// ownClient is the agent's own client of its API: the same code, retries and
// request ids as everybody's, over connections that never leave the process.
type ownClient struct {
	*client.Client
	close func() error // once, however often it is called
}

// releaseTimeout bounds how long a drain waits for work that runs under leases
// to stop.
const releaseTimeout = 10 * time.Second

// drain ends what is held, waits until the holders have released it, and gives
// back the names of the client's requests while the API still answers.
func (c *ownClient) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	return errors.Join(c.DrainHolds(ctx), c.close())
}

// startClient provides a *client.Client. It stops before the API and raft do, since
// the leases that are held through it are released last of all.
func (s *Set) startClient(u *unit) (worker.Worker, error) {
	server, dir := need[*api.Server](u, APIName), need[*dataDir](u, IdentityName)
	raft := need[handle[*raftLife]](u, RaftSlotName)
	if u.err != nil {
		return nil, u.err
	}
	inProcess := pipe.Listen()
	serving, err := s.serve(u, "", inProcess, server.Handler(), nil, nil)
	if err != nil {
		return nil, err
	}
	c, err := client.Dial(context.Background(), client.Config{
		Addresses: []string{"http://" + dir.ID}, Dial: inProcess.Dial, Logger: s.logger("client"),
		Clock:      s.config.Agent.HoldClock,
		Overstayed: s.metrics.overstayed.Inc,
	})
	if err != nil {
		return nil, errors.Join(err, worker.Stop(serving))
	}
	mine := &ownClient{Client: c, close: sync.OnceValue(c.Close)}
	closed := make(chan struct{})
	var visiting sync.WaitGroup
	u.free(func() error {
		err := errors.Join(mine.close(), worker.Stop(serving))
		close(closed)
		visiting.Wait()
		return err
	})
	u.give(c, mine)
	visiting.Go(func() { s.visitRaft(raft, u.tomb.Dying(), closed) })
	return nil, nil
}

// startLeases provides interrex.Leases while they are switched on.
func (s *Set) startLeases(u *unit) (worker.Worker, error) {
	c := need[*client.Client](u, ClientName)
	if u.err == nil {
		u.err = u.ctx.Get(s.name(LeasesFeatureName), nil)
	}
	if u.err != nil {
		return nil, u.err
	}
	u.give(c.Leases())
	return nil, nil
}

// moment is how far apart workers may be killed that are killed together.
const moment = 50 * time.Millisecond

// visitRaft keeps raft from stopping before the client's leases are released,
// when everything stops at once: the engine kills all workers in the same
// moment. It is a visit and not an input, since the client goes on when only
// raft restarts; then it leaves at once.
func (s *Set) visitRaft(raft handle[*raftLife], dying, closed <-chan struct{}) {
	for {
		life, is, changed := raft.next()
		var visit *gate.Visit
		if is {
			visit, _ = life.door.Enter(s.name(ClientName)) // nil: raft stops
		}
		if visit != nil {
			select {
			case <-closed:
			case <-visit.Stopping():
				select {
				case <-dying:
					<-closed
				case <-s.config.Agent.Clock.After(moment):
				}
			}
			visit.Leave()
		}
		select {
		case <-closed:
			return
		case <-changed:
		}
	}
}
