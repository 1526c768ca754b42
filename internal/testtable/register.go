package testtable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/state"
)

// RegisterTable is the ID of a Register.
const RegisterTable = state.FirstEmbedderTable

// The kinds of a Register's events.
const (
	RegisterSet     = "register.set"
	RegisterDeleted = "register.deleted"
	RegisterExpired = "register.expired"
)

// Register is the smallest table that uses everything that a table can do: values
// of a few bytes by key, each permanent or for a limited time.
type Register struct {
	mu     sync.Mutex
	id     state.TableID
	values *btree.Map[string, Value]
	due    *btree.BTreeG[deadline]
}

// Value is the value of a key.
type Value struct {
	Text     string
	Revision interrex.Revision // of its write
	Expiry   state.Time        // 0: it stays
}

// RegisterReply is the reply to a Set or Delete.
type RegisterReply struct {
	Value Value // as it is now, or, when deleted, as it was
}

type deadline struct {
	at  state.Time
	key string
}

func (d deadline) before(o deadline) bool {
	return d.at < o.at || d.at == o.at && d.key < o.key
}

// registerCommand sets a key, or deletes it.
type registerCommand struct {
	set       bool
	key, text string
	life      time.Duration
}

// About is part of state.Command. A register's keys are in the default namespace.
func (c *registerCommand) About() state.About {
	about := state.About{Name: "delete", Key: interrex.Key{Namespace: limits.DefaultNamespace, Name: c.key}}
	if c.set {
		about.Name = "set"
	}
	return about
}

// Validate is part of state.Command.
func (c *registerCommand) Validate() error {
	if c.life < 0 {
		return interrex.Errorf(interrex.ErrInvalid, "register: life: 0s or more is allowed, not %v", c.life)
	}
	return nil
}

// Append is part of state.Command.
func (c *registerCommand) Append(b []byte) []byte {
	if !c.set {
		return append(append(b, 2), c.key...)
	}
	b = binary.AppendUvarint(append(b, 1), uint64(c.life))
	b = binary.AppendUvarint(b, uint64(len(c.key)))
	return append(append(b, c.key...), c.text...)
}

// NewRegister returns an empty register with the ID RegisterTable.
func NewRegister() *Register { return NewRegisterAs(RegisterTable) }

// NewRegisterAs returns an empty register with another ID.
func NewRegisterAs(id state.TableID) *Register {
	r := &Register{id: id}
	r.clear()
	return r
}

func (r *Register) clear() {
	r.values = new(btree.Map[string, Value])
	r.due = btree.NewBTreeGOptions(deadline.before, btree.Options{NoLocks: true})
}

// Set returns the command that writes text under a key, for life (0:
// permanently).
func Set(key, text string, life time.Duration) []byte {
	return (&registerCommand{set: true, key: key, text: text, life: life}).Append(nil)
}

// Delete returns the command that removes a key.
func Delete(key string) []byte { return (&registerCommand{key: key}).Append(nil) }

// Get returns the value of a key.
func (r *Register) Get(key string) (Value, bool) {
	r.Lock()
	defer r.Unlock()
	return r.values.Get(key)
}

// Name is part of state.Table.
func (r *Register) Name() string { return fmt.Sprintf("register-%d", r.id) }

// ID is part of state.Table.
func (r *Register) ID() state.TableID { return r.id }

// Version is part of state.Table.
func (r *Register) Version() uint16 { return 1 }

// Lock is part of state.Table.
func (r *Register) Lock() { r.mu.Lock() }

// Unlock is part of state.Table.
func (r *Register) Unlock() { r.mu.Unlock() }

