package resource_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/state"
)

var web = id("test.v1.Server", "web")

func TestAWriteComparesAndSetsVersions(t *testing.T) {
	w := newWorld(t)
	w.refused(&resource.Write{ID: web, Version: "some-version"}, interrex.ErrCASFailure)
	first := w.must(&resource.Write{ID: web})
	if first.Revision != w.revision || w.get(web).Version() != first.Revision.String() {
		t.Errorf("version %d at revision %d", first.Revision, w.revision)
	}
	second := w.must(&resource.Write{ID: web, Version: first.Revision.String()})
	if second.Revision == first.Revision || second.UID != first.UID {
		t.Errorf("%+v after %+v", second, first)
	}
	w.refused(&resource.Write{ID: web}, interrex.ErrCASFailure)
	w.refused(&resource.Write{ID: web, Version: first.Revision.String()}, interrex.ErrCASFailure)
}

func TestAUIDIsLookedAtBeforeAVersion(t *testing.T) {
	w := newWorld(t)
	w.must(&resource.Write{ID: uid(web, "a"), Strict: true})
	v := w.get(web).Version()
	w.refused(&resource.Write{ID: uid(web, "b"), Version: "99"}, interrex.ErrWrongUID)
	w.refused(&resource.Write{ID: uid(web, "b"), Version: v}, interrex.ErrWrongUID)
	w.refused(&resource.Write{ID: web, Version: v, Strict: true}, interrex.ErrWrongUID)
	w.must(&resource.Write{ID: web, Version: v}) // the stored one
	v = w.get(web).Version()
	w.must(&resource.Write{ID: uid(web, "a"), Version: v, Strict: true})
	w.must(&resource.Delete{ID: uid(web, "a"), Version: w.get(web).Version(), Strict: true})
	w.must(&resource.Write{ID: uid(web, "b"), Strict: true})
	if got := w.get(web).ID.UID; got != "b" {
		t.Errorf("uid %q", got)
	}
}

func TestADeleteOfWhatIsNotThereChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.must(&resource.Delete{ID: web})
	w.must(&resource.Delete{ID: web, Version: "7", Strict: true})
	w.must(&resource.Write{ID: uid(web, "a"), Strict: true})
	v := w.get(web).Version()
	for _, c := range []*resource.Delete{
		{ID: uid(web, "b"), Version: v}, {ID: uid(web, "b")},
		{ID: uid(web, "b"), Version: v, Strict: true}, {ID: web, Version: v, Strict: true},
	} {
		w.must(c)
	}
	if w.revision != 1 || w.get(web) == nil {
		t.Errorf("revision %d", w.revision)
	}
	w.refused(&resource.Delete{ID: uid(web, "a"), Strict: true}, interrex.ErrCASFailure)
	w.refused(&resource.Delete{ID: web, Version: "some-version"}, interrex.ErrCASFailure)
	w.must(&resource.Delete{ID: id("test.v2.Server", "web")}) // another group version
	if w.get(web) != nil {
		t.Error("it is still there")
	}
	last := w.events[len(w.events)-1]
	if r := last.Value.(*resource.Record); last.Kind != interrex.ResourceDeleted || last.Revision != 2 || r.Version() != v || last.Key != "test.Server/default/default/web" {
		t.Errorf("the event is %+v of %+v", last, r)
	}
}

func TestAGroupVersionIsReplacedByAWrite(t *testing.T) {
	w := newWorld(t)
	w.must(&resource.Write{ID: web})
	second := id("test.v2.Server", "web")
	w.must(&resource.Write{ID: second, Version: "1"})
	if r := w.get(web); r.ID.Type.GroupVersion != "v2" {
		t.Errorf("stored as %v", r.ID.Type)
	}
	w.must(&resource.Write{ID: web, Version: "2"})
	if r := w.get(second); r.ID.Type.GroupVersion != "v1" {
		t.Errorf("stored as %v", r.ID.Type)
	}
}

