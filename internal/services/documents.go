package services

import (
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/state"
)

// Documents makes the JSON documents of events, each with the service of its table.
type Documents []method.Service

// Of returns the document of an event; null if its table's service has none.
func (d Documents) Of(e *state.Event, s state.State) ([]byte, error) {
	if u, is := e.Value.(*change.User); is {
		return []byte(u.Data), nil
	}
	for _, one := range d {
		if one.Data != nil && e.Value != nil && one.Of(e.Table) {
			return one.Data(e, s)
		}
	}
	return []byte("null"), nil
}
