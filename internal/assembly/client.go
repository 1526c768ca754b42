package assembly

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gate"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/lives"
	"github.com/interrex/interrex/internal/pipe"
	"github.com/interrex/interrex/internal/unit"
)

// localClient is the agent's client of its API: the same code, retries and
// request ids as every other client's, over connections that never leave the process.
type localClient struct {
	*client.Client
	close func() error // may be called again
}

// releaseTimeout bounds how long a drain waits for work that runs under leases
// to stop.
const releaseTimeout = 10 * time.Second

// drain ends the holds, waits until the leases are released, and retires the names
// of the client's requests while the API still answers.
func (c *localClient) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	return errors.Join(c.DrainHolds(ctx), c.close())
}

// startClient provides a *client.Client. It stops before the API and raft do, so that
// the leases that are held through it can still be released.
func (s *Set) startClient(u *unit.Unit) (worker.Worker, error) {
	server, id := unit.Need[*apiserver.Server](u, apiName), unit.Need[datadir.Identity](u, identityName)
	raft, engine := unit.Need[unit.Handle[*raftLife]](u, raftSlotName), unit.Need[dependency.Reporter](u, EngineName)
	if u.Err != nil {
		return nil, u.Err
	}
	inProcess := pipe.Listen()
	serving, err := s.serve(u, "", inProcess, server.InsideHandler(), nil, admission.Entrance{})
	if err != nil {
		return nil, err
	}
	c, err := client.Dial(context.Background(), client.Config{
		Addresses: []string{"http://" + id.ID}, Dial: inProcess.Dial, Logger: s.logger("client"),
		Clock:      s.config.Agent.HoldClock,
		Overstayed: s.metrics.overstayed.Inc,
	})
	if err != nil {
		return nil, errors.Join(err, worker.Stop(serving))
	}
	mine := &localClient{Client: c, close: sync.OnceValue(c.Close)}
	closed := make(chan struct{})
	var visiting sync.WaitGroup
	u.Free(func() error {
		err := errors.Join(mine.close(), worker.Stop(serving))
		close(closed)
		visiting.Wait()
		return err
	})
	u.Give(c, mine)
	together := lives.Together{Engine: engine, Clock: s.config.Agent.Clock, Names: s.names(ClientName, apiName), Dying: u.Context.Abort()}
	visiting.Go(func() { s.visitRaft(raft, together.Known, closed) })
	return nil, nil
}

// startLeases provides interrex.Leases while they are switched on.
func (s *Set) startLeases(u *unit.Unit) (worker.Worker, error) {
	c := unit.Need[*client.Client](u, ClientName)
	u.NeedsRunning(leasesFeatureName)
	if u.Err != nil {
		return nil, u.Err
	}
	u.Give(c.Leases())
	return nil, nil
}

// visitRaft keeps raft from stopping before the client's leases are released,
// when they are stopped together. It is a visit and not an input, because the
// client continues when only raft restarts; then it leaves at once.
func (s *Set) visitRaft(raft unit.Handle[*raftLife], together func() bool, closed <-chan struct{}) {
	for {
		life, is, changed := raft.Next()
		var visit *gate.Visit
		if is {
			visit, _ = life.door.Enter(s.Name(ClientName)) // nil: raft stops
		}
		if visit != nil {
			select {
			case <-closed:
			case <-visit.Stopping():
				if together() {
					<-closed
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
