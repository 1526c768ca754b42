package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/state"
)

// Snapshot is the content at one moment. It is read by one goroutine, and need
// not be closed.
type Snapshot struct {
	view state.View // nil: its bytes are in rest
	rest []byte     // items not yet returned
	left uint64
}

// Snapshot freezes the content, instantly at any size. Several snapshots may be
// read concurrently with writes. It is for the embedder's own FSM; an agent makes
// its own, and returns an error.
func (b *Backend) Snapshot() (*Snapshot, error) {
	if b.agent != nil {
		return nil, errThrough()
	}
	b.local.table.Lock()
	defer b.local.table.Unlock()
	return &Snapshot{view: b.local.table.Freeze()}, nil
}

// Next returns the next resource, encoded for Restoration.Apply, in the order of
// the keys; nil after the last one. Equal contents have equal bytes.
func (s *Snapshot) Next() ([]byte, error) {
	if s.view != nil {
		if err := s.open(); err != nil {
			return nil, err
		}
	}
	if s.left == 0 {
		return nil, nil
	}
	item, rest, err := cut(s.rest)
	if err != nil {
		return nil, err
	}
	s.rest, s.left = rest, s.left-1
	return item, nil
}

// open writes the frozen view into memory.
func (s *Snapshot) open() error {
	var b bytes.Buffer
	err := s.view.Write(&b)
	s.view.Release()
	s.view = nil
	if err != nil {
		return fmt.Errorf("cannot read the snapshot: %w", err)
	}
	n, used := binary.Uvarint(b.Bytes())
	if used <= 0 {
		return errors.New("cannot read the snapshot: it is malformed")
	}
	s.left, s.rest = n, b.Bytes()[used:]
	return nil
}

// cut removes the first item of a list.
func cut(b []byte) (item, rest []byte, err error) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, nil, errors.New("cannot read the snapshot: it is malformed")
	}
	end := used + int(n)
	return b[used:end:end], b[end:], nil
}

// Restoration replaces the whole content when it is committed. Until then reads
// see the old content.
type Restoration struct {
	local *local

	mu    sync.Mutex
	items map[string][]byte // by key
	over  bool
}

// Restore begins to replace the whole content. With an agent's Handle it returns
// an error: its resources are restored through its log.
func (b *Backend) Restore() (*Restoration, error) {
	if b.agent != nil {
		return nil, interrex.Errorf(interrex.ErrDisabled, "storage: the resources are those of an agent: they are restored through its log")
	}
	return &Restoration{local: b.local, items: map[string][]byte{}}, nil
}

var errOver = errors.New("storage: the restoration was committed or aborted")

// Apply takes one resource, as Snapshot.Next returned it. After an error the
// restoration is as it was before.
func (r *Restoration) Apply(item []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return errOver
	}
	if err := resource.New().Restore(itemsVersion, list(item)); err != nil {
		return err
	}
	one, err := r.local.table.DecodeEvent(item)
	if err != nil {
		return err
	}
	r.items[one.(*resource.Record).Key()] = bytes.Clone(item)
	return nil
}

// Commit replaces the content by what was applied. All watches end with
// interrex.ErrWatchClosed. It does nothing after a Commit or an Abort.
func (r *Restoration) Commit() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil
	}
	r.over = true
	var items [][]byte
	for _, key := range slices.Sorted(maps.Keys(r.items)) {
		items = append(items, r.items[key])
	}
	r.items = nil
	return r.local.replace(list(items...))
}

// Abort abandons the restoration. It does nothing after a Commit or an Abort.
func (r *Restoration) Abort() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over, r.items = true, nil
}

// itemsVersion is the version of the table's encoding that list makes.
const itemsVersion = 1

// list returns the content of a table with the items, and without deleted owners.
func list(items ...[]byte) *bytes.Buffer {
	b := bytes.NewBuffer(binary.AppendUvarint(nil, uint64(len(items))))
	for _, item := range items {
		b.Write(binary.AppendUvarint(nil, uint64(len(item))))
		b.Write(item)
	}
	b.WriteByte(0)
	return b
}

// replace restores the table, and ends all watches.
func (l *local) replace(content *bytes.Buffer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.table.Lock()
	defer l.table.Unlock()
	if err := l.table.Restore(itemsVersion, content); err != nil {
		return err
	}
	l.ring.Reset(l.revision, 0)
	return nil
}