func TestAGenerationChangesWithTheContent(t *testing.T) {
	w := newWorld(t)
	w.held[fence("l", 1)] = true
	generation := ""
	write := func(change bool, c resource.Write) {
		t.Helper()
		if r := w.get(web); r != nil {
			c.Version = r.Version()
		}
		c.ID.Name, c.ID.Tenancy, c.ID.Type.Group, c.ID.Type.Kind = web.Name, web.Tenancy, web.Type.Group, web.Type.Kind
		if c.ID.Type.GroupVersion == "" {
			c.ID.Type.GroupVersion = "v1"
		}
		reply := w.must(&c)
		if (reply.Generation != generation) != change {
			t.Errorf("%+v: generation %q after %q", c, reply.Generation, generation)
		}
		generation = reply.Generation
	}
	l := fence("l", 1)
	write(true, resource.Write{})
	write(false, resource.Write{Generation: "mine"})
	write(true, resource.Write{Data: text("a")})
	write(false, resource.Write{Data: text("a")})
	write(true, resource.Write{Data: text("b")})
	write(true, resource.Write{Data: text("b"), Metadata: metadata(map[string]string{"a": "b"})})
	write(true, resource.Write{Data: text("b"), OwnerLease: &l})
	write(false, resource.Write{Data: text("b"), OwnerLease: &l})
	m := fence("m", 1)
	w.held[m] = true
	write(true, resource.Write{Data: text("b"), OwnerLease: &m})
	write(true, resource.Write{Data: text("b")})
	write(true, resource.Write{Data: interrex.ResourceData{TypeURL: "other", Value: []byte("b")}})
	write(true, resource.Write{Data: text("b")})
	again := resource.Write{Data: text("b")}
	again.ID.Type.GroupVersion = "v2"
	write(true, again)
}

func TestIDsAreWhatTheLeaderHasMade(t *testing.T) {
	w := newWorld(t)
	c := &resource.Write{ID: web}
	minted, err := c.Mint(bytes.NewReader(append(bytes.Repeat([]byte{0xff}, 16), make([]byte, 16)...)))
	if err != nil || len(minted) == 0 || len(minted) > limits.MaxMinted {
		t.Fatalf("%x, %v", minted, err)
	}
	w.minted = minted
	if reply := w.must(c); reply.UID != strings.Repeat("Z", 25)+"W" || reply.Generation != strings.Repeat("0", 26) {
		t.Errorf("%+v", reply)
	}
	if reply := w.must(&resource.Write{ID: uid(id("test.v1.Server", "own"), "mine")}); reply.UID != "mine" {
		t.Errorf("%+v", reply)
	}
	if _, err := c.Mint(bytes.NewReader(nil)); interrex.KindOf(err) != interrex.ErrUnavailable {
		t.Error(err)
	}
	w.minted = nil
	strict := &resource.Write{ID: id("test.v1.Server", "strict"), Generation: "g", Strict: true}
	if reply := w.must(strict); reply.UID != "" || reply.Generation != "g" {
		t.Errorf("%+v", reply)
	}
	if minted, err := strict.Mint(bytes.NewReader(nil)); minted != nil || err != nil {
		t.Errorf("%x, %v", minted, err)
	}
}

func TestAnOwnerIsSetOnce(t *testing.T) {
	w := newWorld(t)
	owner := id("test.v1.Rack", "r1")
	w.refused(&resource.Write{ID: web, Owner: &owner}, interrex.ErrInvalid)
	w.must(&resource.Write{ID: uid(owner, "o1")})
	if reply := w.must(&resource.Write{ID: web, Owner: &owner}); *reply.Owner != uid(owner, "o1") {
		t.Errorf("the owner is %+v", reply.Owner)
	}
	version := func() string { return w.get(web).Version() }
	w.must(&resource.Write{ID: web, Owner: &owner, Version: version()})
	w.must(&resource.Write{ID: web, Version: version()}) // the stored one
	if got := w.get(web).Owner; got == nil || got.UID != "o1" {
		t.Errorf("the owner is %+v", got)
	}
	other, gone := id("test.v1.Rack", "r2"), uid(owner, "o2")
	w.refused(&resource.Write{ID: web, Owner: &other, Version: version()}, interrex.ErrInvalid)
	w.refused(&resource.Write{ID: web, Owner: &gone, Version: version()}, interrex.ErrInvalid)
	free := id("test.v1.Server", "free")
	w.must(&resource.Write{ID: free})
	w.refused(&resource.Write{ID: free, Owner: &owner, Version: w.get(free).Version()}, interrex.ErrInvalid)
	w.must(&resource.Write{ID: id("test.v1.Server", "orphan"), Owner: &gone}) // it need not exist
	w.must(&resource.Write{ID: uid(web, w.get(web).ID.UID), Owner: &other, Version: version(), Strict: true})
	if got := w.get(web).Owner; !got.Same(other) {
		t.Errorf("a strict write keeps the owner %+v", got)
	}
}

