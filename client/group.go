package client

import (
	"context"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// GroupAnswer is the response to a Group.
type GroupAnswer struct {
	// Answers are those of the operations' methods, in order: of an
	// interrexv1.PinRequest an *interrexv1.PinResponse, with its own revision.
	Answers  []proto.Message
	Replayed bool              // an earlier attempt did it; nothing was done again
	Revision interrex.Revision // of the last operation
}

// Group applies several operations, of any tables, atomically. Each is the
// request of a method that writes, of interrex's own or of an embedder's service,
// or an interrexv1.ProposeRequest; 1 to 64 of them. They are checked together
// against the state before the group, so none sees the effect of another, and
// each key may appear once. Leave out their request ids, fences and waits: the
// group has one id and one fence, in o. Extends cannot be grouped.
//
// The error is that of one operation: its text begins with "operation N: ",
// counted from 1, and nothing has happened.
func (c Calls) Group(ctx context.Context, operations []proto.Message, o Options) (GroupAnswer, error) {
	in := &interrexv1.GroupRequest{}
	for i, m := range operations {
		if m == nil {
			return GroupAnswer{}, interrex.Errorf(interrex.ErrInvalid, "operation %d: it is nil", i+1)
		}
		packed, err := anypb.New(m)
		if err != nil {
			return GroupAnswer{}, interrex.Errorf(interrex.ErrInvalid, "operation %d: %v", i+1, err)
		}
		in.Operations = append(in.Operations, packed)
	}
	m, err := Call[interrexv1.GroupRequest, interrexv1.GroupResponse](ctx, c.by, interrexv1.StateServiceGroupProcedure, in, o)
	if err != nil {
		return GroupAnswer{}, err
	}
	a := GroupAnswer{Replayed: m.GetReplayed(), Revision: interrex.Revision(m.GetRevision())}
	for _, packed := range m.GetAnswers() {
		one, err := packed.UnmarshalNew()
		if err != nil {
			return GroupAnswer{}, unreadable(err)
		}
		a.Answers = append(a.Answers, one)
	}
	return a, nil
}

// Group applies several operations atomically: see Calls.Group.
func (c *Client) Group(ctx context.Context, operations []proto.Message, o Options) (GroupAnswer, error) {
	return Through(c).Group(ctx, operations, o)
}
