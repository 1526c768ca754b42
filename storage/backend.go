package storage

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// Backend is a Store. With an agent's Handle (see Through) it is a view of the
// agent's resources. With another Handle it keeps the resources itself: the
// embedder's FSM passes every entry to Apply, and if this replica does not lead,
// the Backend forwards writes and strong reads to the leader's. Without a Handle
// it serves only Restore and Snapshot.
//
// Its methods are safe for concurrent use, also before Run.
type Backend struct {
	handle Handle
	logger interrex.Logger
	local  *local
	agent  interrex.Resources // nil: the resources are in local
	leader leader
	server *server
}

var _ Store = (*Backend)(nil)

// NewBackend returns an empty Backend. logger may be nil.
func NewBackend(h Handle, logger interrex.Logger) *Backend {
	if logger == nil {
		logger = silent.Logger{}
	}
	b := &Backend{handle: h, logger: logger, local: newLocal()}
	if t, is := h.(through); is {
		b.agent = t.Resources
	}
	b.server = newServer(b)
	b.leader.backend = b
	return b
}

// Run serves requests that other replicas forward, until ctx ends. Then watches
// end, and connections are closed. It must be called once; its error is nil.
func (b *Backend) Run(ctx context.Context) error {
	b.server.run(ctx)
	b.leader.drop()
	b.local.stop()
	return nil
}

// LeaderChanged reports that another replica may lead now: the connection to the
// previous leader is closed. Without it, that is noticed by the next call that
// fails.
func (b *Backend) LeaderChanged() { b.leader.drop() }

// HandleConnection accepts a connection of another replica's DialLeader. It
// returns once Run has it. If Run has ended, or does not begin within 10 s, the
// connection is closed.
func (b *Backend) HandleConnection(c net.Conn) { b.server.take(c) }

// Handle returns the Handle given to NewBackend; it may be nil.
func (b *Backend) Handle() Handle { return b.handle }

// usable returns an error if there is no Handle.
func (b *Backend) usable() error {
	if b.handle == nil {
		return interrex.Errorf(interrex.ErrDisabled, "storage: this backend has no handle, and serves only Restore and Snapshot")
	}
	return nil
}

// Read implements Store.
func (b *Backend) Read(ctx context.Context, consistency ReadConsistency, id interrex.ResourceID) (interrex.Resource, error) {
	if err := errors.Join(b.usable(), consistency.Validate()); err != nil {
		return interrex.Resource{}, err
	}
	if err := id.Validate(); err != nil {
		return interrex.Resource{}, err
	}
	switch {
	case b.agent != nil:
		return b.readAgent(ctx, consistency, id)
	case consistency == EventualConsistency:
		return b.local.read(id)
	case !b.handle.IsLeader():
		return b.leader.read(ctx, id)
	}
	return b.readHere(ctx, id)
}

// readHere is a strong read where this replica leads.
func (b *Backend) readHere(ctx context.Context, id interrex.ResourceID) (interrex.Resource, error) {
	if err := b.handle.EnsureStrongConsistency(ctx); err != nil {
		return interrex.Resource{}, inconsistent(ctx, err)
	}
	return b.local.read(id)
}

// WriteCAS implements Store.
func (b *Backend) WriteCAS(ctx context.Context, res interrex.Resource) (interrex.Resource, error) {
	if err := b.usable(); err != nil {
		return interrex.Resource{}, err
	}
	c, err := writeOf(res)
	if err != nil {
		return interrex.Resource{}, err
	}
	switch {
	case b.agent != nil:
		return b.writeAgent(ctx, res)
	case !b.handle.IsLeader():
		return b.leader.write(ctx, res)
	}
	return b.writeHere(ctx, c)
}

// writeHere is a write where this replica leads.
func (b *Backend) writeHere(ctx context.Context, c *resource.Write) (interrex.Resource, error) {
	answer, err := b.apply(ctx, c)
	if err != nil {
		return interrex.Resource{}, err
	}
	return owned(answer.record.Resource()), nil
}