func TestWhatIsOwnedIsListedByOwner(t *testing.T) {
	w := newWorld(t)
	owner := uid(id("test.v1.Rack", "r"), "o1")
	w.must(&resource.Write{ID: owner})
	names := []string{"a", "b", "c"}
	for _, n := range names {
		w.must(&resource.Write{ID: id("test.v1.Server", n), Owner: &owner})
	}
	w.must(&resource.Write{ID: id("test.v1.Alien", "x"), Owner: &owner})
	list := func(o interrex.ResourceID, after string, limit int) (found []string, more bool) {
		w.table.Read(func(v resource.ReadView) {
			var items []*resource.Record
			items, more = v.ListByOwner(o, after, limit)
			for _, r := range items {
				found = append(found, r.ID.Name)
			}
			if len(items) > 0 {
				after = items[len(items)-1].Key()
			}
		})
		return found, more
	}
	check := func(want string, o interrex.ResourceID) {
		t.Helper()
		w.restart()
		if got, more := list(o, "", 0); strings.Join(got, "") != want || more {
			t.Errorf("%v owns %q, %v, want %q", o, got, more, want)
		}
	}
	check("xabc", owner)
	check("xabc", uid(id("test.v9.Rack", "r"), "o1"))
	check("", uid(owner, "o2"))
	check("", uid(owner, ""))
	w.must(&resource.Delete{ID: owner})
	check("xabc", owner)
	w.must(&resource.Delete{ID: id("test.v1.Server", "b")})
	check("xac", owner)
	first, more := list(owner, "", 2)
	if strings.Join(first, "") != "xa" || !more {
		t.Errorf("the first page is %q, %v", first, more)
	}
	if rest, more := list(owner, w.get(id("test.v1.Server", "a")).Key(), 2); strings.Join(rest, "") != "c" || more {
		t.Errorf("the second page is %q, %v", rest, more)
	}
}

// seed is that of the conformance suite.
func seed(w *world) {
	for _, i := range []interrex.ResourceID{
		id("test.v1.a", "admin"), id("test.v1.a", "api"), id("test.v2.a", "web"),
		in(id("test.v1.a", "api"), "billing", "payments"), id("test.v1.b", "admin"),
		in(id("test.v1.a", "autoscaler"), "default", "other"), id("test.v1.aa", "admin"), id("tes.v1.a", "admin"),
	} {
		w.must(&resource.Write{ID: i})
	}
}

func TestAListSelects(t *testing.T) {
	w := newWorld(t)
	seed(w)
	for _, c := range []struct{ partition, namespace, prefix, want string }{
		{"default", "default", "", "admin api web"},
		{"billing", "payments", "", "api"},
		{"default", "default", "a", "admin api"},
		{"*", "*", "", "api admin api web autoscaler"},
		{"default", "*", "", "admin api web autoscaler"},
		{"*", "default", "", "admin api web"},
		{"*", "other", "", "autoscaler"},
		{"*", "payments", "a", "api"},
		{"*", "*", "a", "api admin api autoscaler"},
		{"*", "*", "ap", "api api"},
		{"*", "*", "w", "web"},
		{"default", "nowhere", "", ""},
		{"default", "default", "A", ""},
	} {
		s := interrex.ResourceSelection{Type: id("test.v1.a", "x").Type, Tenancy: interrex.Tenancy{Partition: c.partition, Namespace: c.namespace}, NamePrefix: c.prefix}
		for _, limit := range []int{0, 1, 2} {
			if got := strings.Join(pages(t, w, s, limit), " "); got != c.want {
				t.Errorf("%+v in pages of %d: %q, want %q", c, limit, got, c.want)
			}
		}
	}
}

// pages lists page by page.
func pages(t *testing.T, w *world, s interrex.ResourceSelection, limit int) (names []string) {
	t.Helper()
	after := ""
	for {
		var items []*resource.Record
		var more bool
		w.table.Read(func(v resource.ReadView) { items, more = v.List(s, after, limit) })
		if limit > 0 && len(items) > limit || more && len(items) != limit {
			t.Fatalf("%d items in a page of %d, more: %v", len(items), limit, more)
		}
		for _, r := range items {
			names, after = append(names, r.ID.Name), r.Key()
			if !s.Matches(r.ID) {
				t.Errorf("%v is listed for %+v", r.ID, s)
			}
		}
		if !more {
			return names
		}
	}
}

