package machine

import (
	"hash/crc64"
	"slices"
	"sort"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// record is what is kept of one operation that changed something.
type record struct {
	number   uint64 // N of NAME.N
	content  uint64 // of the operation: see contentOf
	revision interrex.Revision
	reply    state.Reply // what its table keeps of it
	attempt  uint32
	bytes    uint32        // of the reply, encoded
	table    state.TableID // SystemTable: it is a group's
}

// recordBytes is what a record counts without its reply.
const recordBytes = 64

// weight is what one record adds to its user's share.
func (r *record) weight() weight { return weight{inRecords: 1, inBytes: recordBytes + int64(r.bytes)} }

// contentOf distinguishes operations under one request id. It is a checksum, which a
// caller may forge: then it gets a reply that is not its operation's. What makes replies
// from records must not rely on more than the operation's table.
func contentOf(op *state.Operation) uint64 {
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

// drop removes the records below mark, and returns what they weighed. It compacts once
// half of the slice is free, so that dropping one by one has a constant amortised cost.
func (w *window) drop(mark uint64) (dropped weight) {
	i, _ := w.find(mark)
	for j := w.head; j < i; j++ {
		dropped = dropped.plus(w.all[j].weight())
	}
	clear(w.all[w.head:i])
	w.head = i
	if 2*w.head >= len(w.all) {
		n := copy(w.all, w.all[w.head:])
		clear(w.all[n:])
		w.all, w.head = w.all[:n], 0
	}
	return dropped
}

// put adds a record whose number is not in the window.
func (w *window) put(r record) {
	i, _ := w.find(r.number)
	w.all = slices.Insert(w.all, i, r)
}
