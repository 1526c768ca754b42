package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/state"
)

// maxMarks is how many marks are kept, to compare with those of leaders.
const maxMarks = 4096

// Table is the table of one machine. It implements state.Table.
type Table struct {
	config  Config
	stopped atomic.Pointer[Stop]
	failed  atomic.Pointer[Stop]      // the snapshot that failed, until one succeeds
	called  atomic.Pointer[time.Time] // since when the machine is in a call; nil: it is in none

	mu sync.Mutex
	content
}

// content is the table's state apart from the machine.
type content struct {
	marks   []mark    // oldest first, at least one
	answers []*answer // oldest first
	bytes   int       // of the answers
}

// Config configures a Table.
type Config struct {
	Machine interrex.FSM
	Clock   clock.Clock     // for the times of failures; nil: the wall clock
	Logger  interrex.Logger // logs failures; nil: none
}

// Stop is why a machine, or its snapshots, came to an end on this agent.
type Stop struct {
	Reason string
	Since  time.Time
}

// New returns the table of an empty machine.
func New(c Config) (*Table, error) {
	if c.Machine == nil {
		return nil, errors.New("cannot make the table of a state machine: nil Machine not valid")
	}
	if c.Clock == nil {
		c.Clock = clock.WallClock
	}
	if c.Logger == nil {
		c.Logger = silent.Logger{}
	}
	return &Table{config: c, content: content{marks: make([]mark, 1)}}, nil
}

// Name is the table's name in hellos, reports and snapshots.
func (t *Table) Name() string { return "fsm" }

// ID is the constant ID.
func (t *Table) ID() state.TableID { return machine.FSMTable }

// Version is that of the encoding of replies and snapshots.
func (t *Table) Version() uint16 { return 1 }

// Uncompared keeps the machine out of comparisons of replicas: a snapshot of it would
// take too long for each. Each command compares its responses.
func (t *Table) Uncompared() {}

// Lock locks the table, and with it the machine.
func (t *Table) Lock() { t.mu.Lock() }

// Unlock unlocks the table.
func (t *Table) Unlock() { t.mu.Unlock() }

// command is one command to the machine.
type command struct {
	table *Table
	data  []byte
}

// Decode takes any bytes, up to MaxData.
func (t *Table) Decode(data []byte) (state.Command, error) {
	c := &command{t, data}
	return c, c.Validate()
}

// About implements state.Command.
func (c *command) About() state.About { return state.About{Name: "apply"} }

// Validate implements state.Command.
func (c *command) Validate() error {
	if len(c.data) > MaxData {
		return interrex.Errorf(interrex.ErrTooLarge, "data: at most %[2]d bytes are allowed, not %[1]d", len(c.data), MaxData)
	}
	return nil
}

// Append implements state.Command.
func (c *command) Append(b []byte) []byte { return append(b, c.data...) }

// Mint returns the mark of the leader's machine, for the others to compare. A
// leader whose machine is stopped refuses commands: it could not answer them.
func (c *command) Mint(io.Reader) ([]byte, error) {
	if s := c.table.Stopped(); s != nil {
		return nil, interrex.Errorf(interrex.ErrUnavailable,
			"the state machine is stopped on the leader: %s; this attempt did nothing, retry when another agent leads", s.Reason)
	}
	c.table.Lock()
	defer c.table.Unlock()
	return c.table.mark().append(nil), nil
}

// Check refuses nothing: a command takes its revision regardless of the machine's
// reply.
func (t *Table) Check(state.Time, state.Command) error { return nil }

// CheckGroup refuses: a group is applied wholly or not at all, and a machine may
// refuse a command when it is applied.
func (t *Table) CheckGroup(state.Time, []state.Command) error {
	return interrex.Errorf(interrex.ErrInvalid, "a command to the state machine cannot be grouped: the machine may refuse it")
}

// Apply lets the machine execute a command, and emits its one event, also if the
// machine is stopped: so revisions are the same on all agents.
func (t *Table) Apply(turn *state.Turn, c state.Command) state.Reply {
	data := bytes.Clone(c.(*command).data)
	turn.Emit(Applied, "", interrex.FSMEvent{Data: data}, 64+len(data))
	t.compare(turn.Minted)
	reply := &Reply{Revision: turn.Revision}
	if t.Stopped() == nil {
		reply.answer = t.do(turn, data)
	}
	if reply.answer == nil {
		reply.missing = t.errStopped(turn.Revision)
		return reply
	}
	t.note(reply.answer)
	return reply
}

