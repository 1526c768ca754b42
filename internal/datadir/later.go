package datadir

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/raftdir"
	"github.com/interrex/interrex/state"
)

// Read finds out whether this build can read the snapshot and the entries with which an
// agent would start in an examined directory: Later says what it cannot read. tables
// returns empty tables of this build, others at each call; those of an embedder may be
// missing, and are passed over.
func (e *Examination) Read(dataDir string, tables func() []state.Table) error {
	if e.Verdict == Wiped {
		return nil
	}
	st, err := machine.New(machine.Config{Tables: tables()})
	if err != nil {
		return err
	}
	defer st.Close()
	unread := func(what string, err error) {
		if err != nil && e.Later == nil {
			e.Later = fmt.Errorf("this build cannot read %s: %w", what, err)
			e.Verdict = Later
		}
	}
	snapshot := func(r io.Reader) error {
		_, err := machine.Inspect(r, tables, func(string, uint16, int64, state.Table) {})
		unread("the newest snapshot", err)
		return nil
	}
	entry := func(l *raft.Log) error {
		if l.Type == raft.LogCommand {
			unread(fmt.Sprintf("log entry %d", l.Index), st.Readable(l.Data))
		}
		return nil
	}
	return raftdir.Visit(filepath.Join(dataDir, RaftDir), snapshot, entry)
}
