package watches

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// Watches that come and go, with little credit and late beginnings, get each event that
// they match once and in order.
func TestEachWatchGetsExactlyWhatItMatches(t *testing.T) {
	for range 200 {
		m := newMedley(t)
		for range 60 {
			m.step()
		}
		m.finish()
	}
}

// medley is an audience under random steps, and what each of its watches has to get.
type medley struct {
	t      *testing.T
	nd     *viewed
	a      *audience
	rand   *rand.Rand
	events []state.Event
	got    map[uint64][]uint64
	since  map[uint64]uint64
	prefix map[uint64]string
	next   uint64
}

func newMedley(t *testing.T) *medley {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m := &medley{
		t: t, nd: newViewed(t), rand: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // a test
		got: map[uint64][]uint64{}, since: map[uint64]uint64{}, prefix: map[uint64]string{},
	}
	m.a = newAudience(m.nd.server, admission.Caller{})
	t.Cleanup(m.a.close)
	return m
}

func (m *medley) step() {
	switch m.rand.IntN(6) {
	case 0:
		m.open()
	case 1, 2:
		m.publish()
	case 3:
		for id := range m.got {
			if m.rand.IntN(2) == 0 {
				m.a.allow(&interrexv1.WatchCredit{Id: id, Events: uint32(m.rand.IntN(5))}, &message{})
			}
		}
	default:
		m.gather()
	}
}

func (m *medley) open() {
	m.next++
	m.since[m.next] = 1 + m.rand.Uint64N(uint64(len(m.events))+1)
	m.prefix[m.next] = []string{"", "a", "ab", "b"}[m.rand.IntN(4)]
	m.got[m.next] = nil
	var out message
	m.a.begin(opening(m.t, m.next, uint32(m.rand.IntN(4)), &interrexv1.WatchRequest{Since: m.since[m.next], Prefix: m.prefix[m.next]}), &out)
	if len(out.Refused) > 0 {
		m.t.Fatalf("since %d of %d: %v", m.since[m.next], len(m.events), out.Refused)
	}
}

// publish publishes an entry: a few revisions, of one or two events each.
func (m *medley) publish() {
	var entry []state.Event
	for range 1 + m.rand.IntN(3) {
		at := interrex.Revision(len(m.events) + 2)
		e := state.Event{Revision: at, Table: machine.LeaseTable, Kind: interrex.LeaseClaimed, Key: []string{"a/1", "ab/2", "b/3", "c/4"}[m.rand.IntN(4)], Size: 10}
		entry, m.events = append(entry, e), append(m.events, e)
	}
	m.nd.server.checker.Ring.Publish(entry, entry[len(entry)-1].Revision)
}

func (m *medley) gather() (idle bool) {
	var out message
	_, idle = m.a.gather(&out)
	for _, group := range out.Events {
		for _, b := range group.GetEvents() {
			var e interrexv1.LeaseEvent
			m.nd.must(proto.Unmarshal(b, &e))
			for _, id := range group.GetIds() {
				m.got[id] = append(m.got[id], e.GetRevision())
			}
		}
	}
	if len(out.Ended) > 0 {
		m.t.Fatalf("ended: %v", out.Ended)
	}
	return idle
}

// finish gives every watch all the credit that it needs, and compares.
func (m *medley) finish() {
	for id := range m.got {
		m.a.allow(&interrexv1.WatchCredit{Id: id, Events: 1000}, &message{})
	}
	for !m.gather() {
	}
	m.gather()
	for id, got := range m.got {
		var want []uint64
		for _, e := range m.events {
			if uint64(e.Revision) > m.since[id] && m.nd.asks(&interrexv1.WatchRequest{Prefix: m.prefix[id]}).match(&e) {
				want = append(want, uint64(e.Revision))
			}
		}
		if !slices.Equal(got, want) {
			m.t.Fatalf("watch %d of %q since %d got %v, want %v", id, m.prefix[id], m.since[id], got, want)
		}
	}
}

// A stream whose watches match nothing sleeps, and does not lose its place however far
// the ring moves on.
func TestWhatNobodyMatchesWakesNobody(t *testing.T) {
	nd := newViewed(t)
	a := newAudience(nd.server, admission.Caller{})
	defer a.close()
	for id := range uint64(100) {
		a.begin(opening(t, id+1, 10, &interrexv1.WatchRequest{Since: 1, Prefix: fmt.Sprintf("other/%d", id)}), &message{})
	}
	var out message
	alarm, idle := a.gather(&out)
	if !idle {
		alarm, idle = a.gather(&out)
	}
	nd.publish(2, 200_000) // more than the ring keeps
	select {
	case <-alarm:
		t.Error("they are woken")
	default:
	}
	nd.server.checker.Ring.Publish([]state.Event{{Revision: 200_001, Table: machine.LeaseTable, Key: "other/7", Size: 10}}, 200_001)
	<-alarm
	if _, idle := a.gather(&out); idle || len(out.Events) != 1 || !slices.Equal(out.Events[0].GetIds(), []uint64{8}) || len(out.Ended) > 0 {
		t.Errorf("it gets %v; ended: %v", out.Events, out.Ended)
	}
	if !idle {
		t.Error("it does not rest")
	}
}
