package featuretests

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
)

// Who held what is told by every agent alike, and after an agent was killed, until a
// restore ends the history.
func TestWhoHeldALeaseIsToldUntilARestore(t *testing.T) {
	f := newFleet(t, 3, nil)
	c := f.client()
	leases := c.Leases()
	claim := func(name, holder string) interrex.LeaseAnswer {
		t.Helper()
		a, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key(name), Holder: holder, TTL: time.Hour, Metadata: map[string]string{"of": holder}})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first := claim("past/db", "ann")
	claim("past/web", "bob")
	moved, err := leases.Transfer(t.Context(), interrex.TransferRequest{Key: key("past/db"), Token: first.Lease.Token, To: "cid"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leases.Revoke(t.Context(), interrex.RevokeRequest{Key: key("past/web"), Force: true}); err != nil {
		t.Fatal(err)
	}
	last := claim("past/api", "eve")
	check := func(i int) {
		t.Helper()
		at := fmt.Sprint(uint64(moved.Revision) - 1)
		for args, want := range map[string]string{
			"lease get past/db -q --at " + first.Revision.String():                              first.Lease.Token.String(),
			"lease get past/db -o json --at " + at:                                              `"of": "ann"`,
			"lease get past/db -o json --at " + first.Lease.AcquiredAt.Format(time.RFC3339Nano): `"holder": "ann"`,
			"lease list past -q --at " + at:                                                     "past/db\npast/web\n",
			"lease list past/web -q --eventual --at " + at:                                      "past/web\n",
			"lease diff -q " + at + " --namespace past":                                         "past/api\npast/db\npast/web\n",
			"lease diff " + at + " " + moved.Revision.String() + " --no-headers":                "past/db  ann  " + first.Lease.Token.String() + "  cid  ",
		} {
			if out, code := f.says(i, strings.Fields(args)...); code != 0 || !strings.Contains(out, want) {
				t.Errorf("agent %d: %s: exit code %d\n%s\nwithout %q", i, args, code, out, want)
			}
		}
		if out, code := f.says(i, "lease", "get", "past/api", "--at", at); code == 0 || !strings.Contains(out, "nobody held past/api at revision "+at) {
			t.Errorf("agent %d: of a lease that nobody held: %d, %s", i, code, out)
		}
	}
	for i := range 3 {
		f.answers(i)
		check(i)
	}
	if _, err := leases.Diff(t.Context(), first.Revision, 0, interrex.ListRequest{AtRevision: 1}); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("a difference as of a revision: %v", err)
	}
	f.kill(0)
	f.start(0)
	f.answers(0)
	check(0)
	var file bytes.Buffer
	if _, err := c.Snapshots().Save(t.Context(), &file, interrex.ReadOptions{}); err != nil {
		t.Fatal(err)
	}
	restored, err := c.Snapshots().Restore(t.Context(), &file, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = leases.List(t.Context(), interrex.ListRequest{AtRevision: last.Revision})
	if e, is := err.(*interrex.Error); !is || e.Kind != interrex.ErrCompacted || e.FirstRevision != restored {
		t.Errorf("after a restore at %d: %v", restored, err)
	}
	if page, err := leases.List(t.Context(), interrex.ListRequest{Namespace: "past", AtRevision: restored}); err != nil || len(page.Items) != 2 {
		t.Errorf("at the restore: %+v, %v", page, err)
	}
}
