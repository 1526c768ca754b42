package access_test

import (
	"bytes"
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/golden"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

// numbered returns a token that is the same in each run.
func numbered(n byte) accesstoken.Token { return accesstoken.Token{n} }

var rules = []interrex.AccessRule{{Table: "lease", Verbs: []string{"claim", "extend"}, Prefix: "default/*", Own: true}}

func create(n byte, name string) *access.Create {
	return &access.Create{Hash: numbered(n).Hash(), Name: name, Rules: rules}
}

func TestTableConforms(t *testing.T) {
	statetest.Run(t, statetest.Config{
		New: func() state.Table { return access.New() },
		Command: func(r *mathrand.Rand, _ []state.Reply) []byte {
			n := byte(r.IntN(6))
			if r.IntN(3) == 0 {
				return (&access.Revoke{ID: numbered(n).Hash().ID()}).Append(nil)
			}
			c := create(n, fmt.Sprint("t", r.IntN(3)))
			if r.IntN(2) == 0 {
				c.TTL = time.Duration(1+r.IntN(60)) * time.Second
			}
			return c.Append(nil)
		},
	})
}

// world is a table on its own.
type world struct {
	*testing.T
	*access.Table
	now      state.Time
	revision interrex.Revision
}

func (w *world) turn() *state.Turn {
	w.revision++
	return &state.Turn{Revision: w.revision, Now: w.now, Wall: testreplica.Wall(w.now), Table: machine.AccessTable}
}

func (w *world) do(c state.Command) (*access.Reply, error) {
	w.Helper()
	decoded, err := w.Decode(c.Append(nil))
	if err == nil {
		err = w.Check(w.now, decoded)
	}
	if err != nil {
		return nil, err
	}
	return w.Apply(w.turn(), decoded).(*access.Reply), nil
}

func (w *world) must(c state.Command) *access.Reply {
	w.Helper()
	r, err := w.do(c)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// grant returns what a token allows.
func (w *world) grant(n byte) *accesstoken.Grant {
	w.Helper()
	g, err := w.Grant(numbered(n).String())
	if err != nil {
		w.Fatal(err)
	}
	return g
}

func TestTheFirstTokenClosesTheAPIForEver(t *testing.T) {
	w := &world{T: t, Table: access.New()}
	first, open := w.Open()
	if !open || first.Err() != nil {
		t.Error("it is closed at first")
	}
	w.must(create(1, "ann"))
	if _, open := w.Open(); open || first.Err() == nil {
		t.Error("it is open after the first token")
	}
	w.must(&access.Revoke{ID: numbered(1).Hash().ID()})
	if still, open := w.Open(); open || still.Err() == nil {
		t.Error("it is open again after the last token has gone")
	}
}

func TestARevokedTokenEndsWhatIsOpenWithIt(t *testing.T) {
	w := &world{T: t, Table: access.New()}
	w.must(create(1, "ann"))
	w.must(create(2, "bob"))
	ann, bob, named := w.grant(1), w.grant(2), w.Named("ann")
	if ann.Name != "ann" || len(ann.Rules) != 1 || !named.Allows(accesstoken.Use{Table: "lease", Verb: "claim", Key: "default/a"}) {
		t.Errorf("it allows %+v, %+v", ann, named)
	}
	w.must(&access.Revoke{ID: numbered(1).Hash().ID()})
	if got := context.Cause(ann.Valid); interrex.KindOf(got) != interrex.ErrUnauthenticated {
		t.Errorf("the token: %v", got)
	}
	if got := context.Cause(named.Valid); interrex.KindOf(got) != interrex.ErrUnavailable {
		t.Errorf("its name: %v", got)
	}
	if bob.Valid.Err() != nil || w.grant(2) != bob {
		t.Error("another token has ended too")
	}
	if _, err := w.Grant(numbered(1).String()); interrex.KindOf(err) != interrex.ErrUnauthenticated {
		t.Errorf("it is still known: %v", err)
	}
	if w.Named("ann").Allows(accesstoken.Use{Table: "lease", Verb: "claim", Key: "default/a"}) {
		t.Error("its name still allows something")
	}
	if _, err := w.do(&access.Revoke{ID: numbered(1).Hash().ID()}); interrex.KindOf(err) != interrex.ErrNotFound {
		t.Errorf("revoked again: %v", err)
	}
}

// Who has shown a certificate goes on with a further token of its name, and begins again
// where one has gone.
func TestWhatANameMayDoFollowsItsTokens(t *testing.T) {
	w := &world{T: t, Table: access.New()}
	may := func(verb string) bool {
		return w.Named("ann").Allows(accesstoken.Use{Table: "lease", Verb: verb, Key: "default/a"})
	}
	read := &access.Create{Hash: numbered(3).Hash(), Name: "ann", Rules: []interrex.AccessRule{{Table: "lease", Verbs: []string{"read"}, Prefix: "*"}}}
	nobody := w.Named("ann").Valid
	w.must(create(9, "bob"))
	ended := func(what string, valid context.Context, is bool) {
		t.Helper()
		if (valid.Err() != nil) != is || is && interrex.KindOf(context.Cause(valid)) != interrex.ErrUnavailable {
			t.Errorf("%s: %v", what, context.Cause(valid))
		}
	}
	ended("a name without a token, when some name has got one", nobody, true)
	nobody = w.Named("ann").Valid
	w.must(create(1, "ann"))
	ended("a name without a token, when it has got one", nobody, true)
	first := w.Named("ann").Valid
	w.must(read)
	w.must(create(2, "bob"))
	if !may("claim") || !may("read") {
		t.Error("two tokens do not allow what each allows")
	}
	ended("a name that has got another token", first, false)
	w.must(&access.Revoke{ID: numbered(2).Hash().ID()})
	ended("a name, when another one has lost a token", first, false)
	w.must(&access.Revoke{ID: numbered(1).Hash().ID()})
	ended("a name that has lost a token", first, true)
	if may("claim") || !may("read") || w.Named("ann").Valid.Err() != nil {
		t.Error("the other token does not allow what it allows")
	}
	nobody = w.Named("cyd").Valid
	w.must(create(1, "ann"))
	ended("a name without a token, when another one has got a further one", nobody, false)
	if name := w.Named("cyd").Name; name != "cyd" {
		t.Errorf("a name without a token is %q", name)
	}
}

func TestAnOperatorsTokenMakesAnOperator(t *testing.T) {
	w := &world{T: t, Table: access.New()}
	w.must(create(1, "ann"))
	w.must(&access.Create{Hash: numbered(2).Hash(), Name: "ann", Operator: true})
	w.must(create(3, "ann"))
	if w.grant(1).Operator || !w.grant(2).Operator || !w.Named("ann").Operator || len(w.Named("ann").Rules) != 2 {
		t.Errorf("of its tokens one is an operator's: %v, %v; the name: %+v", w.grant(1).Operator, w.grant(2).Operator, w.Named("ann"))
	}
	w.must(&access.Revoke{ID: numbered(2).Hash().ID()})
	if w.Named("ann").Operator {
		t.Error("the name is an operator after it has lost that token")
	}
	for _, c := range []state.Command{create(4, "bob"), &access.Revoke{ID: numbered(1).Hash().ID()}} {
		if about := c.About(); !about.Privileged {
			t.Errorf("%s is not reserved for operators", about.Name)
		}
	}
}

// The ID is a part of the hash.
func TestATokenIsRefusedUnlessItsWholeHashIsKnown(t *testing.T) {
	w := &world{T: t, Table: access.New()}
	c := create(1, "ann")
	c.Hash[len(c.Hash)-1]++
	w.must(c)
	if g, err := w.Grant(numbered(1).String()); interrex.KindOf(err) != interrex.ErrUnauthenticated {
		t.Errorf("it allows %+v, %v", g, err)
	}
	if g, err := w.Grant("ixt1."); interrex.KindOf(err) != interrex.ErrUnauthenticated {
		t.Errorf("what is no token allows %+v, %v", g, err)
	}
}

func TestATokenEndsInClusterTime(t *testing.T) {
	w := &world{T: t, Table: access.New()}
	c := create(1, "ann")
	c.TTL = time.Minute
	w.must(c)
	g := w.grant(1)
	due, is := w.Due()
	if !is || due != state.Time(time.Minute) {
		t.Fatalf("it is due at %v, %v", due, is)
	}
	for n, ttl := range []time.Duration{time.Hour, time.Minute} {
		c := create(byte(2+n), "bob")
		c.TTL = ttl
		w.must(c)
	}
	if due, is := w.Due(); !is || due != state.Time(time.Minute) {
		t.Errorf("the next one is due at %v, %v", due, is)
	}
	w.now = due
	if n := w.Tick(w.turn(), 1); n != 1 || len(w.Tokens()) != 2 {
		t.Errorf("%d of at most 1 have ended, left are %v", n, w.Tokens())
	}
	if n := w.Tick(w.turn(), 10); n != 1 || g.Valid.Err() == nil || len(w.Tokens()) != 1 {
		t.Errorf("%d have ended, left are %v", n, w.Tokens())
	}
}

func TestWhatATokenMayBe(t *testing.T) {
	w := &world{T: t, Table: access.New()}
	for what, c := range map[string]*access.Create{
		"no hash":                 {Name: "a", Operator: true},
		"no name":                 {Hash: numbered(1).Hash(), Operator: true},
		"a space":                 {Hash: numbered(1).Hash(), Name: "a b", Operator: true},
		"nothing":                 {Hash: numbered(1).Hash(), Name: "a"},
		"an operator with a rule": {Hash: numbered(1).Hash(), Name: "a", Operator: true, Rules: rules},
		"too short":               {Hash: numbered(1).Hash(), Name: "a", Operator: true, TTL: time.Millisecond},
		"too long":                {Hash: numbered(1).Hash(), Name: "a", Operator: true, TTL: limits.MaxAccessTTL + 1},
		"a long name":             {Hash: numbered(1).Hash(), Name: strings.Repeat("a", 65), Operator: true},
		"a bad rule":              {Hash: numbered(1).Hash(), Name: "a", Rules: []interrex.AccessRule{rules[0], {Table: "lease"}}},
		"too many rules":          {Hash: numbered(1).Hash(), Name: "a", Rules: slices.Repeat(rules, 65)},
	} {
		if _, err := w.Decode(c.Append(nil)); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%s: %v", what, err)
		}
		if err := c.Validate(); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%s is valid: %v", what, err)
		}
	}
	for what, c := range map[string]*access.Create{
		"the longest name":  {Hash: numbered(1).Hash(), Name: strings.Repeat("a", 64), Operator: true},
		"a name's letters":  {Hash: numbered(1).Hash(), Name: "azAZ09._-/@:", Operator: true},
		"the most rules":    {Hash: numbered(1).Hash(), Name: "a", Rules: slices.Repeat(rules, 64)},
		"the longest time":  {Hash: numbered(1).Hash(), Name: "a", Operator: true, TTL: limits.MaxAccessTTL},
		"the shortest time": {Hash: numbered(1).Hash(), Name: "a", Operator: true, TTL: limits.MinAccessTTL},
	} {
		if _, err := w.Decode(c.Append(nil)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, id := range []string{"", strings.Repeat("a", 65)} {
		if _, err := w.Decode((&access.Revoke{ID: id}).Append(nil)); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("revoking %q: %v", id, err)
		}
	}
	w.must(create(1, "ann"))
	for _, other := range " {[;" {
		c := create(2, "a"+string(other))
		if _, err := w.do(c); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("the name %q: %v", c.Name, err)
		}
	}
	if _, err := w.do(create(1, "bob")); interrex.KindOf(err) != interrex.ErrConflict {
		t.Errorf("the same one again: %v", err)
	}
}

