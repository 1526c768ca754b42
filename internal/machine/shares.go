package machine

import (
	"container/heap"
	"container/list"
)

// The measures of what is kept for request ids. Each has a limit.
const (
	inNumber  = iota // names, or records of ids without a name
	inRecords        // records
	inBytes
	measures
)

// weight is how much is kept, in each measure.
type weight [measures]int64

func (w weight) plus(d weight) weight {
	for m := range w {
		w[m] += d[m]
	}
	return w
}

func (w weight) minus(d weight) weight {
	for m := range w {
		w[m] -= d[m]
	}
	return w
}

// share is what is kept for one user.
type share struct {
	user   string
	weight weight
	order  *list.List // of what it has: the first is dropped first
	place  [measures]int
}

// shares are those of all users of one kind of thing, with the biggest at hand.
type shares struct {
	byUser   map[string]*share
	total    weight
	rankings [measures]ranking
}

func newShares() shares {
	s := shares{byUser: map[string]*share{}}
	for m := range s.rankings {
		s.rankings[m].measure = m
	}
	return s
}

// of returns the share of a user, which is added if there is none.
func (s *shares) of(user string) *share {
	if sh := s.byUser[user]; sh != nil {
		return sh
	}
	sh := &share{user: user, order: list.New()}
	s.byUser[user] = sh
	for m := range s.rankings {
		heap.Push(&s.rankings[m], sh)
	}
	return sh
}

// add changes what a user has, and forgets a user that has nothing.
func (s *shares) add(sh *share, d weight) {
	s.total, sh.weight = s.total.plus(d), sh.weight.plus(d)
	if sh.weight == (weight{}) {
		delete(s.byUser, sh.user)
		for m := range s.rankings {
			heap.Remove(&s.rankings[m], sh.place[m])
		}
		return
	}
	for m, by := range d {
		if by != 0 {
			heap.Fix(&s.rankings[m], sh.place[m])
		}
	}
}

// over returns a measure in which there is more than is allowed.
func (s *shares) over(limit weight) (measure int, is bool) {
	for m, total := range s.total {
		if total > limit[m] {
			return m, true
		}
	}
	return 0, false
}

// biggest returns the user with the most in a measure; of equals the first by name;
// nil: there is none.
func (s *shares) biggest(measure int) *share {
	if all := s.rankings[measure].all; len(all) > 0 {
		return all[0]
	}
	return nil
}

// ranking is a heap of users, the biggest in one measure first. It implements
// heap.Interface.
type ranking struct {
	measure int
	all     []*share
}

func (r *ranking) Len() int { return len(r.all) }

func (r *ranking) Less(i, j int) bool {
	a, b := r.all[i], r.all[j]
	if x, y := a.weight[r.measure], b.weight[r.measure]; x != y {
		return x > y
	}
	return a.user < b.user
}

func (r *ranking) Swap(i, j int) {
	r.all[i], r.all[j] = r.all[j], r.all[i]
	r.all[i].place[r.measure], r.all[j].place[r.measure] = i, j
}

func (r *ranking) Push(x any) {
	sh := x.(*share)
	sh.place[r.measure] = len(r.all)
	r.all = append(r.all, sh)
}

func (r *ranking) Pop() any {
	last := len(r.all) - 1
	sh := r.all[last]
	r.all[last] = nil
	r.all = r.all[:last]
	return sh
}
