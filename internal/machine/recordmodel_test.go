package machine_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
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
	origin     string
	attempt    uint32
	mark       uint64
	since      interrex.Revision
	fence      string // a lease's key; empty: none
	token      interrex.Revision

	// Instead of acts:
	open     uint64 // the bits of a name that is opened
	retire   string // the name that is given back
	settings map[string]string
}

// user is whose share what is kept counts in.
func (q *ask) user() string {
	if q.caller != "" {
		return "=" + q.caller
	}
	return "@" + q.origin
}

// holder is the one that a claim by itself names.
func (q *ask) holder() string {
	if !q.group && q.acts[0].verb == "claim" {
		return q.acts[0].text
	}
	return ""
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
	lost     interrex.Revision // of an error
}

// modelRecord is the record of a request that changed something.
type modelRecord struct {
	content string
	answer  answer
	parts   []modelPart // of the reply
	group   bool
	at      state.Time // when it was made
}

// modelPart is what was done by one act.
type modelPart struct {
	act      act
	reply    string            // of a register
	token    interrex.Revision // of a lease afterwards
	revision interrex.Revision
	until    state.Time // of a forced revoke
}

type modelName struct {
	caller, user string
	bits         uint64
	revision     interrex.Revision
	mark         uint64
	last         state.Time
	records      map[uint64]modelRecord
}

func (n *modelName) text() string { return fmt.Sprintf("%d-%016x", uint64(n.revision), n.bits) }

// singleKey is a caller with a holder and an id.
type singleKey struct{ caller, holder, id string }

// modelSingle is a record by itself.
type modelSingle struct {
	key  singleKey
	user string
	modelRecord
}

// modelRecords are all marks and records.
type modelRecords struct {
	names   map[string]*modelName
	lost    interrex.Revision // with names
	singles []modelSingle     // in the order of their making
	lostOne interrex.Revision // of singles
	early   state.Time
}

// clone is a copy that nothing changes any more.
func (r *modelRecords) clone() *modelRecords {
	c := *r
	c.names, c.singles = map[string]*modelName{}, slices.Clone(r.singles)
	for k, n := range r.names {
		own := *n
		own.records = maps.Clone(n.records)
		c.names[k] = &own
	}
	return &c
}

// name is that of a text, if a caller has opened it.
func (r *modelRecords) name(caller, text string) *modelName {
	if n := r.names[text]; n != nil && n.caller == caller {
		return n
	}
	return nil
}

// drop forgets a name, with records that may yet be asked for.
func (r *modelRecords) drop(n *modelName) {
	for _, rec := range n.records {
		r.lost = max(r.lost, rec.answer.revision)
	}
	delete(r.names, n.text())
}

func (r *modelRecords) single(k singleKey) (modelRecord, bool) {
	for _, s := range r.singles {
		if s.key == k {
			return s.modelRecord, true
		}
	}
	return modelRecord{}, false
}

func (r *modelRecords) dropSingle(i int) {
	r.lostOne = max(r.lostOne, r.singles[i].answer.revision)
	r.singles = slices.Delete(slices.Clone(r.singles), i, i+1)
}

// weigh is how much each user has: names, or their records.
func (r *modelRecords) weigh(records bool) (total int, users map[string]int) {
	users = map[string]int{}
	for _, n := range r.names {
		w := 1
		if records {
			w = len(n.records)
		}
		total += w
		users[n.user] += w
	}
	return total, users
}

// most is the user with most; of equals the first.
func most(users map[string]int) (big string) {
	for user, n := range users {
		if big == "" || n > users[big] || n == users[big] && user < big {
			big = user
		}
	}
	return big
}

// idlest is the name of a user that was written to longest ago.
func (r *modelRecords) idlest(user string) (first *modelName) {
	for _, n := range r.names {
		if n.user == user && (first == nil || n.last < first.last || n.last == first.last && n.revision < first.revision) {
			first = n
		}
	}
	return first
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
		records: &modelRecords{names: map[string]*modelName{}}, settings: map[string]string{},
	}
	for t := plainTable; t <= stillTable; t++ {
		m.registers[t] = map[string]modelValue{}
	}
	return m
}

