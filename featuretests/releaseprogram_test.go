package featuretests

import (
	"bytes"
	"os"
	"path/filepath"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// journal is a program's own state machine: all commands so far, which it returns.
type journal struct{ lines []byte }

func (j *journal) Apply(c interrex.FSMCommand) ([]byte, error) {
	j.lines = append(append(j.lines, c.Data...), '\n')
	return bytes.Clone(j.lines), nil
}

func (j *journal) Snapshot() ([]byte, error) { return bytes.Clone(j.lines), nil }

func (j *journal) Restore(snapshot []byte) error {
	j.lines = bytes.Clone(snapshot)
	return nil
}

// embedder is a program that embeds an agent, with a table and a machine of its own.
type embedder struct {
	*agent.Agent
	table *testtable.Register
}

func (r *release) embedder(dir string) embedder {
	r.t.Helper()
	p := embedder{table: testtable.NewRegister()}
	a, err := agent.New(agent.Config{
		ID: "p1", DataDir: dir,
		API:    config.API{Socket: filepath.Join(r.t.TempDir(), "s")},
		Raft:   config.Raft{SnapshotThreshold: 1, SnapshotInterval: time.Second},
		FSM:    func() interrex.FSM { return new(journal) },
		Tables: []agent.Table{func() (state.Table, api.Service) { return p.table, api.Service{} }},
	})
	r.must(err)
	r.must(a.Start(r.t.Context()))
	r.t.Cleanup(func() { _ = a.Stop(r.t.Context()) }) // it may be stopped already
	p.Agent = a
	return p
}

// tells proposes a command to the machine, and returns all that it was told.
func (r *release) tells(p embedder, line string) string {
	r.t.Helper()
	answer, err := p.Propose(r.t.Context(), interrex.Proposal{Data: []byte(line)})
	r.must(err)
	return string(answer.Value)
}

// writeProgram runs a program, and keeps its directory with a snapshot, and entries behind
// it.
func (r *release) writeProgram() {
	dir := filepath.Join(r.t.TempDir(), "data")
	p := r.embedder(dir)
	_, err := p.Propose(r.t.Context(), interrex.Proposal{Table: uint16(testtable.RegisterTable), Data: testtable.Set("k", "v", 0)})
	r.must(err)
	r.tells(p, "one")
	eventually(r.t, "there is a snapshot", func() error {
		found, err := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*", "state.bin"))
		if err == nil && len(found) == 0 {
			err = os.ErrNotExist
		}
		return err
	})
	r.tells(p, "two")
	r.must(p.Stop(r.t.Context()))
	r.write(releaseProgram, packed(r.t, dir))
}

// runsAgain starts the program on a copy of its directory: its table and its machine have
// what they had.
func (r *release) runsAgain() {
	dir := filepath.Join(r.t.TempDir(), "data")
	r.unpack(releaseProgram, dir)
	p := r.embedder(dir)
	if told := r.tells(p, "three"); told != "one\ntwo\nthree\n" {
		r.t.Errorf("the machine was told %q", told)
	}
	if v, found := p.table.Get("k"); !found || v.Text != "v" {
		r.t.Errorf("the table has %+v", v)
	}
}
