package compare

import (
	"context"
	"net/http"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/peercall"
)

// path is where agents exchange their reports.
const path = "/interrex.compare/exchange"

// Serve serves the exchange with other members, where id is this agent's.
func (b *Board) Serve(mux *http.ServeMux, id string) {
	peercall.Handle(mux, path, func(_ context.Context, peer string, theirs *Report) (*Report, error) {
		b.note(peer, *theirs)
		mine, has := b.reports(theirs.At)[id]
		if !has {
			return nil, errNone(id, theirs.At)
		}
		return &mine, nil
	})
}

func errNone(id string, at machine.ComparedEntry) error {
	return interrex.Errorf(interrex.ErrUnavailable, "agent %s has not hashed its state at log index %d", id, at.Index)
}

// Exchange gives this agent's report to another one, and returns that one's.
func Exchange(ctx context.Context, dial peercall.Dialer, peer string, mine Report) (Report, error) {
	theirs, err := peercall.Call[Report](ctx, dial, peer, path, &mine)
	if err != nil {
		return Report{}, err
	}
	return *theirs, nil
}