// The limits of request ids where nothing is set.
var modelDefaults = map[string]string{
	"requests.window": "1024", "requests.names": "65536", "requests.name-age": "24h",
	"requests.records": "65536", "requests.record-age": "10m", "requests.name-records": "1048576",
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
		m.records.dropSingle(0)
	}
	if m.now < m.quiet {
		return
	}
	life := m.age("name-age")
	m.quiet = m.now.Add(life)
	for _, n := range m.records.names {
		if m.now >= n.last.Add(life) {
			m.records.drop(n)
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
	case q.open != 0:
		return m.open(q)
	case q.retire != "":
		if n := m.records.name(q.caller, q.retire); n != nil {
			m.raise(n, q.mark)
			m.records.drop(n)
		}
		return answer{revision: m.revision, attempt: q.attempt}
	case q.settings != nil:
		m.set(q.settings)
		return answer{revision: m.revision, attempt: q.attempt}
	case q.id == "":
		a, _ = m.do(q)
		return a
	}
	name, number, is := q.named()
	n := m.records.name(q.caller, name)
	if is && n != nil {
		m.raise(n, q.mark)
	}
	if a, settled := m.settled(q); settled {
		return a
	}
	if !is {
		a, rec := m.do(q)
		if rec != nil {
			m.keepSingle(q, *rec)
		}
		return a
	}
	n.last = m.now // every attempt that is new is a write
	if number-n.mark >= uint64(m.number("window")) {
		return m.refuse(q, interrex.ErrOverloaded)
	}
	a, rec := m.do(q)
	if rec != nil {
		n.records[number] = *rec
		m.fit()
	}
	return a
}

// open makes a name, or finds the one that was made.
func (m *model) open(q *ask) answer {
	for _, n := range m.records.names {
		if n.caller == q.caller && n.bits == q.open {
			return answer{revision: m.revision, attempt: q.attempt, reply: n.text()}
		}
	}
	for more, records := range map[int]bool{1: false, 0: true} {
		total, users := m.records.weigh(records)
		if big := most(users); total+more > m.limit(records) && big == q.user() && m.now < m.records.idlest(big).last.Add(time.Minute) {
			return m.refuse(q, interrex.ErrOverloaded)
		}
	}
	m.revision++
	n := &modelName{caller: q.caller, user: q.user(), bits: q.open, revision: m.revision, mark: 1, last: m.now, records: map[uint64]modelRecord{}}
	m.records.names[n.text()] = n
	m.quiet = min(m.quiet, n.last.Add(m.age("name-age")))
	m.fit()
	return answer{revision: m.revision, attempt: q.attempt, reply: n.text()}
}

// limit is how many names there may be, or records of them.
func (m *model) limit(records bool) int {
	if records {
		return m.number("name-records")
	}
	return m.number("names")
}

// fit drops names until the limits are kept.
func (m *model) fit() {
	for _, records := range []bool{false, true} {
		for {
			total, users := m.records.weigh(records)
			if total <= m.limit(records) {
				break
			}
			m.records.drop(m.records.idlest(most(users))) // perhaps one without records
		}
	}
}

// raise moves the mark of a name, and forgets what is below.
func (m *model) raise(n *modelName, mark uint64) {
	n.mark = max(n.mark, mark)
	for i := range n.records {
		if i < n.mark {
			delete(n.records, i)
		}
	}
}

// settled is what a mark or a record, or that there is none, says. It changes nothing.
func (m *model) settled(q *ask) (answer, bool) {
	if q.id == "" {
		return answer{}, false
	}
	var rec modelRecord
	var found bool
	if name, number, is := q.named(); is {
		n := m.records.name(q.caller, name)
		if n == nil {
			a := m.refuse(q, interrex.ErrNameGone)
			a.lost = m.records.lost
			return a, true
		}
		if number < max(q.mark, n.mark) {
			return m.refuse(q, interrex.ErrOutcomeUnknown), true
		}
		rec, found = n.records[number]
	} else if rec, found = m.records.single(singleKey{q.caller, q.holder(), q.id}); !found {
		lost := m.records.lostOne > q.since
		if q.since == 0 {
			lost = q.attempt > 0 && m.now < m.records.early
		}
		if lost {
			a := m.refuse(q, interrex.ErrOutcomeUnknown)
			a.lost = m.records.lostOne
			return a, true
		}
	}
	switch {
	case !found:
		return answer{}, false
	case rec.content != q.content():
		return m.refuse(q, interrex.ErrInvalid), true
	}
	return m.repeated(rec), true
}

