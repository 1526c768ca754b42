package resource_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/state"
)

// epoch is the leader's wall clock in all turns.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world drives one table as a log would: each call is an entry.
type world struct {
	t        testing.TB
	table    *resource.Table
	held     map[interrex.Fence]bool
	revision interrex.Revision
	events   []state.Event
	minted   []byte
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, held: map[interrex.Fence]bool{}}
	w.use(resource.New())
	return w
}

// Holds makes the world the table of leases.
func (w *world) Holds(k interrex.Key, token interrex.Token) bool {
	return w.held[interrex.Fence{Key: k, Token: token}]
}

func (w *world) use(t *resource.Table) {
	w.table = t
	t.UseFence(w.Holds)
}

// do checks and applies one command; every reply and event passes through its
// codec.
func (w *world) do(c state.Command) (*resource.Reply, error) {
	w.t.Helper()
	w.table.Lock()
	defer w.table.Unlock()
	decoded, err := w.table.Decode(c.Append(nil))
	if err != nil {
		return nil, err
	}
	if err := w.table.Check(0, decoded); err != nil {
		return nil, err
	}
	if reply, idle := w.table.Idle(decoded); idle {
		return reply.(*resource.Reply), nil
	}
	turn := w.turn()
	turn.Next()
	turn.Minted = w.minted
	reply := w.table.Apply(turn, decoded).(*resource.Reply)
	w.finish(turn)
	if back, err := w.table.DecodeReply(w.table.AppendReply(nil, reply)); err != nil || !reflect.DeepEqual(back, reply) {
		w.t.Fatalf("reply %+v comes back as %+v, %v", reply, back, err)
	}
	return reply, nil
}

func (w *world) turn() *state.Turn {
	return &state.Turn{Revision: w.revision, Wall: epoch, Table: machine.ResourceTable}
}

func (w *world) finish(turn *state.Turn) {
	w.revision = turn.Revision
	for _, e := range turn.Events() {
		b := w.table.AppendEvent(nil, e.Value)
		back, err := w.table.DecodeEvent(b)
		if err != nil || !reflect.DeepEqual(back, e.Value) {
			w.t.Fatalf("event %+v comes back as %+v, %v", e.Value, back, err)
		}
		w.events = append(w.events, e)
	}
}

// ends tells the table that leases have events.
func (w *world) ends(leases ...interrex.Fence) {
	w.table.Lock()
	defer w.table.Unlock()
	var events []state.Event
	for _, l := range leases {
		delete(w.held, l)
		events = append(events, state.Event{Table: machine.LeaseTable, Kind: interrex.LeaseReleased, Key: l.Key.String()})
	}
	turn := w.turn()
	w.table.Follow(turn, events)
	w.finish(turn)
}

// must does a command that may not fail.
func (w *world) must(c state.Command) *resource.Reply {
	w.t.Helper()
	reply, err := w.do(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply
}

// refused demands a kind of error.
func (w *world) refused(c state.Command, want interrex.Kind) error {
	w.t.Helper()
	before := w.revision
	_, err := w.do(c)
	if interrex.KindOf(err) != want || w.revision != before {
		w.t.Errorf("%+v: %v, and the revision goes from %d to %d; want %q", c, err, before, w.revision, want)
	}
	return err
}

func (w *world) get(id interrex.ResourceID) (r *resource.Record) {
	w.table.Read(func(v resource.ReadView) { r = v.Get(id) })
	return r
}

func (w *world) snapshot() []byte {
	w.table.Lock()
	v := w.table.Freeze()
	w.table.Unlock()
	defer v.Release()
	var b bytes.Buffer
	if err := v.Write(&b); err != nil {
		w.t.Fatal(err)
	}
	return b.Bytes()
}

// restart puts a restored table in the place of the table.
func (w *world) restart() {
	w.t.Helper()
	before := w.snapshot()
	fresh := resource.New()
	if err := fresh.Restore(fresh.Version(), bytes.NewReader(before)); err != nil {
		w.t.Fatal(err)
	}
	if !reflect.DeepEqual(fresh.Usage(), w.table.Usage()) || !reflect.DeepEqual(fresh.Counts(), w.table.Counts()) {
		w.t.Errorf("the restored table has %+v %v, want %+v %v", fresh.Usage(), fresh.Counts(), w.table.Usage(), w.table.Counts())
	}
	w.use(fresh)
	if after := w.snapshot(); !bytes.Equal(before, after) {
		w.t.Fatalf("the restored table writes\n%x, want\n%x", after, before)
	}
}

// id reads TYPE and NAME, in the default tenancy.
func id(typ, name string) interrex.ResourceID {
	t, err := interrex.ParseResourceType(typ)
	if err != nil {
		panic(err)
	}
	return interrex.ResourceID{Type: t, Name: name}.WithDefaults()
}

func in(i interrex.ResourceID, partition, namespace string) interrex.ResourceID {
	i.Tenancy = interrex.Tenancy{Partition: partition, Namespace: namespace}
	return i
}

func uid(i interrex.ResourceID, uid string) interrex.ResourceID {
	i.UID = uid
	return i
}

func text(s string) interrex.ResourceData {
	return interrex.ResourceData{TypeURL: "type.googleapis.com/test.Text", Value: []byte(s)}
}

func metadata(m map[string]string) codec.Metadata {
	packed, err := codec.NewMetadata(m)
	if err != nil {
		panic(err)
	}
	return packed
}

func fence(key string, token interrex.Token) interrex.Fence {
	k, err := interrex.ParseKey(key)
	if err != nil {
		panic(err)
	}
	return interrex.Fence{Key: k, Token: token}
}
