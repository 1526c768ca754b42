package apiserver

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/copies"
)

// sink keeps what raft would write to its disk.
type sink struct{ bytes.Buffer }

func (*sink) ID() string    { return "test" }
func (*sink) Close() error  { return nil }
func (*sink) Cancel() error { return nil }

// frozen returns the snapshot that raft would write.
func (nd *node) frozen() []byte {
	nd.t.Helper()
	f, err := nd.state.Snapshot()
	nd.must(err)
	defer f.Release()
	var to sink
	nd.must(f.Persist(&to))
	return to.Bytes()
}

// snapshots returns the copies that this agent makes, asked once.
func (nd *node) snapshots() interrex.Snapshots {
	nd.t.Helper()
	c, err := client.Dial(nd.t.Context(), client.Config{Addresses: []string{nd.url}, Timeout: 500 * time.Millisecond})
	nd.must(err)
	nd.t.Cleanup(func() { _ = c.Close() })
	return c.Snapshots()
}

// saving begins to save a snapshot, and reads its first part.
func (nd *node) saving(ctx context.Context) *connect.ServerStreamForClient[interrexv1.SaveResponse] {
	nd.t.Helper()
	s, err := interrexv1.NewMaintenanceServiceClient(nd.http, nd.url).Save(ctx, connect.NewRequest(&interrexv1.SaveRequest{}))
	nd.must(err)
	if !s.Receive() {
		nd.t.Fatal(s.Err())
	}
	return s
}

// fillState makes the state larger than what lies between an agent and a caller that
// does not read.
func (nd *node) fillState() {
	nd.t.Helper()
	for range 20 {
		nd.kv("POST", "/changes", `"`+strings.Repeat("x", 500<<10)+`"`, isJSON)
	}
}

func TestASnapshotIsTheSameFromEveryAgent(t *testing.T) {
	nodes := cluster(t, 3)
	for _, key := range []string{"jobs/a", "jobs/b"} {
		leader(t, nodes).claimed(key, "ann")
	}
	for _, nd := range nodes {
		var b bytes.Buffer
		got, err := nd.snapshots().Save(t.Context(), &b, interrex.ReadOptions{})
		nd.must(err)
		index, term := nd.state.Applied()
		identity := nd.state.Identity()
		if got.AgentID != nd.id || got.Revision != nd.state.Revision() || got.LogIndex != index || got.Term != term || got.ClusterID != identity.ClusterID ||
			got.Epoch != identity.Epoch.Number || got.Bytes != int64(b.Len()) || got.Consistency != interrex.Strong || time.Since(got.MadeAt) > time.Minute || got.ClusterTime < 0 {
			t.Errorf("agent %s: %+v", nd.id, got)
		}
		if !bytes.Equal(b.Bytes(), leader(t, nodes).frozen()) {
			t.Errorf("agent %s sends another snapshot than the leader has", nd.id)
		}
	}
}

