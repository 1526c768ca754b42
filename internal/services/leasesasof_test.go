package services

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/state"
)

// past is a state whose leases have a past.
type past struct {
	*testreplica.Replica
	t testing.TB
	Leases
	now state.Time
}

func newPast(t testing.TB, keep int) *past {
	p := &past{t: t}
	p.Replica = testreplica.New(t, func() []state.Table {
		p.Table, p.Feed = lease.New(), change.New()
		return []state.Table{p.Table, p.Feed}
	})
	c := &machine.SetSettings{Values: map[string]string{"changes.keep-count": strconv.Itoa(keep)}}
	p.do(state.Operation{Table: machine.SystemTable, Data: c.Append(nil)})
	return p
}

func (p *past) do(op state.Operation) state.Result {
	p.now += state.Time(time.Second)
	return p.Do(p.now, op)[0]
}

func (p *past) lease(c state.Command) {
	p.do(state.Operation{Table: machine.LeaseTable, Data: c.Append(nil)})
}

// names returns who holds which leases, in a form to compare.
func names(items []*interrexv1.Lease) (out []string) {
	for _, l := range items {
		out = append(out, fmt.Sprint(l.GetKey(), " ", l.GetHolder(), " ", l.GetToken(), " ", l.GetMetadata(), " ", l.GetAcquiredAt().AsTime().UnixNano()))
	}
	return out
}

// at returns all leases of a list in pages.
func (p *past) at(q *interrexv1.ListRequest) (out []string, err error) {
	for {
		page, err := p.list(q, p.State)
		if err != nil {
			return nil, err
		}
		if n := int(q.GetPageSize()); n > 0 && len(page.GetItems()) > n {
			p.t.Fatalf("a page of %d has %d", n, len(page.GetItems()))
		}
		out = append(out, names(page.GetItems())...)
		if q.PageToken = page.GetNextPageToken(); q.PageToken == "" {
			return out, nil
		}
		q.AtRevision, q.AtTime = page.GetRevision(), nil
	}
}

// step does something at random.
func (p *past) step(r *rand.Rand) {
	k := interrex.Key{Namespace: "n" + strconv.Itoa(r.IntN(2)), Name: "k" + strconv.Itoa(r.IntN(5))}
	held, _ := p.Table.Get(k)
	metadata, err := codec.NewMetadata(map[string]string{"n": strconv.Itoa(r.IntN(1000))})
	if err != nil {
		p.t.Fatal(err)
	}
	holder := "h" + strconv.Itoa(r.IntN(2))
	switch r.IntN(12) {
	case 0:
		p.lease(&lease.Revoke{Key: k, Token: held.Token})
	case 1:
		p.lease(&lease.Revoke{Key: k, Force: true})
	case 2, 3:
		p.lease(&lease.Transfer{Key: k, Token: held.Token, To: holder})
	case 4:
		p.lease(&lease.Pin{Key: k, Owner: "o", Reason: "r"})
	case 5:
		p.lease(&lease.Unpin{Key: k, Owner: "o"})
	case 6:
		p.lease(&lease.Extend{Key: k, Token: held.Token})
	case 7:
		p.now += state.Time(20 * time.Second)
	default:
		p.lease(&lease.Claim{Key: k, Holder: holder, TTL: 30 * time.Second, Takeover: true, Metadata: metadata})
	}
}

// unknown is the metadata of a lease whose claim is no longer kept, and which was taken
// over since.
const unknown = "map[]"

// told returns what is true, without what is told without its metadata and may be.
func (p *past) told(truth, told []string) []string {
	out := slices.Clone(truth)
	for i, s := range out {
		if i >= len(told) || !strings.Contains(told[i], unknown) {
			continue
		}
		f := strings.Fields(s)
		if token, err := strconv.ParseUint(f[2], 10, 64); err == nil && interrex.Revision(token) <= p.Feed.Floor() {
			f[3] = unknown
			out[i] = strings.Join(f, " ")
		}
	}
	return out
}

