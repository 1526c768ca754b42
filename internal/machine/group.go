package machine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"math"
	"slices"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/validation"
	"github.com/interrex/interrex/state"
)

// GroupReply is the Reply of a group: one for each of its operations, in order.
type GroupReply []PartReply

// PartReply is the reply to one operation of a group.
type PartReply struct {
	Table    state.TableID
	Revision interrex.Revision // of its own change
	Reply    state.Reply
}

// member is an operation of a group, decoded.
type member struct {
	table   state.Table
	command state.Command
}

// group applies a group whose fence holds, wholly or not at all.
func (s *State) group(t *state.Turn, op *state.Operation) state.Result {
	members, err := s.members(op)
	if err == nil {
		err = s.checkGroup(t.Now, members)
	}
	if err != nil {
		return refuse(op, err)
	}
	first := len(t.Events())
	reply := make(GroupReply, len(members))
	for i, m := range members {
		reply[i].Table = m.table.ID()
		if idler, is := m.table.(state.Idler); is {
			if r, idle := idler.Idle(m.command); idle {
				reply[i].Reply, reply[i].Revision = r, t.Revision
				continue
			}
		}
		t.Table, t.Minted = m.table.ID(), op.Group[i].Minted
		t.Next()
		reply[i].Reply = m.table.Apply(t, m.command)
		reply[i].Revision = t.Revision
	}
	res := state.Result{Reply: reply, Revision: t.Revision, Attempt: op.Attempt}
	s.follow(t, first)
	return res
}

// members decodes the operations of a group, whose tables are known.
func (s *State) members(op *state.Operation) ([]member, error) {
	members := make([]member, len(op.Group))
	for i := range op.Group {
		table := s.tables.find(op.Group[i].Table)
		c, err := table.Decode(op.Group[i].Data)
		if err != nil {
			return nil, validation.InGroup(i, err)
		}
		members[i] = member{table, c}
	}
	return members, nil
}

// checkGroup checks a group table by table, against the state before it.
func (s *State) checkGroup(now state.Time, members []member) error {
	for _, table := range s.tables {
		var commands []state.Command
		var places []int // of commands, in the group
		for i, m := range members {
			if m.table == table {
				commands, places = append(commands, m.command), append(places, i)
			}
		}
		if len(commands) == 0 {
			continue
		}
		if i, err := checkTogether(table, now, commands); err != nil {
			return validation.InGroup(places[i], err)
		}
	}
	return nil
}

// checkTogether checks the commands of one table, and returns the index of the one
// that is refused: the last of the shortest prefix that is refused.
func checkTogether(table state.Table, now state.Time, commands []state.Command) (int, error) {
	g, is := table.(state.Grouper)
	if !is {
		return checkEach(table, now, commands)
	}
	err := g.CheckGroup(now, commands)
	if err == nil {
		return 0, nil
	}
	passed, refused := 0, len(commands)
	for refused-passed > 1 {
		half := (passed + refused) / 2
		if e := g.CheckGroup(now, commands[:half]); e != nil {
			refused, err = half, e
		} else {
			passed = half
		}
	}
	return refused - 1, err
}

// checkEach is CheckGroup for a table that is not a Grouper.
func checkEach(table state.Table, now state.Time, commands []state.Command) (int, error) {
	for i, c := range commands {
		if err := table.Check(now, c); err != nil {
			return i, err
		}
		key := c.About().Key
		if i > 0 && (key == (interrex.Key{}) || commands[0].About().Key == (interrex.Key{})) {
			return i, interrex.Errorf(interrex.ErrInvalid, "another operation of the group is also of the table %q, and one of them has no key: the table checks each by itself, so send them one by one", table.Name())
		}
		if slices.ContainsFunc(commands[:i], func(o state.Command) bool { return o.About().Key == key }) {
			return i, interrex.Errorf(interrex.ErrInvalid, "another operation of the group is about %s: each key may appear in a group once", key)
		}
	}
	return 0, nil
}

// contentOfGroup is contentOf without the fence.
func contentOfGroup(parts []state.Part) uint64 {
	sum := uint64(kindGroup) << 32 // differs from every table ID
	var head [10]byte
	for i := range parts {
		binary.BigEndian.PutUint16(head[:], uint16(parts[i].Table))
		binary.BigEndian.PutUint64(head[2:], uint64(len(parts[i].Data)))
		sum = crc64.Update(sum, contentTable, head[:])
		sum = crc64.Update(sum, contentTable, parts[i].Data)
	}
	return sum
}

func appendGroup(b []byte, parts []state.Part) []byte {
	b = binary.AppendUvarint(b, uint64(len(parts)))
	for i := range parts {
		b = binary.AppendUvarint(b, uint64(parts[i].Table))
		b = appendBytes(b, parts[i].Minted)
		b = appendBytes(b, parts[i].Data)
	}
	return b
}

