package featuretests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gen/interrexv1"
)

// saved returns a copy of the state.
func saved(t *testing.T, c *client.Client) []byte {
	t.Helper()
	var file bytes.Buffer
	if _, err := c.Snapshots().Save(t.Context(), &file, interrex.ReadOptions{}); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// restores restores a copy, and returns the revision at which it did.
func restores(t *testing.T, c *client.Client, file []byte) interrex.Revision {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	revision, err := c.Snapshots().Restore(ctx, bytes.NewReader(file), nil)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func TestACopyIsRestoredIntoClustersOfOtherSizes(t *testing.T) {
	from := newFleet(t, 3, nil)
	c := from.client()
	values(t, client.KV{By: c}, "saved/", 3)
	if _, err := c.Changes().Append(t.Context(), interrex.AppendRequest{Data: []byte(`"told"`), Tags: []string{"kept"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Webhooks().Set(t.Context(), interrex.WebhookRequest{Webhook: interrex.Webhook{Name: "guard", URL: "http://127.0.0.1:1/", Kinds: []string{interrex.UserChange}}}); err != nil {
		t.Fatal(err)
	}
	from.mustRun("settings", "set", "changes.keep-count", "77777", "--addr", from.socket(0))
	file := saved(t, c)
	for _, n := range []int{1, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			into := newFleet(t, n, nil)
			c := into.client()
			values(t, client.KV{By: c}, "later/", 1)
			won, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			before, err := into.status(0)
			if err != nil {
				t.Fatal(err)
			}
			revision := restores(t, c, file)
			for i := range n {
				own := into.client(i)
				wantRestored(t, own, revision)
				read := interrex.ReadOptions{MinRevision: revision, Consistency: interrex.Eventual}
				if got, _, err := own.Leases().Get(t.Context(), key("app/db"), read); err != nil || got.Token != won.Lease.Token {
					t.Errorf("the lease of the cluster is %+v, %v at %s", got, err, into.id(i))
				}
				page, err := own.Changes().List(t.Context(), interrex.ListChangesRequest{ChangeFilter: interrex.ChangeFilter{Tags: []string{"kept"}}})
				if err != nil || len(page.Items) != 1 || string(page.Items[0].Data) != `"told"` {
					t.Errorf("the change of the file is %v, %v at %s", page.Items, err, into.id(i))
				}
				if _, _, err := own.Webhooks().Get(t.Context(), "guard", read); err != nil {
					t.Errorf("the webhook of the file: %v at %s", err, into.id(i))
				}
				if out := into.mustRun("settings", "get", "changes.keep-count", "--addr", into.socket(i)); !strings.Contains(out, "77777") {
					t.Errorf("the setting of the file is %q at %s", out, into.id(i))
				}
				if after, err := into.status(i); err != nil || after.ClusterId != before.ClusterId {
					t.Errorf("the cluster is %s, and was %s: %v", after.ClusterId, before.ClusterId, err)
				}
			}
		})
	}
}

func TestOfTwoRestoresAtOnceOneGoesThrough(t *testing.T) {
	f := newFleet(t, 3, nil)
	c := f.client()
	kv := client.KV{By: c}
	values(t, kv, "one/", 8)
	one := saved(t, c)
	values(t, kv, "two/", 8)
	two := saved(t, c)
	// The second restore begins when the first is half sent.
	second := make(chan error, 1)
	k := &killing{Reader: bytes.NewReader(one), left: len(one) / 2, do: func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := f.client(1).Snapshots().Restore(ctx, bytes.NewReader(two), nil)
		second <- err
	}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	revision, err := c.Snapshots().Restore(ctx, onlyReader{k}, nil)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-second:
		if !errors.Is(err, interrex.ErrConflict) || !strings.Contains(err.Error(), "interrex snapshot drop") {
			t.Errorf("the second restore: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the second restore has not ended")
	}
	read := interrex.ReadOptions{MinRevision: revision}
	if _, err := kv.Get(t.Context(), "one/0", read); err != nil {
		t.Errorf("a value of the first file: %v", err)
	}
	if _, err := kv.Get(t.Context(), "two/0", read); !errors.Is(err, interrex.ErrNotFound) {
		t.Errorf("a value of the second file: %v", err)
	}
	read.MinRevision = restores(t, f.client(1), two)
	if _, err := kv.Get(t.Context(), "two/0", read); err != nil {
		t.Errorf("a value of the second file, restored afterwards: %v", err)
	}
}

// onlyReader hides that a reader could be read twice.
type onlyReader struct{ io.Reader }

// What was acknowledged before a restore is gone after it, and what was acknowledged after
// it is there; the holder keeps its lease, and no write fails.
func TestWritesBehindAFenceRaceARestore(t *testing.T) {
	f := newFleet(t, 3, nil)
	c := f.client()
	kv := client.KV{By: c}
	values(t, kv, "saved/", 4)
	file := saved(t, c)
	held, err := c.Leases().Hold(t.Context(), "app/db", interrex.HoldOptions{Holder: "ann", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	written, failed := map[interrex.ResourceID]interrex.Answer[interrex.Resource]{}, []error{}
	ended, acknowledged := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		fence := interrex.Fence{Key: held.Key(), Token: held.Token()}
		for n := 0; ctx.Err() == nil; n++ {
			id := workID(n)
			switch got, err := c.Resources().Write(ctx, interrex.WriteResourceRequest{Resource: interrex.Resource{ID: id}, Fence: fence}); {
			case err == nil:
				written[id] = got
				select {
				case acknowledged <- struct{}{}:
				default:
				}
			case ctx.Err() == nil:
				failed = append(failed, err)
			}
			pause(ctx, 5*time.Millisecond)
		}
	}()
	oneMore := func() {
		t.Helper()
		select {
		case <-acknowledged:
		case <-time.After(patience):
			t.Fatal("no write is acknowledged")
		}
	}
	var restored []interrex.Revision
	for range 3 {
		oneMore()
		restored = append(restored, restores(t, f.client(f.others(f.leader())[0]), file))
	}
	for range 2 { // the first may have been written before the last restore
		oneMore()
	}
	stop()
	<-ended
	for _, err := range failed {
		t.Errorf("a write behind the hold: %v", err)
	}
	last, older, newer := restored[len(restored)-1], 0, 0
	for id, wrote := range written {
		got, _, err := c.Resources().Read(t.Context(), id, interrex.ReadOptions{})
		switch {
		case wrote.Revision < last:
			older++
			if !errors.Is(err, interrex.ErrNotFound) {
				t.Errorf("%s was written at %d, before the restore at %d, and is there: %v", id.Name, wrote.Revision, last, err)
			}
		default:
			newer++
			if err != nil || got.Version != wrote.Value.Version {
				t.Errorf("%s was written at %d, after the restore at %d, and is lost: %v", id.Name, wrote.Revision, last, err)
			}
		}
	}
	if older == 0 || newer == 0 {
		t.Errorf("%d were written before the last restore, and %d after it", older, newer)
	}
}

// What a killed command has sent is shown, refuses another restore, and is dropped.
func TestARestoreThatIsKilledIsShownAndDropped(t *testing.T) {
	f := newFleet(t, 3, nil)
	c := f.client()
	values(t, client.KV{By: c}, "saved/", 8)
	file := saved(t, c)
	values(t, client.KV{By: c}, "later/", 1)

	cmd := f.at(0, "snapshot", "restore", "-", "--yes")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = in.Write(file[:len(file)-1]) }() // it waits for the rest
	show := func(i int) string { return f.mustRun("snapshot", "staged", "-q", "--addr", f.socket(i)) }
	eventually(t, "a part is there", func() error {
		if show(1) == "" {
			return errors.New("none is")
		}
		return nil
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed

	f.kill(f.leader())
	_, err = f.client(f.others(f.leader())...).Snapshots().Restore(t.Context(), bytes.NewReader(file), nil)
	if !errors.Is(err, interrex.ErrConflict) {
		t.Errorf("another restore: %v", err)
	}
	at := f.leader()
	if staged := show(at); staged == "" {
		t.Error("the file is no longer shown after a change of leaders")
	}
	f.mustRun("snapshot", "drop", "--addr", f.socket(at))
	if staged := show(at); staged != "" {
		t.Errorf("%s is shown, and was dropped", staged)
	}
	wantRestored(t, f.client(at), restores(t, f.client(at), file))
}

// A file has all of the room that the limit gives it once the one before it was dropped, by
// hand or because it was too large.
func TestADroppedFileGivesItsRoomBack(t *testing.T) {
	f := newFleet(t, 3, nil)
	c := f.client()
	values(t, client.KV{By: c}, "saved/", 12)
	small := saved(t, c)
	values(t, client.KV{By: c}, "saved/more/", 1)
	large := saved(t, c)
	values(t, client.KV{By: c}, "later/", 1)
	limit := func(file []byte) {
		t.Helper()
		f.mustRun("settings", "set", "snapshots.max-bytes", fmt.Sprint(len(file)), "--addr", f.socket(0))
	}
	limit(large)
	cmd := f.at(0, "snapshot", "restore", "-", "--yes")
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = in.Write(large[:len(large)-1]) }() // it waits for the rest
	eventually(t, "most of the file is staged", func() error {
		if n := stagedBytes(t, c); n <= uint64(len(large)-len(small)) {
			return fmt.Errorf("%d of %d bytes are", n, len(large))
		}
		return nil
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	f.mustRun("snapshot", "drop", "--addr", f.socket(1))
	wantRestored(t, c, restores(t, c, large))

	limit(small)
	values(t, client.KV{By: c}, "later/", 1)
	if _, err := c.Snapshots().Restore(t.Context(), bytes.NewReader(large), nil); !errors.Is(err, interrex.ErrTooLarge) || !strings.Contains(err.Error(), "snapshots.max-bytes") {
		t.Errorf("a file beyond the limit: %v", err)
	}
	if n := stagedBytes(t, c); n > 0 {
		t.Errorf("%d bytes of it are still staged", n)
	}
	wantRestored(t, c, restores(t, c, small))
}

// stagedBytes returns how much of a file is staged.
func stagedBytes(t *testing.T, c *client.Client) uint64 {
	t.Helper()
	m, err := client.Call[interrexv1.StagedRequest, interrexv1.StagedResponse](t.Context(), c, interrexv1.MaintenanceServiceStagedProcedure, &interrexv1.StagedRequest{}, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m.GetFile().GetBytes()
}

// Leases stay, and so do the claims that wait for them and the copies of them in SQL.
func TestClaimsWaitOnOverARestore(t *testing.T) {
	f := newFleet(t, 3, func(_ int, c *config.Config) { c.Notify.LeaseHolders = "sqlite" })
	c := f.client()
	values(t, client.KV{By: c}, "saved/", 2)
	gone, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("app/gone"), Holder: "ann", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	file := saved(t, c)
	if _, err := c.Leases().Revoke(t.Context(), interrex.RevokeRequest{Key: gone.Lease.Key, Token: gone.Lease.Token}); err != nil {
		t.Fatal(err)
	}
	first, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	waiting := f.client(f.others(f.leader())[0])
	granted := make(chan interrex.Lease, 1)
	go func() {
		a, err := waiting.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "bob", TTL: time.Hour, Wait: 5 * time.Minute})
		if err != nil {
			t.Errorf("the claim that waits: %v", err)
		}
		granted <- a.Lease
	}()
	eventually(t, "the claim waits", func() error {
		got, _, err := f.client(f.leader()).Leases().Get(t.Context(), key("app/db"), interrex.ReadOptions{})
		if err == nil && (got.Waiting == nil || *got.Waiting == 0) {
			err = errors.New("nobody waits")
		}
		return err
	})
	restores(t, c, file)
	select {
	case l := <-granted:
		t.Fatalf("the restore has granted %+v", l)
	default:
	}
	if _, err := c.Leases().Revoke(t.Context(), interrex.RevokeRequest{Key: first.Lease.Key, Token: first.Lease.Token}); err != nil {
		t.Fatal(err)
	}
	want := map[string]interrex.Lease{"app/db": <-granted}
	if want["app/db"].Holder != "bob" {
		t.Errorf("the claim that waited got %+v", want)
	}
	for i := range f.members {
		f.holders(i, want)
	}
}
