package client

import (
	"context"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// Propose appends a command of an embedder's own state machine or table to the
// log, and returns the answer. If the state machine refuses the command, both the
// answer and the error are set. It is for operators and the agent's own process.
func (c Calls) Propose(ctx context.Context, p interrex.Proposal) (interrex.Answer[[]byte], error) {
	m, err := Call[interrexv1.ProposeRequest, interrexv1.ProposeResponse](ctx, c.by, interrexv1.StateServiceProposeProcedure,
		&interrexv1.ProposeRequest{Table: uint32(p.Table), Data: p.Data},
		Options{RequestID: p.RequestID, Attempt: p.Attempt, Fence: p.Fence})
	if err != nil {
		return interrex.Answer[[]byte]{}, err
	}
	answer := interrex.Answer[[]byte]{Value: m.GetReply(), Replayed: m.GetReplayed(), Revision: interrex.Revision(m.GetRevision())}
	if refused := wire.FromDetail(m.GetRefused()); refused != nil {
		return answer, refused
	}
	return answer, nil
}

// Propose appends a command to the log: see Calls.Propose.
func (c *Client) Propose(ctx context.Context, p interrex.Proposal) (interrex.Answer[[]byte], error) {
	return Through(c).Propose(ctx, p)
}