// do lets the machine execute one command; nil if it panicked, and is now stopped.
func (t *Table) do(turn *state.Turn, data []byte) (a *answer) {
	t.guarded(fmt.Sprintf("applying the command at revision %d", turn.Revision), func() {
		result, err := t.config.Machine.Apply(interrex.FSMCommand{
			Data: bytes.Clone(data), Revision: turn.Revision, Time: time.Duration(turn.Now), Wall: turn.Wall})
		a = answerOf(turn.Revision, result, err) // it calls the error's methods, which are the machine's
	})
	return a
}

// note stores a reply, and drops those beyond the limits.
func (c *content) note(a *answer) {
	c.marks = append(c.marks, mark{a.revision, c.mark().digest.next(a)})
	if len(c.marks) >= 2*maxMarks {
		c.marks = append(c.marks[:0], c.marks[len(c.marks)-maxMarks:]...)
	}
	c.answers = append(c.answers, a)
	c.bytes += a.size()
	for len(c.answers) > MaxAnswers || c.bytes > MaxAnswerBytes && len(c.answers) > 1 {
		c.bytes -= c.answers[0].size()
		c.answers = c.answers[1:]
	}
}

// mark returns the machine's position.
func (c *content) mark() mark { return c.marks[len(c.marks)-1] }

// compare stops the machine if its answers up to a command differ from those of the
// leader's machine.
func (t *Table) compare(minted []byte) {
	theirs, ok := readMark(minted)
	if !ok || t.Stopped() != nil {
		return
	}
	i := sort.Search(len(t.marks), func(i int) bool { return t.marks[i].revision >= theirs.revision })
	if i < len(t.marks) && t.marks[i].revision == theirs.revision && t.marks[i].digest != theirs.digest {
		t.stop(fmt.Sprintf("it disagrees: its answers up to revision %d differ from those of the leader's", theirs.revision))
	}
}

// Keep implements state's keeper.
func (t *Table) Keep(r state.Reply) state.Reply { return &Reply{Revision: r.(*Reply).Revision} }

// Kept implements state's keeper.
func (t *Table) Kept(_ state.Command, r state.Reply) (state.Reply, error) {
	reply := &Reply{Revision: r.(*Reply).Revision}
	i := sort.Search(len(t.answers), func(i int) bool { return t.answers[i].revision >= reply.Revision })
	switch {
	case t.Stopped() != nil:
		reply.missing = t.errStopped(reply.Revision)
	case i == len(t.answers) || t.answers[i].revision != reply.Revision:
		reply.missing = interrex.Errorf(interrex.ErrOutcomeUnknown,
			"the command was executed at revision %d, but the state machine's answer is no longer kept", reply.Revision)
	default:
		reply.answer = t.answers[i]
	}
	return reply, nil
}

// Due implements state.Table: nothing ends by time.
func (t *Table) Due() (state.Time, bool) { return 0, false }

// Tick implements state.Table.
func (t *Table) Tick(*state.Turn, int) int { return 0 }

// AppendReply encodes the reply's revision.
func (t *Table) AppendReply(b []byte, r state.Reply) []byte {
	return binary.AppendUvarint(b, uint64(r.(*Reply).Revision))
}

// DecodeReply reads what AppendReply wrote.
func (t *Table) DecodeReply(b []byte) (state.Reply, error) {
	d := codec.NewDecoder(string(b))
	r := &Reply{Revision: interrex.Revision(d.Uvarint())}
	if !d.Done() {
		return nil, errors.New("cannot decode reply of the state machine: it is malformed")
	}
	return r, nil
}

// AppendEvent implements state.EventCodec.
func (t *Table) AppendEvent(b []byte, value any) []byte {
	return append(b, value.(interrex.FSMEvent).Data...)
}

// DecodeEvent implements state.EventCodec.
func (t *Table) DecodeEvent(b []byte) (any, error) {
	return interrex.FSMEvent{Data: bytes.Clone(b)}, nil
}

var (
	_ state.Table      = (*Table)(nil)
	_ state.Grouper    = (*Table)(nil)
	_ state.EventCodec = (*Table)(nil)
	_ state.Minter     = (*command)(nil)
)