// DeleteCAS implements Store.
func (b *Backend) DeleteCAS(ctx context.Context, id interrex.ResourceID, version string) error {
	if err := b.usable(); err != nil {
		return err
	}
	c, err := deleteOf(id, version)
	if err != nil {
		return err
	}
	switch {
	case b.agent != nil:
		return b.deleteAgent(ctx, id, version)
	case !b.handle.IsLeader():
		return b.leader.delete(ctx, id, version)
	}
	_, err = b.apply(ctx, c)
	return err
}

// List implements Store.
func (b *Backend) List(ctx context.Context, consistency ReadConsistency, t UnversionedType, tenancy interrex.Tenancy, namePrefix string) ([]interrex.Resource, error) {
	s, err := b.selection(t, tenancy, namePrefix)
	if err := errors.Join(err, consistency.Validate()); err != nil {
		return nil, err
	}
	switch {
	case b.agent != nil:
		return b.listAgent(ctx, consistency, s)
	case consistency == EventualConsistency:
		return b.local.list(s), nil
	case !b.handle.IsLeader():
		return b.leader.list(ctx, s)
	}
	return b.listHere(ctx, s)
}

// listHere is a strong list where this replica leads.
func (b *Backend) listHere(ctx context.Context, s interrex.ResourceSelection) ([]interrex.Resource, error) {
	if err := b.handle.EnsureStrongConsistency(ctx); err != nil {
		return nil, inconsistent(ctx, err)
	}
	return b.local.list(s), nil
}

// ListByOwner implements Store.
func (b *Backend) ListByOwner(ctx context.Context, id interrex.ResourceID) ([]interrex.Resource, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	if err := id.Validate(); err != nil {
		return nil, err
	}
	if b.agent != nil {
		return b.ownedAgent(ctx, id)
	}
	return b.local.listByOwner(id), nil
}

// WatchList implements Store.
func (b *Backend) WatchList(ctx context.Context, t UnversionedType, tenancy interrex.Tenancy, namePrefix string) (Watch, error) {
	return b.watch(ctx, t, tenancy, namePrefix, false)
}

// WatchListMarked is WatchList with an event of the operation
// interrex.EndOfSnapshot, without a resource, after what existed when it
// began.
func (b *Backend) WatchListMarked(ctx context.Context, t UnversionedType, tenancy interrex.Tenancy, namePrefix string) (Watch, error) {
	return b.watch(ctx, t, tenancy, namePrefix, true)
}

func (b *Backend) watch(ctx context.Context, t UnversionedType, tenancy interrex.Tenancy, namePrefix string, marked bool) (Watch, error) {
	s, err := b.selection(t, tenancy, namePrefix)
	if err != nil {
		return nil, err
	}
	if b.agent != nil {
		return b.watchAgent(ctx, s, marked)
	}
	return b.local.watch(s, marked)
}

func (b *Backend) selection(t UnversionedType, tenancy interrex.Tenancy, namePrefix string) (interrex.ResourceSelection, error) {
	s := interrex.ResourceSelection{Type: interrex.ResourceType{Group: t.Group, Kind: t.Kind}, Tenancy: tenancy, NamePrefix: namePrefix}
	if err := b.usable(); err != nil {
		return s, err
	}
	return s, s.Validate()
}

// entryVersion is the first byte of every entry.
const entryVersion = 1

// answer is what Apply returns for an entry that it has applied.
type answer struct {
	record *resource.Record // of a write
}

// apply sends a command through the log.
func (b *Backend) apply(ctx context.Context, c state.Command) (answer, error) {
	got, err := b.handle.Apply(c.Append([]byte{entryVersion}))
	if err != nil {
		return answer{}, inconsistent(ctx, err)
	}
	a, is := got.(answer)
	if !is {
		return answer{}, interrex.Errorf(interrex.ErrOutcomeUnknown, "storage: the handle's Apply returned a %T: it must return the result of Backend.Apply", got)
	}
	return a, nil
}

// Apply is for the embedder's FSM, which calls it with each entry that a Handle
// has appended to the log, on every replica, one at a time, and returns its
// result through Handle.Apply. idx is the entry's log index: it becomes the
// version of what is written. If an entry cannot be applied, the result is an
// error, and nothing changes.
func (b *Backend) Apply(buf []byte, idx uint64) any {
	if len(buf) == 0 || buf[0] != entryVersion {
		return interrex.Errorf(interrex.ErrInvalid, "storage: the entry at %d was not written by a backend of this version", idx)
	}
	a, err := b.local.apply(buf[1:], interrex.Revision(idx))
	if err != nil {
		return err
	}
	return a
}