func TestAResourceGoesWithItsLease(t *testing.T) {
	w := newWorld(t)
	mine, other := fence("ns/mine", 3), fence("ns/other", 4)
	w.refused(&resource.Write{ID: web, OwnerLease: &mine}, interrex.ErrNotHeld)
	w.held[mine], w.held[other] = true, true
	w.must(&resource.Write{ID: id("test.v1.Server", "b"), OwnerLease: &mine})
	w.must(&resource.Write{ID: id("test.v1.Server", "a"), OwnerLease: &mine})
	w.must(&resource.Write{ID: web, OwnerLease: &other})
	w.must(&resource.Write{ID: id("test.v1.Server", "free")})
	w.restart()
	before := w.revision
	w.ends(mine)
	var gone []string
	for _, e := range w.events[4:] {
		gone = append(gone, fmt.Sprint(e.Kind, " ", e.Key, " ", e.Revision-before))
	}
	if want := []string{"resource.deleted test.Server/default/default/a 1", "resource.deleted test.Server/default/default/b 2"}; !slices.Equal(gone, want) {
		t.Errorf("%q, want %q", gone, want)
	}
	if w.get(web) == nil || w.get(id("test.v1.Server", "free")) == nil {
		t.Error("another went too")
	}
	// One that a later write has freed of the lease stays.
	w.must(&resource.Write{ID: web, Version: w.get(web).Version()})
	w.ends(other)
	if w.get(web) == nil {
		t.Error("a resource without a lease went with one")
	}
}

func TestALeaseOwnsSoMany(t *testing.T) {
	w := newWorld(t)
	l := fence("l", 1)
	w.held[l] = true
	name := func(i int) interrex.ResourceID { return id("test.v1.Server", fmt.Sprint("s", i)) }
	for i := range resource.MaxLeaseResources {
		w.must(&resource.Write{ID: name(i), OwnerLease: &l})
	}
	w.refused(&resource.Write{ID: web, OwnerLease: &l}, interrex.ErrConflict)
	w.must(&resource.Write{ID: name(0), OwnerLease: &l, Version: "1"}) // it is one of them
	w.must(&resource.Delete{ID: name(1)})
	one, two := &resource.Write{ID: web, OwnerLease: &l}, &resource.Write{ID: name(1), OwnerLease: &l}
	if err := w.table.CheckGroup(0, []state.Command{one, two}); interrex.KindOf(err) != interrex.ErrConflict {
		t.Errorf("two for one place: %v", err)
	}
	w.must(one)
	away := &resource.Write{ID: name(2), Version: w.get(name(2)).Version()} // it leaves the lease
	for _, room := range []state.Command{&resource.Delete{ID: name(2)}, away} {
		if err := w.table.CheckGroup(0, []state.Command{room, two}); err != nil {
			t.Errorf("one for another: %v", err)
		}
	}
	m := fence("m", 1)
	w.held[m] = true
	other := w.must(&resource.Write{ID: id("test.v1.Server", "other"), OwnerLease: &m})
	w.refused(&resource.Write{ID: id("test.v1.Server", "other"), OwnerLease: &l, Version: other.Revision.String()}, interrex.ErrConflict)
}

