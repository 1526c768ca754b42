package lease

import "github.com/interrex/interrex"

// Holds reports whether k is leased under the token. The caller holds the table's
// lock.
func (t *Table) Holds(k interrex.Key, token interrex.Token) bool {
	l, ok := t.rows.Get(join(k))
	return ok && l.token == token
}

// checkToken returns an error unless the lease exists under the token. Whether
// it is overdue does not matter: while it exists, it is held.
func (t *Table) checkToken(verb string, k interrex.Key, token interrex.Token) *interrex.Error {
	l, ok := t.rows.Get(join(k))
	if ok && l.token == token {
		return nil
	}
	how := t.history.how(k, token)
	switch {
	case !ok:
		return interrex.Errorf(interrex.ErrNotHeld, "cannot %s %s: the lease under token %d %s, and it is not held now", verb, k, token, ended(how))
	case how == "":
		return interrex.Errorf(interrex.ErrNotHeld, "cannot %s %s: token %d is not in force: %q holds it under token %d", verb, k, token, l.holder, l.token)
	}
	return interrex.Errorf(interrex.ErrNotHeld, "cannot %s %s: the lease under token %d %s, and %q holds it under token %d now", verb, k, token, ended(how), l.holder, l.token)
}

// ended describes how a lease ended; "" is an ending that is not in the history.
func ended(how interrex.Ending) string {
	switch how {
	case interrex.EndReleased:
		return "was released"
	case interrex.EndForced:
		return "was revoked by force"
	case interrex.EndExpired:
		return "ran out"
	case interrex.EndTransferred:
		return "was transferred"
	case interrex.EndTakenOver:
		return "was taken over"
	}
	return "has ended"
}

// checkThere returns an error unless the lease exists, under any token.
func (t *Table) checkThere(verb string, k interrex.Key) *interrex.Error {
	if _, ok := t.rows.Get(join(k)); !ok {
		return interrex.Errorf(interrex.ErrNotFound, "cannot %s %s: it is not held", verb, k)
	}
	return nil
}

func validateToken(token interrex.Token) error {
	if token == 0 {
		return interrex.Errorf(interrex.ErrInvalid, "token: missing: give the token of the grant")
	}
	return nil
}
