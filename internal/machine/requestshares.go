package machine

import (
	"slices"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// RequestShare is what is kept for the request ids of one user.
type RequestShare struct {
	User        RequestUser
	Names       int64
	NameRecords int64
	NameBytes   int64      // of both
	LastWrite   state.Time // to the name that was written to longest ago
	Records     int64      // of ids without a name
	RecordBytes int64
}

// RequestLimits calls fn with the limits of names, of other request ids, and of their
// records, each by its setting.
func (s *State) RequestLimits(fn func(setting string, used, most int64)) {
	s.mu.RLock()
	l, named, single := *s.system.limits, s.system.records.names.shares.total, s.system.records.singles.shares.total
	s.mu.RUnlock()
	fn(settingNames, named[inNumber], int64(l.Names))
	fn(settingNameRecords, named[inRecords], int64(l.NameRecords))
	fn(settingNameBytes, named[inBytes], l.NameBytes)
	fn(settingRecords, single[inNumber], int64(l.Records))
	fn(settingRecordBytes, single[inBytes], l.RecordBytes)
}

// RequestShares are some of all shares, callers first, each by name.
type RequestShares struct {
	Items    []RequestShare
	Next     string // where the next ones begin; empty: there are no more
	Revision interrex.Revision
	Now      state.Time
	// Lost is the greatest revision of a record that was dropped with its name.
	Lost interrex.Revision
}

// RequestShares returns at most limit shares: those from a Next on, or the first.
func (s *State) RequestShares(from string, limit int) RequestShares {
	users := s.requestUsers(from)
	slices.Sort(users) // without the lock: there may be many
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, at := s.system.records, s.at.Load()
	page := RequestShares{Revision: at.revision, Now: at.now, Lost: r.names.lost}
	for i, user := range users {
		if i == limit {
			page.Next = user
			break
		}
		if r.has(user) {
			page.Items = append(page.Items, r.share(user))
		}
	}
	return page
}

// requestUsers returns those who have names or records, from one on.
func (s *State) requestUsers(from string) (users []string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.system.records
	for user := range r.names.shares.byUser {
		if user >= from {
			users = append(users, user)
		}
	}
	for user := range r.singles.shares.byUser {
		if user >= from && r.names.shares.byUser[user] == nil {
			users = append(users, user)
		}
	}
	return users
}

// has reports whether a user has names or records.
func (r *records) has(user string) bool {
	return r.names.shares.byUser[user] != nil || r.singles.shares.byUser[user] != nil
}

func (r *records) share(user string) RequestShare {
	one := RequestShare{User: userNamed(user)}
	if sh := r.names.shares.byUser[user]; sh != nil {
		w := sh.weight
		one.Names, one.NameRecords, one.NameBytes = w[inNumber], w[inRecords], w[inBytes]
		one.LastWrite = sh.order.Front().Value.(*name).last
	}
	if sh := r.singles.shares.byUser[user]; sh != nil {
		one.Records, one.RecordBytes = sh.weight[inNumber], sh.weight[inBytes]
	}
	return one
}
