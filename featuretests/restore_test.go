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
)

// killing is a snapshot during whose reading something happens.
type killing struct {
	io.Reader
	left int // bytes until then
	do   func()
}

func (k *killing) Read(p []byte) (int, error) {
	n, err := k.Reader.Read(p)
	if k.left -= n; k.left <= 0 && k.do != nil {
		k.do()
		k.do = nil
	}
	return n, err
}

// values writes large values under a prefix.
func values(t *testing.T, kv client.KV, prefix string, n int) {
	t.Helper()
	for i := range n {
		if _, err := kv.Put(t.Context(), fmt.Sprint(prefix, i), []byte(strings.Repeat("x", 100_000)), "", client.Options{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARestoreGoesThroughWhereverAnAgentDies(t *testing.T) {
	f := newFleet(t, 3, nil)
	c := f.client()
	won, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	kv := client.KV{By: c}
	values(t, kv, "saved/", 12)
	var file bytes.Buffer
	if _, err := c.Snapshots().Save(t.Context(), &file, interrex.ReadOptions{}); err != nil {
		t.Fatal(err)
	}
	l := startLoad(t, c, f.client(0))
	for at, which := range []func() int{func() int { return f.leader() }, func() int { return f.others(f.leader())[0] }} {
		for _, part := range []int{4, 1} { // a quarter of the file, and all of it
			values(t, kv, "later/", 1)
			agent := which()
			k := &killing{Reader: bytes.NewReader(file.Bytes()), left: file.Len() / part, do: func() { f.kill(agent) }}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			revision, err := c.Snapshots().Restore(ctx, k, nil)
			cancel()
			if err != nil {
				t.Fatalf("agent %d dies after 1/%d: %v", at, part, err)
			}
			f.start(agent)
			f.answers(agent)
			for i := range 3 {
				wantRestored(t, f.client(i), revision)
			}
		}
	}
	got, _, err := c.Leases().Get(t.Context(), key("app/db"), interrex.ReadOptions{})
	if err != nil || got.Token != won.Lease.Token {
		t.Errorf("the lease is %+v, %v", got, err)
	}
	l.check(t, 100)
}

// wantRestored fails unless an agent has the values of the file, and no others.
func wantRestored(t *testing.T, c *client.Client, revision interrex.Revision) {
	t.Helper()
	kv := client.KV{By: c}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	own := interrex.ReadOptions{MinRevision: revision, Consistency: interrex.Eventual} // what this agent has
	if _, err := kv.Get(ctx, "saved/0", own); err != nil {
		t.Errorf("a value of the file: %v", err)
	}
	if _, err := kv.Get(ctx, "later/0", own); !errors.Is(err, interrex.ErrNotFound) {
		t.Errorf("a value that the restore has replaced: %v", err)
	}
}