// The strong read is what waits for the leader.
func TestAnEventualSnapshotNeedsNoLeader(t *testing.T) {
	nodes := cluster(t, 3)
	revision := interrex.Revision(leader(t, nodes).claimed("jobs/a", "ann"))
	nd := nodes[0]
	nd.must(nd.state.WaitRevision(t.Context(), revision))
	for _, other := range nodes[1:] {
		nd.must(other.raft.Shutdown().Error())
	}
	var b bytes.Buffer
	if _, err := nd.snapshots().Save(t.Context(), &b, interrex.ReadOptions{}); err == nil {
		t.Error("a strong one is sent without a quorum")
	}
	b.Reset()
	got, err := nd.snapshots().Save(t.Context(), &b, interrex.ReadOptions{Consistency: interrex.Eventual, MinRevision: revision})
	if err != nil || got.Consistency != interrex.Eventual || got.Revision < revision {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestASnapshotHasTheRevisionThatIsAskedFor(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("jobs/a", "ann")
	for _, c := range []interrex.Consistency{interrex.Strong, interrex.Eventual} {
		_, err := nd.snapshots().Save(t.Context(), new(bytes.Buffer), interrex.ReadOptions{Consistency: c, MinRevision: 1 << 40})
		if interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestOnlyAnOperatorSavesSnapshots(t *testing.T) {
	nd := closedAPI(t)
	operator, _ := nd.token("ann")
	web, _ := nd.token("web", "*:*:*")
	if _, err := nd.dial(operator).Snapshots().Save(t.Context(), new(bytes.Buffer), interrex.ReadOptions{}); err != nil {
		t.Error(err)
	}
	var b bytes.Buffer
	if _, err := nd.dial(web).Snapshots().Save(t.Context(), &b, interrex.ReadOptions{}); interrex.KindOf(err) != interrex.ErrDenied || b.Len() > 0 {
		t.Errorf("a caller with all rules gets %d bytes: %v", b.Len(), err)
	}
}

func TestAnAgentInQuarantineSendsNoSnapshot(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.Quarantine = func() error { return errors.New("its log is too short") } })[0]
	nd.claimed("jobs/a", "ann")
	for _, c := range []interrex.Consistency{interrex.Strong, interrex.Eventual} {
		_, err := nd.snapshots().Save(t.Context(), new(bytes.Buffer), interrex.ReadOptions{Consistency: c})
		if interrex.KindOf(err) != interrex.ErrUnavailable || !strings.Contains(err.Error(), "its log is too short") {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestAHaltedAgentSendsNoSnapshot(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("jobs/a", "ann")
	_ = nd.raft.Apply([]byte{0xff}, time.Second).Error() // an entry of another build
	nd.waitFor(func() bool { return nd.state.Halted() != nil })
	_, err := nd.snapshots().Save(t.Context(), new(bytes.Buffer), interrex.ReadOptions{Consistency: interrex.Eventual})
	if interrex.KindOf(err) != interrex.ErrUnavailable || !strings.Contains(err.Error(), "halted") {
		t.Errorf("got %v", err)
	}
}

func TestADrainEndsASnapshotAndRefusesTheNext(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.fillState()
	s := nd.saving(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- nd.server.Drain(t.Context()) }()
	for s.Receive() {
	}
	if err := s.Err(); connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("it ends with %v", err)
	}
	nd.must(<-ended)
	if _, err := nd.snapshots().Save(t.Context(), new(bytes.Buffer), interrex.ReadOptions{}); interrex.KindOf(err) != interrex.ErrDraining {
		t.Errorf("the next: %v", err)
	}
}

func TestAnAgentSendsTwoSnapshotsAtATime(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.fillState()
	ctx, cancel := context.WithCancel(t.Context())
	for range copies.MaxSaves {
		nd.saving(ctx)
	}
	if _, err := nd.snapshots().Save(t.Context(), new(bytes.Buffer), interrex.ReadOptions{}); interrex.KindOf(err) != interrex.ErrOverloaded || interrex.RetryAfter(err) <= 0 {
		t.Errorf("one more: %v", err)
	}
	cancel()
	nd.waitFor(func() bool {
		_, err := nd.snapshots().Save(t.Context(), new(bytes.Buffer), interrex.ReadOptions{})
		return err == nil
	})
}

func TestASnapshotThatNobodyReadsIsEnded(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.SendWait = 50 * time.Millisecond })[0]
	nd.fillState()
	s := nd.saving(t.Context())
	nd.waitFor(func() bool { return nd.server.config.Budget.Used() == 0 })
	for s.Receive() {
	}
	if s.Err() == nil {
		t.Error("it is sent as a whole")
	}
}

func TestASnapshotIsSentOnlyIfThereIsMemoryForIt(t *testing.T) {
	nd := cluster(t, 1)[0]
	full := fill(nd.server.config.Budget, admission.Large)
	if _, err := nd.snapshots().Save(t.Context(), new(bytes.Buffer), interrex.ReadOptions{}); interrex.KindOf(err) != interrex.ErrOverloaded {
		t.Errorf("got %v", err)
	}
	full()
	if _, err := nd.snapshots().Save(t.Context(), new(bytes.Buffer), interrex.ReadOptions{}); err != nil {
		t.Error(err)
	}
	nd.waitFor(func() bool { return nd.server.config.Budget.Used() == 0 })
}