// What is told of the past is compared with what was true then.
func TestLeasesAsTheyWereAreThoseThatWere(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := newPast(t, 30+r.IntN(150))
		truth := map[interrex.Revision][]string{}
		var known []interrex.Revision
		for range 400 {
			p.step(r)
			now := p.State.Revision()
			var err error
			if truth[now], err = p.at(&interrexv1.ListRequest{}); err != nil {
				t.Fatal(err)
			}
			known = append(known, now)
		}
		p.within(known[len(known)-1-r.IntN(30)], truth)
		compacted := 0
		for _, at := range known {
			got, err := p.at(&interrexv1.ListRequest{AtRevision: uint64(at), PageSize: uint32(r.IntN(4))})
			if interrex.KindOf(err) == interrex.ErrCompacted {
				compacted++
				continue
			}
			if err != nil || !slices.Equal(got, p.told(truth[at], got)) {
				t.Fatalf("seed %d, revision %d: %v, told are\n%q, true are\n%q", seed, at, err, got, truth[at])
			}
		}
		if floor := p.Feed.Floor(); compacted == 0 || compacted > 40+slices.IndexFunc(known, func(at interrex.Revision) bool { return at >= floor }) {
			t.Errorf("seed %d: of %d revisions %d are compacted, and the feed begins at %d", seed, len(known), compacted, floor)
		}
		for range 200 {
			p.compare(known[len(known)-1-r.IntN(100)], known[len(known)-1-r.IntN(100)], truth, r.IntN(3))
		}
	}
}

// within lists parts of what there was at a revision.
func (p *past) within(at interrex.Revision, truth map[interrex.Revision][]string) {
	p.t.Helper()
	for prefix, q := range map[string]*interrexv1.ListRequest{
		"n1/": {Namespace: "n1"}, "n0/k1": {Namespace: "n0", Prefix: "k1"}, "none/": {Namespace: "none"},
	} {
		q.AtRevision = uint64(at)
		got, err := p.at(q)
		want := slices.DeleteFunc(slices.Clone(truth[at]), func(s string) bool { return !strings.HasPrefix(s, prefix) })
		if err != nil && interrex.KindOf(err) != interrex.ErrCompacted || err == nil && !slices.Equal(got, p.told(want, got)) {
			p.t.Fatalf("%s at revision %d: %v, told are\n%q, true are\n%q", prefix, at, err, got, want)
		}
	}
}

// A lease of one key is the same as in a list, whatever names begin with its own.
func TestALeaseAsItWasIsThatOfAList(t *testing.T) {
	p := newPast(t, 1000)
	name := func(s string) interrex.Key { return interrex.Key{Namespace: "n", Name: s} }
	claim := func(s, holder string) {
		p.lease(&lease.Claim{Key: name(s), Holder: holder, TTL: time.Hour, Takeover: true})
	}
	claim("a/b", "ann")
	none := p.State.Revision()
	claim("a", "bob")
	bobs, _ := p.Table.Get(name("a"))
	at := p.State.Revision()
	p.lease(&lease.Revoke{Key: name("a"), Force: true})
	claim("a", "cyd")
	for _, q := range []*interrexv1.GetRequest{{AtRevision: uint64(at)}, {AtTime: timestamppb.New(bobs.Acquired)}} {
		q.Key = "n/a"
		got, err := p.get(q, p.State)
		if err != nil || got.GetLease().GetHolder() != "bob" || got.GetLease().GetToken() != uint64(bobs.Token) || got.GetRevision() != uint64(at) {
			t.Errorf("%v: %v, %v", q, got, err)
		}
	}
	for want, q := range map[interrex.Kind]*interrexv1.GetRequest{
		interrex.ErrNotFound: {Key: "n/a", AtRevision: uint64(none)},
		interrex.ErrInvalid:  {Key: "n/a", AtRevision: uint64(at), AtTime: timestamppb.New(bobs.Acquired)},
	} {
		if got, err := p.get(q, p.State); interrex.KindOf(err) != want {
			t.Errorf("%v: %v, %v", q, got, err)
		}
	}
	if got, err := p.get(&interrexv1.GetRequest{Key: "n/a"}, p.State); err != nil || got.GetLease().GetHolder() != "cyd" {
		t.Errorf("now: %v, %v", got, err)
	}
}

