package recovery

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/transport"
)

// peer is an agent that runs beside the directory.
type peer struct {
	refuses bool   // it rejects the directory's agent
	mute    bool   // it does not say which leader it knows
	leader  string // empty: it knows of none
}

// run starts an agent and returns its cluster address.
func (p peer) run(t *testing.T, ca *certificates.CA, id string) string {
	t.Helper()
	tls, err := ca.TLS(id)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := transport.New(transport.Config{
		ID: id, TLS: tls, Listen: "127.0.0.1:0", Clock: clock.WallClock, Logger: silent.Logger{},
		Hello: func() transport.Hello { return transport.Hello{ClusterID: "c"} },
		Accept: func(transport.Hello) error {
			if p.refuses {
				return errors.New("it is in another epoch")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = worker.Stop(tr) })
	if !p.mute {
		p.serve(t, tr)
	}
	return tr.ListenAddr()
}

// serve answers forwarded requests with the leader.
func (p peer) serve(t *testing.T, tr *transport.Transport) {
	t.Helper()
	l, err := tr.Listener()
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(wire.HeaderLeader, p.leader)
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
}

// reachOf is the reach of the agent a of a cluster of these voters, that has the
// addresses of the peers and one at which nobody is.
func reachOf(t *testing.T, peers map[string]peer, voters ...string) Reach {
	t.Helper()
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	tls, err := ca.TLS("a")
	if err != nil {
		t.Fatal(err)
	}
	members := member.New()
	st, err := state.New(state.Config{Tables: []state.Table{members}, Logger: silent.Logger{}})
	if err != nil {
		t.Fatal(err)
	}
	d := directory("a", 0, 1, 1)
	for _, id := range voters {
		d.Members.Servers = append(d.Members.Servers, raft.Server{ID: raft.ServerID(id)})
	}
	r := Reach{Directory: d, TLS: tls, State: st, Members: members, Clock: clock.WallClock, Logger: silent.Logger{}}
	r.Cluster = config.Cluster{Listen: "127.0.0.1:0", Join: []string{"127.0.0.1:1"}}
	for id, p := range peers {
		r.Cluster.Join = append(r.Cluster.Join, p.run(t, ca, id))
	}
	return r
}

func TestAClusterIsLostOnlyWithoutALeaderAndAMajority(t *testing.T) {
	for name, c := range map[string]struct {
		peers map[string]peer
		why   string // empty: it is lost
		alone string // empty: nobody responds
	}{
		"nobody responds":             {nil, "", ""},
		"one knows a leader":          {map[string]peer{"b": {leader: "x"}}, "b responds: the leader is x", "b responds"},
		"one of five knows of none":   {map[string]peer{"b": {}}, "", "b responds"},
		"two of five know of none":    {map[string]peer{"b": {}, "c": {}}, "a, b, c are 3 of 5 voters", "b responds; c responds"},
		"one rejects this agent":      {map[string]peer{"b": {refuses: true}}, "responds and rejects this agent: ", "rejects this agent"},
		"one does not say":            {map[string]peer{"b": {mute: true}}, "does not say whether there is a leader", "b responds"},
		"one that has no vote speaks": {map[string]peer{"x": {}}, "", "x responds"},
	} {
		t.Run(name, func(t *testing.T) {
			voters := []string{"a", "b", "c", "d", "e"}
			silent, err := reachOf(t, c.peers, voters...).Absent(t.Context())
			says(t, "Absent", err, c.why)
			if len(silent) != 1 || !strings.Contains(silent[0], "an agent at 127.0.0.1:1: ") {
				t.Errorf("silent are %q", silent)
			}
			err = reachOf(t, c.peers, voters...).Alone(t.Context()) // others, which do not know this agent yet
			for _, why := range strings.Split(c.alone, "; ") {
				says(t, "Alone", err, why)
			}
		})
	}
}

// says checks an error for its words; none: there is no error.
func says(t *testing.T, what string, err error, why string) {
	t.Helper()
	if (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
		t.Errorf("%s says %v, want %q", what, err, why)
	}
}

func TestAClusterOfUnknownReachIsNotCalledLost(t *testing.T) {
	for why, spoil := range map[string]func(*Reach){
		"cluster.tls is missing":     func(r *Reach) { r.TLS = nil },
		"none of their addresses":    func(r *Reach) { r.Cluster.Join = nil },
		"cannot start the transport": func(r *Reach) { r.Cluster.Advertise = "nowhere" },
	} {
		r := reachOf(t, nil, "a", "b", "c")
		spoil(&r)
		_, err := r.Absent(t.Context())
		says(t, "Absent", err, why)
		says(t, "Alone", r.Alone(t.Context()), why)
	}
}