func TestAGroupIsCheckedWithItselfCounted(t *testing.T) {
	w := newWorld(t)
	w.configure(map[string]string{"resources.max-count": "2"})
	w.must(&resource.Write{ID: web})
	a, b := &resource.Write{ID: id("test.v1.Server", "a")}, &resource.Write{ID: id("test.v1.Server", "b")}
	group := func(all ...state.Command) interrex.Kind { return interrex.KindOf(w.table.CheckGroup(0, all)) }
	if k := group(a); k != "" {
		t.Errorf("one more is %q", k)
	}
	if k := group(a, b); k != interrex.ErrOverloaded {
		t.Errorf("two more are %q", k)
	}
	if k := group(a, &resource.Delete{ID: web}, &resource.Delete{ID: web, Version: "1"}); k != interrex.ErrInvalid {
		t.Errorf("one resource twice is %q", k)
	}
	if k := group(a, &resource.Delete{ID: web, Version: "9"}); k != interrex.ErrCASFailure {
		t.Errorf("another version is %q", k)
	}
	if k := group(a, &resource.Delete{ID: web}); k != "" {
		t.Errorf("one for another is %q", k)
	}
	w.configure(map[string]string{"resources.max-count": "1"})
	if k := group(&resource.Delete{ID: web}, a); k != "" {
		t.Errorf("one for another at the limit is %q", k)
	}
	w.configure(map[string]string{"resources.max-count": "2"})
	owned := &resource.Write{ID: id("test.v1.Server", "a"), Owner: &web}
	if k := group(owned); k != "" {
		t.Errorf("one that is owned is %q", k)
	}
	if k := group(&resource.Delete{ID: web}, owned); k != interrex.ErrInvalid {
		t.Errorf("one whose owner is deleted before is %q", k)
	}
	w.must(a)
	if k := group(&resource.Delete{ID: web}, b); k != "" {
		t.Errorf("one for another in a full table is %q", k)
	}
	w.configure(map[string]string{"resources.max-bytes": fmt.Sprint(w.table.Usage().Bytes)})
	if k := group(&resource.Delete{ID: web}, b); k != "" {
		t.Errorf("one for another, when its bytes are needed, is %q", k)
	}
	if k := group(b, &resource.Delete{ID: web}); k != "" {
		t.Errorf("one before another has made room is %q", k)
	}
}

// configure sets settings as State does.
func (w *world) configure(set map[string]string) {
	defaults := map[string]string{}
	for _, s := range w.table.Settings() {
		defaults[s.Name] = s.Default
	}
	w.table.Configure(func(name string) string {
		if v, is := set[name]; is {
			return v
		}
		return defaults[name]
	})
}

func TestLimitsAreSettings(t *testing.T) {
	w := newWorld(t)
	big := func(n int) interrex.ResourceData { return text(strings.Repeat("x", n)) }
	w.must(&resource.Write{ID: web, Data: big(interrex.MaxData)})
	err := w.refused(&resource.Write{ID: web, Data: big(interrex.MaxData + 1)}, interrex.ErrTooLarge)
	if strings.Contains(err.Error(), "setting") {
		t.Error(err)
	}
	w.configure(map[string]string{"resources.max-data": "1000"})
	err = w.refused(&resource.Write{ID: web, Data: big(1001), Version: "1"}, interrex.ErrTooLarge)
	if !strings.Contains(err.Error(), "resources.max-data") {
		t.Error(err)
	}
	w.must(&resource.Write{ID: web, Data: big(1000), Version: "1"})
	used := w.table.Usage()
	w.configure(map[string]string{"resources.max-bytes": fmt.Sprint(used.Bytes - 1)})
	w.must(&resource.Write{ID: web, Data: big(1000), Version: "2"}) // it makes nothing larger
	err = w.refused(&resource.Write{ID: web, Data: big(1001), Version: "3"}, interrex.ErrOverloaded)
	if !strings.Contains(err.Error(), "resources.max-bytes") {
		t.Error(err)
	}
	w.must(&resource.Delete{ID: web})
	if u := w.table.Usage(); u.Bytes != 0 || u.Count != 0 {
		t.Errorf("an empty table has %+v", u)
	}
	w.configure(map[string]string{"resources.max-count": "1"})
	w.must(&resource.Write{ID: web})
	w.refused(&resource.Write{ID: id("test.v1.Server", "two")}, interrex.ErrOverloaded)
	w.configure(nil)
	w.must(&resource.Write{ID: id("test.v1.Server", "two"), Data: big(100)})
	w.configure(map[string]string{"resources.max-count": "1", "resources.max-bytes": "1"})
	w.must(&resource.Write{ID: id("test.v1.Server", "two"), Overwrite: true}) // it makes nothing larger
	w.must(&resource.Delete{ID: web})
}

func TestOwnersCountAgainstTheBytes(t *testing.T) {
	w := newWorld(t)
	before := w.table.Usage()
	owner := id("test.v1.Server", "owner")
	owner.UID = "of it"
	w.must(&resource.Write{ID: id("test.v1.Server", "owned"), Owner: &owner})
	alone := w.table.Usage().Bytes - before.Bytes
	w.must(&resource.Delete{ID: id("test.v1.Server", "owned")})
	w.must(&resource.Write{ID: id("test.v1.Server", "owned")})
	less := w.table.Usage().Bytes - before.Bytes
	if alone-less < int64(len(owner.String())+len(owner.UID)) {
		t.Errorf("%d bytes with an owner, %d without", alone, less)
	}
	held := interrex.Fence{Key: interrex.Key{Namespace: "node", Name: "a"}, Token: 1}
	w.held[held] = true
	w.must(&resource.Write{ID: id("test.v1.Server", "owned"), Overwrite: true, OwnerLease: &held})
	if with := w.table.Usage().Bytes - before.Bytes; with-less != int64(len("nodea")) {
		t.Errorf("%d bytes with a lease, %d without", with, less)
	}
	w.must(&resource.Delete{ID: id("test.v1.Server", "owned")})
}

