package machine

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/state"
)

// DropRequests is the operation with which an operator drops all names and records of
// request ids of one user. It takes no revision.
type DropRequests struct {
	User RequestUser
}

// RequestUser is whose share names and records count in: a caller, or the address of
// callers without a name.
type RequestUser struct{ Caller, Address string }

func (u RequestUser) text() string {
	if u.Caller != "" {
		return userCaller + u.Caller
	}
	return userAddress + u.Address
}

// userNamed returns the user of a text.
func userNamed(text string) RequestUser {
	if text[:1] == userCaller {
		return RequestUser{Caller: text[1:]}
	}
	return RequestUser{Address: text[1:]}
}

// About is part of Command.
func (c *DropRequests) About() state.About {
	return state.About{Name: "drop_requests", Privileged: true}
}

// Validate is part of Command.
func (c *DropRequests) Validate() error {
	switch u := c.User; {
	case u.Caller != "" && u.Address != "":
		return interrex.Errorf(interrex.ErrInvalid, "user: give a caller or an address, not both")
	case len(u.Caller) > limits.MaxCaller || len(u.Address) > limits.MaxOrigin:
		return interrex.Errorf(interrex.ErrTooLarge, "user: a caller has at most %d bytes and an address %d", limits.MaxCaller, limits.MaxOrigin)
	}
	return nil
}

// Append is part of Command.
func (c *DropRequests) Append(b []byte) []byte {
	return append(append(b, commandVersion, commandDropRequests), c.User.text()...)
}

func (c *DropRequests) decode(args []byte) error {
	if text := string(args); text != "" && (text[:1] == userCaller || text[:1] == userAddress) {
		c.User = userNamed(text)
		return nil
	}
	return interrex.Errorf(interrex.ErrInvalid, "drop_requests: its user is malformed")
}

func (c *DropRequests) check(sys *system, _ *state.Turn, _ *state.Operation) error {
	if r, user := sys.records, c.User.text(); r.names.shares.byUser[user] == nil && r.singles.shares.byUser[user] == nil {
		return interrex.Errorf(interrex.ErrNotFound, "user: %s has neither names nor records of request ids", shown(user))
	}
	return nil
}

func (c *DropRequests) apply(s *State, t *state.Turn, _ *state.Operation) (state.Reply, error) {
	r, user := s.system.records, c.User.text()
	for sh := r.names.shares.byUser[user]; sh != nil; sh = r.names.shares.byUser[user] {
		r.names.drop(sh.order.Front().Value.(*name))
	}
	for sh := r.singles.shares.byUser[user]; sh != nil; sh = r.singles.shares.byUser[user] {
		r.singles.dropEarly(sh.order.Front().Value.(*single), t.Now)
	}
	return nil, nil
}
