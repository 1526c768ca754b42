package watches

import (
	"sort"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// SentRows records which rows a snapshot has sent, so that events which these rows
// already reflect are not sent again.
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

// Add records that a part of the snapshot was sent: the rows up to a key, or to the
// end if there are no more, as of a revision. Each part may be newer than the last.
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

// Has reports whether the sent rows already reflect an event.
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

// NewSentRows returns an empty SentRows. compare orders keys as the snapshot does.
func NewSentRows(compare func(a, b string) int) *SentRows { return &SentRows{compare: compare} }