func TestACheckIsOfOneVersion(t *testing.T) {
	w := newWorld(t)
	version := w.must(&resource.Write{ID: web}).Revision.String()
	none, before := id("test.v1.Server", "none"), w.revision
	for _, c := range []*resource.Check{
		{ID: web, Version: version}, {ID: web}, {ID: uid(web, w.get(web).ID.UID)}, {ID: none, Version: resource.Absent}, {ID: uid(web, "other"), Version: resource.Absent},
	} {
		w.must(c)
	}
	if w.revision != before {
		t.Errorf("checks have taken revisions up to %d", w.revision)
	}
	for c, text := range map[*resource.Check]string{
		{ID: web, Version: "77"}:            `version "77"`,
		{ID: web, Version: resource.Absent}: "exists in version " + version,
		{ID: none}:                          "does not exist",
		{ID: none, Version: version}:        "does not exist",
		{ID: uid(web, "other")}:             "does not exist",
	} {
		if err := w.refused(c, interrex.ErrCASFailure); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
	}
}

func TestAClearTakesAllOrNone(t *testing.T) {
	w := newWorld(t)
	at := func(name string) interrex.ResourceID { return id("test.v1.Server", name) }
	first := w.must(&resource.Write{ID: at("a/0000")}).Revision
	for n := 1; n <= resource.MaxCleared; n++ {
		w.must(&resource.Write{ID: at(fmt.Sprintf("a/%04d", n))})
	}
	w.must(&resource.Write{ID: at("b")})
	w.must(&resource.Write{ID: in(at("a/0000"), "default", "other")})
	clearing := func(prefix string) *resource.Clear {
		return &resource.Clear{Selection: interrex.ResourceSelection{Type: at("").Type, Tenancy: at("").Tenancy, NamePrefix: prefix}}
	}
	w.refused(clearing("a/"), interrex.ErrTooLarge)
	w.must(&resource.Delete{ID: at("a/0000"), Version: first.String()})
	before := w.revision
	w.events = nil
	if n := w.must(clearing("a/")).Cleared; n != resource.MaxCleared || int(w.revision-before) != n || len(w.events) != n {
		t.Errorf("%d are cleared, with %d revisions and %d events", n, w.revision-before, len(w.events))
	}
	for i, e := range w.events {
		if e.Revision != before+interrex.Revision(i)+1 || e.Kind != interrex.ResourceDeleted {
			t.Fatalf("event %d is %+v", i, e)
		}
	}
	if u := w.table.Usage(); u.Count != 2 {
		t.Errorf("%d are left", u.Count)
	}
	before = w.revision
	if n := w.must(clearing("a/")).Cleared; n != 0 || w.revision != before {
		t.Errorf("%d are cleared again, at revision %d", n, w.revision)
	}
	for _, tenancy := range []interrex.Tenancy{{Partition: "*", Namespace: "default"}, {Partition: "default", Namespace: "*"}} {
		c := clearing("b")
		c.Selection.Tenancy = tenancy
		w.refused(c, interrex.ErrInvalid)
	}
	w.refused(clearing(strings.Repeat("x", limits.MaxName+1)), interrex.ErrInvalid)
}

