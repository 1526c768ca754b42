package client

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

// epochs remembers the highest epoch in a response. A client never accepts a lower
// one, nor another epoch with the same number: such an agent belongs to the half of
// the cluster that a recovery left behind.
type epochs struct {
	mu     sync.Mutex
	seen   bool
	number uint64
	bits   string
}

// accept checks the header of a response. Its error is ErrOtherCluster; another
// agent may succeed.
func (e *epochs) accept(h http.Header) error {
	text := h.Get(wire.HeaderEpoch)
	digits := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(text)
	}
	number, err := strconv.ParseUint(text[:digits], 10, 64)
	if err != nil {
		return nil // the response of an agent without a cluster, or of a proxy
	}
	bits := text[digits:]
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case !e.seen || number > e.number:
		e.seen, e.number, e.bits = true, number, bits
	case number < e.number || bits != e.bits:
		return interrex.Errorf(interrex.ErrOtherCluster, "the agent is in epoch %s, and this client has seen epoch %d%s: this address belongs to another cluster now, or a recovery has left the agent behind: use an address of the same cluster, or make a new client, whose watches start since 0; leases, tokens, revisions and watch positions that this client has seen are not valid there", text, e.number, e.bits)
	}
	return nil
}

// unary checks the header of unary responses.
func (e *epochs) unary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		answer, err := next(ctx, r)
		if err == nil {
			return answer, e.accept(answer.Header())
		}
		if answered := (*connect.Error)(nil); errors.As(err, &answered) {
			if stale := e.accept(answered.Meta()); stale != nil {
				return nil, stale
			}
		}
		return nil, err
	}
}
