package datadir

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/founding"
	"github.com/interrex/interrex/internal/hclogger"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/raftdir"
	"github.com/interrex/interrex/internal/raftlog"
	"github.com/interrex/interrex/state"
)

// RecoverConfig is the configuration of a recovery.
type RecoverConfig struct {
	// DataDir is the survivor's data directory, which must not be in use.
	DataDir string
	// State is an empty state with the agent's tables.
	State  *machine.State
	Logger hclogger.Logger
	Clock  clock.Clock
	// Allow is called when the state has been read, before the recovery changes
	// anything; its error ends the recovery. Optional.
	Allow func() error
}

// Recovery is the result of a recovery.
type Recovery struct {
	Epoch interrex.Epoch
	Loss  machine.Loss
}

// Recover makes a survivor a cluster of one, from the newest intact snapshot and the
// entries that continue from it. It draws a new epoch and applies machine.Recover, as
// an entry past every index, and in a term above every term, that the directory
// knows of. The result is a snapshot of that, with the survivor as the only member,
// and an empty log.
//
// The completion of the snapshot decides. A crash before it leaves the old state
// with a greater term, and a crash after it the new one, which the agent goes on with
// when it starts: identity and log follow.
func Recover(cfg RecoverConfig) (r Recovery, err error) {
	id, err := readIdentity(filepath.Join(cfg.DataDir, identityName))
	if err != nil {
		return r, err
	}
	dir, err := raftdir.Open(filepath.Join(cfg.DataDir, RaftDir), raftdir.Config{Logger: hclogger.New("raft", cfg.Logger), Clock: cfg.Clock})
	if err != nil {
		return r, err
	}
	dir.Release() // nothing else waits for a read that fails
	v := &recovery{RecoverConfig: cfg, id: id, dir: dir}
	if r, err = v.run(); err != nil {
		err = fmt.Errorf("cannot recover %s: %w", cfg.DataDir, err)
	}
	return r, errors.Join(err, dir.Close())
}

type recovery struct {
	RecoverConfig
	id  Identity
	dir *raftdir.Directory
}

func (v *recovery) run() (r Recovery, err error) {
	if err := v.restore(); err != nil {
		return r, err
	}
	if err := v.replay(); err != nil {
		return r, err
	}
	if v.interrupted() {
		return v.finish()
	}
	if v.Allow != nil {
		if err := v.Allow(); err != nil {
			return r, err
		}
	}
	at := v.behind()
	if err := v.apply(at); err != nil {
		return r, err
	}
	// The term before the snapshot, because a directory whose vote is behind its log
	// counts as wiped.
	if err := v.vote(at.Term); err != nil {
		return r, err
	}
	if err := v.snapshot(at); err != nil {
		return r, err
	}
	return v.finish()
}

// interrupted reports whether an earlier recovery was cut short after its snapshot.
func (v *recovery) interrupted() bool {
	is := v.State.Identity()
	return is.Epoch.Number > v.id.Epoch.Number && len(is.Incarnations) == 1 && is.Incarnations[v.id.ID] == v.id.Incarnation && v.State.Loss().To > 0
}

// finish brings identity and log in line with the snapshot.
func (v *recovery) finish() (Recovery, error) {
	is := v.State.Identity()
	v.id.ClusterID, v.id.Epoch, v.id.Incarnations, v.id.Joins = is.ClusterID, is.Epoch, is.Incarnations, ""
	r := Recovery{Epoch: is.Epoch, Loss: v.State.Loss()}
	if err := SaveIdentity(v.DataDir, v.id); err != nil {
		return r, err
	}
	return r, v.clear()
}

// restore restores the newest snapshot, if there is one.
func (v *recovery) restore() error {
	list, err := v.dir.Snapshots().List()
	if err != nil || len(list) == 0 {
		return err
	}
	_, content, err := v.dir.Snapshots().Open(list[0].ID)
	if err != nil {
		return err
	}
	return v.State.Restore(content)
}

// replay applies the log.
func (v *recovery) replay() error {
	first, err := v.dir.FirstIndex()
	if err != nil {
		return err
	}
	last, err := v.dir.LastIndex()
	if err != nil {
		return err
	}
	applied, _ := v.State.Applied()
	for i := max(first, applied+1); i <= last && i > 0; i++ {
		var log raft.Log
		if err := errors.Join(v.dir.GetLog(i, &log), v.dir.Failure()); err != nil {
			return err
		}
		v.State.Apply(&log)
		if err := v.State.Halted(); err != nil {
			return err
		}
	}
	return nil
}

// behind returns a position past all that the directory knows of.
func (v *recovery) behind() raftlog.Position {
	end, floor := v.dir.End(), v.dir.Floor()
	return raftlog.Position{
		Index: max(end.Index, floor.Index) + 1,
		Term:  max(end.Term, floor.Term, floor.Since, v.dir.Term()) + 1,
	}
}

func (v *recovery) apply(at raftlog.Position) error {
	// identity.json has the cluster's ID slightly later than the log; if neither has
	// it, this is another cluster.
	v.id.ClusterID = cmp.Or(v.State.Identity().ClusterID, v.id.ClusterID, founding.RandomHex(16))
	command := &machine.Recover{
		ClusterID: v.id.ClusterID, Epoch: v.id.Epoch.Number, Bits: binary.LittleEndian.Uint64(founding.Random(8)) | 1,
		Survivor: v.id.ID, Incarnation: v.id.Incarnation,
	}
	entry := (&machine.Entry{
		Stamp: v.State.Now(), Wall: v.Clock.Now().UTC(),
		Operations: []state.Operation{{Table: machine.SystemTable, Data: command.Append(nil)}},
	}).Append(nil)
	results, _ := v.State.Apply(&raft.Log{Index: at.Index, Term: at.Term, Type: raft.LogCommand, Data: entry}).([]state.Result)
	if err := v.State.Halted(); err != nil || len(results) != 1 {
		return errors.Join(err, errors.New("the recovery itself was not applied"))
	}
	return results[0].Err
}

func (v *recovery) vote(term uint64) error {
	return errors.Join(v.dir.Stable().SetUint64([]byte("CurrentTerm"), term), v.dir.Failure())
}

func (v *recovery) snapshot(at raftlog.Position) error {
	frozen, err := v.State.Snapshot()
	if err != nil {
		return err
	}
	defer frozen.Release()
	_, nowhere := raft.NewInmemTransport(raft.ServerAddress(v.id.ID))
	sink, err := v.dir.Snapshots().Create(raft.SnapshotVersionMax, at.Index, at.Term, founding.Members(v.id.ID), at.Index, nowhere)
	if err != nil {
		return err
	}
	return frozen.Persist(sink)
}

// clear empties the log: all its entries are in the snapshot.
func (v *recovery) clear() error {
	first, err := v.dir.FirstIndex()
	if err != nil || first == 0 {
		return err
	}
	last, err := v.dir.LastIndex()
	if err != nil {
		return err
	}
	return v.dir.DeleteRange(first, last)
}
