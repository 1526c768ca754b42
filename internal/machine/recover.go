package machine

import (
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// maxRevision is above every revision: a number in JSON holds all below it.
const maxRevision interrex.Revision = 1 << 53

// A recovery raises the revision past every one that the lost part of the log may
// have issued: by recoveryStep at least, and to secondStep for each second of the wall
// clock since 1970.
const (
	recoveryStep interrex.Revision = 1 << 40
	secondStep   interrex.Revision = 1 << 20
)

// Recover is the operation with which one survivor becomes a cluster of one: what
// this log has lost may have been acknowledged to callers. It sets a new epoch,
// raises the revision, ends every name and record of request ids, and lets every
// recoverer end what others may rely on. It is not a method of the API: only
// internal/datadir writes it, while raft is not running.
type Recover struct {
	// ClusterID and Epoch are what the survivor's disk knows beside the log, for a
	// log that has lost them.
	ClusterID string
	Epoch     uint64
	// Bits are the new epoch's random ones, and never 0.
	Bits uint64
	// Survivor is the only member from now on, and Incarnation that of its disk.
	Survivor, Incarnation string
}

// recoverer is an optional interface of a table: in a recovery it ends what was
// granted before and calls t.Next for each single ending. survivor is the ID of the
// only agent that remains. It is called in table order, with the locks held; followers
// see its events.
type recoverer interface {
	Recover(t *state.Turn, survivor string)
}

// About is part of Command.
func (c *Recover) About() state.About { return state.About{Name: "recover", Privileged: true} }

// Validate is part of Command.
func (c *Recover) Validate() error {
	if raw, err := hex.DecodeString(c.ClusterID); err != nil || len(raw) != 16 {
		return interrex.Errorf(interrex.ErrInvalid, "recovery: cluster ID %q is not 16 bytes in hexadecimal", c.ClusterID)
	}
	if c.Bits == 0 || c.Survivor == "" || c.Incarnation == "" {
		return interrex.Errorf(interrex.ErrInvalid, "recovery: the epoch's bits, the survivor or its incarnation is missing")
	}
	return nil
}

// Append is part of Command.
func (c *Recover) Append(b []byte) []byte {
	b = appendBytes(append(b, commandVersion, commandRecover), c.ClusterID)
	b = binary.AppendUvarint(b, c.Epoch)
	b = binary.AppendUvarint(b, c.Bits)
	return appendBytes(appendBytes(b, c.Survivor), c.Incarnation)
}

func (c *Recover) decode(args []byte) error {
	d := decoder{b: args}
	c.ClusterID = strings.Clone(d.text())
	c.Epoch, c.Bits = d.uvarint(), d.uvarint()
	c.Survivor, c.Incarnation = strings.Clone(d.text()), strings.Clone(d.text())
	if err := d.end(); err != nil {
		return interrex.Errorf(interrex.ErrInvalid, "recovery: %v", err)
	}
	return nil
}

func (c *Recover) check(sys *system, t *state.Turn, _ *state.Operation) error {
	if mine := sys.identity.ClusterID; mine != "" && mine != c.ClusterID {
		return interrex.Errorf(interrex.ErrConflict, "recovery: this is cluster %s, and not %s", mine, c.ClusterID)
	}
	if is := sys.identity.Incarnations[c.Survivor]; is != "" && is != c.Incarnation {
		return interrex.Errorf(interrex.ErrConflict, "recovery: %s is a member with another disk than this one", c.Survivor)
	}
	if t.Revision+recoveryStep >= maxRevision {
		return interrex.Errorf(interrex.ErrConflict, "recovery: revision %d cannot be raised any more", t.Revision)
	}
	return nil
}

func (c *Recover) apply(s *State, t *state.Turn, _ *state.Operation) (state.Reply, error) {
	sys := s.system
	if sys.identity.Epoch.Bits == c.Bits {
		return nil, nil // it was applied already
	}
	sys.unstage()
	sys.records.lose(Loss{From: t.Revision, To: raised(t), At: t.Now})
	t.Revision = sys.records.loss.To
	sys.identity = Identity{
		ClusterID: c.ClusterID, Epoch: interrex.Epoch{Number: max(sys.identity.Epoch.Number, c.Epoch) + 1, Bits: c.Bits},
		Incarnations: map[string]string{c.Survivor: c.Incarnation},
	}
	for _, table := range s.tables {
		if r, is := table.(recoverer); is {
			t.Table = table.ID()
			first := len(t.Events())
			r.Recover(t, c.Survivor)
			s.follow(t, first)
		}
	}
	return nil, nil
}

// raised returns the revision after a recovery. It is limited, so that a wall clock
// that is far off does not use up the revisions.
func raised(t *state.Turn) interrex.Revision {
	least := t.Revision + recoveryStep
	seconds := t.Wall.Unix()
	if seconds <= 0 || seconds >= int64(maxRevision/secondStep) {
		return least
	}
	return max(least, interrex.Revision(seconds)*secondStep)
}

// Loss is what the newest recovery has lost: changes after revision From, if
// there were any, are undone. To is the revision to which it raised the state; 0:
// there was no recovery.
type Loss struct {
	From, To interrex.Revision
	At       state.Time // of the recovery
}

// Loss returns what the newest recovery has lost.
func (s *State) Loss() Loss { return s.at.Load().loss }

// Lost reports whether a revision belongs to changes that a recovery has lost.
func (l Loss) Lost(r interrex.Revision) bool { return l.From < r && r < l.To }

// wants reports whether an operation is a command by itself that may wait for
// its key: see Waitable.
func (ts tableSet) wants(op *state.Operation) bool {
	w, is := ts.find(op.Table).(state.Waitable)
	if !is || len(op.Group) > 0 {
		return false
	}
	c, err := w.(state.Table).Decode(op.Data)
	if err != nil {
		return false
	}
	_, wants := w.Wants(c)
	return wants
}