// Decode is part of state.Table.
func (r *Register) Decode(data []byte) (state.Command, error) {
	c, ok := decodeCommand(data)
	if !ok {
		return nil, interrex.Errorf(interrex.ErrInvalid, "register: the command is malformed")
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

func decodeCommand(data []byte) (*registerCommand, bool) {
	if len(data) > 0 && data[0] == 2 {
		return &registerCommand{key: string(data[1:])}, true
	}
	if len(data) == 0 || data[0] != 1 {
		return nil, false
	}
	life, n := binary.Uvarint(data[1:])
	if n <= 0 || life > math.MaxInt64 {
		return nil, false
	}
	data = data[1+n:]
	size, n := binary.Uvarint(data)
	if n <= 0 || size > uint64(len(data)-n) {
		return nil, false
	}
	text := string(data[n:])
	return &registerCommand{set: true, key: text[:size], text: text[size:], life: time.Duration(life)}, true
}

// Check is part of state.Table.
func (r *Register) Check(_ state.Time, c state.Command) error {
	cmd := c.(*registerCommand)
	if _, found := r.values.Get(cmd.key); !cmd.set && !found {
		return interrex.Errorf(interrex.ErrNotFound, "register: there is no key %q", cmd.key)
	}
	return nil
}

// Apply is part of state.Table.
func (r *Register) Apply(t *state.Turn, c state.Command) state.Reply {
	cmd := c.(*registerCommand)
	old := r.remove(cmd.key)
	if !cmd.set {
		t.Emit(RegisterDeleted, cmd.key, old, len(old.Text))
		return &RegisterReply{Value: old}
	}
	v := Value{Text: cmd.text, Revision: t.Revision}
	if cmd.life > 0 {
		v.Expiry = t.Now.Add(cmd.life)
		r.due.Set(deadline{v.Expiry, cmd.key})
	}
	r.values.Set(cmd.key, v)
	t.Emit(RegisterSet, cmd.key, v, len(v.Text))
	return &RegisterReply{Value: v}
}

func (r *Register) remove(key string) Value {
	old, _ := r.values.Delete(key)
	if old.Expiry != 0 {
		r.due.Delete(deadline{old.Expiry, key})
	}
	return old
}

// Due is part of state.Table.
func (r *Register) Due() (state.Time, bool) {
	d, found := r.due.Min()
	return d.at, found
}

// Tick is part of state.Table.
func (r *Register) Tick(t *state.Turn, limit int) int {
	for n := 0; ; n++ {
		d, found := r.due.Min()
		if n == limit || !found || d.at > t.Now {
			return n
		}
		t.Next()
		old := r.remove(d.key)
		t.Emit(RegisterExpired, d.key, old, len(old.Text))
	}
}

// Freeze is part of state.Table.
func (r *Register) Freeze() state.View { return registerView{r.values.Copy()} }

type registerView struct{ values *btree.Map[string, Value] }

func (v registerView) Release() {}

func (v registerView) Write(w io.Writer) (err error) {
	b := binary.AppendUvarint(nil, uint64(v.values.Len()))
	if _, err := w.Write(b); err != nil {
		return err
	}
	v.values.Scan(func(key string, value Value) bool {
		b = appendValue(appendText(b[:0], key), value)
		_, err = w.Write(b)
		return err == nil
	})
	return err
}

// Restore is part of state.Table.
func (r *Register) Restore(_ uint16, in io.Reader) error {
	b, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	d := registerDecoder{b: b}
	fresh := NewRegisterAs(r.id)
	for n := d.number(); n > 0 && !d.bad; n-- {
		key, value := d.text(), d.value()
		fresh.values.Set(key, value)
		if value.Expiry != 0 {
			fresh.due.Set(deadline{value.Expiry, key})
		}
	}
	if d.bad || len(d.b) > 0 {
		return errors.New("cannot restore register: its content is malformed")
	}
	r.values, r.due = fresh.values, fresh.due
	return nil
}

// AppendReply is part of state.Table.
func (r *Register) AppendReply(b []byte, reply state.Reply) []byte {
	return appendValue(b, reply.(*RegisterReply).Value)
}

// DecodeReply is part of state.Table.
func (r *Register) DecodeReply(b []byte) (state.Reply, error) {
	d := registerDecoder{b: b}
	reply := &RegisterReply{Value: d.value()}
	if d.bad || len(d.b) > 0 {
		return nil, errors.New("cannot decode reply of register: it is malformed")
	}
	return reply, nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendValue(b []byte, v Value) []byte {
	b = appendText(b, v.Text)
	b = binary.AppendUvarint(b, uint64(v.Revision))
	return binary.AppendUvarint(b, uint64(v.Expiry))
}

type registerDecoder struct {
	b   []byte
	bad bool
}

func (d *registerDecoder) number() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *registerDecoder) text() string {
	n := d.number()
	if n > uint64(len(d.b)) {
		d.b, d.bad = nil, true
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *registerDecoder) value() Value {
	return Value{Text: d.text(), Revision: interrex.Revision(d.number()), Expiry: state.Time(d.number())}
}

var _ state.Table = (*Register)(nil)
