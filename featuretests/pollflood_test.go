package featuretests

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/callstream"
)

// One caller has a quarter of all that may wait; another one waits, claims and extends.
func TestAFloodOfLongPollsHurtsOnlyItsCaller(t *testing.T) {
	f := newFleet(t, 1, nil)
	url := "http://" + f.members[0].config.API.Listen
	by := &http.Transport{Protocols: new(http.Protocols)}
	by.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(by.CloseIdleConnections)
	var refused, other atomic.Int64
	var all sync.WaitGroup
	for range 5 { // on one connection
		s, err := callstream.New(callstream.Config{HTTP: &http.Client{Transport: by}, BaseURL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		evil := &evil{t: t, stream: s}
		poll := evil.operation(interrexv1.ChangeServiceListProcedure, &interrexv1.ChangeServiceListRequest{Since: 1, Tags: []string{"none"}, Block: durationpb.New(10 * time.Minute)})
		ops := make([]*interrexv1.Operation, 4000)
		for i := range ops {
			ops[i] = &interrexv1.Operation{Method: poll.Method, Body: poll.Body}
		}
		all.Go(func() {
			s.Send(ops, func(_ int, _ []byte, err error) {
				if interrex.KindOf(err) == interrex.ErrOverloaded {
					refused.Add(1)
				} else {
					other.Add(1)
				}
			})
		})
	}
	all.Wait()
	const most = 65_536 / 4
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil && refused.Load() < 5*4000-most {
		time.Sleep(10 * time.Millisecond)
	}
	if n := refused.Load(); n < 5*4000-most || n > 5*4000-most+1000 || other.Load() > 0 {
		t.Errorf("%d of 20 000 are refused, %d are answered", n, other.Load())
	}
	leases := f.client().Leases()
	held, err := leases.Claim(ctx, interrex.ClaimRequest{Key: key("good/held"), TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leases.Extend(ctx, interrex.ExtendRequest{Key: key("good/held"), Token: held.Lease.Token}); err != nil {
		t.Errorf("an extend: %v", err)
	}
	won := make(chan error, 1)
	go func() {
		_, err := leases.Claim(ctx, interrex.ClaimRequest{Key: key("good/held"), TTL: time.Minute, Wait: patience})
		won <- err
	}()
	time.Sleep(100 * time.Millisecond)
	if _, err := leases.Revoke(ctx, interrex.RevokeRequest{Key: key("good/held"), Token: held.Lease.Token}); err != nil {
		t.Error(err)
	}
	if err := <-won; err != nil {
		t.Errorf("a claim that waits: %v", err)
	}
}