// repeated is the answer of a record.
func (m *model) repeated(rec modelRecord) answer {
	a := rec.answer
	a.replayed = true
	var parts []string
	for _, p := range rec.parts {
		text := p.reply
		if p.act.table == machine.LeaseTable {
			l, held := m.leases[p.act.key]
			held = held && l.token == p.token
			claimed, ended := p.act.verb == "claim", p.act.verb == "revoke" || p.act.verb == "force"
			if claimed && !held {
				a.kind, a.reply = interrex.ErrNotHeld, ""
				return a
			}
			if !held || ended {
				l = modelLease{token: p.token}
			}
			text = describeLease(p.act.key, l, claimed, ended || !held, p.until)
		}
		parts = append(parts, p.text(text, rec.group))
	}
	a.reply = strings.Join(parts, "; ")
	return a
}

// text is a part of a reply; reply is its own.
func (p modelPart) text(reply string, group bool) string {
	if group {
		return reply + fmt.Sprintf(" in table %d at %d", p.act.table, p.revision)
	}
	return reply
}

func (m *model) keepSingle(q *ask, rec modelRecord) {
	r := m.records
	r.singles = append(slices.Clone(r.singles), modelSingle{singleKey{q.caller, q.holder(), q.id}, q.user(), rec})
	for len(r.singles) > m.number("records") {
		users := map[string]int{}
		for _, s := range r.singles {
			users[s.user]++
		}
		big := most(users)
		r.dropSingle(slices.IndexFunc(r.singles, func(s modelSingle) bool { return s.user == big }))
		r.early = max(r.early, m.now.Add(m.age("record-age")))
	}
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
	rec := &modelRecord{content: q.content(), group: q.group, at: m.now}
	var parts []string
	for _, a := range q.acts {
		p := modelPart{act: a}
		if a.verb == "force" {
			p.until = m.leases[a.key].expiry
		}
		if a.verb == "revoke" || a.verb == "force" {
			p.token = m.leases[a.key].token
		}
		p.reply = m.act(a)
		p.revision = m.revision
		if p.token == 0 {
			p.token = m.revision
		}
		parts = append(parts, p.text(p.reply, q.group))
		if a.table == shelfTable {
			p.reply = describeValue(modelValue{text: "kept " + registerText(p.reply)})
		}
		rec.parts = append(rec.parts, p)
	}
	done := answer{revision: m.revision, attempt: q.attempt, reply: strings.Join(parts, "; ")}
	if m.revision == before {
		return done, nil
	}
	rec.answer = done
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
	if a.table == machine.LeaseTable {
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

func (shelf) Kept(_ state.Command, r state.Reply) (state.Reply, error) {
	return &testtable.RegisterReply{Value: testtable.Value{Text: "kept " + string(r.(kept))}}, nil
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
	op := state.Operation{Table: machine.SystemTable, Caller: q.caller, Origin: q.origin, RequestID: q.id, Attempt: q.attempt, Mark: q.mark, Since: q.since}
	switch {
	case q.open != 0:
		op.Data = (&machine.OpenName{Bits: q.open}).Append(nil)
	case q.retire != "":
		op.Mark = 0
		op.Data = (&machine.Retire{Name: q.retire, Mark: q.mark}).Append(nil)
	case q.settings != nil:
		op.Data = (&machine.SetSettings{Values: q.settings}).Append(nil)
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
		var e *interrex.Error
		if errors.As(res.Err, &e) {
			a.lost = e.Lost
		}
	}
	a.reply = replied(res.Reply)
	return a
}

func replied(reply state.Reply) string {
	switch r := reply.(type) {
	case nil:
		return ""
	case *machine.OpenedName:
		return r.Name
	case *testtable.RegisterReply:
		return describeValue(modelValue{r.Value.Text, r.Value.Revision, r.Value.Expiry})
	case *lease.Reply:
		l := modelLease{r.Lease.Holder, interrex.Revision(r.Lease.Token), r.Lease.TTL, r.Lease.Expiry}
		return describeLease(r.Lease.Key.Name, l, r.Granted, r.Ended, r.HolderUntil)
	case machine.GroupReply:
		var parts []string
		for _, p := range r {
			parts = append(parts, fmt.Sprintf("%s in table %d at %d", replied(p.Reply), p.Table, p.Revision))
		}
		return strings.Join(parts, "; ")
	}
	return fmt.Sprintf("a reply of type %T", reply)
}
