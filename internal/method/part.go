package method

import (
	"crypto/rand"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// part is one command of a request that writes: the only one, or one of a group.
type part struct {
	method  *Method
	message proto.Message // the request of method
	table   state.TableID
	command state.Command
	minted  []byte // for the command, if this agent leads
}

// see makes the command.
func (p *part) see(in *Registry) (err error) {
	p.table, p.command, err = p.method.Command(p.message, in.state)
	if err == nil && (p.command == nil || !in.state.Knows(p.table)) {
		err = interrex.Errorf(interrex.ErrInvalid, "method %s makes no command of a table that is known here", p.method.Procedure)
	}
	return err
}

// unpack reads an operation of a group into the part.
func (p *part) unpack(in *Registry, c admission.Caller, m *anypb.Any) error {
	p.method = in.takers[m.MessageName()]
	switch {
	case m.MessageName() == "":
		return interrex.Errorf(interrex.ErrInvalid, `its type is missing: give the request of a method that writes, as {"@type": "type.googleapis.com/PACKAGE.REQUEST", ...}`)
	case p.method == nil:
		return interrex.Errorf(interrex.ErrInvalid, "agent %s has no method that writes and takes %s", in.id, m.MessageName())
	case p.method.Err != nil:
		return p.method.Err
	case p.method.group:
		return interrex.Errorf(interrex.ErrInvalid, "groups cannot be nested")
	}
	err := in.Served(p.method.setting, c)
	if err == nil {
		p.message, err = p.method.Decode(m.GetValue())
	}
	if err != nil {
		return err
	}
	if field := liftedIn(p.message); field == "wait" {
		return interrex.Errorf(interrex.ErrInvalid, "wait: not allowed in a group")
	} else if field != "" {
		return interrex.Errorf(interrex.ErrInvalid, "%s: a group has one for all its operations: leave it out here", field)
	}
	if err := p.see(in); err != nil {
		return err
	}
	if p.table == machine.SystemTable || p.command.About().Extend {
		return interrex.Errorf(interrex.ErrInvalid, "%s cannot be part of a group: call it by itself", p.method.Name())
	}
	return nil
}

func (p *part) mint() (err error) {
	m, is := p.command.(state.Minter)
	if !is || p.minted != nil {
		return nil
	}
	if p.minted, err = m.Mint(rand.Reader); err == nil && len(p.minted) > limits.MaxMinted {
		err = interrex.Errorf(interrex.ErrUnavailable, "operation: the data generated for %s has %d bytes, at most %d are allowed", p.method.Name(), len(p.minted), limits.MaxMinted)
	}
	return err
}
