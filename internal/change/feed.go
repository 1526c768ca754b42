package change

import (
	"sort"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// feed is the kept events, in the order of their revisions. Events in it are never
// modified, so a view can be read concurrently with everything else.
type feed struct {
	runs  []run // oldest first, none of them empty
	head  int   // the number of events of the first run that are dropped
	count int
	bytes int64
	floor interrex.Revision // changes up to here are dropped
	last  interrex.Revision // changes up to here were added
	ended interrex.Revision // a restore here has replaced it, since this agent started; 0: none has
	index index
}

// run is the events of one entry.
type run struct{ events []state.Event }

func (r run) last() interrex.Revision { return r.events[len(r.events)-1].Revision }

func (f *feed) add(events []state.Event, last interrex.Revision) {
	f.last = max(f.last, last)
	if len(events) == 0 {
		return
	}
	f.runs = append(f.runs, run{events})
	f.count += len(events)
	for i := range events {
		f.bytes += int64(events[i].Size)
		f.index.add(&events[i])
	}
}

// trim drops the events beyond the retention, whole revisions at a time.
func (f *feed) trim(now state.Time, keep retention) {
	for f.count > 0 && (f.count > keep.count || f.bytes > keep.bytes || f.oldest().Now < now.Add(-keep.age)) {
		for f.floor = f.oldest().Revision; f.count > 0 && f.oldest().Revision == f.floor; {
			f.drop()
		}
	}
}

func (f *feed) oldest() *state.Event { return &f.runs[0].events[f.head] }

func (f *feed) drop() {
	f.count--
	f.bytes -= int64(f.oldest().Size)
	f.index.drop(f.oldest())
	if f.head++; f.head == len(f.runs[0].events) {
		f.runs, f.head = f.runs[1:], 0
	}
}

// view is the feed at one moment.
type view struct {
	runs  []run
	head  int
	floor interrex.Revision
	last  interrex.Revision
}

func (f *feed) view() view {
	return view{runs: f.runs[:len(f.runs):len(f.runs)], head: f.head, floor: f.floor, last: f.last}
}

// place is a position in a view: a run, and an event in it.
type place struct{ run, event int }

// after returns the place of the first event after a revision.
func (v view) after(r interrex.Revision) place {
	i := sort.Search(len(v.runs), func(i int) bool { return v.runs[i].last() > r })
	if i == len(v.runs) {
		return place{run: i}
	}
	events := v.runs[i].events
	at := sort.Search(len(events), func(j int) bool { return events[j].Revision > r })
	if i == 0 {
		at = max(at, v.head)
	}
	return place{i, at}
}

// forward calls fn with each event from a place on, until it returns false.
func (v view) forward(p place, fn func(*state.Event) bool) {
	for ; p.run < len(v.runs); p.run, p.event = p.run+1, 0 {
		for ; p.event < len(v.runs[p.run].events); p.event++ {
			if !fn(&v.runs[p.run].events[p.event]) {
				return
			}
		}
	}
}

// backward calls fn with each event before a place, the newest first, until it
// returns false.
func (v view) backward(p place, fn func(*state.Event) bool) {
	for {
		first := 0
		if p.run == 0 {
			first = v.head
		}
		for p.event--; p.event >= first; p.event-- {
			if !fn(&v.runs[p.run].events[p.event]) {
				return
			}
		}
		if p.run--; p.run < 0 {
			return
		}
		p.event = len(v.runs[p.run].events)
	}
}

// first returns the oldest event; nil if there is none.
func (v view) first() (oldest *state.Event) {
	v.forward(place{0, v.head}, func(e *state.Event) bool { oldest = e; return false })
	return oldest
}
