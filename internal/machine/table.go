package machine

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// The IDs of the tables that are known here. SystemTable is the state itself:
// where its own operations go. An embedder's tables begin at
// state.FirstEmbedderTable.
const (
	SystemTable   state.TableID = 0
	LeaseTable    state.TableID = 1
	ResourceTable state.TableID = 2
	ChangeTable   state.TableID = 3
	WebhookTable  state.TableID = 4
	MemberTable   state.TableID = 5
	FSMTable      state.TableID = 6
	AccessTable   state.TableID = 7
)

// keeper is an optional interface of a table that makes a recorded reply again from
// what it has: a reply need not be stored in every record, and may differ between
// agents. AppendReply takes a reply, or what Keep returned; DecodeReply returns the
// latter.
type keeper interface {
	// Keep returns what the record of a request id stores in place of a reply. It
	// must be the same on every agent.
	Keep(r state.Reply) state.Reply
	// Kept returns the reply to a command for what Keep returned, or why it must not
	// be repeated: a grant whose token is no longer in force is ErrNotHeld.
	Kept(c state.Command, r state.Reply) (state.Reply, error)
}

// recorder is an optional interface of one table, which keeps events: after each
// entry, also one without any, it receives all its events, those of followers
// too. It takes no revision and emits nothing. The Publisher gets the same slice,
// so it must not be modified.
type recorder interface {
	state.Table
	Record(now state.Time, last interrex.Revision, events []state.Event)
	// Skip is called with the revision of a snapshot that was restored and knows
	// nothing of the table: events up to there will never come.
	Skip(to interrex.Revision)
	// UseCodecs is called once, before everything else, with the codecs of the
	// other tables' events; nil: the table has none.
	UseCodecs(of func(state.TableID) state.EventCodec)
}

// fencer is the table of leases, with which fences are checked. It is called with
// its lock held.
type fencer interface {
	Holds(k interrex.Key, token interrex.Token) bool
}

// fenced is a table that uses the fencer itself, in Check, Apply and Follow, where
// State holds the locks of all tables. UseFence is called once, before everything
// else, unless there is no table of leases.
type fenced interface {
	UseFence(holds func(k interrex.Key, token interrex.Token) bool)
}

// Tokened is an optional interface of a command. Shows returns a key and the token under
// which it must be held, or else the command is refused with ErrNotHeld; 0: it need not.
type Tokened interface {
	Shows() (interrex.Key, interrex.Token)
}
