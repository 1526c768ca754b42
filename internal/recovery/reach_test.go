package recovery

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// peer is an agent that runs beside the directory.
type peer struct {
	refuses bool   // it rejects the directory's agent
	mute    bool   // it does not say which leader it knows
	foreign bool   // its certificate is of another CA
	leader  string // empty: it knows of none
}

// run starts an agent and returns its cluster address.
func (p peer) run(t *testing.T, ca *certificates.CA, id string) string {
	t.Helper()
	if p.foreign {
		var err error
		if ca, err = certificates.DevCA(); err != nil {
			t.Fatal(err)
		}
	}
	tls, err := ca.TLS(id)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := peering.New(peering.Config{
		ID: id, TLS: tls, Listen: "127.0.0.1:0", Clock: clock.WallClock, Logger: silent.Logger{},
		Hello: func() peering.Hello { return peering.Hello{ClusterID: "c"} },
		Accept: func(h peering.Hello) error {
			if p.refuses || h.ClusterID != "c" || h.Incarnation != "disk" || len(h.Tables) == 0 {
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
func (p peer) serve(t *testing.T, tr *peering.Transport) {
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
	st, err := machine.New(machine.Config{Tables: []state.Table{members}, Logger: silent.Logger{}})
	if err != nil {
		t.Fatal(err)
	}
	own := &member.See{ID: "a", Incarnation: "disk", ClusterAddress: "127.0.0.1:1"} // where another one may be by now
	learn(t, members, own)
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

// learn records a member.
func learn(t *testing.T, in *member.Table, c *member.See) {
	t.Helper()
	known, err := in.Decode(c.Append(nil))
	if err == nil {
		err = in.Check(0, known)
	}
	if err != nil {
		t.Fatal(err)
	}
	in.Lock()
	defer in.Unlock()
	in.Apply(&state.Turn{Revision: 1, Table: machine.MemberTable}, known)
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
		"one is of another CA":        {map[string]peer{"b": {foreign: true}}, "responds and is rejected by this agent: ", "is rejected by this agent"},
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

// An agent is not silent because there was no time to dial it.
func TestAClusterThatIsNotDialledInTimeIsNotCalledLost(t *testing.T) {
	for what, ask := range map[string]func(context.Context, Reach) error{
		"Absent": func(ctx context.Context, r Reach) error { _, err := r.Absent(ctx); return err },
		"Alone":  func(ctx context.Context, r Reach) error { return r.Alone(ctx) },
	} {
		r := reachOf(t, map[string]peer{"b": {leader: "b"}}, "a", "b", "c")
		ctx, cancel := context.WithCancel(t.Context())
		r.Dialer = dialled(func() { cancel() })
		says(t, what, ask(ctx, r), "not all of them could be dialled")
	}
}

// dialled is a network in which nobody responds; it is called for each dial.
type dialled func()

// DialContext implements transport.Dialer.
func (d dialled) DialContext(context.Context, string, string) (net.Conn, error) {
	d()
	return nil, errors.New("connection refused")
}

func TestMembersAreDialledWhereTheyWereSeen(t *testing.T) {
	r := reachOf(t, nil, "a", "b", "c")
	learn(t, r.Members, &member.See{ID: "b", Incarnation: "disk", ClusterAddress: "127.0.0.1:2"})
	r.Cluster.Join = nil
	var dials atomic.Int32
	r.Dialer = dialled(func() { dials.Add(1) })
	silent, err := r.Absent(t.Context())
	if err != nil || len(silent) != 1 || !strings.HasPrefix(silent[0], "an agent at 127.0.0.1:2: connection refused") || dials.Load() == 0 {
		t.Errorf("%d dials, silent are %q, %v", dials.Load(), silent, err)
	}
}

// A peer that cannot be dialled from here may still dial this agent.
func TestAnAgentThatIsHeardIsNotSilent(t *testing.T) {
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	port := func(id string, change func(*peering.Config)) *peering.Transport {
		t.Helper()
		tls, err := ca.TLS(id)
		if err != nil {
			t.Fatal(err)
		}
		c := peering.Config{
			ID: id, TLS: tls, Listen: "127.0.0.1:0", Clock: clock.WallClock, Logger: silent.Logger{},
			Hello: func() peering.Hello { return peering.Hello{ClusterID: "c"} }, Accept: func(peering.Hello) error { return nil },
		}
		change(&c)
		tr, err := peering.New(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = worker.Stop(tr) })
		return tr
	}
	a := port("a", func(c *peering.Config) { c.Dialer = dialled(func() {}) })
	b := port("b", func(c *peering.Config) { c.Join = []string{a.ListenAddr()} })
	for len(a.Peers()) == 0 {
		_ = b.Meet(t.Context())
	}
	roll, err := CallRoll(t.Context(), a, clock.WallClock)
	if err != nil || !slices.Equal(roll.Responding, []string{"b"}) || len(roll.Silent) > 0 || roll.Alone() == nil {
		t.Errorf("%+v, %v", roll, err)
	}
}

func TestTheFilesOfTheConfigurationAreUsed(t *testing.T) {
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(t.TempDir(), "a")
	if err != nil {
		t.Fatal(err)
	}
	r := reachOf(t, nil, "a", "b", "c")
	r.TLS, r.Cluster.TLS = nil, config.TLSFiles{CA: files.CA, Cert: files.Cert, Key: files.Key}
	r.Cluster.Join = []string{peer{leader: "x"}.run(t, ca, "b")}
	_, err = r.Absent(t.Context())
	says(t, "Absent", err, "b responds: the leader is x")
	r.Directory.ID = "z"
	_, err = r.Absent(t.Context())
	says(t, "with a certificate of another agent, Absent", err, "z")
}

func TestTheAddressThatOthersHave(t *testing.T) {
	for want, c := range map[string]config.Cluster{
		"10.0.0.1:7401": {Listen: "10.0.0.1:7401"},
		"n1:7401":       {Listen: "10.0.0.1:7401", Advertise: "n1:7401"},
	} {
		if got := (Reach{Cluster: c}).advertised(); got != want {
			t.Errorf("of %+v it is %q", c, got)
		}
	}
	for _, nowhere := range []string{"", "10.0.0.1", ":7401", "10.0.0.1:0", "0.0.0.0:7401", "[::]:7401"} {
		if got := (Reach{Cluster: config.Cluster{Listen: nowhere}}).advertised(); got != "" {
			t.Errorf("of %q it is %q", nowhere, got)
		}
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
