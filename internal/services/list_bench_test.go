package services

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/wire"
)

// BenchmarkAPageOfLeases makes and encodes a list of 1 000 leases.
func BenchmarkAPageOfLeases(b *testing.B) {
	p := newPast(b, 1)
	p.Waiting = func(interrex.Key) (int, bool) { return 0, true }
	for i := range MaxPage {
		p.lease(&lease.Claim{Key: interrex.Key{Namespace: "jobs", Name: fmt.Sprintf("lease-%04d", i)}, Holder: "agent-7", TTL: 24 * time.Hour})
	}
	for name, encode := range map[string]func(proto.Message) ([]byte, error){
		"protobuf": proto.Marshal,
		"json":     func(m proto.Message) ([]byte, error) { return wire.AppendJSON(nil, m) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				page, err := p.list(&interrexv1.ListRequest{PageSize: MaxPage}, p.State)
				if err != nil || len(page.Items) != MaxPage {
					b.Fatalf("%d leases, %v", len(page.GetItems()), err)
				}
				body, err := encode(page)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(body)))
			}
		})
	}
}