func TestThereAreAtMostSoManyTokens(t *testing.T) {
	w := &world{T: t, Table: access.New()}
	one := func(n int) *access.Create {
		return &access.Create{Hash: accesstoken.Token{byte(n), byte(n >> 8), 1}.Hash(), Name: "a", Operator: true}
	}
	for n := range access.MaxTokens {
		w.must(one(n))
	}
	if _, err := w.do(one(access.MaxTokens)); interrex.KindOf(err) != interrex.ErrConflict {
		t.Errorf("one more: %v", err)
	}
}

// long is a rule with the longest prefix.
func long() interrex.AccessRule {
	return interrex.AccessRule{Table: "lease", Verbs: []string{"claim"}, Prefix: strings.Repeat("x", 512)}
}

func TestTokensHaveALimitInBytes(t *testing.T) {
	w := &world{T: t, Table: access.New()}
	big := func(n int, name string) *access.Create {
		return &access.Create{Hash: accesstoken.Token{byte(n), 2}.Hash(), Name: name, Rules: slices.Repeat([]interrex.AccessRule{long()}, 64)}
	}
	n := 0
	var err error
	for ; err == nil; n++ {
		_, err = w.do(big(n, "ann"))
	}
	used := w.Usage()
	if interrex.KindOf(err) != interrex.ErrConflict || used.Bytes > access.MaxBytes || used.Bytes < access.MaxBytes*9/10 || used.Count != int64(n-1) {
		t.Fatalf("after %d it is %v, and they use %+v", n, err, used)
	}
	restored := access.New()
	var b bytes.Buffer
	if err := w.Freeze().Write(&b); err != nil {
		t.Fatal(err)
	}
	if b.Len() > access.MaxBytes+100 {
		t.Errorf("a snapshot has %d bytes", b.Len())
	}
	if err := restored.Restore(1, &b); err != nil || restored.Usage() != used {
		t.Errorf("they use %+v after a restore, %+v before: %v", restored.Usage(), used, err)
	}
	w.must(&access.Revoke{ID: big(0, "").Hash.ID()})
	w.must(big(n, "bob"))
}

