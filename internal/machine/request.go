package machine

import (
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/state"
)

// reference is what a request id refers to.
type reference struct {
	name     nameID // of a numbered one
	number   uint64
	numbered bool // the id is NAME.N
	single   singleKey
}

// refer reads an operation's request id. One of the form NAME.N is numbered when
// a mark comes with it, which is at least 1: a caller that sends no marks may use
// an id such as "job.20261121".
func (ts tableSet) refer(op *state.Operation) reference {
	if op.Mark > 0 {
		if text, number, ok := limits.SplitRequestID(op.RequestID); ok {
			return reference{name: parseNameID(text), number: number, numbered: true}
		}
	}
	return reference{single: singleKey{op.Caller, ts.holder(op), op.RequestID}}
}

// holder returns the holder that an operation names; "" if it names none.
func (ts tableSet) holder(op *state.Operation) string {
	table := ts.find(op.Table)
	if table == nil || len(op.Group) > 0 {
		return ""
	}
	c, err := table.Decode(op.Data)
	if err != nil || c == nil {
		return "" // it is refused, and leaves no record
	}
	return c.About().Holder
}

// records are the records of all request ids.
type records struct {
	names   *names
	singles *singles
	loss    Loss
	reply   []byte // scratch
}

func newRecords(l *requestLimits) *records {
	return &records{names: newNames(l), singles: newSingles(l)}
}

// age drops what has expired.
func (r *records) age(now state.Time) {
	r.names.age(now)
	r.singles.age(now)
}

// lose drops every name and every record in a recovery.
func (r *records) lose(l Loss) {
	r.loss = l
	r.names.lose(l.To)
	r.singles.lose()
}

// ticket is where the reply to an admitted operation goes.
type ticket struct {
	ref  reference
	name *name // of a numbered one
}

// admit looks up an operation with a request id, before everything else. done reports
// that a mark, a record or a limit determines the result, and the operation must not be
// applied (again). It first raises the mark to that of the operation.
func (r *records) admit(op *state.Operation, now state.Time, tables tableSet) (t ticket, res state.Result, done bool) {
	// Not validation.RequestID: what is in a log is applied as it always was.
	if len(op.RequestID) > limits.MaxRequestID {
		return t, refuse(op, interrex.Errorf(interrex.ErrInvalid, "request_id: 1 to %d bytes are allowed, not %d", limits.MaxRequestID, len(op.RequestID))), true
	}
	t.ref = tables.refer(op)
	n := r.find(op, t.ref)
	if n != nil && op.Mark > n.mark {
		n = r.names.writable(n)
		r.names.raise(n, op.Mark)
	}
	if res, done := r.settled(op, t.ref, n, now, tables); done || n == nil {
		return t, res, done
	}
	t.name = r.names.writable(n)
	r.names.touch(t.name, now)
	if limit := r.names.limits.Window; t.ref.number-t.name.mark >= uint64(limit) {
		return t, refuse(op, errWindow(t.ref.number, t.name.mark, limit)), true
	}
	return t, state.Result{}, false
}

// find returns the name of a numbered operation; nil: it has none, or that is gone.
func (r *records) find(op *state.Operation, ref reference) *name {
	if !ref.numbered {
		return nil
	}
	return r.names.find(op.Caller, ref.name)
}

// settled reports whether a mark or a record, or that there is none, determines the
// reply to op; n is what find returns. It changes nothing.
func (r *records) settled(op *state.Operation, ref reference, n *name, now state.Time, tables tableSet) (res state.Result, done bool) {
	if !ref.numbered {
		if x := r.singles.all[ref.single]; x != nil {
			return replay(op, &x.record, tables), true
		}
		if r.mayBeLost(op, now, tables) {
			return refuse(op, errLost(op, max(r.singles.lost, r.loss.To))), true
		}
		return state.Result{}, false
	}
	if n == nil {
		return refuse(op, errGone(op, r.names.lost)), true
	}
	if mark := max(op.Mark, n.mark); ref.number < mark {
		return refuse(op, errBelowMark(op, mark)), true
	}
	if i, found := n.records.find(ref.number); found {
		return replay(op, &n.records.all[i], tables), true
	}
	return state.Result{}, false
}

