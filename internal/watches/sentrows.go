package watches

import (
	"sort"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// SentRows is what a snapshot has sent so far, so that an event which it had the effect
// of already is not sent again. compare orders keys as the snapshot does.
type SentRows struct {
	compare func(a, b string) int
	pages   []page
}

// page is a part of the snapshot that a watch began with: every key up to and
// including last (empty: to the end) was sent as of revision. Events that a
// page already reflects are not sent again.
type page struct {
	last     string
	revision interrex.Revision
}

// Add records a part of the snapshot as sent: the rows up to a key, or, if there
// are no more, to the end, as of a revision. Each part may be newer than the last.
func (s *SentRows) Add(last string, more bool, at interrex.Revision) {
	if !more {
		last = ""
	}
	if n := len(s.pages); n > 0 && s.pages[n-1].revision == at {
		s.pages[n-1].last = last
		return
	}
	s.pages = append(s.pages, page{last: last, revision: at})
}

// Has reports whether the snapshot already had the event's effect.
func (s *SentRows) Has(e *state.Event) bool {
	n := len(s.pages)
	if n == 0 {
		return false
	}
	if e.Revision > s.pages[n-1].revision { // the last page is the newest
		s.pages = nil
		return false
	}
	i := sort.Search(n, func(i int) bool { return s.pages[i].last == "" || s.compare(e.Key, s.pages[i].last) <= 0 })
	return i < n && e.Revision <= s.pages[i].revision
}

// NewSentRows makes one that has sent nothing. compare orders keys as the snapshot
// does.
func NewSentRows(compare func(a, b string) int) *SentRows { return &SentRows{compare: compare} }
