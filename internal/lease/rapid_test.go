package lease_test

import (
	"flag"
	"maps"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/state"
)

func TestTableDoesWhatTheRulesSay(t *testing.T) {
	if seed := os.Getenv("INTERREX_SEED"); seed != "" {
		if err := flag.Set("rapid.seed", seed); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		p := &pair{world: newWorld(t), model: newModel(), r: r}
		r.Repeat(map[string]func(*rapid.T){
			"":        p.same,
			"command": p.command,
			"again":   p.command, // commands are what there is most of
			"more":    p.command,
			"group":   p.some,
			"time":    p.passTime,
			"restart": func(*rapid.T) { p.restart() },
			"freeze":  func(*rapid.T) { p.freeze() },
			"recover": p.recover,
		})
		p.thaw()
	})
}

// pair is a table and the model of what it should be.
type pair struct {
	*world
	model *model
	r     *rapid.T

	frozen state.View // may be nil
	kept   []byte     // what it wrote at once
}

var (
	someKeys = []interrex.Key{
		{Namespace: "a", Name: "x"}, {Namespace: "a", Name: "x/y"}, {Namespace: "a-b", Name: "x"}, {Namespace: "b", Name: "x"},
	}
	someTimes = []time.Duration{200 * time.Millisecond, time.Second, 2 * time.Second, time.Minute, 24 * time.Hour}
)

func (p *pair) draw(r *rapid.T) command {
	k := rapid.SampledFrom(someKeys).Draw(r, "key")
	name := rapid.SampledFrom([]string{"ann", "bob"}).Draw(r, "name")
	ttl := rapid.SampledFrom(someTimes).Draw(r, "ttl")
	own := rapid.SampledFrom([]time.Duration{0, ttl}).Draw(r, "own")
	yes := rapid.Bool().Draw(r, "yes")
	token := max(1, p.model.leases[k].Token)
	if rapid.IntRange(0, 9).Draw(r, "stale") == 0 {
		token = interrex.Token(rapid.Uint64Range(1, 9).Draw(r, "token"))
	}
	switch rapid.IntRange(0, 5).Draw(r, "verb") {
	case 0:
		meta := must(codec.NewMetadata(map[string]string{"of": name}))
		return &lease.Claim{Key: k, Holder: name, TTL: ttl, Takeover: yes, Metadata: meta}
	case 1:
		return &lease.Extend{Key: k, Token: token, TTL: own}
	case 2:
		return &lease.Revoke{Key: k, Token: token, Force: yes}
	case 3:
		return &lease.Transfer{Key: k, Token: token, To: name, TTL: own}
	case 4:
		return &lease.Pin{Key: k, Owner: name, For: own}
	default:
		return &lease.Unpin{Key: k, Owner: name}
	}
}

func (p *pair) command(r *rapid.T) {
	c := p.draw(r)
	before := len(p.model.leases)
	decoded := must(decode(c.Append(nil)))
	k, frees := decoded.About().Key, p.table.Frees(nil, decoded, p.now)
	if _, refused := p.model.clone().do(c); refused == "" {
		p.model.forget() // only what changes something forgets
	}
	want, kind := p.model.do(c)
	got, err := p.do(c)
	if interrex.KindOf(err) != kind {
		r.Fatalf("%#v: %v, want kind %q", c, err, kind)
	}
	if err == nil && !reflect.DeepEqual(*got, want) {
		r.Fatalf("%#v: reply\n%+v, want\n%+v", c, *got, want)
	}
	if _, there := p.model.leases[k]; frees != (len(p.model.leases) < before) || frees && there {
		r.Fatalf("%#v: Frees says %v of %v", c, frees, k)
	}
}

// some are commands that are done together.
func (p *pair) some(r *rapid.T) {
	var all []command
	for range rapid.IntRange(1, 4).Draw(r, "commands") {
		all = append(all, p.draw(r))
	}
	kind := p.model.clone().refuses(all)
	got, err := p.group(all...)
	if interrex.KindOf(err) != kind {
		r.Fatalf("%#v: %v, want kind %q", all, err, kind)
	}
	if err != nil {
		return
	}
	p.model.forget()
	for i, c := range all {
		want, _ := p.model.do(c)
		if !reflect.DeepEqual(*got[i], want) {
			r.Fatalf("%#v: reply\n%+v, want\n%+v", c, *got[i], want)
		}
	}
}

