package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/interrextest"
)

// notes is a machine that keeps what it was told, but "no", and answers with it.
type notes struct {
	mu       sync.Mutex
	Texts    []string
	restored int
	faults   *faults
}

// faults are what is wrong with an agent's machines, also the next ones.
type faults struct {
	mu      sync.Mutex
	odd     bool
	panics  bool
	mute    bool          // gives no snapshot
	hang    chan struct{} // until it is closed a call does not return; nil: none hangs
	current *notes
}

func (f *faults) set(change func(*faults)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faults) get() faults {
	f.mu.Lock()
	defer f.mu.Unlock()
	return faults{odd: f.odd, panics: f.panics, mute: f.mute, hang: f.hang, current: f.current}
}

// machine is an agent.Config.FSM.
func (f *faults) machine() interrex.FSM {
	n := &notes{faults: f}
	f.set(func(f *faults) { f.current = n })
	return n
}

func (n *notes) Apply(c interrex.FSMCommand) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f, text := n.faults.get(), string(c.Data)
	if f.hang != nil {
		<-f.hang
	}
	if text == "poison" && f.panics {
		panic("poisoned")
	}
	if text == "no" {
		return nil, errors.New("it says no")
	}
	n.Texts = append(n.Texts, text)
	if f.odd {
		text += "?"
	}
	return fmt.Appendf(nil, "%d:%s", len(n.Texts), text), nil
}

func (n *notes) Snapshot() ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.faults.get().mute {
		return nil, errors.New("it is mute")
	}
	return json.Marshal(n.Texts)
}

func (n *notes) Restore(b []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.restored++
	return json.Unmarshal(b, &n.Texts)
}

func (n *notes) texts() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.Texts, " ")
}

func (n *notes) wasRestored() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.restored > 0
}

// withMachines starts three agents with a machine each. raft makes a snapshot
// after few entries.
func withMachines(t *testing.T) (*interrextest.Cluster, []*faults) {
	t.Helper()
	all := []*faults{{}, {}, {}}
	return interrextest.StartCluster(t, interrextest.ClusterConfig{Configure: func(i int, c *agent.Config) {
		c.FSM = all[i].machine
		c.Raft.SnapshotThreshold, c.Raft.SnapshotInterval = 16, time.Second
	}}), all
}

func tell(t *testing.T, by client.Caller, text string) interrex.Answer[[]byte] {
	t.Helper()
	got, err := client.Through(by).Propose(t.Context(), interrex.Proposal{Data: []byte(text)})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return got
}

// keeps waits until a machine keeps these texts.
func keeps(t *testing.T, f *faults, want string) {
	t.Helper()
	for end := time.Now().Add(interrextest.Patience); f.get().current.texts() != want; time.Sleep(10 * time.Millisecond) { // a poll
		if time.Now().After(end) {
			t.Fatalf("a machine keeps %q, want %q", f.get().current.texts(), want)
		}
	}
}

func TestAMachineAnswersThroughAnyAgent(t *testing.T) {
	c, all := withMachines(t)
	want := ""
	var last interrex.Revision
	for i, a := range c.Agents() {
		for _, by := range []client.Caller{a, c.Client(i), oneShot(t, a)} {
			text := fmt.Sprint("t", strings.Count(want, " ")+len(want))
			want = strings.TrimSpace(want + " " + text)
			got := tell(t, by, text)
			if string(got.Value) != fmt.Sprint(len(strings.Fields(want)), ":", text) || got.Revision <= last {
				t.Errorf("%q at %d, after %d", got.Value, got.Revision, last)
			}
			last = got.Revision
			refused, err := client.Through(by).Propose(t.Context(), interrex.Proposal{Data: []byte("no")})
			if !errors.Is(err, interrex.ErrConflict) || !strings.Contains(err.Error(), "it says no") || refused.Revision != last+1 {
				t.Errorf("refused: %+v, %v", refused, err)
			}
			last++
		}
	}
	for _, f := range all {
		keeps(t, f, want)
	}
}

