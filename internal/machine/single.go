package machine

import (
	"container/list"
	"fmt"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// singleKey is what an id without a name belongs to.
type singleKey struct{ caller, holder, id string }

func (k singleKey) clone() singleKey {
	return singleKey{strings.Clone(k.caller), strings.Clone(k.holder), strings.Clone(k.id)}
}

// single is the record of a request id that has no name. It never changes.
type single struct {
	key  singleKey
	user string // whose share it counts in
	at   state.Time
	record

	share         *share // of its user
	byAge, byUser *list.Element
}

// singleBytes is what a single counts without its texts and its record.
const singleBytes = 256

func (s *single) weight() weight {
	w := s.record.weight()
	w[inNumber] = 1
	w[inBytes] += singleBytes + int64(len(s.key.caller)+len(s.key.holder)+len(s.key.id)+len(s.user))
	return w
}

// singles are the records of ids that have no name.
type singles struct {
	limits *requestLimits
	all    map[singleKey]*single
	byAge  *list.List
	shares shares
	// lost is the greatest revision of one that was dropped. Until early it matters to
	// callers who do not say what they knew: one was dropped before its time.
	lost  interrex.Revision
	early state.Time
}

func newSingles(l *requestLimits) *singles {
	return &singles{limits: l, all: map[singleKey]*single{}, byAge: list.New(), shares: newShares()}
}

// put adds a record, and makes room for it: of the user who has most the oldest goes.
func (s *singles) put(x *single) {
	s.add(x)
	for {
		measure, over := s.shares.over(s.limits.singles())
		if !over {
			return
		}
		s.dropEarly(s.shares.biggest(measure).order.Front().Value.(*single), x.at)
	}
}

func (s *singles) add(x *single) {
	s.all[x.key] = x
	x.byAge = s.byAge.PushBack(x)
	x.share = s.shares.of(x.user)
	x.byUser = x.share.order.PushBack(x)
	s.shares.add(x.share, x.weight())
}

// age drops the records whose time is over.
func (s *singles) age(now state.Time) {
	for e := s.byAge.Front(); e != nil; e = s.byAge.Front() {
		x := e.Value.(*single)
		if now < x.at.Add(s.limits.RecordAge) {
			return
		}
		s.drop(x)
	}
}

// dropEarly drops a record before its time.
func (s *singles) dropEarly(x *single, now state.Time) {
	s.drop(x)
	s.early = max(s.early, now.Add(s.limits.RecordAge))
}

func (s *singles) drop(x *single) {
	s.lost = max(s.lost, x.revision)
	delete(s.all, x.key)
	s.byAge.Remove(x.byAge)
	x.share.order.Remove(x.byUser)
	s.shares.add(x.share, weight{}.minus(x.weight()))
}

// lose drops all of them in a recovery, which is what a Loss says.
func (s *singles) lose() {
	next := newSingles(s.limits)
	next.lost, next.early = s.lost, s.early
	*s = *next
}

// freeze returns all of them, the oldest first.
func (s *singles) freeze() []*single {
	frozen := make([]*single, 0, len(s.all))
	for e := s.byAge.Front(); e != nil; e = e.Next() {
		frozen = append(frozen, e.Value.(*single))
	}
	return frozen
}

// restore adds what was read from a snapshot, the oldest first.
func (s *singles) restore(all []*single) error {
	for _, x := range all {
		if s.all[x.key] != nil {
			return fmt.Errorf("the request id %q is in it twice", x.key.id)
		}
		s.add(x)
	}
	return nil
}