// A resource may have the key of a lease.
func TestEventsOfOtherTablesTellNothingOfLeases(t *testing.T) {
	other := slices.Values([]*state.Event{{Revision: 3, Table: machine.ResourceTable, Key: "n/k"}})
	a := lease.NewAsOf(2, lease.Scope{})
	a.Changed(other)
	if items, more := a.List(nil, 1); len(items) > 0 || more {
		t.Errorf("%+v", items)
	}
	if items, _ := a.Differences(1); len(items) > 0 {
		t.Errorf("%+v", items)
	}
	taken := lease.Record{Key: interrex.Key{Namespace: "n", Name: "k"}, Token: 4}
	a.Changed(slices.Values([]*state.Event{{Revision: 4, Table: machine.LeaseTable, Kind: interrex.LeaseTakenOver, Key: "n/k", Value: taken}}))
	items, _ := a.List(nil, 1)
	err := lease.Complete(items, other, func(interrex.Key) []interrex.PastLease { return []interrex.PastLease{{Token: 1, Holder: "h"}} })
	if err != nil || len(items) != 1 || items[0].Holder != "h" {
		t.Errorf("%+v, %v", items, err)
	}
}

// compare compares the differences of two revisions with what was true.
func (p *past) compare(from, to interrex.Revision, truth map[interrex.Revision][]string, size int) {
	p.t.Helper()
	from, to = min(from, to), max(from, to)
	got := [2][]string{}
	q := &interrexv1.DiffRequest{FromRevision: uint64(from), ToRevision: uint64(to), PageSize: uint32(size)}
	for {
		page, err := p.diff(q, p.State)
		if err != nil {
			if interrex.KindOf(err) != interrex.ErrCompacted {
				p.t.Fatal(err)
			}
			return
		}
		for _, d := range page.GetItems() {
			for i, l := range []*interrexv1.Lease{d.GetBefore(), d.GetAfter()} {
				if l != nil {
					got[i] = append(got[i], names([]*interrexv1.Lease{l})...)
				}
			}
		}
		if q.PageToken = page.GetNextPageToken(); q.PageToken == "" {
			break
		}
	}
	without := func(a, b []string) (out []string) {
		for _, s := range a {
			if !slices.Contains(b, s) {
				out = append(out, s)
			}
		}
		return out
	}
	want := [2][]string{without(truth[from], truth[to]), without(truth[to], truth[from])}
	want[0] = p.told(want[0], got[0])
	if !reflect.DeepEqual(got, want) {
		p.t.Fatalf("from %d to %d differ\n%q,\nnot\n%q", from, to, want, got)
	}
}

func TestAListOfATimeIsThatOfItsRevision(t *testing.T) {
	p := newPast(t, 1000)
	for i := range 5 {
		p.lease(&lease.Claim{Key: interrex.Key{Namespace: "n", Name: strconv.Itoa(i)}, Holder: "h", TTL: time.Hour})
	}
	third, _ := p.Table.Get(interrex.Key{Namespace: "n", Name: "2"})
	for _, c := range []struct {
		at   time.Time
		want int
	}{
		{third.Acquired, 3},
		{third.Acquired.Add(-time.Nanosecond), 2},
		{third.Acquired.Add(time.Nanosecond), 3},
		{third.Acquired.Add(-time.Hour), 0},
	} {
		got, err := p.at(&interrexv1.ListRequest{AtTime: timestamppb.New(c.at)})
		if err != nil || len(got) != c.want {
			t.Errorf("at %v: %q, %v", c.at, got, err)
		}
	}
}

