package recovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/membership"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/transport"
)

// reachTimeout bounds the question at each agent that responds.
const reachTimeout = 5 * time.Second

// Reach is where the other agents of a directory's cluster may be, and how they are
// asked.
type Reach struct {
	Directory *Directory
	Cluster   config.Cluster   // of the agent's configuration
	TLS       transport.TLS    // from Go, in place of the files of Cluster.TLS; nil: the files
	Dialer    transport.Dialer // nil: TCP
	State     *machine.State   // that of the directory
	Members   *member.Table    // in that state
	Clock     clock.Clock
	Logger    interrex.Logger
}

// Absent dials every agent that the directory knows of, with its certificate, and
// returns nil if the cluster needs a recovery. Otherwise the error says which agents
// have responded and what to do. silent are those that have not responded, and why.
func (r Reach) Absent(ctx context.Context) (silent []string, err error) {
	err = r.dialled(ctx, func(ctx context.Context, t *peering.Transport, roll Roll) error {
		silent = roll.Silent
		found := roll.Refusing
		for _, id := range roll.Responding {
			leader, err := leaderAt(ctx, t, id)
			switch {
			case err != nil:
				found = append(found, fmt.Sprintf("%s responds, but does not say whether there is a leader: %v", id, err))
			case leader != "":
				found = append(found, fmt.Sprintf("%s responds: the leader is %s", id, leader))
			}
		}
		if len(found) > 0 {
			return fmt.Errorf("the cluster is not lost:\n  %s\nIf it has a leader, start this agent instead; else stop those agents first", strings.Join(found, "\n  "))
		}
		return r.quorum(append(roll.Responding, r.Directory.ID))
	})
	return silent, err
}

// Alone dials every agent that the directory knows of, with its certificate, and
// returns nil if none responds.
func (r Reach) Alone(ctx context.Context) error {
	return r.dialled(ctx, func(_ context.Context, _ *peering.Transport, roll Roll) error { return roll.Alone() })
}

// dialled dials every agent that the directory knows of, and calls judge with the
// outcome.
func (r Reach) dialled(ctx context.Context, judge func(context.Context, *peering.Transport, Roll) error) error {
	t, err := r.transport()
	if err != nil {
		return err
	}
	roll, err := CallRoll(ctx, t, r.Clock)
	if err == nil {
		err = judge(ctx, t, roll)
	}
	return errors.Join(err, worker.Stop(t))
}

// quorum returns an error if the agents that respond, with this one, are a majority.
func (r Reach) quorum(respond []string) error {
	voters := r.Directory.Voters()
	here := slices.DeleteFunc(slices.Clone(voters), func(id string) bool { return !slices.Contains(respond, id) })
	if len(here) <= len(voters)/2 {
		return nil
	}
	return fmt.Errorf("the cluster is not lost: %s are %d of %d voters, and elect a leader once this agent runs: start it", strings.Join(here, ", "), len(here), len(voters))
}

// transport returns a port that introduces itself as the agent of the directory. It
// accepts nobody's raft.
func (r Reach) transport() (*peering.Transport, error) {
	certificate := r.certificate()
	if certificate == nil {
		return nil, errors.New("cannot check whether the other agents still have a leader: cluster.tls is missing in the configuration of this agent: --config names its file")
	}
	rules := membership.Rules{Disk: r.Directory.Identity, State: r.State, Members: r.Members, Tables: r.State.Versions()}
	known := r.Members.Addresses()
	delete(known, r.Directory.ID)
	if len(known)+len(r.Cluster.Join) == 0 {
		return nil, errors.New("cannot check whether the other agents still have a leader: this directory has none of their addresses: give cluster.join in the configuration of this agent")
	}
	t, err := peering.New(peering.Config{
		ID: r.Directory.ID, Hello: rules.Hello, Accept: func(peering.Hello) error { return nil },
		TLS:    certificate,
		Dialer: r.Dialer, Listen: "127.0.0.1:0", Advertise: r.advertised(), Join: r.Cluster.Join, Peers: known,
		Clock: r.Clock, Logger: r.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot check whether the other agents still have a leader: %w", err)
	}
	return t, nil
}

// certificate returns the agent's; nil: it has none.
func (r Reach) certificate() transport.TLS {
	switch files := r.Cluster.TLS; {
	case r.TLS != nil:
		return r.TLS
	case files.Present():
		return &certificates.Files{CA: files.CA, Cert: files.Cert, Key: files.Key, ID: r.Directory.ID}
	}
	return nil
}

// advertised is the address that the other agents have of this one.
func (r Reach) advertised() string {
	if r.Cluster.Advertise != "" {
		return r.Cluster.Advertise
	}
	if host, port, err := net.SplitHostPort(r.Cluster.Listen); err != nil || host == "" || port == "0" || net.ParseIP(host).IsUnspecified() {
		return ""
	}
	return r.Cluster.Listen
}

// leaderAt asks an agent which leader it knows; empty: none.
func leaderAt(ctx context.Context, t *peering.Transport, id string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true) // the transport's connection is TLS already
	by := &http.Transport{
		Protocols:   protocols,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return t.DialAPI(ctx, id) },
	}
	defer by.CloseIdleConnections()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+id+"/", nil)
	if err != nil {
		return "", err
	}
	answer, err := by.RoundTrip(q)
	if err != nil {
		return "", err
	}
	return answer.Header.Get(wire.HeaderLeader), answer.Body.Close()
}
