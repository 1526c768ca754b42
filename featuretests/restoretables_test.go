package featuretests

import (
	"bytes"
	"context"
	"fmt"
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

// Both kinds of tables have the content of the file on every agent, also on one that was
// down, and on one that is restarted.
func TestARestoreBringsBackTheTablesOfAProgram(t *testing.T) {
	all := make([]registers, 3)
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Configure: func(i int, c *agent.Config) { c.Tables = all[i].tables() }})
	a := c.Agent(0)
	set := func(key, text string, life time.Duration) {
		t.Helper()
		for _, id := range []state.TableID{testtable.RegisterTable, stagedTable} {
			if _, err := a.Propose(t.Context(), interrex.Proposal{Table: uint16(id), Data: testtable.Set(key, text, life)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	set("kept", "as saved", time.Hour)
	var file bytes.Buffer
	if _, err := a.Snapshots().Save(t.Context(), &file, interrex.ReadOptions{}); err != nil {
		t.Fatal(err)
	}
	saved, _ := all[0].get(stagedTable, "kept")
	for _, by := range []interrex.Snapshots{a.Snapshots(), c.Client(1).Snapshots()} {
		set("kept", "changed", 0)
		set("later", "replaced", 0)
		c.Stop(2)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		revision, err := by.Restore(ctx, bytes.NewReader(file.Bytes()), nil)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		c.Start(2)
		c.Restart(1)
		for i, a := range c.Agents() {
			eventually(t, fmt.Sprintf("agent %d has the restore", i), func() error {
				_, err := a.Snapshots().Save(t.Context(), new(bytes.Buffer), interrex.ReadOptions{MinRevision: revision, Consistency: interrex.Eventual})
				return err
			})
			for _, id := range []state.TableID{testtable.RegisterTable, stagedTable} {
				if got, there := all[i].get(id, "kept"); !there || got.Text != "as saved" || (got.Expiry > saved.Expiry) != (id == stagedTable) {
					t.Errorf("table %d of agent %d has %+v, and had %+v", id, i, got, saved)
				}
				if got, there := all[i].get(id, "later"); there {
					t.Errorf("table %d of agent %d still has %+v", id, i, got)
				}
			}
		}
	}
}
