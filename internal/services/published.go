package services

import (
	"encoding/json"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/state"
)

// Published returns the value of an event as programs know it: a record of interrex's
// own tables as it is in the vocabulary, and any other value as it is.
func Published(e *state.Event) any {
	switch v := e.Value.(type) {
	case lease.Record:
		return v.Lease(e.Now, e.Wall)
	case *resource.Record:
		return v.Resource()
	case *member.Member:
		return joined(interrex.Member{}, v)
	case *webhook.Hook:
		return v.State()
	case *change.User:
		return interrex.Change{Revision: e.Revision, Kind: e.Kind, Key: e.Key, Tags: v.Tags, Time: e.Wall, Data: json.RawMessage(v.Data)}
	}
	return e.Value
}
