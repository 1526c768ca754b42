package state_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// What follows is a model of what docs/semantics.md says of request ids. It
// shares no code with package state and has none of its devices: no lists in
// order, no copies that are made late, no checksums.

// The model's tables.
const (
	plainTable = state.FirstEmbedderTable     // a register
	twiceTable = state.FirstEmbedderTable + 1 // each change takes two revisions
	shelfTable = state.FirstEmbedderTable + 2 // it keeps its replies itself
	stillTable = state.FirstEmbedderTable + 3 // a delete of what is not there changes nothing
)

// act is one command.
type act struct {
	table  state.TableID
	verb   string // claim, transfer, revoke, force; set, delete
	key    string
	text   string        // of a register; the holder of a lease
	life   time.Duration // of a register's value; the ttl of a lease
	token  interrex.Revision
	minted string
}

// content is the part of an act that a request id identifies.
func (a act) content() string {
	return fmt.Sprintf("%d %s %q %q %d %d", a.table, a.verb, a.key, a.text, a.life, a.token)
}

// ask is one attempt of one request.
type ask struct {
	acts       []act
	group      bool
	caller, id string
	attempt    uint32
	mark       uint64
	fence      string // a lease's key; empty: none
	token      interrex.Revision

	retire   string // instead of acts: the name that is given back
	settings map[string]string
}

func (q *ask) content() string {
	text := fmt.Sprintf("group=%v fence=%q,%d", q.group, q.fence, q.token)
	for _, a := range q.acts {
		text += "; " + a.content()
	}
	return text
}

// named reads the id: NAME.N with a mark is a name's, anything else a record by
// itself.
func (q *ask) named() (name string, number uint64, is bool) {
	dot := strings.LastIndex(q.id, ".")
	if q.mark == 0 || dot < 1 {
		return "", 0, false
	}
	number, err := strconv.ParseUint(q.id[dot+1:], 10, 64)
	if err != nil || strconv.FormatUint(number, 10) != q.id[dot+1:] {
		return "", 0, false
	}
	return q.id[:dot], number, true
}

// answer is what an ask is answered, with the reply as text.
type answer struct {
	kind     interrex.Kind
	revision interrex.Revision
	attempt  uint32
	replayed bool
	reply    string
}

// modelRecord is the answer of a request that changed something.
type modelRecord struct {
	content string
	answer  answer
	grants  map[string]interrex.Revision // tokens by key, which must be in force
	at      state.Time                   // when it was made
}

type modelName struct {
	mark    uint64
	first   uint64 // the number under which it was opened
	last    state.Time
	records map[uint64]modelRecord
}

// modelKey is a caller with a name or an id.
type modelKey struct{ caller, text string }

// modelSingle is a record by itself.
type modelSingle struct {
	key modelKey
	modelRecord
}

// modelRecords are all marks and records.
type modelRecords struct {
	names   map[modelKey]*modelName
	singles []modelSingle // in the order of their making
	byID    map[modelKey]int
	gone    int // singles that were dropped: byID counts them too
}

// clone is a copy that nothing changes any more.
func (r *modelRecords) clone() *modelRecords {
	c := &modelRecords{names: map[modelKey]*modelName{}, singles: slices.Clone(r.singles)}
	for k, n := range r.names {
		c.names[k] = &modelName{n.mark, n.first, n.last, maps.Clone(n.records)}
	}
	return c
}

func (r *modelRecords) single(k modelKey) (modelRecord, bool) {
	i, found := r.byID[k]
	if !found {
		return modelRecord{}, false
	}
	return r.singles[i-r.gone].modelRecord, true
}

func (r *modelRecords) dropOldestSingle() {
	delete(r.byID, r.singles[0].key)
	r.singles = r.singles[1:]
	r.gone++
}

type modelLease struct {
	holder string
	token  interrex.Revision
	ttl    time.Duration
	expiry state.Time
}

type modelValue struct {
	text     string
	revision interrex.Revision
	expiry   state.Time
}

// model is a whole state.
type model struct {
	now       state.Time
	revision  interrex.Revision
	leases    map[string]modelLease
	registers map[state.TableID]map[string]modelValue
	records   *modelRecords
	settings  map[string]string
	quiet     state.Time // nothing is due before
}