// local has the resources of this replica.
type local struct {
	mu       sync.Mutex // held by writers
	table    *resource.Table
	ring     *watch.Ring
	revision interrex.Revision
	stopped  chan struct{}
	once     sync.Once
}

func newLocal() *local {
	return &local{table: resource.New(), ring: watch.New(watch.Config{}), stopped: make(chan struct{})}
}

func (l *local) stop() {
	l.once.Do(func() {
		close(l.stopped)
		l.ring.Close()
	})
}

// apply applies an entry. The events are published before the table is unlocked, so
// that no read is ahead of a watch.
func (l *local) apply(data []byte, idx interrex.Revision) (answer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, err := l.table.Decode(data)
	if err != nil {
		return answer{}, err
	}
	l.table.Lock()
	defer l.table.Unlock()
	if err := l.table.Check(0, c); err != nil {
		return answer{}, err
	}
	if _, idle := l.table.Idle(c); idle {
		return answer{}, nil
	}
	turn := state.Turn{Revision: idx, Table: machine.ResourceTable, Wall: time.Time{}}
	l.table.Apply(&turn, c)
	events := turn.Events()
	l.revision = idx
	l.ring.Publish(events, idx)
	var a answer
	if _, is := c.(*resource.Write); is {
		a.record, _ = events[0].Value.(*resource.Record)
	}
	return a, nil
}

func (l *local) read(id interrex.ResourceID) (res interrex.Resource, err error) {
	var r *resource.Record
	l.table.Read(func(v resource.ReadView) { r = v.Get(id) })
	if r == nil {
		return res, errNotFound(id)
	}
	res = owned(r.Resource())
	if res.ID.Type.GroupVersion != id.Type.GroupVersion {
		return interrex.Resource{}, GroupVersionMismatchError{RequestedType: id.Type, Stored: res}
	}
	return res, nil
}

func errNotFound(id interrex.ResourceID) error {
	if id.UID != "" {
		return interrex.Errorf(interrex.ErrNotFound, "%s with the uid %q does not exist", id, id.UID)
	}
	return interrex.Errorf(interrex.ErrNotFound, "%s does not exist", id)
}

func (l *local) list(s interrex.ResourceSelection) []interrex.Resource {
	var records []*resource.Record
	l.table.Read(func(v resource.ReadView) { records, _ = v.List(s, "", math.MaxInt) })
	return all(records)
}

func (l *local) listByOwner(id interrex.ResourceID) []interrex.Resource {
	var records []*resource.Record
	l.table.Read(func(v resource.ReadView) { records, _ = v.ListByOwner(id, "", math.MaxInt) })
	return all(records)
}

func all(records []*resource.Record) []interrex.Resource {
	list := make([]interrex.Resource, 0, len(records))
	for _, r := range records {
		list = append(list, owned(r.Resource()))
	}
	return list
}

// owned returns a resource that shares nothing with the table.
func owned(res interrex.Resource) interrex.Resource {
	res.Data.Value = bytes.Clone(res.Data.Value)
	return res
}

// writeOf returns the command of a write, and checks it.
func writeOf(res interrex.Resource) (*resource.Write, error) {
	metadata, err := codec.NewMetadata(res.Metadata)
	if err != nil {
		return nil, err
	}
	c := &resource.Write{
		ID: res.ID, Version: res.Version, Generation: res.Generation,
		Metadata: metadata, Data: res.Data, Strict: true,
	}
	if res.Owner != (interrex.ResourceID{}) {
		c.Owner = &res.Owner
	}
	if res.OwnerLease != (interrex.Fence{}) {
		c.OwnerLease = &res.OwnerLease
	}
	return c, c.Validate()
}

// deleteOf returns the command of a delete, and checks it.
func deleteOf(id interrex.ResourceID, version string) (*resource.Delete, error) {
	c := &resource.Delete{ID: id, Version: version, Strict: true}
	return c, c.Validate()
}
