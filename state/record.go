package state

import (
	"cmp"
	"fmt"
	"hash/crc64"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/fifo"
)

// record is the reply to one operation that changed something.
type record struct {
	number   uint64 // N of NAME.N
	content  uint64 // of the operation: see contentOf
	revision interrex.Revision
	reply    Reply
	attempt  uint32
	table    TableID // SystemTable: it is a group's
}

// recordKey is a caller and its NAME, or a caller and its whole request id.
type recordKey struct{ caller, id string }

func (k recordKey) clone() recordKey {
	return recordKey{strings.Clone(k.caller), strings.Clone(k.id)}
}

// splitRequestID reads NAME.N: a name, the last dot, and a decimal number
// without leading zeros.
func splitRequestID(id string) (name string, number uint64, ok bool) {
	i := strings.LastIndexByte(id, '.')
	if i <= 0 || i == len(id)-1 {
		return "", 0, false
	}
	digits := id[i+1:]
	if digits[0] == '0' && len(digits) > 1 {
		return "", 0, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return id[:i], number, err == nil
}

// contentOf distinguishes operations under one request id. It is a checksum, not
// a secret: a caller that forges a collision only deceives itself.
func contentOf(op *Operation) uint64 {
	var sum uint64
	if len(op.Group) > 0 {
		sum = contentOfGroup(op.Group)
	} else {
		sum = crc64.Update(uint64(op.Table), contentTable, op.Data)
	}
	if op.Fence == (interrex.Fence{}) {
		return sum
	}
	fence := op.Fence.Key.String() + " " + op.Fence.Token.String()
	return crc64.Update(sum, contentTable, []byte(fence))
}

var contentTable = crc64.MakeTable(crc64.ECMA)

// window holds the records of one name, by number.
type window struct {
	all  []record
	head int // records before it are dropped
}

func (w *window) live() []record { return w.all[w.head:] }

func (w *window) find(number uint64) (int, bool) {
	live := w.live()
	i := sort.Search(len(live), func(i int) bool { return live[i].number >= number })
	return w.head + i, i < len(live) && live[i].number == number
}

// drop removes the records below mark. It compacts once half of the slice is free, so
// that dropping one by one has a constant amortised cost.
func (w *window) drop(mark uint64) {
	i, _ := w.find(mark)
	clear(w.all[w.head:i])
	w.head = i
	if 2*w.head >= len(w.all) {
		n := copy(w.all, w.all[w.head:])
		clear(w.all[n:])
		w.all, w.head = w.all[:n], 0
	}
}

// put adds a record whose number is not in the window.
func (w *window) put(r record) {
	i, _ := w.find(r.number)
	w.all = slices.Insert(w.all, i, r)
}

// name is the mark of one NAME and the records above it. A view that was
// frozen before generation may still read it: see records.writable.
type name struct {
	key        recordKey
	mark       uint64
	first      uint64 // the number under which it was opened
	last       Time   // of its last write
	records    window
	generation uint64
	slot       int
	older      *name
	newer      *name
}

// single is the record of a request id that is not NAME.N. It never changes.
type single struct {
	key recordKey
	at  Time
	record
}

// records are the marks and records of request ids. Names are kept in the
// order of their last write and singles in the order of their creation, so that
// ageing visits only what it drops.
type records struct {
	limits     *requestLimits
	names      map[recordKey]*name
	all        []*name // in no particular order
	oldest     *name
	newest     *name
	generation uint64
	singles    map[recordKey]*single
	queue      fifo.Queue[*single] // oldest first
	loss       Loss
}

func newRecords(l *requestLimits) *records {
	return &records{limits: l, names: map[recordKey]*name{}, singles: map[recordKey]*single{}}
}

// age drops what has expired.
func (r *records) age(now Time) {
	for n := r.oldest; n != nil && now >= n.last.Add(r.limits.NameAge); n = r.oldest {
		r.remove(n)
	}
	for r.queue.Len() > 0 && now >= r.queue.First().at.Add(r.limits.RecordAge) {
		r.dropSingle()
	}
}

func (r *records) dropSingle() { delete(r.singles, r.queue.Pop().key) }

// lose drops every name and every record in a recovery.
func (r *records) lose(l Loss) {
	next := newRecords(r.limits)
	next.generation, next.loss = r.generation, l
	*r = *next
}

// remove forgets a name and its records.
func (r *records) remove(n *name) {
	delete(r.names, n.key)
	r.unlink(n)
	last := len(r.all) - 1
	r.all[n.slot] = r.all[last]
	r.all[n.slot].slot = n.slot
	r.all[last] = nil
	r.all = r.all[:last]
}

func (r *records) unlink(n *name) {
	if n.older == nil {
		r.oldest = n.newer
	} else {
		n.older.newer = n.newer
	}
	if n.newer == nil {
		r.newest = n.older
	} else {
		n.newer.older = n.older
	}
	n.older, n.newer = nil, nil
}

func (r *records) link(n *name) {
	n.older = r.newest
	if r.newest == nil {
		r.oldest = n
	} else {
		r.newest.newer = n
	}
	r.newest = n
}

// add adds a new name.
func (r *records) add(n *name) *name {
	n.generation, n.slot = r.generation, len(r.all)
	r.names[n.key] = n
	r.all = append(r.all, n)
	r.link(n)
	return n
}

// writable returns n, or a copy that replaces it if a frozen view may read n.
func (r *records) writable(n *name) *name {
	if n.generation == r.generation {
		return n
	}
	c := *n
	c.generation = r.generation
	c.records = window{all: slices.Clone(n.records.live())}
	r.names[c.key] = &c
	r.all[c.slot] = &c
	if c.older == nil {
		r.oldest = &c
	} else {
		c.older.newer = &c
	}
	if c.newer == nil {
		r.newest = &c
	} else {
		c.newer.older = &c
	}
	return &c
}

// touch makes n the name that was written last.
func (r *records) touch(n *name, now Time) {
	n.last = now
	r.unlink(n)
	r.link(n)
}

// restore adds what was read from a snapshot.
func (r *records) restore(names []*name, singles []*single) error {
	slices.SortStableFunc(names, func(a, b *name) int { return cmp.Compare(a.last, b.last) })
	for _, n := range names {
		if r.names[n.key] != nil {
			return fmt.Errorf("the name %q is in it twice", n.key.id)
		}
		r.add(n)
	}
	for _, s := range singles {
		if r.singles[s.key] != nil {
			return fmt.Errorf("the request id %q is in it twice", s.key.id)
		}
		r.singles[s.key] = s
		r.queue.Push(s)
	}
	return nil
}