func newModel() *model {
	m := &model{
		leases: map[string]modelLease{}, registers: map[state.TableID]map[string]modelValue{},
		records: &modelRecords{names: map[modelKey]*modelName{}, byID: map[modelKey]int{}}, settings: map[string]string{},
	}
	for t := plainTable; t <= stillTable; t++ {
		m.registers[t] = map[string]modelValue{}
	}
	return m
}

// The limits of request ids where nothing is set.
var modelDefaults = map[string]string{
	"requests.window": "1024", "requests.names": "65536", "requests.name-age": "24h",
	"requests.records": "65536", "requests.record-age": "10m",
}

func (m *model) setting(name string) string { return cmp.Or(m.settings[name], modelDefaults[name]) }

func (m *model) number(name string) int {
	n, err := strconv.Atoi(m.setting("requests." + name))
	if err != nil {
		panic(err)
	}
	return n
}

func (m *model) age(name string) time.Duration {
	d, err := time.ParseDuration(m.setting("requests." + name))
	if err != nil {
		panic(err)
	}
	return d
}

// apply does an entry: time moves, what is due ends, then come the operations.
func (m *model) apply(stamp state.Time, asks []ask) []answer {
	m.now = max(m.now, stamp)
	m.forget()
	m.endLeases()
	for t := plainTable; t <= stillTable; t++ {
		m.endValues(t)
	}
	var all []answer
	for i := range asks {
		all = append(all, m.one(&asks[i]))
	}
	return all
}

// forget drops what has had its time.
func (m *model) forget() {
	for len(m.records.singles) > 0 && m.now >= m.records.singles[0].at.Add(m.age("record-age")) {
		m.records.dropOldestSingle()
	}
	if m.now < m.quiet {
		return
	}
	life := m.age("name-age")
	m.quiet = m.now.Add(life)
	for k, n := range m.records.names {
		if m.now >= n.last.Add(life) {
			delete(m.records.names, k)
			continue
		}
		m.quiet = min(m.quiet, n.last.Add(life))
	}
}

func (m *model) endLeases() {
	var due []string
	for k, l := range m.leases {
		if m.now >= l.expiry {
			due = append(due, k)
			delete(m.leases, k)
		}
	}
	m.revision += interrex.Revision(len(due))
}

func (m *model) endValues(t state.TableID) {
	for k, v := range m.registers[t] {
		if v.expiry != 0 && m.now >= v.expiry {
			delete(m.registers[t], k)
			m.revision++
		}
	}
}

// one does one ask, answers it from its record, or refuses it.
func (m *model) one(q *ask) (a answer) {
	switch {
	case q.retire != "":
		delete(m.records.names, modelKey{q.caller, q.retire})
		return answer{revision: m.revision, attempt: q.attempt}
	case q.settings != nil:
		m.set(q.settings)
		return answer{revision: m.revision, attempt: q.attempt}
	case q.id == "":
		a, _ = m.do(q)
		return a
	}
	m.raise(q)
	if a, settled := m.settled(q); settled {
		return a
	}
	name, number, is := q.named()
	if !is {
		a, rec := m.do(q)
		if rec != nil {
			m.keepSingle(modelKey{q.caller, q.id}, *rec)
		}
		return a
	}
	n := m.records.names[modelKey{q.caller, name}]
	if n == nil {
		if len(m.records.names) >= m.number("names") {
			return m.refuse(q, interrex.ErrOverloaded)
		}
		n = &modelName{mark: q.mark, first: number, records: map[uint64]modelRecord{}}
		m.records.names[modelKey{q.caller, name}] = n
	}
	n.last = m.now // every attempt that is new is a write
	if number-n.mark >= uint64(m.number("window")) {
		return m.refuse(q, interrex.ErrOverloaded)
	}
	a, rec := m.do(q)
	if rec != nil {
		n.records[number] = *rec
	}
	return a
}

// raise moves the mark of a name that is known, and forgets what is below.
func (m *model) raise(q *ask) {
	name, _, is := q.named()
	n := m.records.names[modelKey{q.caller, name}]
	if !is || n == nil {
		return
	}
	n.mark = max(n.mark, q.mark)
	for i := range n.records {
		if i < n.mark {
			delete(n.records, i)
		}
	}
}