func TestAPastThatCannotBeToldIsRefused(t *testing.T) {
	p := newPast(t, 3)
	for i := range 9 {
		p.lease(&lease.Claim{Key: interrex.Key{Namespace: "n", Name: strconv.Itoa(i)}, Holder: "h", TTL: time.Hour})
	}
	last := uint64(p.State.Revision())
	first, _ := p.Table.Get(interrex.Key{Namespace: "n", Name: "0"})
	for what, c := range map[string]struct {
		list *interrexv1.ListRequest
		diff *interrexv1.DiffRequest
		want interrex.Kind
	}{
		"a revision to come":             {list: &interrexv1.ListRequest{AtRevision: last + 1}, want: interrex.ErrInvalid},
		"a time to come":                 {list: &interrexv1.ListRequest{AtTime: timestamppb.New(time.Now().Add(1e4 * time.Hour))}, want: interrex.ErrInvalid},
		"no time":                        {list: &interrexv1.ListRequest{AtTime: &timestamppb.Timestamp{Nanos: -1}}, want: interrex.ErrInvalid},
		"both":                           {list: &interrexv1.ListRequest{AtRevision: last, AtTime: timestamppb.New(first.Acquired)}, want: interrex.ErrInvalid},
		"a revision that is not kept":    {list: &interrexv1.ListRequest{AtRevision: 2}, want: interrex.ErrCompacted},
		"a time that is not kept":        {list: &interrexv1.ListRequest{AtTime: timestamppb.New(first.Acquired)}, want: interrex.ErrCompacted},
		"what is kept":                   {list: &interrexv1.ListRequest{AtRevision: last - 3}},
		"a difference from nothing":      {diff: &interrexv1.DiffRequest{ToRevision: last}, want: interrex.ErrInvalid},
		"a difference the other way":     {diff: &interrexv1.DiffRequest{FromRevision: last, ToRevision: last - 1}, want: interrex.ErrInvalid},
		"a difference to what comes":     {diff: &interrexv1.DiffRequest{FromRevision: last, ToRevision: last + 1}, want: interrex.ErrInvalid},
		"a difference that is not kept":  {diff: &interrexv1.DiffRequest{FromRevision: 2}, want: interrex.ErrCompacted},
		"a difference that is kept":      {diff: &interrexv1.DiffRequest{FromRevision: last - 3}},
		"a difference with a large page": {diff: &interrexv1.DiffRequest{FromRevision: last - 3, PageSize: MaxPage + 1}, want: interrex.ErrInvalid},
	} {
		var err error
		if c.list != nil {
			_, err = p.list(c.list, p.State)
		} else {
			_, err = p.diff(c.diff, p.State)
		}
		if interrex.KindOf(err) != c.want {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The history has the last 16 holders.
func TestAHolderWhomNothingKnowsIsCompacted(t *testing.T) {
	p, k := newPast(t, 1000), interrex.Key{Namespace: "n", Name: "k"}
	claim := &lease.Claim{Key: k, Holder: "h", TTL: time.Hour, Takeover: true}
	p.lease(claim)
	long := p.State.Revision()
	p.lease(claim)
	c := &machine.SetSettings{Values: map[string]string{"changes.keep-count": "17"}}
	p.do(state.Operation{Table: machine.SystemTable, Data: c.Append(nil)})
	for range 16 {
		p.lease(claim)
	}
	for at := long; ; at++ {
		_, err := p.at(&interrexv1.ListRequest{AtRevision: uint64(at)})
		if err == nil {
			t.Fatalf("all of it is known at revision %d, and the feed begins at %d", at, p.Feed.Floor())
		}
		if at >= p.Feed.Floor() {
			if e, is := err.(*interrex.Error); !is || e.Kind != interrex.ErrCompacted || e.FirstRevision != at+1 {
				t.Errorf("at revision %d, where the feed begins: %v", at, err)
			}
			return
		}
	}
}

// What happens while the feed is searched is not missed.
func TestWhatHappensDuringAListOfThePastIsUndone(t *testing.T) {
	p := newPast(t, 1000)
	claim := func(name string) {
		p.lease(&lease.Claim{Key: interrex.Key{Namespace: "n", Name: name}, Holder: "h", TTL: time.Hour})
	}
	claim("a")
	claim("b")
	history := p.Feed.History()
	p.lease(&lease.Revoke{Key: interrex.Key{Namespace: "n", Name: "a"}, Force: true})
	claim("c")
	page, err := p.listAt(history.Last(), history, lease.Scope{}, MaxPage, p.State)
	if got := names(page.GetItems()); err != nil || len(got) != 2 || !strings.HasPrefix(got[0], "n/a h ") || !strings.HasPrefix(got[1], "n/b h ") {
		t.Errorf("%q, %v", got, err)
	}
}

// A feed that keeps little may drop what has happened while it is searched.
func TestAListOfThePastIsCompactedIfWhatHappensDuringItIsNotKept(t *testing.T) {
	p := newPast(t, 2)
	k := interrex.Key{Namespace: "n", Name: "a"}
	p.lease(&lease.Claim{Key: k, Holder: "h", TTL: time.Hour})
	history := p.Feed.History()
	p.lease(&lease.Revoke{Key: k, Force: true})
	for _, name := range []string{"b", "c"} {
		p.lease(&lease.Claim{Key: interrex.Key{Namespace: "n", Name: name}, Holder: "h", TTL: time.Hour})
	}
	page, err := p.listAt(history.Last(), history, lease.Scope{}, MaxPage, p.State)
	if interrex.KindOf(err) != interrex.ErrCompacted {
		t.Errorf("%q, %v", names(page.GetItems()), err)
	}
}
