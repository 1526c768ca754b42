package api

import (
	"crypto/rand"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// part is one command of a request that writes: the only one, or one of a
// group's.
type part struct {
	method  *Method
	message proto.Message // the request of method
	table   state.TableID
	command state.Command
	minted  []byte // for the command, where this agent leads
}

// takers finds the methods that write by the types of their requests; nil:
// several take that type.
type takers map[protoreflect.FullName]*Method

func (t takers) add(m *Method) {
	if !m.Writes() {
		return
	}
	if _, twice := t[m.takes]; twice {
		m = &Method{Method: m.Method, takes: m.takes, err: interrex.Errorf(interrex.KindInvalid, "several methods take a %s", m.takes)}
	}
	t[m.takes] = m
}

// groupMethod does several operations in one.
func groupMethod() Method {
	m := newMethod[interrexv1.GroupRequest, interrexv1.GroupResponse](interrexv1.StateServiceGroupProcedure)
	m.group = true
	return m
}

// see makes the commands of the request. This is the one place where the door
// looks into what is written.
func (r *request) see(s *Server) error {
	group, is := r.message.(*interrexv1.GroupRequest)
	if !is {
		r.only[0] = part{method: r.method, message: r.message}
		r.parts = r.only[:]
		return r.parts[0].see(s)
	}
	n := len(group.GetOperations())
	if n == 0 || n > state.MaxGroup {
		return interrex.Errorf(interrex.KindInvalid, "operations: 1 to %d are allowed, not %d", state.MaxGroup, n)
	}
	r.parts = make([]part, n)
	for i, m := range group.GetOperations() {
		if err := r.parts[i].unpack(s, r.caller, m); err != nil {
			return state.InGroup(i, err)
		}
	}
	return nil
}

// see makes the command.
func (p *part) see(s *Server) (err error) {
	p.table, p.command, err = p.method.command(p.message, s.config.State)
	if err == nil && (p.command == nil || !s.config.State.Knows(p.table)) {
		err = interrex.Errorf(interrex.KindInvalid, "method %s makes no command of a table that is known here", p.method.Procedure)
	}
	return err
}

// unpack makes a part of a group's operation.
func (p *part) unpack(s *Server, c caller, m *anypb.Any) error {
	p.method = s.takers[m.MessageName()]
	switch {
	case m.MessageName() == "":
		return interrex.Errorf(interrex.KindInvalid, `it has no type: give the request of a method that writes, as {"@type": "type.googleapis.com/PACKAGE.REQUEST", ...}`)
	case p.method == nil:
		return interrex.Errorf(interrex.KindInvalid, "no method of agent %s that writes takes a %s", s.config.ID, m.MessageName())
	case p.method.err != nil:
		return p.method.err
	case p.method.group:
		return interrex.Errorf(interrex.KindInvalid, "a group stands in no other")
	}
	err := s.served(p.method.setting, c)
	if err == nil {
		p.message, err = p.method.decode(m.GetValue())
	}
	if err != nil {
		return err
	}
	if field := liftedIn(p.message); field == "wait" {
		return interrex.Errorf(interrex.KindInvalid, "wait: nothing waits in a group")
	} else if field != "" {
		return interrex.Errorf(interrex.KindInvalid, "%s: a group has one for all of its operations: leave it out here", field)
	}
	if err := p.see(s); err != nil {
		return err
	}
	if p.table == state.SystemTable || p.command.About().Lane == state.LaneExtend {
		return interrex.Errorf(interrex.KindInvalid, "%s is not done in a group: call it by itself", p.method.Name())
	}
	return nil
}

// admit refuses commands that are not valid, or not allowed to the caller.
func (r *request) admit() error {
	for i := range r.parts {
		c := r.parts[i].command
		err := c.Validate()
		if err == nil {
			if about := c.About(); about.Privileged {
				err = r.caller.mayDo(about.Name)
			}
		}
		if err != nil {
			return r.of(i, err)
		}
	}
	return nil
}

// of is the error of one of the request's commands.
func (r *request) of(i int, err error) error {
	if r.method.group {
		return state.InGroup(i, err)
	}
	return err
}

// lane is where the operation waits for the log.
func (r *request) lane() state.Lane {
	if r.method.group {
		return state.LaneNormal
	}
	return r.parts[0].command.About().Lane
}

// load puts the commands into the queue's operation.
func (r *request) load(op *queue.Operation) {
	if !r.method.group {
		p := &r.parts[0]
		op.Table, op.Command, op.Data, op.Minted = p.table, p.command, p.command.Append(nil), p.minted
		return
	}
	op.Group, op.Commands = make([]state.Part, len(r.parts)), make([]state.Command, len(r.parts))
	for i := range r.parts {
		p := &r.parts[i]
		op.Group[i] = state.Part{Table: p.table, Data: p.command.Append(nil), Minted: p.minted}
		op.Commands[i] = p.command
	}
}

// mint makes what the commands need from outside the log, once.
func (r *request) mint() error {
	for i := range r.parts {
		if err := r.parts[i].mint(); err != nil {
			return r.of(i, err)
		}
	}
	return nil
}

func (p *part) mint() (err error) {
	m, is := p.command.(state.Minter)
	if !is || p.minted != nil {
		return nil
	}
	if p.minted, err = m.Mint(rand.Reader); err == nil && len(p.minted) > state.MaxMinted {
		err = interrex.Errorf(interrex.KindUnavailable, "operation: what was made for %s has %d bytes, at most %d are allowed", p.method.Name(), len(p.minted), state.MaxMinted)
	}
	return err
}

// answer makes the answer from the result.
func (r *request) answer(s *state.State) (proto.Message, error) {
	if !r.method.group {
		return r.method.answer(&r.parts[0], r.result, s)
	}
	replies, is := r.result.Reply.(state.GroupReply)
	if !is || len(replies) != len(r.parts) {
		return nil, interrex.Errorf(interrex.KindOutcomeUnknown, "cannot read the reply: it is a %T", r.result.Reply)
	}
	out := &interrexv1.GroupResponse{Replayed: r.result.Replayed, Revision: uint64(r.result.Revision)}
	for i, reply := range replies {
		one := r.result
		one.Reply, one.Revision = reply.Reply, reply.Revision
		m, err := r.parts[i].method.answer(&r.parts[i], one, s)
		if err != nil {
			return nil, state.InGroup(i, err)
		}
		packed, err := anypb.New(m)
		if err != nil {
			return nil, interrex.Errorf(interrex.KindOutcomeUnknown, "cannot answer operation %d: %v", i+1, err)
		}
		out.Answers = append(out.Answers, packed)
	}
	return out, nil
}