// settled is what a mark or a record says. It changes nothing.
func (m *model) settled(q *ask) (answer, bool) {
	if q.id == "" {
		return answer{}, false
	}
	var rec modelRecord
	var found bool
	if name, number, is := q.named(); is {
		n := m.records.names[modelKey{q.caller, name}]
		if number < q.mark || n != nil && number < n.mark {
			return m.refuse(q, interrex.ErrOutcomeUnknown), true
		}
		if n != nil {
			rec, found = n.records[number]
		}
	} else {
		rec, found = m.records.single(modelKey{q.caller, q.id})
	}
	switch {
	case !found:
		return answer{}, false
	case rec.content != q.content():
		return m.refuse(q, interrex.ErrInvalid), true
	}
	a := rec.answer
	a.replayed = true
	for k, token := range rec.grants {
		if m.leases[k].token != token {
			a.kind, a.reply = interrex.ErrNotHeld, ""
		}
	}
	return a, true
}

func (m *model) keepSingle(k modelKey, rec modelRecord) {
	for len(m.records.singles) >= m.number("records") {
		m.records.dropOldestSingle()
	}
	m.records.byID[k] = m.records.gone + len(m.records.singles)
	m.records.singles = append(m.records.singles, modelSingle{k, rec})
}

func (m *model) set(values map[string]string) {
	changed := false
	for name, value := range values {
		value = cmp.Or(value, modelDefaults[name])
		changed = changed || m.setting(name) != value
		m.settings[name] = value
	}
	if changed {
		m.revision++
	}
	m.quiet = 0
}

func (m *model) refuse(q *ask, kind interrex.Kind) answer {
	return answer{kind: kind, revision: m.revision, attempt: q.attempt}
}

// do does what no mark and no record has decided. No record: nothing changed.
func (m *model) do(q *ask) (answer, *modelRecord) {
	if q.fence != "" && (q.token == 0 || m.leases[q.fence].token != q.token) {
		return m.refuse(q, interrex.ErrNotHeld), nil
	}
	byTable := slices.Clone(q.acts)
	slices.SortStableFunc(byTable, func(a, b act) int { return cmp.Compare(a.table, b.table) })
	for _, a := range byTable {
		if kind := m.refusal(a); kind != "" {
			return m.refuse(q, kind), nil
		}
	}
	before := m.revision
	rec := &modelRecord{content: q.content(), grants: map[string]interrex.Revision{}, at: m.now}
	var parts []string
	for _, a := range q.acts {
		parts = append(parts, m.act(a))
		if a.verb == "claim" {
			rec.grants[a.key] = m.revision
		}
		if q.group {
			parts[len(parts)-1] += fmt.Sprintf(" in table %d at %d", a.table, m.revision)
		}
	}
	done := answer{revision: m.revision, attempt: q.attempt, reply: strings.Join(parts, "; ")}
	if m.revision == before {
		return done, nil
	}
	rec.answer = done
	if q.acts[0].table == shelfTable {
		rec.answer.reply = describeValue(modelValue{text: "kept " + registerText(done.reply)})
	}
	return done, rec
}

// refusal is why an act cannot be done; empty: it can.
func (m *model) refusal(a act) interrex.Kind {
	l, held := m.leases[a.key]
	_, there := m.registers[a.table][a.key]
	switch a.verb {
	case "claim":
		if held {
			return interrex.ErrHeld
		}
	case "transfer", "revoke":
		if !held || l.token != a.token {
			return interrex.ErrNotHeld
		}
	case "force":
		if !held {
			return interrex.ErrNotFound
		}
	case "delete":
		if !there && a.table != stillTable {
			return interrex.ErrNotFound
		}
	}
	return ""
}

// act does what refusal lets pass, and returns its reply.
func (m *model) act(a act) string {
	if a.table == state.LeaseTable {
		return m.lease(a)
	}
	values := m.registers[a.table]
	old, there := values[a.key]
	if a.verb == "delete" && !there {
		return describeValue(modelValue{})
	}
	m.revision++
	if a.table == twiceTable {
		m.revision++
	}
	if a.verb == "delete" {
		delete(values, a.key)
		return describeValue(old)
	}
	v := modelValue{text: a.text, revision: m.revision}
	if a.life > 0 {
		v.expiry = m.now.Add(a.life)
	}
	values[a.key] = v
	return describeValue(v)
}

func (m *model) lease(a act) string {
	m.revision++
	old := m.leases[a.key]
	l := modelLease{a.text, m.revision, cmp.Or(a.life, old.ttl), 0}
	l.expiry = max(old.expiry, m.now.Add(l.ttl))
	var until state.Time
	switch a.verb {
	case "force", "revoke":
		delete(m.leases, a.key)
		if l = old; a.verb == "force" {
			until = old.expiry
		}
	default:
		m.leases[a.key] = l
	}
	return describeLease(a.key, l, a.verb == "claim", a.verb == "revoke" || a.verb == "force", until)
}

