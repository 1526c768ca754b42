package lease

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Check decodes a command and says whether it can be done at now.
func (t *Table) Check(now state.Time, data []byte) (state.Command, error) {
	c, err := Decode(data)
	if err != nil {
		return nil, err
	}
	if refusal := t.check(now, c); refusal != nil {
		return nil, refusal
	}
	return c, nil
}

// check gives nil when Apply may follow.
func (t *Table) check(now state.Time, c state.Command) *interrex.Error {
	switch c := c.(type) {
	case *Claim:
		return t.checkClaim(now, c)
	case *Extend:
		return t.checkToken("extend", c.Key, c.Token)
	case *Revoke:
		if c.Force {
			return t.checkThere("revoke", c.Key)
		}
		return t.checkToken("revoke", c.Key, c.Token)
	case *Transfer:
		return t.checkToken("transfer", c.Key, c.Token)
	case *Pin:
		return t.checkPin(c)
	case *Unpin:
		return t.checkUnpin(c)
	}
	return interrex.Errorf(interrex.KindInvalid, "cannot check lease command: %T is none", c)
}

func (t *Table) checkClaim(now state.Time, c *Claim) *interrex.Error {
	l, ok := t.rows.Get(join(c.Key))
	if !ok || l.isDue(now) || c.Takeover && l.holder == c.Holder {
		return nil
	}
	remaining := max(0, l.expiry.Sub(now))
	e := interrex.Errorf(interrex.KindHeld, "cannot claim %s: %q holds it, for another %v unless it is extended", c.Key, l.holder, remaining)
	switch {
	case l.holder == c.Holder:
		e.Message += "; if that is a predecessor of yours that has stopped, claim with takeover"
	case len(l.pins) > 0:
		remaining = 0
		e.Message = interrex.Errorf(interrex.KindHeld, "cannot claim %s: %q holds it, and a pin of %q keeps it from ending by time", c.Key, l.holder, l.pins[0].Owner).Message
	}
	e.Holder, e.HeldSince, e.Remaining = l.holder, wallTime(l.acquired), remaining
	return e
}

// checkToken demands that the lease is there under the token. Whether it is
// overdue does not matter: while it is there, it is held.
func (t *Table) checkToken(verb string, k interrex.Key, token interrex.Token) *interrex.Error {
	l, ok := t.rows.Get(join(k))
	if !ok {
		return interrex.Errorf(interrex.KindNotHeld, "cannot %s %s: the lease under token %d has ended and nobody holds it now", verb, k, token)
	}
	if l.token != token {
		return interrex.Errorf(interrex.KindNotHeld, "cannot %s %s: token %d is not in force: %q holds it under token %d", verb, k, token, l.holder, l.token)
	}
	return nil
}

func (t *Table) checkThere(verb string, k interrex.Key) *interrex.Error {
	if _, ok := t.rows.Get(join(k)); !ok {
		return interrex.Errorf(interrex.KindNotFound, "cannot %s %s: nobody holds it", verb, k)
	}
	return nil
}

func (t *Table) checkPin(c *Pin) *interrex.Error {
	if refusal := t.checkThere("pin", c.Key); refusal != nil {
		return refusal
	}
	l, _ := t.rows.Get(join(c.Key))
	if _, renewed := l.pinOf(c.Owner); !renewed && len(l.pins) >= interrex.MaxPins {
		return interrex.Errorf(interrex.KindConflict, "cannot pin %s: it has %d pins, which is the most: unpin another owner first", c.Key, len(l.pins))
	}
	return nil
}

func (t *Table) checkUnpin(c *Unpin) *interrex.Error {
	if refusal := t.checkThere("unpin", c.Key); refusal != nil {
		return refusal
	}
	l, _ := t.rows.Get(join(c.Key))
	if _, ok := l.pinOf(c.Owner); !ok {
		return interrex.Errorf(interrex.KindNotFound, "cannot unpin %s: owner %q has no pin on it", c.Key, c.Owner)
	}
	return nil
}