func TestAMachinesAnswersAreGivenOnceForARequestID(t *testing.T) {
	c, _ := withMachines(t)
	for _, text := range []string{"once", "no"} {
		p := interrex.Proposal{Data: []byte(text), RequestID: "id-" + text}
		first, firstErr := c.Agent(0).Propose(t.Context(), p)
		for i, a := range c.Agents() {
			p.Attempt++
			again, err := a.Propose(t.Context(), p)
			if !again.Replayed || again.Revision != first.Revision || string(again.Value) != string(first.Value) || fmt.Sprint(err) != fmt.Sprint(firstErr) {
				t.Errorf("agent %d: %+v (%v), want %+v (%v) replayed", i, again, err, first, firstErr)
			}
		}
	}
	held, err := c.Agent(0).Leases().Hold(t.Context(), "mine/leader", interrex.HoldOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := interrex.Proposal{Data: []byte("fenced"), Fence: interrex.Fence{Key: held.Key(), Token: held.Token()}}
	if _, err := c.Agent(1).Propose(t.Context(), p); err != nil {
		t.Error(err)
	}
	if err := held.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Agent(1).Propose(t.Context(), p); !errors.Is(err, interrex.ErrNotHeld) {
		t.Errorf("after the lease: %v", err)
	}
}

func TestAMachineIsRestoredFromSnapshotAndLog(t *testing.T) {
	c, all := withMachines(t)
	i := (c.Leader() + 1) % 3
	c.Kill(i)
	want := ""
	for n := range 100 {
		tell(t, c.Agent(c.Leader()), fmt.Sprint(n))
		want = strings.TrimSpace(want + fmt.Sprint(" ", n))
	}
	for j := range 3 {
		if j != i {
			snapshotOf(t, c, j)
		}
	}
	c.Start(i)
	keeps(t, all[i], want)
	for j := range 3 {
		snapshotOf(t, c, j)
		c.Restart(j)
		keeps(t, all[j], want)
		if !all[j].get().current.wasRestored() {
			t.Errorf("agent %d was not restored from its snapshot", j)
		}
	}
	tell(t, c.Agent(i), "more")
	for _, f := range all {
		keeps(t, f, want+" more")
	}
}

// snapshotOf waits until an agent has a snapshot.
func snapshotOf(t *testing.T, c *interrextest.Cluster, i int) {
	t.Helper()
	for end := time.Now().Add(interrextest.Patience); ; time.Sleep(20 * time.Millisecond) { // a poll: a file says nothing of itself
		found, err := filepath.Glob(filepath.Join(c.Dir(i), "*", "snapshots", "*[0-9]", "state.bin")) // .tmp: not whole yet
		if err == nil && len(found) > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("agent %d makes no snapshot", i)
		}
	}
}

// leasesGoOn claims and releases through every agent.
func leasesGoOn(t *testing.T, c *interrextest.Cluster) {
	t.Helper()
	for _, a := range c.Agents() {
		held, err := a.Leases().Hold(t.Context(), "mine/leader", interrex.HoldOptions{})
		if err == nil {
			err = held.Release(t.Context())
		}
		if err != nil {
			t.Errorf("agent %s: %v", a.ID(), err)
		}
	}
}

func TestAMachineThatDisagreesIsStoppedByNameAndLeasesGoOn(t *testing.T) {
	c, all := withMachines(t)
	odd := (c.Leader() + 1) % 3
	all[odd].set(func(f *faults) { f.odd = true })
	tell(t, c.Agent(odd), "a")
	tell(t, c.Agent(odd), "b")
	is := awaitAlarm(t, c.Agent(odd), "fsm-stopped", "", "it disagrees: its answers up to revision")
	if !strings.Contains(is.Do, "restart this agent") || !strings.Contains(is.Text, "since ") {
		t.Errorf("%+v", is)
	}
	leasesGoOn(t, c)
	tell(t, c.Agent(odd), "c")
	for i, f := range all {
		if i != odd {
			keeps(t, f, "a b c")
			awaitAlarm(t, c.Agent(i), "fsm-stopped", "", "")
		}
	}
	if got := all[odd].get().current.texts(); got != "a" {
		t.Errorf("the one that is stopped keeps %q", got)
	}
	same(t, c)
	// It is mended.
	all[odd].set(func(f *faults) { f.odd = false })
	c.Restart(odd)
	tell(t, c.Agent(odd), "d")
	for _, f := range all {
		keeps(t, f, "a b c d")
	}
	tell(t, c.Agent(odd), "e")
	keeps(t, all[odd], "a b c d e")
	awaitAlarm(t, c.Agent(odd), "fsm-stopped", "", "")
}

