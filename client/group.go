package client

import (
	"context"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// Group applies several operations, of any tables, atomically. Each is the
// request of a method that writes, of interrex's own or of an embedder's service,
// or an interrexv1.ProposeRequest; 1 to 64 of them. They are checked together
// against the state before the group, so none sees the effect of another, and
// each key may appear once. Leave out their request ids, fences and waits: the
// group has one id and one fence, in o. Extends cannot be grouped.
//
// The answer's value has those of the operations' methods, in order: of an
// interrexv1.PinRequest an *interrexv1.PinResponse, with its own revision. The answer's
// revision is of the last operation.
//
// The error is that of one operation: its text begins with "operation N: ",
// counted from 1, and nothing has happened.
func (c Calls) Group(ctx context.Context, operations []proto.Message, o Options) (a interrex.Answer[[]proto.Message], err error) {
	in := &interrexv1.GroupRequest{}
	for i, m := range operations {
		if m == nil {
			return a, interrex.Errorf(interrex.ErrInvalid, "operation %d: it is nil", i+1)
		}
		packed, err := anypb.New(m)
		if err != nil {
			return a, interrex.Errorf(interrex.ErrInvalid, "operation %d: %v", i+1, err)
		}
		in.Operations = append(in.Operations, packed)
	}
	m, err := Call[interrexv1.GroupRequest, interrexv1.GroupResponse](ctx, c.by, interrexv1.StateServiceGroupProcedure, in, o)
	if err != nil {
		return a, err
	}
	var answers []proto.Message
	for _, packed := range m.GetAnswers() {
		one, err := packed.UnmarshalNew()
		if err != nil {
			return a, unreadable(err)
		}
		answers = append(answers, one)
	}
	return interrex.Answer[[]proto.Message]{Value: answers, Replayed: m.GetReplayed(), Revision: interrex.Revision(m.GetRevision())}, nil
}

// Group applies several operations atomically: see Calls.Group.
func (c *Client) Group(ctx context.Context, operations []proto.Message, o Options) (a interrex.Answer[[]proto.Message], err error) {
	return Through(c).Group(ctx, operations, o)
}