// mayBeLost reports whether an earlier attempt of op, whose id has neither a name nor a
// record, may have been done: a record that was made after what its caller knew was
// dropped. A caller that does not say what it knew is only known to repeat itself when
// it does, and until all that was dropped early would have been dropped anyway.
//
// What a recovery has lost counts as dropped, but not for a claim by itself: what it was
// granted has ended.
func (r *records) mayBeLost(op *state.Operation, now state.Time, tables tableSet) bool {
	recovered := r.loss.To > 0 && !tables.wants(op)
	switch {
	case op.Since > 0:
		return r.singles.lost > op.Since || recovered && r.loss.To > op.Since
	case op.Attempt == 0:
		return false
	}
	return now < r.singles.early || recovered && now < r.loss.At.Add(r.singles.limits.RecordAge)
}

// keep records the reply to an admitted operation.
func (r *records) keep(t ticket, op *state.Operation, now state.Time, res *state.Result, tables tableSet) {
	rec := record{
		number: t.ref.number, content: contentOf(op), revision: res.Revision,
		reply: tables.keep(op.Table, res.Reply), attempt: op.Attempt, table: op.Table,
	}
	r.reply = tables.appendReply(r.reply[:0], rec.table, rec.reply)
	rec.bytes = uint32(len(r.reply))
	if t.name != nil {
		r.names.put(t.name, rec)
		return
	}
	r.singles.put(&single{key: t.ref.single.clone(), user: strings.Clone(userOf(op)), at: now, record: rec})
}

// replay answers op with its record.
func replay(op *state.Operation, rec *record, tables tableSet) state.Result {
	if rec.table != op.Table || rec.content != contentOf(op) {
		return refuse(op, errContent(op))
	}
	res := state.Result{Revision: rec.revision, Attempt: rec.attempt, Replayed: true}
	res.Reply, res.Err = tables.kept(op, rec.reply)
	return res
}

// refuse returns the result of an operation that changes nothing.
func refuse(op *state.Operation, err error) state.Result {
	return state.Result{Attempt: op.Attempt, Err: err}
}

func errContent(op *state.Operation) error {
	return interrex.Errorf(interrex.ErrInvalid, "request_id %q: it was used for an operation with different content: use each id for one request only", op.RequestID)
}

func errNames(user string, has, limit weight) error {
	e := interrex.Errorf(interrex.ErrOverloaded, "request_id: no more names for %s, which has the most: %d with %d records, of %d and %d for all; all of its names were used in the last minute: return some, or retry",
		user, has[inNumber], has[inRecords], limit[inNumber], limit[inRecords])
	e.RetryAfter = overloadPause
	return e
}

func errWindow(number, mark uint64, limit int) error {
	return interrex.Errorf(interrex.ErrOverloaded, "request_id: number %d is not within %d of the mark %d: wait until earlier requests are answered, then raise the mark", number, limit, mark)
}

func errGone(op *state.Operation, lost interrex.Revision) error {
	e := interrex.Errorf(interrex.ErrNameGone, "request_id %q: its name is gone, or was not allotted to this caller; this attempt did nothing. Up to revision %d records have gone with their names: if you knew that revision before your first attempt, nothing of this request was done: go on under another name", op.RequestID, lost)
	e.Lost = lost
	return e
}

func errLost(op *state.Operation, lost interrex.Revision) error {
	e := interrex.Errorf(interrex.ErrOutcomeUnknown, "request_id %q: records up to revision %d were dropped, perhaps with that of an earlier attempt; this attempt did nothing: read the current state, then send it again with a new request id", op.RequestID, lost)
	e.Lost = lost
	return e
}

func errBelowMark(op *state.Operation, mark uint64) error {
	return interrex.Errorf(interrex.ErrOutcomeUnknown, "request_id %q is below the mark %d: its caller has its response, or has given up", op.RequestID, mark)
}
