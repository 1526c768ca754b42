package resource

import (
	"strings"

	"github.com/interrex/interrex"
)

// separator is below every character of a type, a tenancy and a name: joined
// keys sort part by part, and none is the beginning of another's part.
const separator = "\x00"

// join makes the key of a row: group, kind, partition, namespace, name.
func join(id interrex.ResourceID) string {
	return scope(id.Type.Group, id.Type.Kind) + id.Tenancy.Partition + separator + id.Tenancy.Namespace + separator + id.Name
}

// scope is the beginning of the keys of one kind.
func scope(group, kind string) string { return group + separator + kind + separator }

// split is the reverse of join. The parts are parts of the key.
func split(key string) (id interrex.ResourceID) {
	id.Type.Group, key, _ = strings.Cut(key, separator)
	id.Type.Kind, key, _ = strings.Cut(key, separator)
	id.Tenancy.Partition, key, _ = strings.Cut(key, separator)
	id.Tenancy.Namespace, id.Name, _ = strings.Cut(key, separator)
	return id
}

// ownedBy is the beginning of the keys of what an owner owns.
func ownedBy(owner interrex.ResourceID) string {
	return join(owner) + separator + owner.UID + separator
}

// ownedKey is the key in the index of owners.
func ownedKey(owner interrex.ResourceID, key string) string { return ownedBy(owner) + key }

// Key returns the place in lists, see ReadView, of the resource of an event's
// key.
func Key(event string) string {
	typ, rest, _ := strings.Cut(event, "/")
	group, kind := typ, ""
	if i := strings.LastIndexByte(typ, '.'); i >= 0 {
		group, kind = typ[:i], typ[i+1:]
	}
	return scope(group, kind) + strings.Replace(rest, "/", separator, 2)
}