func (d *decoder) group() []state.Part {
	n := d.small(limits.MaxGroup)
	if n == 0 {
		d.fail(errors.New("a group without operations"))
		return nil
	}
	parts := make([]state.Part, n)
	for i := range parts {
		parts[i].Table = state.TableID(d.small(math.MaxUint16))
		if parts[i].Minted = d.bytes(); len(parts[i].Minted) == 0 {
			parts[i].Minted = nil
		}
		parts[i].Data = d.bytes()
	}
	return parts
}

// appendReply appends the reply of a record, with the codec of its table, or of each
// operation's table for a group.
func (ts tableSet) appendReply(b []byte, table state.TableID, r state.Reply) []byte {
	group, is := r.(GroupReply)
	if !is || table != SystemTable {
		return ts.find(table).AppendReply(b, r)
	}
	b = binary.AppendUvarint(b, uint64(len(group)))
	for _, p := range group {
		b = binary.AppendUvarint(b, uint64(p.Table))
		b = binary.AppendUvarint(b, uint64(p.Revision))
		b = appendBytes(b, ts.find(p.Table).AppendReply(nil, p.Reply))
	}
	return b
}

// decodeReply reads what appendReply wrote, and copies it.
func (ts tableSet) decodeReply(b []byte, table state.TableID) (state.Reply, error) {
	if table == SystemTable {
		return ts.decodeGroupReply(b)
	}
	t := ts.find(table)
	if t == nil {
		return nil, unknownTable(table)
	}
	reply, err := t.DecodeReply(slices.Clone(b))
	if err != nil {
		return nil, fmt.Errorf("a reply of table %q: %w", t.Name(), err)
	}
	return reply, nil
}

func (ts tableSet) decodeGroupReply(b []byte) (state.Reply, error) {
	d := decoder{b: b}
	n := d.small(limits.MaxGroup)
	if d.err == nil && n == 0 {
		return nil, errors.New("a record is of a group without operations")
	}
	group := make(GroupReply, 0, n)
	for ; n > 0 && d.err == nil; n-- {
		p := PartReply{Table: state.TableID(d.small(math.MaxUint16)), Revision: interrex.Revision(d.uvarint())}
		reply := d.bytes()
		if d.err != nil {
			break
		}
		if p.Table == SystemTable {
			return nil, errors.New("a record is of a group in a group")
		}
		var err error
		if p.Reply, err = ts.decodeReply(reply, p.Table); err != nil {
			return nil, err
		}
		group = append(group, p)
	}
	return group, d.end()
}

// keep returns what the record of a request id stores in place of a reply.
func (ts tableSet) keep(table state.TableID, r state.Reply) state.Reply {
	group, is := r.(GroupReply)
	if !is || table != SystemTable {
		if k, keeps := ts.find(table).(keeper); keeps {
			return k.Keep(r)
		}
		return r
	}
	kept := slices.Clone(group)
	for i := range kept {
		kept[i].Reply = ts.keep(kept[i].Table, kept[i].Reply)
	}
	return kept
}

// kept returns the reply for what keep returned of the same operation, or why it must
// not be repeated.
func (ts tableSet) kept(op *state.Operation, r state.Reply) (state.Reply, error) {
	if len(op.Group) == 0 {
		return ts.keptOf(op.Table, op.Data, r)
	}
	reply := slices.Clone(r.(GroupReply))
	if len(reply) != len(op.Group) {
		return nil, errContent(op)
	}
	for i := range reply {
		var err error
		if reply[i].Table != op.Group[i].Table {
			return nil, validation.InGroup(i, errContent(op))
		}
		if reply[i].Reply, err = ts.keptOf(reply[i].Table, op.Group[i].Data, reply[i].Reply); err != nil {
			return nil, validation.InGroup(i, err)
		}
	}
	return reply, nil
}

func (ts tableSet) keptOf(table state.TableID, data []byte, r state.Reply) (state.Reply, error) {
	k, keeps := ts.find(table).(keeper)
	if !keeps {
		return r, nil
	}
	c, err := ts.find(table).Decode(data)
	if err != nil {
		return nil, err
	}
	return k.Kept(c, r)
}

// of returns the tables of an operation's commands.
func (ts tableSet) of(op *state.Operation) tableSet {
	if len(op.Group) == 0 {
		if i := slices.IndexFunc(ts, func(t state.Table) bool { return t.ID() == op.Table }); i >= 0 {
			return ts[i : i+1]
		}
		return nil
	}
	var some tableSet
	for _, t := range ts {
		if slices.ContainsFunc(op.Group, func(p state.Part) bool { return p.Table == t.ID() }) {
			some = append(some, t)
		}
	}
	return some
}
