package machine

import (
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Identity is the history that a state belongs to.
type Identity struct {
	ClusterID    string // 32 hexadecimal digits; empty: not set yet
	Epoch        interrex.Epoch
	Incarnations map[string]string // of each member's disk, by agent ID
}

// SetIdentity is the operation that a new cluster's first leader proposes: it
// sets the cluster's identity. Repeated with the same cluster ID it changes
// nothing and takes no revision; with another it is ErrConflict.
type SetIdentity struct {
	Identity Identity
}

// About is part of Command.
func (c *SetIdentity) About() state.About { return state.About{Name: "set_identity", Privileged: true} }

// Validate is part of Command.
func (c *SetIdentity) Validate() error {
	id := c.Identity.ClusterID
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != 16 {
		return interrex.Errorf(interrex.ErrInvalid, "identity: cluster ID %q is not 16 bytes in hexadecimal", id)
	}
	return nil
}

// Append is part of Command.
func (c *SetIdentity) Append(b []byte) []byte {
	return appendIdentity(append(b, commandVersion, commandSetIdentity), c.Identity)
}

func (c *SetIdentity) decode(args []byte) error {
	d := decoder{b: args}
	c.Identity = d.identity()
	if err := d.end(); err != nil {
		return interrex.Errorf(interrex.ErrInvalid, "identity: %v", err)
	}
	return nil
}

func (c *SetIdentity) check(sys *system, _ *state.Turn, _ *state.Operation) error {
	if mine := sys.identity.ClusterID; mine != "" && mine != c.Identity.ClusterID {
		return interrex.Errorf(interrex.ErrConflict, "identity: this is cluster %s, and cannot become %s", mine, c.Identity.ClusterID)
	}
	return nil
}

func (c *SetIdentity) apply(s *State, t *state.Turn, _ *state.Operation) (state.Reply, error) {
	if sys := s.system; sys.identity.ClusterID == "" {
		t.Next()
		sys.identity = c.Identity
	}
	return nil, nil
}

func appendIdentity(b []byte, id Identity) []byte {
	b = appendBytes(b, id.ClusterID)
	b = binary.AppendUvarint(b, id.Epoch.Number)
	b = binary.AppendUvarint(b, id.Epoch.Bits)
	b = binary.AppendUvarint(b, uint64(len(id.Incarnations)))
	for _, member := range slices.Sorted(maps.Keys(id.Incarnations)) {
		b = appendBytes(b, member)
		b = appendBytes(b, id.Incarnations[member])
	}
	return b
}

// identity reads and copies an identity.
func (d *decoder) identity() Identity {
	var id Identity
	id.ClusterID = strings.Clone(d.text())
	id.Epoch = interrex.Epoch{Number: d.uvarint(), Bits: d.uvarint()}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		if id.Incarnations == nil {
			id.Incarnations = map[string]string{}
		}
		member := strings.Clone(d.text())
		id.Incarnations[member] = strings.Clone(d.text())
	}
	return id
}

func (id Identity) clone() Identity {
	id.Incarnations = maps.Clone(id.Incarnations)
	return id
}
