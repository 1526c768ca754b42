package method

import (
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// purpose is what rules call a method.
type purpose struct {
	table, verb string
	act         string // what only operators may do with it; empty: rules decide
}

// stateTable is the service of the state itself: what in it is not for operators is
// for every caller that is known, because clients need it for all else.
const stateTable = "state"

// purposeOf returns lease and claim for interrex.v1.LeaseService/Claim. Methods that
// read are list if their name begins so, else read.
func purposeOf(m wire.Method) purpose {
	if m.Procedure == "" {
		return purpose{}
	}
	service := m.Service()
	p := purpose{
		table: strings.ToLower(strings.TrimSuffix(service[strings.LastIndexByte(service, '.')+1:], "Service")),
		verb:  strings.ToLower(m.Name()),
	}
	switch {
	case m.Class == interrexv1.Class_CLASS_WATCH:
		p.verb = "watch"
	case m.Class == interrexv1.Class_CLASS_READ && strings.HasPrefix(p.verb, "list"):
		p.verb = "list"
	case m.Class == interrexv1.Class_CLASS_READ:
		p.verb = "read"
	}
	return p
}

// use returns the use that a request is; command is nil for a read.
func (p purpose) use(m proto.Message, command state.Command) accesstoken.Use {
	u := accesstoken.Use{Table: p.table, Verb: p.verb}
	if q, is := m.(interface{ GetHolder() string }); is {
		u.Holder = q.GetHolder()
	}
	if q, is := m.(interface{ GetTo() string }); is {
		u.Holder = q.GetTo()
	}
	if q, is := m.(interface{ GetOwner() string }); is {
		u.Holder = q.GetOwner()
	}
	if announcer, is := command.(state.Announcer); is {
		if a := announcer.Announce(); a.Key != "" {
			u.Key, u.Prefix = a.Key, a.Prefix
			return u
		}
	}
	if command != nil {
		if k := command.About().Key; k != (interrex.Key{}) {
			u.Key = k.String()
			return u
		}
	}
	u.Key, u.Prefix = keysOf(m)
	return u
}

// keysOf returns the key that a request is about, or the beginning of all of them.
func keysOf(m proto.Message) (key string, prefix bool) {
	switch q := m.(type) {
	case interface {
		GetId() *interrexv1.ResourceID
	}:
		return resourceKey(q.GetId().GetType(), q.GetId().GetTenancy(), q.GetId().GetName())
	case interface {
		GetType() *interrexv1.ResourceType
		GetTenancy() *interrexv1.Tenancy
		GetNamePrefix() string
	}:
		key, _ := resourceKey(q.GetType(), q.GetTenancy(), q.GetNamePrefix())
		return key, true
	case interface{ GetKey() string }:
		if q.GetKey() != "" {
			if k, err := interrex.ParseKey(q.GetKey()); err == nil {
				return k.String(), false
			}
			return q.GetKey(), false
		}
	}
	return beginning(m), true
}

// resourceKey returns the key of a resource; prefix reports that a part of it is a
// wildcard, before which the key ends.
func resourceKey(t *interrexv1.ResourceType, in *interrexv1.Tenancy, name string) (key string, prefix bool) {
	id := interrex.ResourceID{Type: wire.FromResourceType(t), Tenancy: wire.FromTenancy(in), Name: name}
	key = id.String()
	for _, part := range []string{id.Tenancy.Partition, id.Tenancy.Namespace} {
		if part == interrex.Wildcard {
			first, _, _ := strings.Cut(key, "/"+part+"/")
			return first + "/", true
		}
	}
	return key, false
}

// beginning returns how the keys of a list or a watch begin.
func beginning(m proto.Message) string {
	first := ""
	if q, is := m.(interface{ GetPrefix() string }); is {
		first = q.GetPrefix()
	}
	if q, is := m.(interface{ GetNamespace() string }); is {
		if q.GetNamespace() == "" {
			return "" // of every namespace
		}
		first = q.GetNamespace() + "/" + first
	}
	return first
}