func TestWhatIsMalformedIsRefused(t *testing.T) {
	long := strings.Repeat("x", 600)
	key := fence("l", 0)
	for _, c := range []state.Command{
		&resource.Write{ID: interrex.ResourceID{}},
		&resource.Write{ID: interrex.ResourceID{Type: web.Type, Name: "web"}}, // no tenancy
		&resource.Write{ID: id("test.v1.Server", "a\x00b")},
		&resource.Write{ID: id("test.v1.Server", "")},
		&resource.Write{ID: id("test.v1.Server", long)},
		&resource.Write{ID: in(web, "*", "default")},
		&resource.Write{ID: in(web, "default", "Capital")},
		&resource.Write{ID: uid(web, long)},
		&resource.Write{ID: web, Version: long},
		&resource.Write{ID: web, Generation: long},
		&resource.Write{ID: web, Owner: &interrex.ResourceID{}},
		&resource.Write{ID: web, OwnerLease: &key},
		&resource.Write{ID: web, OwnerLease: &interrex.Fence{Token: 1}},
		&resource.Write{ID: web, Data: interrex.ResourceData{Value: []byte("x")}},
		&resource.Write{ID: web, Data: interrex.ResourceData{TypeURL: long}},
		&resource.Delete{ID: interrex.ResourceID{}},
		&resource.Delete{ID: web, Version: "\xff"},
	} {
		newWorld(t).refused(c, interrex.ErrInvalid)
	}
	for _, typ := range []string{"", "a.b", ".v1.Kind", "g.v1.", "g..K", "g.v1.K/x", "g.v_1.-K"} {
		if _, err := interrex.ParseResourceType(typ); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("type %q: %v", typ, err)
		}
	}
	for _, key := range []string{"", "demo.Server", "demo.Server/default/default", "Server/default/default/web", "demo.Server/Default/default/web", "demo.Server/default/default/"} {
		if _, err := interrex.ParseResourceKey(key); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%q: %v", key, err)
		}
	}
	if id, err := interrex.ParseResourceKey("example.com.Server/p/n/a/b"); err != nil || id.String() != "example.com.Server/p/n/a/b" || id.Name != "a/b" {
		t.Errorf("%+v, %v", id, err)
	}
	got, err := interrex.ParseResourceType("demo.example.com.v1.Server")
	if want := (interrex.ResourceType{Group: "demo.example.com", GroupVersion: "v1", Kind: "Server"}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestNamesOfEveryShapeAreKept(t *testing.T) {
	w := newWorld(t)
	names := []string{"a/b/c", "Ä", "*", "a", "A", "default", strings.Repeat("n", 512), "a b"}
	for _, n := range names {
		w.must(&resource.Write{ID: id("test.v1.Server", n)})
	}
	w.restart()
	for _, n := range names {
		if r := w.get(id("test.v1.Server", n)); r == nil || r.ID.Name != n {
			t.Errorf("%q is %+v", n, r)
		}
	}
}

// On the real table of leases, each way in which a token ends takes its
// resources along in the same entry; what keeps the token keeps them.
func TestPresenceFollowsTheTableOfLeases(t *testing.T) {
	k := interrex.Key{Namespace: "ns", Name: "l"}
	claim := func(takeover bool) state.Command {
		return &lease.Claim{Key: k, Holder: "ann", TTL: 1e9, Takeover: takeover}
	}
	for _, c := range []struct {
		name  string
		do    state.Command // nil: time passes
		stays bool
	}{
		{"released", &lease.Revoke{Key: k, Token: 1}, false},
		{"forced", &lease.Revoke{Key: k, Force: true}, false},
		{"taken over", claim(true), false},
		{"transferred", &lease.Transfer{Key: k, Token: 1, To: "bob"}, false},
		{"expired", nil, false},
		{"extended", &lease.Extend{Key: k, Token: 1}, true},
		{"pinned", &lease.Pin{Key: k, Owner: "ops"}, true},
		{"held by another", claim(false), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var table *resource.Table
			r := testreplica.New(t, func() []state.Table {
				table = resource.New()
				return []state.Table{table, lease.New()}
			})
			op := func(id state.TableID, c state.Command) state.Operation {
				return state.Operation{Table: id, Data: c.Append(nil)}
			}
			l := interrex.Fence{Key: k, Token: 1}
			results := r.Do(1, op(machine.LeaseTable, claim(false)), op(machine.ResourceTable, &resource.Write{ID: web, OwnerLease: &l}))
			for _, res := range results {
				if res.Err != nil {
					t.Fatal(res.Err)
				}
			}
			r.Restart()
			if c.do == nil {
				r.Do(state.Time(2e9))
			} else {
				r.Do(2, op(machine.LeaseTable, c.do))
			}
			n := table.Usage().Count
			if stays := n == 1; stays != c.stays {
				t.Errorf("%d resources are left", n)
			}
			late := r.Do(3, op(machine.ResourceTable, &resource.Write{ID: id("test.v1.Server", "late"), OwnerLease: &l}))
			if held := late[0].Err == nil; held != c.stays {
				t.Errorf("a write under the old token: %v", late[0].Err)
			}
		})
	}
}

