package state

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
)

// reference is what a request id refers to.
type reference struct {
	key      recordKey // the caller with NAME, or with the whole id
	number   uint64
	numbered bool // the id is NAME.N
}

// refer reads an operation's request id. One of the form NAME.N is numbered when
// a mark comes with it, which is at least 1: a caller that sends no marks may use
// an id such as "job.20261121".
func refer(op *Operation) reference {
	if id, number, ok := splitRequestID(op.RequestID); ok && op.Mark > 0 {
		return reference{recordKey{op.Caller, id}, number, true}
	}
	return reference{key: recordKey{op.Caller, op.RequestID}}
}

// ticket is where the reply to an admitted operation goes.
type ticket struct {
	ref  reference
	name *name // of a numbered one
}

// find returns the name that an id belongs to, and the record of that id, or nil.
func (r *records) find(ref reference) (*name, *record) {
	if !ref.numbered {
		if s := r.singles[ref.key]; s != nil {
			return nil, &s.record
		}
		return nil, nil
	}
	n := r.names[ref.key]
	if n == nil {
		return nil, nil
	}
	if i, found := n.records.find(ref.number); found {
		return n, &n.records.all[i]
	}
	return n, nil
}

// admit looks up an operation with a request id, before everything else. done reports
// that a mark, a record or a limit determines the result, and the operation must not be
// applied (again). It first raises the mark to that of the operation.
func (r *records) admit(op *Operation, now Time, tables tableSet) (t ticket, res Result, done bool) {
	// Not ValidateRequestID: what is in a log is applied as it always was.
	if len(op.RequestID) > limits.MaxRequestID {
		return t, refuse(op, interrex.Errorf(interrex.ErrInvalid, "request_id: 1 to %d bytes are allowed, not %d", limits.MaxRequestID, len(op.RequestID))), true
	}
	t.ref = refer(op)
	if n := r.names[t.ref.key]; n != nil && t.ref.numbered && op.Mark > n.mark {
		n = r.writable(n)
		n.mark = op.Mark
		n.records.drop(n.mark)
	}
	n, rec := r.find(t.ref)
	if res, done := settled(op, t.ref, n, rec, tables); done {
		return t, res, done
	}
	if rec == nil && r.mayBeLost(op, t.ref, n, now, tables) {
		return t, refuse(op, errLost(op, r.loss)), true
	}
	if !t.ref.numbered {
		return t, Result{}, false
	}
	if n == nil {
		if len(r.names) >= r.limits.Names {
			return t, refuse(op, errNames(r.limits.Names)), true
		}
		n = r.add(&name{key: t.ref.key.clone(), mark: op.Mark, first: t.ref.number})
	}
	t.name = r.writable(n)
	r.touch(t.name, now)
	if t.ref.number-t.name.mark >= uint64(r.limits.Window) {
		return t, refuse(op, errWindow(t.ref.number, t.name.mark, r.limits.Window)), true
	}
	return t, Result{}, false
}

// mayBeLost reports whether an earlier attempt of op, which has no record, may
// have been done before a recovery that has dropped its record: for as long as
// the record would have been kept. Requests of a name that was opened after the
// recovery are not affected. A single claim is applied again: what it was granted has
// ended.
func (r *records) mayBeLost(op *Operation, ref reference, n *name, now Time, tables tableSet) bool {
	kept := r.limits.RecordAge
	if ref.numbered {
		kept = r.limits.NameAge
	}
	switch {
	case r.loss.To == 0 || op.Attempt == 0 || now >= r.loss.At.Add(kept):
		return false
	case n != nil && ref.number >= n.first:
		return false
	}
	return !tables.wants(op)
}

// recorded reports whether a mark or a record determines the reply to op. It
// changes nothing. The lock of the operation's table is held.
func (r *records) recorded(op *Operation, tables tableSet) (Result, bool) {
	if op.RequestID == "" {
		return Result{}, false
	}
	ref := refer(op)
	n, rec := r.find(ref)
	return settled(op, ref, n, rec, tables)
}

// settled is recorded for a name and a record that were found.
func settled(op *Operation, ref reference, n *name, rec *record, tables tableSet) (Result, bool) {
	mark := op.Mark
	if n != nil {
		mark = max(mark, n.mark)
	}
	switch {
	case ref.numbered && ref.number < mark:
		return refuse(op, errBelowMark(op, mark)), true
	case rec == nil:
		return Result{}, false
	}
	return replay(op, rec, tables), true
}

// keep records the reply to an admitted operation.
func (r *records) keep(t ticket, op *Operation, now Time, res *Result, tables tableSet) {
	rec := record{
		number: t.ref.number, content: contentOf(op), revision: res.Revision,
		reply: res.Reply, attempt: op.Attempt, table: op.Table,
	}
	if k, is := tables.find(op.Table).(keeper); is {
		rec.reply = k.Keep(rec.reply)
	}
	if t.name != nil {
		t.name.records.put(rec)
		return
	}
	for len(r.singles) >= r.limits.Records {
		// Dropping a single record affects no other: the oldest is dropped, and
		// more of them if the limit was lowered.
		r.dropSingle()
	}
	s := &single{key: t.ref.key.clone(), at: now, record: rec}
	r.singles[s.key] = s
	r.queue.Push(s)
}

// retire drops a name that its caller has released.
func (r *records) retire(caller, id string) {
	if n := r.names[recordKey{caller, id}]; n != nil {
		r.remove(n)
	}
}

// replay answers op with its record.
func replay(op *Operation, rec *record, tables tableSet) Result {
	if rec.table != op.Table || rec.content != contentOf(op) {
		return refuse(op, interrex.Errorf(interrex.ErrInvalid,
			"request_id %q: it was used for an operation with different content: use each id for one request only", op.RequestID))
	}
	res := Result{Reply: rec.reply, Revision: rec.revision, Attempt: rec.attempt, Replayed: true}
	if k, is := tables.find(rec.table).(keeper); is {
		res.Reply = k.Kept(rec.reply)
	}
	if err := tables.replayable(rec.table, rec.reply); err != nil {
		res.Reply, res.Err = nil, err
	}
	return res
}

// refuse returns the result of an operation that changes nothing.
func refuse(op *Operation, err error) Result {
	return Result{Attempt: op.Attempt, Err: err}
}

func errNames(limit int) error {
	return interrex.Errorf(interrex.ErrOverloaded, "request_id: %d names are in use, the limit: use a known name, or retry later", limit)
}

func errWindow(number, mark uint64, limit int) error {
	return interrex.Errorf(interrex.ErrOverloaded, "request_id: number %d is not within %d of the mark %d: wait until earlier requests are answered, then raise the mark", number, limit, mark)
}

func errLost(op *Operation, l Loss) error {
	e := interrex.Errorf(interrex.ErrNameGone, "request_id %q: the cluster was recovered, and whether an earlier attempt was applied is no longer known; this attempt did nothing: read the current state, then send it again with a new request id", op.RequestID)
	e.Lost = l.To
	return e
}

func errBelowMark(op *Operation, mark uint64) error {
	return interrex.Errorf(interrex.ErrOutcomeUnknown, "request_id %q is below the mark %d: its caller has its response, or has given up", op.RequestID, mark)
}
