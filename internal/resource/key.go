package resource

import (
	"strings"

	"github.com/interrex/interrex"
)

// separator is below every character of a type, a tenancy and a name: so joined
// keys sort part by part, and no part is mistaken for the prefix of another.
const separator = "\x00"

// join returns the key of a row: group, kind, partition, namespace, name.
func join(id interrex.ResourceID) string {
	return scope(id.Type.Group, id.Type.Kind) + id.Tenancy.Partition + separator + id.Tenancy.Namespace + separator + id.Name
}

// scope returns the prefix of the keys of one kind.
func scope(group, kind string) string { return group + separator + kind + separator }

// split is the reverse of join. The parts share memory with the key.
func split(key string) (id interrex.ResourceID) {
	id.Type.Group, key, _ = strings.Cut(key, separator)
	id.Type.Kind, key, _ = strings.Cut(key, separator)
	id.Tenancy.Partition, key, _ = strings.Cut(key, separator)
	id.Tenancy.Namespace, id.Name, _ = strings.Cut(key, separator)
	return id
}

// ownedBy returns the prefix of an owner's keys in the index of owners.
func ownedBy(owner interrex.ResourceID) string {
	return join(owner) + separator + owner.UID + separator
}

// ownedKey returns the key in the index of owners.
func ownedKey(owner interrex.ResourceID, key string) string { return ownedBy(owner) + key }

// Key returns the Record.Key of the resource that an event's key names.
func Key(event string) string {
	typ, rest, _ := strings.Cut(event, "/")
	group, kind := typ, ""
	if i := strings.LastIndexByte(typ, '.'); i >= 0 {
		group, kind = typ[:i], typ[i+1:]
	}
	return scope(group, kind) + strings.Replace(rest, "/", separator, 2)
}

// EventKeys returns what the keys of a selection's events begin with, after so many of
// their parts.
func EventKeys(s interrex.ResourceSelection) (skip int, prefix string) {
	id := interrex.ResourceID{Type: s.Type, Tenancy: s.Tenancy, Name: s.NamePrefix}
	prefix = id.String()
	if s.Tenancy.Partition != interrex.Wildcard && s.Tenancy.Namespace != interrex.Wildcard {
		return 0, prefix
	}
	if s.NamePrefix != "" {
		return 3, s.NamePrefix
	}
	prefix, _, _ = strings.Cut(prefix, interrex.Wildcard)
	return 0, prefix
}