// A retry gets the recorded ids, and an idle delete leaves no record.
func TestARetryMakesNoOtherIDs(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return []state.Table{resource.New()} })
	op := func(c state.Command, id string, attempt uint32, bits byte) state.Operation {
		return state.Operation{Table: machine.ResourceTable, Data: c.Append(nil), RequestID: id, Attempt: attempt, Minted: bytes.Repeat([]byte{bits}, 32)}
	}
	gone := op(&resource.Delete{ID: web}, "d", 0, 0)
	results := r.Do(1, gone, op(&resource.Write{ID: web}, "w", 0, 1), op(&resource.Write{ID: web}, "w", 1, 2))
	first, again := results[1], results[2]
	if first.Err != nil || again.Err != nil || !again.Replayed || again.Reply.(*resource.Reply).UID != first.Reply.(*resource.Reply).UID {
		t.Errorf("%+v, then %+v", first, again)
	}
	if results[0].Err != nil || results[0].Revision != 0 || first.Revision != 1 {
		t.Errorf("a delete of nothing: %+v, then %+v", results[0], first)
	}
	if again := r.Do(2, gone); again[0].Err != nil || again[0].Replayed || again[0].Revision != 2 {
		t.Errorf("the delete again: %+v", again[0])
	}
}

// A list that jumps over what does not match misses no partition and no
// namespace whose name only begins alike.
func TestAListJumpsOverNothingElse(t *testing.T) {
	w := newWorld(t)
	for _, i := range []interrex.ResourceID{
		in(id("test.v1.a", "x"), "b", "zone"), in(id("test.v1.a", "x"), "billing", "default"),
		in(id("test.v1.a", "z"), "p", "n"), in(id("test.v1.a", "a"), "p", "nn"),
	} {
		w.must(&resource.Write{ID: i})
	}
	for _, c := range []struct{ partition, namespace, prefix, want string }{
		{"*", "default", "", "x"}, {"p", "*", "a", "a"}, {"*", "*", "a", "a"},
	} {
		s := interrex.ResourceSelection{Type: id("test.v1.a", "x").Type, Tenancy: interrex.Tenancy{Partition: c.partition, Namespace: c.namespace}, NamePrefix: c.prefix}
		if got := strings.Join(pages(t, w, s, 0), " "); got != c.want {
			t.Errorf("%+v: %q, want %q", c, got, c.want)
		}
	}
}

// A lease that ends in a group takes its resources along behind the group's last
// operation: whatever stands in between finds them.
func TestAResourceWhoseLeaseEndsInItsGroupGoesBehindIt(t *testing.T) {
	var table *resource.Table
	r := testreplica.New(t, func() []state.Table {
		table = resource.New()
		return []state.Table{table, lease.New()}
	})
	k := interrex.Key{Namespace: "ns", Name: "l"}
	op := func(id state.TableID, c state.Command) state.Operation {
		return state.Operation{Table: id, Data: c.Append(nil)}
	}
	l := interrex.Fence{Key: k, Token: 1}
	owned := id("test.v1.Server", "owned")
	write := &resource.Write{ID: web, OwnerLease: &l}
	r.Do(1, op(machine.LeaseTable, &lease.Claim{Key: k, Holder: "ann", TTL: 1e9}), op(machine.ResourceTable, write))
	write.Version = "2"
	var group state.Operation
	for _, one := range []state.Operation{
		op(machine.LeaseTable, &lease.Revoke{Key: k, Token: 1}),
		op(machine.ResourceTable, write),
		op(machine.ResourceTable, &resource.Write{ID: owned, Owner: &web}),
	} {
		group.Group = append(group.Group, state.Part{Table: one.Table, Data: one.Data})
	}
	res := r.Do(2, group)[0]
	if res.Err != nil || res.Revision != 5 {
		t.Fatalf("%+v", res)
	}
	for i, p := range res.Reply.(machine.GroupReply) {
		if p.Revision != interrex.Revision(3+i) {
			t.Errorf("operation %d has the revision %d", i+1, p.Revision)
		}
	}
	table.Read(func(v resource.ReadView) {
		if v.Get(web) != nil || v.Get(owned) == nil {
			t.Errorf("%v is left, and %v", v.Get(web), v.Get(owned))
		}
	})
	if end := r.State.Revision(); end != 6 {
		t.Errorf("it ends at revision %d", end)
	}
}