// same wants one revision on all agents.
func same(t *testing.T, c *interrextest.Cluster) {
	t.Helper()
	want := revision(t, c.Agent(c.Leader()))
	for _, a := range c.Agents() {
		if got := revision(t, a); got != want {
			t.Errorf("agent %s stands at revision %d, want %d", a.ID(), got, want)
		}
	}
}

func TestALeaderWhoseMachinePanicsHandsOver(t *testing.T) {
	c, all := withMachines(t)
	leader := c.Leader()
	other := (leader + 1) % 3
	all[leader].set(func(f *faults) { f.panics = true })
	tell(t, c.Agent(other), "a")
	// The one that panics cannot answer; the same request finds its answer where
	// another leads.
	if got := tell(t, c.Agent(other), "poison"); string(got.Value) != "2:poison" {
		t.Errorf("it is answered %q", got.Value)
	}
	awaitAlarm(t, c.Agent(leader), "fsm-stopped", "", "it panicked applying the command at revision")
	tell(t, c.Agent(leader), "b")
	leasesGoOn(t, c)
	same(t, c)
	for i, f := range all {
		if i != leader {
			keeps(t, f, "a poison b")
		}
	}
	all[leader].set(func(f *faults) { f.panics = false })
	c.Restart(leader)
	keeps(t, all[leader], "a poison b")
}

func TestAMachineThatPanicsEverywhereKeepsLeasesAndLog(t *testing.T) {
	c, all := withMachines(t)
	for _, f := range all {
		f.set(func(f *faults) { f.panics = true })
	}
	tell(t, c.Agent(0), "a")
	p := interrex.Proposal{Data: []byte("poison"), RequestID: "id"}
	if _, err := c.Agent(0).Propose(t.Context(), p); !errors.Is(err, interrex.ErrOutcomeUnknown) {
		t.Errorf("it is answered %v", err)
	}
	for i := range all {
		awaitAlarm(t, c.Agent(i), "fsm-stopped", "", "it panicked")
	}
	leasesGoOn(t, c)
	for i, f := range all {
		f.set(func(f *faults) { f.panics = false })
		c.Restart(i)
		keeps(t, f, "a poison")
	}
	p.Attempt++
	if again, err := c.Agent(0).Propose(t.Context(), p); err != nil || !again.Replayed || string(again.Value) != "2:poison" {
		t.Errorf("asked again: %+v, %v", again, err)
	}
}

func TestASnapshotThatFailsIsAnAlarmAndLosesNothing(t *testing.T) {
	c, all := withMachines(t)
	i := c.Leader()
	all[i].set(func(f *faults) { f.mute = true })
	want := ""
	for n := range 40 {
		tell(t, c.Agent(i), fmt.Sprint(n))
		want = strings.TrimSpace(want + fmt.Sprint(" ", n))
	}
	awaitAlarm(t, c.Agent(i), "fsm-snapshot-failed", "", "it is mute")
	c.Restart(i)
	keeps(t, all[i], want)
	all[i].set(func(f *faults) { f.mute = false })
	snapshotOf(t, c, i)
	awaitAlarm(t, c.Agent(i), "fsm-snapshot-failed", "", "")
}

// Everything on the agent waits for a machine that does not return, but what says
// so.
func TestAMachineThatDoesNotReturnIsAnAlarm(t *testing.T) {
	f := &faults{hang: make(chan struct{})}
	a := interrextest.Start(t, agent.Config{FSM: f.machine})
	release := sync.OnceFunc(func() { close(f.hang) })
	defer release()
	var told sync.WaitGroup
	told.Go(func() {
		_, err := a.Propose(t.Context(), interrex.Proposal{Data: []byte("a")})
		t.Log(err) // it may have given up
	})
	awaitAlarm(t, a, "fsm-hung", "", "has not returned for")
	for _, path := range []string{"/readyz?verbose", "/metrics"} {
		w := httptest.NewRecorder()
		a.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || !strings.Contains(w.Body.String(), "fsm-hung") {
			t.Errorf("%s: %d, %s", path, w.Code, w.Body)
		}
	}
	a.Report()
	release()
	told.Wait()
	awaitAlarm(t, a, "fsm-hung", "", "")
	keeps(t, f, "a")
}