func describeLease(key string, l modelLease, granted, ended bool, until state.Time) string {
	return fmt.Sprintf("%s: %q holds token %d for %d until %d; granted %v, ended %v, holder until %d", key, l.holder, l.token, l.ttl, l.expiry, granted, ended, until)
}

func describeValue(v modelValue) string {
	return fmt.Sprintf("%d %d %s", v.revision, v.expiry, v.text)
}

// registerText is the text in what describeValue made.
func registerText(description string) string { return strings.SplitN(description, " ", 3)[2] }

// Now the real tables.

// shelf is a register that keeps its replies itself.
type shelf struct{ *testtable.Register }

func (shelf) Keep(r state.Reply) state.Reply { return kept(r.(*testtable.RegisterReply).Value.Text) }

func (shelf) Kept(r state.Reply) state.Reply {
	return &testtable.RegisterReply{Value: testtable.Value{Text: "kept " + string(r.(kept))}}
}

func (shelf) AppendReply(b []byte, r state.Reply) []byte { return append(b, r.(kept)...) }

func (shelf) DecodeReply(b []byte) (state.Reply, error) { return kept(b), nil }

func modelTables() []state.Table {
	return []state.Table{
		lease.New(), testtable.NewRegisterAs(plainTable), doubling{testtable.NewRegisterAs(twiceTable)},
		shelf{testtable.NewRegisterAs(shelfTable)}, idle{testtable.NewRegisterAs(stillTable)},
	}
}

// operation is an ask as it goes into an entry.
func (q *ask) operation() state.Operation {
	op := state.Operation{Table: state.SystemTable, Caller: q.caller, RequestID: q.id, Attempt: q.attempt, Mark: q.mark}
	switch {
	case q.retire != "":
		op.Data = (&state.Retire{Name: q.retire}).Append(nil)
	case q.settings != nil:
		op.Data = (&state.SetSettings{Values: q.settings}).Append(nil)
	case q.group:
		for _, a := range q.acts {
			op.Group = append(op.Group, state.Part{Table: a.table, Data: a.data(), Minted: []byte(a.minted)})
		}
	default:
		op.Table, op.Data, op.Minted = q.acts[0].table, q.acts[0].data(), []byte(q.acts[0].minted)
	}
	if q.fence != "" {
		op.Fence = interrex.Fence{Key: leaseKey(q.fence), Token: interrex.Token(q.token)}
	}
	return op
}

func leaseKey(name string) interrex.Key { return interrex.Key{Namespace: "default", Name: name} }

func (a act) data() []byte {
	k, token := leaseKey(a.key), interrex.Token(a.token)
	switch a.verb {
	case "claim":
		return (&lease.Claim{Key: k, Holder: a.text, TTL: a.life}).Append(nil)
	case "transfer":
		return (&lease.Transfer{Key: k, Token: token, To: a.text, TTL: a.life}).Append(nil)
	case "revoke", "force":
		return (&lease.Revoke{Key: k, Token: token, Force: a.verb == "force"}).Append(nil)
	case "set":
		return testtable.Set(a.key, a.text, a.life)
	}
	return testtable.Delete(a.key)
}

// answered is a real result as an answer.
func answered(res state.Result) answer {
	a := answer{revision: res.Revision, attempt: res.Attempt, replayed: res.Replayed}
	if res.Err != nil {
		a.kind = interrex.KindOf(res.Err)
	}
	a.reply = replied(res.Reply)
	return a
}

func replied(reply state.Reply) string {
	switch r := reply.(type) {
	case nil:
		return ""
	case *testtable.RegisterReply:
		return describeValue(modelValue{r.Value.Text, r.Value.Revision, r.Value.Expiry})
	case *lease.Reply:
		l := modelLease{r.Lease.Holder, interrex.Revision(r.Lease.Token), r.Lease.TTL, r.Lease.Expiry}
		return describeLease(r.Lease.Key.Name, l, r.Granted, r.Ended, r.HolderUntil)
	case state.GroupReply:
		var parts []string
		for _, p := range r {
			parts = append(parts, fmt.Sprintf("%s in table %d at %d", replied(p.Reply), p.Table, p.Revision))
		}
		return strings.Join(parts, "; ")
	}
	return fmt.Sprintf("a reply of type %T", reply)
}
