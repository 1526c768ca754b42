package testtable

import (
	"io"

	"github.com/interrex/interrex/state"
)

// Staged is a Register that reads its section of a file while that arrives, so that a
// restore replaces its content at once.
type Staged struct{ *Register }

// NewStaged returns an empty one with the given ID.
func NewStaged(id state.TableID) Staged { return Staged{NewRegisterAs(id)} }

// Stage reads what a View wrote.
func (s Staged) Stage(version uint16, r io.Reader) (any, error) {
	fresh := NewRegisterAs(s.id)
	return fresh, fresh.Restore(version, r)
}

// Replace replaces the content by the result of Stage. What is for a limited time lasts as
// long as it did when it was saved.
func (s Staged) Replace(t *state.Turn, staged any, saved state.Time) {
	in := staged.(*Register)
	s.clear()
	in.values.Scan(func(key string, v Value) bool {
		if v.Expiry != 0 {
			v.Expiry += t.Now - saved
			s.due.Set(deadline{v.Expiry, key})
		}
		s.values.Set(key, v)
		return true
	})
}
