package featuretests

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/callstream"
	"github.com/interrex/interrex/internal/wire"
)

// One address floods names and records of request ids; a client that comes another way
// keeps what it holds, goes on writing, and so does one that comes after.
func TestAFloodOfRequestIDsHurtsOnlyItsCaller(t *testing.T) {
	f := newFleet(t, 1, nil)
	good := f.client()
	leases := good.Leases()
	if _, err := good.SetSettings(t.Context(), map[string]string{"requests.names": "1000", "requests.records": "1000"}); err != nil {
		t.Fatal(err)
	}
	held, err := leases.Hold(t.Context(), "good/held", interrex.HoldOptions{TTL: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	write := func(by interrex.Leases, what string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		a, err := by.Claim(ctx, interrex.ClaimRequest{Key: key("good/" + what), TTL: time.Minute})
		if err == nil {
			_, err = by.Revoke(ctx, interrex.RevokeRequest{Key: a.Lease.Key, Token: a.Lease.Token})
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	evil := newEvil(t, f.members[0].config.API.Listen)
	kinds := map[interrex.Kind]int{}
	for round := range 8 {
		for kind, n := range evil.round() {
			kinds[kind] += n
		}
		write(leases, fmt.Sprint("during", round))
	}
	if kinds[interrex.ErrOverloaded] == 0 || kinds[interrex.ErrNameGone] == 0 || kinds[""] == 0 {
		t.Errorf("it was no flood: %v", kinds)
	}
	write(f.client().Leases(), "after")
	if err := held.Check(); err != nil {
		t.Errorf("what was held is lost: %v", err)
	}
	page, err := client.Call[interrexv1.ListRequestsRequest, interrexv1.ListRequestsResponse](t.Context(), good, interrexv1.StateServiceListRequestsProcedure, &interrexv1.ListRequestsRequest{}, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range page.GetItems() {
		if own := one.GetAddress() != "127.0.0.1"; own && one.GetNames() == 0 || !own && one.GetNames()+one.GetRecords() > 2000 {
			t.Errorf("kept is %v", one)
		}
	}
	if _, err := client.Call[interrexv1.DropRequestsRequest, interrexv1.DropRequestsResponse](t.Context(), good, interrexv1.StateServiceDropRequestsProcedure, &interrexv1.DropRequestsRequest{Address: "127.0.0.1"}, client.Options{}); err != nil {
		t.Error(err)
	}
	if err := held.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// evil is a caller of the API's port.
type evil struct {
	t      *testing.T
	stream *callstream.Stream
}

func newEvil(t *testing.T, address string) *evil {
	t.Helper()
	by := &http.Transport{Protocols: new(http.Protocols)}
	by.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(by.CloseIdleConnections)
	s, err := callstream.New(callstream.Config{HTTP: &http.Client{Transport: by}, BaseURL: "http://" + address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &evil{t: t, stream: s}
}

// round sends a thousand operations of each kind, and returns how they were answered.
func (e *evil) round() map[interrex.Kind]int {
	var ops []*interrexv1.Operation
	for range 1000 {
		claim := &interrexv1.ClaimRequest{Key: fmt.Sprint("evil/", rand.Uint64()), Holder: "eve"}
		made := e.operation(interrexv1.LeaseServiceClaimProcedure, claim)
		made.RequestId, made.Mark = fmt.Sprintf("%x.1", rand.Uint64()), 1
		single := e.operation(interrexv1.LeaseServiceClaimProcedure, claim)
		single.RequestId = fmt.Sprintf("%x", rand.Uint64())
		ops = append(ops, made, single, e.operation(interrexv1.StateServiceOpenNameProcedure, &interrexv1.OpenNameRequest{Bits: rand.Uint64() | 1}))
	}
	kinds := map[interrex.Kind]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	all.Add(len(ops))
	e.stream.Send(ops, func(_ int, _ []byte, err error) {
		mu.Lock()
		defer mu.Unlock()
		kinds[interrex.KindOf(err)]++
		all.Done()
	})
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		e.t.Error(errors.New("the flood is not answered"))
	}
	mu.Lock()
	defer mu.Unlock()
	return kinds
}

func (e *evil) operation(procedure string, m proto.Message) *interrexv1.Operation {
	method, err := wire.MethodOf(procedure)
	if err != nil {
		e.t.Fatal(err)
	}
	body, err := proto.Marshal(m)
	if err != nil {
		e.t.Fatal(err)
	}
	return &interrexv1.Operation{Method: method.Number, Body: body}
}