func TestAnAgentWithoutAMachineTakesNoCommand(t *testing.T) {
	a := interrextest.Start(t, agent.Config{})
	_, err := a.Propose(t.Context(), interrex.Proposal{Data: []byte("a")})
	if !errors.Is(err, interrex.ErrInvalid) || !strings.Contains(err.Error(), "set agent.Config.FSM") {
		t.Error(err)
	}
}

func TestAMachineThatIsNilIsNamed(t *testing.T) {
	a := newAgent(t, agent.Config{Logger: quiet(t).Logger, FSM: func() interrex.FSM { return nil }})
	if err := a.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "Config.FSM returned nil") {
		t.Error(err)
	}
}

func TestAgentsWithAndWithoutAMachineRefuseEachOther(t *testing.T) {
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	member := func(id string, join []string, machine func() interrex.FSM) *agent.Agent {
		certificates, err := ca.TLS(id)
		if err != nil {
			t.Fatal(err)
		}
		a := newAgent(t, agent.Config{
			Logger: quiet(t).Logger, ID: id, TLS: certificates, FSM: machine,
			Cluster: config.Cluster{Listen: "127.0.0.1:0", Join: join, BootstrapExpect: 2},
		})
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		return a
	}
	has := member("n1", []string{"127.0.0.1:1"}, new(faults).machine) // nobody is there: n2 comes by itself
	lacks := member("n2", []string{has.Addrs()["cluster"]}, nil)
	awaitAlarm(t, lacks, "refused", has.Addrs()["cluster"], "fsm(6)")
}

// The fault may have come into a snapshot before anybody could see it.
func TestAMachineWhoseSnapshotDisagreesIsHealedFromTheLog(t *testing.T) {
	c, all := withMachines(t)
	odd := (c.Leader() + 1) % 3
	all[odd].set(func(f *faults) { f.odd = true })
	tell(t, c.Agent(odd), "a")
	for len(snapshots(t, c.Dir(odd))) == 0 {
		leasesGoOn(t, c)
	}
	tell(t, c.Agent(odd), "b")
	awaitAlarm(t, c.Agent(odd), "fsm-stopped", "", "it disagrees")
	all[odd].set(func(f *faults) { f.odd = false })
	c.Restart(odd)
	awaitAlarm(t, c.Agent(odd), "fsm-stopped", "", "it disagrees")
	c.Stop(odd)
	found, err := filepath.Glob(filepath.Join(c.Dir(odd), "*", "snapshots", "*"))
	if err != nil || len(found) == 0 {
		t.Fatal(found, err)
	}
	for _, snapshot := range found {
		if err := os.RemoveAll(snapshot); err != nil {
			t.Fatal(err)
		}
	}
	c.Start(odd)
	tell(t, c.Agent(odd), "c")
	keeps(t, all[odd], "a b c")
	tell(t, c.Agent(odd), "d")
	keeps(t, all[odd], "a b c d")
	awaitAlarm(t, c.Agent(odd), "fsm-stopped", "", "")
}

func TestTheFeedShowsCommands(t *testing.T) {
	c, _ := withMachines(t)
	told := tell(t, c.Agent(0), "a")
	got, err := c.Agent(1).Changes().Get(t.Context(), told.Revision)
	if err != nil || got.Kind != fsm.Applied || string(got.Data) != `{"data":"YQ=="}` {
		t.Errorf("%+v (%s), %v", got, got.Data, err)
	}
	for i := range 3 {
		for len(snapshots(t, c.Dir(i))) == 0 {
			leasesGoOn(t, c)
		}
		c.Restart(i)
		got, err := c.Agent(i).Changes().Get(t.Context(), told.Revision)
		if err != nil || string(got.Data) != `{"data":"YQ=="}` {
			t.Errorf("after a restart: %+v (%s), %v", got, got.Data, err)
		}
	}
}