// An entry ends up to a thousand tokens, while everything else on the agent waits.
func TestTokensThatEndTogetherAreDroppedTogether(t *testing.T) {
	w := &world{T: t, Table: access.New()}
	first := slices.Repeat(rules, 64)
	for n := range access.MaxTokens - 1 {
		w.must(&access.Create{Hash: accesstoken.Token{byte(n), byte(n >> 8), 3}.Hash(), Name: "ann", Rules: first[:1], TTL: time.Minute})
	}
	w.must(&access.Create{Hash: accesstoken.Token{0, 0, 4}.Hash(), Name: "ann", Rules: first})
	named := w.Named("ann")
	w.now = state.Time(time.Minute)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := w.Tick(w.turn(), limits.MaxEndings)
	runtime.ReadMemStats(&after)
	if work := after.TotalAlloc - before.TotalAlloc; n != limits.MaxEndings || work > 16<<20 { // a gigabyte and more, one by one
		t.Errorf("%d have ended, with %d MiB of memory", n, work>>20)
	}
	if left := w.Named("ann"); len(left.Rules) != 64+23 || named.Valid.Err() == nil {
		t.Errorf("the name has %d rules; what it had: %v", len(left.Rules), named.Valid.Err())
	}
}

func TestHowLongTokensAreAcceptedInSilenceIsASetting(t *testing.T) {
	w := access.New()
	if got := w.MaxSilence(); got != 30*time.Second {
		t.Errorf("at first it is %v", got)
	}
	w.Configure(func(string) string { return "1m" })
	if got := w.MaxSilence(); got != time.Minute {
		t.Errorf("it is %v", got)
	}
}

