package access_test

import (
	"bytes"
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/golden"
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
	return &state.Turn{Revision: w.revision, Now: w.now, Wall: statetest.Wall(w.now), Table: state.AccessTable}
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
	if _, open := w.Open(); open {
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
	w.now = due
	if n := w.Tick(w.turn(), 10); n != 1 || g.Valid.Err() == nil || len(w.Tokens()) != 0 {
		t.Errorf("%d have ended, left are %v", n, w.Tokens())
	}
}

func TestARestoreEndsWhatIsNotInIt(t *testing.T) {
	w, other := &world{T: t, Table: access.New()}, &world{T: t, Table: access.New()}
	w.must(create(1, "ann"))
	other.must(create(1, "ann"))
	other.must(create(2, "bob"))
	stays, goes := other.grant(1), other.grant(2)
	var b bytes.Buffer
	if err := w.Freeze().Write(&b); err != nil {
		t.Fatal(err)
	}
	if err := other.Restore(1, &b); err != nil {
		t.Fatal(err)
	}
	if stays.Valid.Err() != nil || goes.Valid.Err() == nil {
		t.Errorf("the one that stays: %v; the other: %v", stays.Valid.Err(), goes.Valid.Err())
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
		"a bad rule":              {Hash: numbered(1).Hash(), Name: "a", Rules: []interrex.AccessRule{{Table: "lease"}}},
	} {
		if _, err := w.do(c); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.must(create(1, "ann"))
	if _, err := w.do(create(1, "bob")); interrex.KindOf(err) != interrex.ErrConflict {
		t.Errorf("the same one again: %v", err)
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
