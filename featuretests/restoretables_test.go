package featuretests

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/interrextest"
	"github.com/interrex/interrex/state"
)

// stagedTable is the ID of a table that can be staged.
const stagedTable = testtable.RegisterTable + 1

// registers are an agent's tables: one of the kind that a restore passes to Restore, and
// one of that which it stages and replaces.
type registers struct {
	mu  sync.Mutex
	now map[state.TableID]*testtable.Register // by ID; a restarted agent has new ones
}

func (r *registers) tables() []agent.Table {
	plain := func() (state.Table, api.Service) {
		t := testtable.NewRegister()
		r.set(t)
		return t, api.Service{}
	}
	staged := func() (state.Table, api.Service) {
		t := testtable.NewStaged(stagedTable)
		r.set(t.Register)
		return t, api.Service{}
	}
	return []agent.Table{plain, staged}
}

func (r *registers) set(t *testtable.Register) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil {
		r.now = map[state.TableID]*testtable.Register{}
	}
	r.now[t.ID()] = t
}

func (r *registers) get(id state.TableID, key string) (testtable.Value, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now[id].Get(key)
}

// memo is a state machine that keeps one text, and answers with it.
type memo struct{ text []byte }

// Apply is part of interrex.FSM: an empty command changes nothing.
func (m *memo) Apply(c interrex.FSMCommand) ([]byte, error) {
	if len(c.Data) > 0 {
		m.text = bytes.Clone(c.Data)
	}
	return bytes.Clone(m.text), nil
}

// Snapshot is part of interrex.FSM.
func (m *memo) Snapshot() ([]byte, error) { return bytes.Clone(m.text), nil }

// Restore is part of interrex.FSM.
func (m *memo) Restore(b []byte) error {
	m.text = bytes.Clone(b)
	return nil
}

// tabled is three agents with tables and a state machine of their own.
type tabled struct {
	*interrextest.Cluster
	t   *testing.T
	all []registers
}

func newTabled(t *testing.T) *tabled {
	p := &tabled{t: t, all: make([]registers, 3)}
	p.Cluster = interrextest.StartCluster(t, interrextest.ClusterConfig{Configure: func(i int, c *agent.Config) {
		c.Tables, c.FSM = p.all[i].tables(), func() interrex.FSM { return new(memo) }
	}})
	return p
}

// propose proposes a command to a table, or to the state machine, and returns the answer.
func (p *tabled) propose(at int, table state.TableID, data []byte) string {
	p.t.Helper()
	got, err := p.Agent(at).Propose(p.t.Context(), interrex.Proposal{Table: uint16(table), Data: data})
	if err != nil {
		p.t.Fatal(err)
	}
	return string(got.Value)
}

// set sets a key of both tables.
func (p *tabled) set(key, text string, life time.Duration) {
	p.t.Helper()
	for _, id := range []state.TableID{testtable.RegisterTable, stagedTable} {
		p.propose(0, id, testtable.Set(key, text, life))
	}
}

// Both kinds of tables, and the state machine, have the content of the file on every agent,
// also on one that was down, and on one that is restarted.
func TestARestoreBringsBackTheTablesOfAProgram(t *testing.T) {
	p := newTabled(t)
	p.set("kept", "as saved", time.Hour)
	p.propose(0, 0, []byte("as saved"))
	path := filepath.Join(t.TempDir(), "x.snap")
	file := saved(t, p.Client(0))
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	before, _ := p.all[0].get(stagedTable, "kept")
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	for _, restore := range []func() (interrex.Revision, error){
		func() (interrex.Revision, error) {
			return p.Agent(0).Snapshots().Restore(ctx, bytes.NewReader(file), nil)
		},
		func() (interrex.Revision, error) {
			return p.Client(1).Snapshots().Restore(ctx, bytes.NewReader(file), nil)
		},
		func() (interrex.Revision, error) {
			got := <-restoring(t, path, "http://"+p.Agent(1).Addrs()["api"])
			return got.revision, got.err
		},
	} {
		p.set("kept", "changed", 0)
		p.set("later", "replaced", 0)
		p.propose(0, 0, []byte("changed"))
		p.Stop(2)
		revision, err := restore()
		if err != nil {
			t.Fatal(err)
		}
		p.Start(2)
		p.Restart(1)
		for i := range p.Agents() {
			p.hasRestored(i, revision, before)
		}
	}
}

// hasRestored fails the test unless an agent has what was saved: a plain table with the same
// expiry, a staged one with the same life.
func (p *tabled) hasRestored(i int, revision interrex.Revision, before testtable.Value) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("agent %d has the restore", i), func() error {
		_, err := p.Agent(i).Snapshots().Save(p.t.Context(), new(bytes.Buffer), interrex.ReadOptions{MinRevision: revision, Consistency: interrex.Eventual})
		return err
	})
	for _, id := range []state.TableID{testtable.RegisterTable, stagedTable} {
		if got, there := p.all[i].get(id, "kept"); !there || got.Text != "as saved" || (got.Expiry > before.Expiry) != (id == stagedTable) {
			p.t.Errorf("table %d of agent %d has %+v, and had %+v", id, i, got, before)
		}
		if got, there := p.all[i].get(id, "later"); there {
			p.t.Errorf("table %d of agent %d still has %+v", id, i, got)
		}
	}
	if got := p.propose(i, 0, nil); got != "as saved" {
		p.t.Errorf("the state machine answers %q to agent %d", got, i)
	}
	for _, a := range p.Agent(i).Status().Alarms {
		if a.Name == "fsm-stopped" || a.Name == "halted" {
			p.t.Errorf("agent %d has the alarm %+v", i, a)
		}
	}
}