func (p *pair) passTime(r *rapid.T) {
	step := rapid.SampledFrom(append(someTimes, 0, time.Nanosecond)).Draw(r, "step")
	if at, ok := p.model.due(); ok && rapid.Bool().Draw(r, "exactly") && at > p.now {
		step = at.Sub(p.now)
	}
	p.now = p.now.Add(step)
	p.model.now = p.now
	limit := rapid.SampledFrom([]int{1, 2, 1000}).Draw(r, "limit")
	due, ok := p.table.Due()
	foreseen := p.table.Ends(p.now, 1000)
	p.model.forget()
	n := p.model.tick(limit)
	if (n > 0) != (ok && due <= p.now) {
		r.Fatalf("Due says %v, %v, and at %v %d end", due, ok, p.now, n)
	}
	p.world.table.Lock()
	turn := p.turn()
	got := p.table.Tick(turn, limit)
	p.finish(turn)
	p.world.table.Unlock()
	if got != n {
		r.Fatalf("Tick(%v, %d) ended %d, want %d", p.now, limit, got, n)
	}
	var ended []interrex.Key
	for _, e := range turn.Events() {
		if e.Kind == interrex.LeaseExpired {
			ended = append(ended, e.Value.(lease.Record).Key)
		}
	}
	if limit == 1000 && !slices.Equal(ended, foreseen) {
		r.Fatalf("Ends = %v, and Tick ended %v", foreseen, ended)
	}
}

// recover happens rarely: for a while, nothing is granted after it.
func (p *pair) recover(r *rapid.T) {
	if rapid.IntRange(0, 7).Draw(r, "recover") > 0 {
		return
	}
	p.model.recover()
	p.table.Lock()
	defer p.table.Unlock()
	turn := p.turn()
	p.table.Recover(turn, "a")
	p.finish(turn)
}

// freeze keeps a view, to be written when much has changed.
func (p *pair) freeze() {
	p.thaw()
	p.kept = p.snapshot()
	p.table.Lock()
	defer p.table.Unlock()
	p.frozen = p.table.Freeze()
}

func (p *pair) thaw() {
	if p.frozen == nil {
		return
	}
	if got := written(p.frozen); !slices.Equal(got, p.kept) {
		p.r.Fatalf("the frozen view writes\n%x, and wrote\n%x", got, p.kept)
	}
	p.frozen.Release()
	p.frozen = nil
}

// same compares everything that can be read.
func (p *pair) same(r *rapid.T) {
	if p.revision != p.model.revision {
		r.Fatalf("revision %d, want %d", p.revision, p.model.revision)
	}
	var events []seenEvent
	for _, e := range p.events {
		events = append(events, seenEvent{e.Revision, e.Kind, e.Value.(lease.Record)})
	}
	if !reflect.DeepEqual(events, p.model.events) {
		r.Fatalf("events\n%+v, want\n%+v", events, p.model.events)
	}
	p.events, p.model.events = nil, nil
	var want []lease.Record
	for _, k := range slices.SortedFunc(maps.Keys(p.model.leases), interrex.Key.Compare) {
		want = append(want, p.model.leases[k])
	}
	if got, more := p.table.List("", "", interrex.Key{}, 0); more || !reflect.DeepEqual(got, want) {
		r.Fatalf("leases\n%+v, want\n%+v", got, want)
	}
	counts := map[string]int64{}
	for _, l := range want {
		counts[l.Key.Namespace]++
	}
	if got := p.table.Counts(); !maps.Equal(got, counts) || p.table.Count() != len(want) {
		r.Fatalf("counts %v, want %v", got, counts)
	}
	p.sameOfKeys(r)
}

func (p *pair) sameOfKeys(r *rapid.T) {
	at, ok := p.model.due()
	if got, gotOK := p.table.Due(); got != at || gotOK != ok || p.table.CanExpire() != ok {
		r.Fatalf("due at %v, %v, want %v, %v", got, gotOK, at, ok)
	}
	for _, k := range someKeys {
		l, there := p.model.leases[k]
		if got, until := p.table.Free(k, p.now); p.now < p.model.paused {
			if got || until != p.model.paused {
				r.Fatalf("Free(%v) = %v, %v in a pause", k, got, until)
			}
		} else if got != (!there || p.model.isDue(l)) || !got && !l.Pinned() && until != l.Expiry || l.Pinned() && until != 0 {
			r.Fatalf("Free(%v) = %v, %v", k, got, until)
		}
		if got, want := p.table.History(k), p.model.history(k); !slices.Equal(got, want) {
			r.Fatalf("history of %v\n%+v, want\n%+v", k, got, want)
		}
	}
}
