package client

import "context"

// Calls are the calls of interrex's own tables, by the client that a Caller returns for
// each of them. A Client has the same ones.
type Calls struct{ by Caller }

// Through returns the calls that by makes. They remain valid when its client changes, as
// an agent's does when its API restarts.
func Through(by Caller) Calls { return Calls{by} }

// do makes the attempts of a request, by the present client.
func (c Calls) do(ctx context.Context, r *request) ([]byte, error) {
	by, err := clientOf(ctx, c.by)
	if err != nil {
		return nil, err
	}
	return by.do(ctx, r)
}
