package featuretests

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// The file is older than an agent, an access token and a lease, which stay, and than the
// ends of others, which do not come back.
func TestARestoreOfAnOlderFileLeavesMembersTokensAndLeases(t *testing.T) {
	f := enrol(t, 3)
	f.must("member", "demote", "n2", "--addr", f.socket(0)) // so that the joiner gets a vote
	f.until("two have a vote", func() bool { return f.votes(0, 2) })
	c := f.client(0)
	values(t, client.KV{By: c}, "saved/", 2)
	old, revoked := f.newToken("old")
	ended := claimKey(t, c, "app/ended").Lease
	f.must("snapshot", "save", filepath.Join(f.dir, "old.snap"), "--addr", f.socket(0))

	values(t, client.KV{By: c}, "later/", 1)
	j := f.joiner()
	f.declares(j)
	f.start(j)
	f.until(f.id(j)+" has a vote", func() bool { return f.votes(0, 3) })
	young, _ := f.newToken("young")
	if _, err := c.Tokens().Revoke(t.Context(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Leases().Revoke(t.Context(), interrex.RevokeRequest{Key: ended.Key, Token: ended.Token}); err != nil {
		t.Fatal(err)
	}
	live := claimKey(t, c, "app/live").Lease
	before := f.belongs()

	restored := <-restoring(t, filepath.Join(f.dir, "old.snap"), f.socket(1))
	if restored.err != nil {
		t.Fatalf("%v: %s", restored.err, restored.said)
	}
	if after := f.belongs(); after != before {
		t.Errorf("after the restore there are\n%s\nand before it\n%s", after, before)
	}
	if err := f.extends(old, live); !errors.Is(err, interrex.ErrUnauthenticated) {
		t.Errorf("with a token that was revoked after the file: %v", err)
	}
	if err := f.extends(young, live); err != nil {
		t.Errorf("with a token that is younger than the file, under the lease's token of before: %v", err)
	}
	if _, _, err := c.Leases().Get(t.Context(), ended.Key, interrex.ReadOptions{}); !errors.Is(err, interrex.ErrNotFound) {
		t.Errorf("the lease that has ended after the file: %v", err)
	}
	if again := claimKey(t, c, "app/ended").Lease; again.Token <= live.Token {
		t.Errorf("it is granted again under token %s, and %s was given before", again.Token, live.Token)
	}
	for i := range f.members {
		wantRestored(t, f.client(i), restored.revision)
	}
}

// newToken creates an access token that may do everything.
func (f *fleet) newToken(name string) (secret string, token interrex.AccessToken) {
	f.t.Helper()
	secret, token, err := f.client(0).Tokens().Create(f.t.Context(), interrex.AccessTokenRequest{Name: name, Operator: true})
	if err != nil {
		f.t.Fatal(err)
	}
	return secret, token
}

// extends extends a lease with an access token, through the API.
func (f *fleet) extends(secret string, l interrex.Lease) error {
	f.t.Helper()
	c := dial(f.t, client.Config{Addresses: []string{"https://" + f.members[0].config.API.Listen}, TLS: client.TLSFiles{CA: f.path(0, "ca.pem")}, Token: secret})
	_, err := c.Leases().Extend(f.t.Context(), interrex.ExtendRequest{Key: l.Key, Token: l.Token, TTL: 2 * time.Hour})
	return err
}

// belongs describes the members, the access tokens and the leases.
func (f *fleet) belongs() string {
	f.t.Helper()
	c := f.client(0)
	members, _, err := c.Members().List(f.t.Context(), interrex.ReadOptions{})
	var all []string
	for _, m := range members {
		all = append(all, fmt.Sprintf("%s %s %v", m.ID, m.Incarnation, m.Suffrage))
	}
	tokens, _, failed := c.Tokens().List(f.t.Context(), interrex.ReadOptions{})
	for _, k := range tokens {
		all = append(all, fmt.Sprint(k.ID, k.Name))
	}
	leases, none := c.Leases().List(f.t.Context(), interrex.ListRequest{})
	for _, l := range leases.Items {
		all = append(all, fmt.Sprint(l.Key, l.Holder, l.Token))
	}
	if err := errors.Join(err, failed, none); err != nil {
		f.t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// The ID that confirms is that of the cluster that is changed, not that of the file.
func TestAFileOfAnotherClusterIsRestoredOnlyOnceThatIsConfirmed(t *testing.T) {
	from, into := newFleet(t, 1, nil), newFleet(t, 1, nil)
	values(t, client.KV{By: from.client()}, "saved/", 3)
	path := filepath.Join(from.dir, "foreign.snap")
	from.save(0, "foreign.snap")
	id := func(f *fleet) string {
		s, err := f.status(0)
		if err != nil {
			t.Fatal(err)
		}
		return s.ClusterId
	}
	theirs, ours := id(from), id(into)
	c := into.client()
	kv := client.KV{By: c}
	restore := func(typed string, flags ...string) (string, int) {
		t.Helper()
		values(t, kv, "later/", 1)
		cmd := into.at(0, append([]string{"snapshot", "restore", path}, flags...)...)
		cmd.Stdin = strings.NewReader(typed)
		out, _ := cmd.CombinedOutput() // the code says how it ends
		return string(out), cmd.ProcessState.ExitCode()
	}
	live := claimKey(t, c, "app/live").Lease
	said, code := restore(theirs + "\n")
	if code != 2 || !strings.Contains(said, "the snapshot is of cluster "+theirs) || !strings.Contains(said, fmt.Sprintf("this is the cluster %s, not %q: nothing is changed", ours, theirs)) {
		t.Errorf("confirmed with the ID of the file: exit code %d, %s", code, said)
	}
	if _, err := kv.Get(t.Context(), "later/0", interrex.ReadOptions{}); err != nil {
		t.Errorf("what was there before a refused restore: %v", err)
	}
	for _, how := range []struct {
		typed string
		flags []string
	}{{ours + "\n", nil}, {"", []string{"--yes"}}} {
		if said, code := restore(how.typed, how.flags...); code != 0 || !strings.Contains(said, "restored "+path+" at revision ") {
			t.Errorf("confirmed with %q and %q: exit code %d, %s", how.typed, how.flags, code, said)
		}
		wantRestored(t, c, 0)
	}
	got, _, err := c.Leases().Get(t.Context(), live.Key, interrex.ReadOptions{})
	if err != nil || got.Token != live.Token || id(into) != ours {
		t.Errorf("the lease is %+v (%v), and had token %s; the cluster is %s, and was %s", got, err, live.Token, id(into), ours)
	}
}

func TestARestoreThroughAnAgentWithoutRaftIsThatOfItsCluster(t *testing.T) {
	f := enrol(t, 1)
	c := f.client(0)
	values(t, client.KV{By: c}, "saved/", 3)
	path := filepath.Join(f.dir, "x.snap")
	f.save(0, "x.snap")
	values(t, client.KV{By: c}, "later/", 1)
	one, two := f.addForwarder("f1", withToken(f.path(0, "operator.token"))), f.addForwarder("f2", nil)
	if got := <-restoring(t, path, f.socket(two)); got.err == nil || !strings.Contains(got.said, "api.token-file") {
		t.Errorf("without a token: %v: %s", got.err, got.said)
	}
	if n := stagedBytes(t, c); n > 0 {
		t.Errorf("%d bytes are staged without a token", n)
	}
	got := <-restoring(t, path, f.socket(one))
	if got.err != nil {
		t.Fatalf("%v: %s", got.err, got.said)
	}
	for _, by := range []*client.Client{c, f.client(one)} {
		wantRestored(t, by, got.revision)
	}
}