func TestWhatIsNoCommandIsRefused(t *testing.T) {
	w := access.New()
	for what, b := range map[string][]byte{"nothing": nil, "an unknown one": {99}, "one too many": {3}, "number 0": {0}} {
		if c, err := w.Decode(b); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%s: %v, %v", what, c, err)
		}
	}
	if err := w.Check(0, nil); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("none: %v", err)
	}
	if _, err := w.DecodeReply([]byte{1}); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("a reply that is cut: %v", err)
	}
}

func TestEncodingStays(t *testing.T) {
	w := &world{T: t, Table: access.New()}
	c := create(1, "ann")
	c.TTL = time.Hour
	for _, one := range []state.Command{c, &access.Revoke{ID: c.Hash.ID()}} {
		whole := one.Append(nil)
		golden.Check(t, one.About().Name, whole)
		back, err := w.Decode(whole)
		if err != nil || !reflect.DeepEqual(back, one) {
			t.Errorf("%#v comes back as %#v, %v", one, back, err)
		}
		for n := range whole {
			if _, err := w.Decode(whole[:n]); interrex.KindOf(err) != interrex.ErrInvalid {
				t.Errorf("%d bytes of %s: %v", n, one.About().Name, err)
			}
		}
	}
	golden.Check(t, "reply", w.AppendReply(nil, w.must(c)))
	var b bytes.Buffer
	if err := w.Freeze().Write(&b); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "snapshot", b.Bytes())
}

func FuzzDecode(f *testing.F) {
	f.Add(create(1, "ann").Append(nil))
	f.Add((&access.Revoke{ID: "x"}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		table := access.New()
		if c, err := table.Decode(b); err == nil {
			if _, err := table.Decode(c.Append(nil)); err != nil {
				t.Errorf("%#v does not come back: %v", c, err)
			}
		}
		_, _ = table.DecodeReply(b)
		_ = table.Restore(1, bytes.NewReader(b))
	})
}
