package machine

import (
	"cmp"
	"container/list"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// nameID is what makes a NAME of request ids: the revision at which it was allotted,
// and 64 random bits of its opener, which nobody else can guess.
type nameID struct {
	revision interrex.Revision
	bits     uint64
}

// String returns the text of a NAME; there is one for each.
func (id nameID) String() string { return fmt.Sprintf("%d-%016x", uint64(id.revision), id.bits) }

// parseNameID reads what String returns. The zero ID, which is no name's, stands for
// every other text.
func parseNameID(text string) nameID {
	digits, hex, found := strings.Cut(text, "-")
	if !found || len(hex) != 16 || digits == "" || digits[0] == '0' {
		return nameID{}
	}
	revision, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || interrex.Revision(revision) >= maxRevision {
		return nameID{}
	}
	var bits uint64
	for _, c := range []byte(hex) {
		switch {
		case c >= '0' && c <= '9':
			bits = bits<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			bits = bits<<4 | uint64(c-'a'+10)
		default:
			return nameID{}
		}
	}
	return nameID{interrex.Revision(revision), bits}
}

// opener is the caller that opened a name, with its random bits: an opening that is
// repeated finds the name that it made.
type opener struct {
	caller string
	bits   uint64
}

// name is the mark of one NAME and the records above it. A view that was frozen
// before generation may still read it: see names.writable.
type name struct {
	opener
	revision   interrex.Revision // at which it was allotted
	user       string            // whose share it counts in
	mark       uint64
	last       state.Time // of its last write
	records    window
	weight     weight
	generation uint64
	share      *share        // of its user
	byAge      *list.Element // in names.byAge
	byUser     *list.Element // in the order of its share
}

// nameBytes is what a name counts without its texts and records.
const nameBytes = 512

// newName returns a name without records.
func newName(o opener, revision interrex.Revision, user string, now state.Time) *name {
	return &name{
		opener: o, revision: revision, user: user, mark: 1, last: now,
		weight: weight{inNumber: 1, inBytes: nameBytes + int64(len(o.caller)+len(user))},
	}
}

func (n *name) id() nameID { return nameID{n.revision, n.bits} }

// idle orders names: the one that was written to longest ago first, and of those that
// were written to in one entry the one that was allotted first.
func (n *name) idle(o *name) int {
	return cmp.Or(cmp.Compare(n.last, o.last), cmp.Compare(n.revision, o.revision))
}

// names are all names that are allotted, with their records.
type names struct {
	limits     *requestLimits
	all        map[opener]*name
	byAge      *list.List // by their last write
	shares     shares
	generation uint64
	// lost is the greatest revision of a record, at or above its name's mark, that was
	// dropped with its name.
	lost interrex.Revision
	gone uint64 // how many names were dropped here, at least; it is not replicated
}

func newNames(l *requestLimits) *names {
	return &names{limits: l, all: map[opener]*name{}, byAge: list.New(), shares: newShares()}
}

// find returns the name with an ID, if the caller is its opener.
func (s *names) find(caller string, id nameID) *name {
	if n := s.all[opener{caller, id.bits}]; n != nil && n.revision == id.revision {
		return n
	}
	return nil
}

// mayOpen refuses another name to the user who has most while its longest idle one is
// young: it would lose what it needs.
func (s *names) mayOpen(n *name) error {
	const young = time.Minute
	total := s.shares.total.plus(n.weight)
	for m, limit := range s.limits.names() {
		if total[m] <= limit {
			continue
		}
		big := s.shares.biggest(m)
		if big == nil || big.user != n.user {
			continue
		}
		if first := big.order.Front().Value.(*name); n.last < first.last.Add(young) {
			return errNames(shown(n.user), big.weight, s.limits.names())
		}
	}
	return nil
}

// open adds a name, and makes room for it.
func (s *names) open(n *name) {
	s.add(n)
	s.fit()
}

// add adds a name that is not there.
func (s *names) add(n *name) {
	n.generation = s.generation
	s.all[n.opener] = n
	n.byAge = s.byAge.PushBack(n)
	n.share = s.shares.of(n.user)
	n.byUser = n.share.order.PushBack(n)
	s.settle(n)
	s.shares.add(n.share, n.weight)
}

// settle moves a name, which is the last of its user's, to its place in their order.
func (s *names) settle(n *name) {
	for e := n.byUser.Prev(); e != nil && e.Value.(*name).idle(n) > 0; e = n.byUser.Prev() {
		n.share.order.MoveBefore(n.byUser, e)
	}
}

// touch makes n the name that was written last.
func (s *names) touch(n *name, now state.Time) {
	n.last = now
	s.byAge.MoveToBack(n.byAge)
	n.share.order.MoveToBack(n.byUser)
	s.settle(n)
}

// raise moves a name's mark, and drops the records below it.
func (s *names) raise(n *name, mark uint64) {
	n.mark = max(n.mark, mark)
	s.weigh(n, weight{}.minus(n.records.drop(n.mark)))
}

// put adds a record, and makes room for it: perhaps by dropping it with its name.
func (s *names) put(n *name, r record) {
	n.records.put(r)
	s.weigh(n, r.weight())
	s.fit()
}

func (s *names) weigh(n *name, d weight) {
	if d != (weight{}) {
		n.weight = n.weight.plus(d)
		s.shares.add(n.share, d)
	}
}

// fit drops names until the limits are kept: of the user who has most the longest idle.
func (s *names) fit() {
	for {
		measure, over := s.shares.over(s.limits.names())
		if !over {
			return
		}
		s.drop(s.shares.biggest(measure).order.Front().Value.(*name))
	}
}

// age drops the names whose time is over.
func (s *names) age(now state.Time) {
	for e := s.byAge.Front(); e != nil; e = s.byAge.Front() {
		n := e.Value.(*name)
		if now < n.last.Add(s.limits.NameAge) {
			return
		}
		s.drop(n)
	}
}

// drop forgets a name and its records, which somebody may yet ask for.
func (s *names) drop(n *name) {
	s.gone++
	for _, r := range n.records.live() {
		s.lost = max(s.lost, r.revision)
	}
	delete(s.all, n.opener)
	s.byAge.Remove(n.byAge)
	n.share.order.Remove(n.byUser)
	s.shares.add(n.share, weight{}.minus(n.weight))
}

// lose drops all names: a recovery has raised the revision to lost.
func (s *names) lose(lost interrex.Revision) {
	next := newNames(s.limits)
	next.generation, next.lost, next.gone = s.generation, lost, s.gone+uint64(len(s.all))
	*s = *next
}

// writable returns n, or a copy that replaces it if a frozen view may read n.
func (s *names) writable(n *name) *name {
	if n.generation == s.generation {
		return n
	}
	c := *n
	c.generation = s.generation
	c.records = window{all: slices.Clone(n.records.live())}
	s.all[c.opener] = &c
	c.byAge.Value, c.byUser.Value = &c, &c
	return &c
}

// freeze returns all names, which from now on are copied before they change.
func (s *names) freeze() []*name {
	s.generation++
	frozen := make([]*name, 0, len(s.all))
	for e := s.byAge.Front(); e != nil; e = e.Next() {
		frozen = append(frozen, e.Value.(*name))
	}
	return frozen
}

// restore adds what was read from a snapshot.
func (s *names) restore(all []*name) error {
	slices.SortFunc(all, (*name).idle)
	for _, n := range all {
		if s.all[n.opener] != nil {
			return fmt.Errorf("the name of revision %d is in it twice", n.revision)
		}
		s.add(n)
	}
	return nil
}

// userOf returns whose share an operation counts in: its caller's, or else that of the
// address from which it came.
func userOf(op *state.Operation) string {
	if op.Caller != "" {
		return userCaller + op.Caller
	}
	return userAddress + op.Origin
}

// What the text of a user begins with.
const (
	userCaller  = "="
	userAddress = "@"
)

// shown returns a user for people.
func shown(user string) string {
	caller, is := strings.CutPrefix(user, userCaller)
	address := strings.TrimPrefix(user, userAddress)
	switch {
	case is:
		return "caller " + strconv.Quote(caller)
	case address == "":
		return "an unknown address"
	case strings.Contains(address, " "):
		return "the machine of " + address
	}
	return "address " + address
}
