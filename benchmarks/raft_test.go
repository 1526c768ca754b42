package benchmarks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/testport"
	"github.com/interrex/interrex/raftworker"
)

// raftPeerEnv turns this program into a peer of raw raft.
const raftPeerEnv = "INTERREX_BENCH_RAFT_PEER"

// rawEntry is the length of an entry, about that of one claim.
const rawEntry = 128

// peerSetup is the first message to a peer.
type peerSetup struct {
	Dir       string
	ID        int
	Addresses []string
}

// peerLoad requests a slice of load from the leader; 0 callers: only whether it
// leads.
type peerLoad struct {
	Callers int
	For     time.Duration
}

// peerSample is the answer to peerLoad.
type peerSample struct {
	Leads bool
	Sample
}

// runRaftPeer is one process of raw hashicorp/raft: the agents' log store and
// timeouts, TCP, and an FSM that does nothing. It ends with its input.
func runRaftPeer(in io.Reader, out io.Writer) error {
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	var setup peerSetup
	if err := orders.Decode(&setup); err != nil {
		return err
	}
	r, err := newRaftPeer(setup)
	if err != nil {
		return err
	}
	command := make([]byte, rawEntry)
	for {
		var order peerLoad
		if err := orders.Decode(&order); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		answer := peerSample{Leads: r.State() == raft.Leader}
		if answer.Leads && order.Callers > 0 {
			answer.Sample = closedLoop(order.Callers, order.For, func(int) error {
				return r.Apply(command, patience).Error()
			})
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
}

func newRaftPeer(s peerSetup) (*raft.Raft, error) {
	id := raft.ServerID(fmt.Sprint(s.ID))
	log, err := raftworker.NewLogStore(filepath.Join(s.Dir, "raft"), false)
	if err != nil {
		return nil, err
	}
	trans, err := raft.NewTCPTransport(s.Addresses[s.ID], nil, len(s.Addresses), 10*time.Second, io.Discard)
	if err != nil {
		return nil, err
	}
	c, err := raftworker.NewRaftConfig(raftworker.Config{LocalID: id})
	if err != nil {
		return nil, err
	}
	c.LogOutput = io.Discard
	c.SnapshotThreshold = math.MaxUint64
	stable, snapshots := raft.NewInmemStore(), raft.NewInmemSnapshotStore() // used only in elections and snapshots
	var members raft.Configuration
	for i, a := range s.Addresses {
		members.Servers = append(members.Servers, raft.Server{ID: raft.ServerID(fmt.Sprint(i)), Address: raft.ServerAddress(a)})
	}
	if err := raft.BootstrapCluster(c, log, stable, snapshots, trans, members); err != nil {
		return nil, err
	}
	return raft.NewRaft(c, noFSM{}, log, stable, snapshots, trans)
}

// noFSM does nothing.
type noFSM struct{}

func (noFSM) Apply(*raft.Log) any                 { return nil }
func (noFSM) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("there is nothing to keep") }
func (noFSM) Restore(io.ReadCloser) error         { return errors.New("nothing was kept") }

// rawRaft is a cluster of raw raft, seen from the measuring process.
type rawRaft struct {
	b       *testing.B
	orders  []*json.Encoder
	answers []*json.Decoder
}

// newRawRaft starts n peers and waits until one leads.
func newRawRaft(b *testing.B, n int) *rawRaft {
	b.Helper()
	r := &rawRaft{b: b}
	dir := shortDir(b)
	setup := peerSetup{}
	for _, port := range testport.Ports(b, n) {
		setup.Addresses = append(setup.Addresses, fmt.Sprintf("127.0.0.1:%d", port))
	}
	for i := range n {
		setup.ID, setup.Dir = i, filepath.Join(dir, fmt.Sprint(i))
		r.start(setup)
	}
	eventually(b, "raw raft has a leader", func() error { return r.lead(1, time.Millisecond).error() })
	return r
}

func (r *rawRaft) start(setup peerSetup) {
	r.b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), raftPeerEnv+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		r.b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.b.Fatal(err)
	}
	if err := os.MkdirAll(setup.Dir, 0o700); err != nil {
		r.b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.b.Fatal(err)
	}
	r.b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	r.orders, r.answers = append(r.orders, json.NewEncoder(in)), append(r.answers, json.NewDecoder(out))
	if err := r.orders[setup.ID].Encode(setup); err != nil {
		r.b.Fatal(err)
	}
}

// with returns the load of a number of callers, in the leader's process.
func (r *rawRaft) with(callers int) load {
	return func(d time.Duration) Sample { return r.lead(callers, d) }
}

// lead tries one peer after the other: followers do nothing.
func (r *rawRaft) lead(callers int, d time.Duration) Sample {
	for i := range r.orders {
		var a peerSample
		err := r.orders[i].Encode(peerLoad{callers, d})
		if err == nil {
			err = r.answers[i].Decode(&a)
		}
		if err != nil {
			return Sample{Err: fmt.Sprintf("raw raft's peer %d: %v", i, err)}
		}
		if a.Leads {
			return a.Sample
		}
	}
	return Sample{Err: "raw raft has no leader"}
}

// error returns why the load was aborted.
func (s Sample) error() error {
	if s.Err == "" {
		return nil
	}
	return errors.New(s.Err)
}
