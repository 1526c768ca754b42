package member

import (
	"encoding/binary"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// See records what the leader has seen of an agent: its disk, its addresses, its
// build. An agent that nobody admitted, because it founded the cluster, becomes a
// member by it. Only the leader proposes it.
type See struct {
	ID string
	// Was is the incarnation that the member has, as the leader knows it; empty: none
	// yet. Another disk is recorded only when this one is known to be out of the
	// cluster.
	Was, Incarnation           string
	ClusterAddress, APIAddress string
	Version                    string
	Tables                     []TableVersion // by name
	Certificate                Certificate
}

// About is part of state.Command.
func (c *See) About() state.About { return state.About{Name: "see", Privileged: true} }

// Validate reports which field is not allowed.
func (c *See) Validate() error {
	if err := validateID("id", c.ID); err != nil {
		return err
	}
	for _, f := range []struct {
		name, value string
		most        int
	}{
		{"was", c.Was, 64}, {"incarnation", c.Incarnation, 64}, {"version", c.Version, maxVersion},
		{"certificate.serial", c.Certificate.Serial, 64}, {"certificate.issuer", c.Certificate.Issuer, maxIssuer},
		{"cluster_address", c.ClusterAddress, maxAddress}, {"api_address", c.APIAddress, maxAddress},
	} {
		if len(f.value) > f.most {
			return interrex.Errorf(interrex.ErrTooLarge, "%s: %d bytes: at most %d are allowed", f.name, len(f.value), f.most)
		}
	}
	if c.Incarnation == "" {
		return interrex.Errorf(interrex.ErrInvalid, "incarnation: it must not be empty")
	}
	return c.validateTables()
}

func (c *See) validateTables() error {
	if len(c.Tables) > maxTables {
		return interrex.Errorf(interrex.ErrTooLarge, "tables: %d: at most %d are allowed", len(c.Tables), maxTables)
	}
	last := ""
	for _, t := range c.Tables {
		if t.Name <= last || len(t.Name) > 64 {
			return interrex.Errorf(interrex.ErrInvalid, "tables: the name %q is empty, too long or out of order", t.Name)
		}
		last = t.Name
	}
	return nil
}

// Append encodes the command.
func (c *See) Append(b []byte) []byte {
	b = append(b, opSee)
	for _, s := range []string{c.ID, c.Was, c.Incarnation, c.ClusterAddress, c.APIAddress, c.Version} {
		b = codec.AppendText(b, s)
	}
	return appendCertificate(appendTables(b, c.Tables), c.Certificate)
}

func appendTables(b []byte, tables []TableVersion) []byte {
	b = binary.AppendUvarint(b, uint64(len(tables)))
	for _, t := range tables {
		b = binary.AppendUvarint(codec.AppendText(b, t.Name), uint64(t.Version))
	}
	return b
}

func (c *See) decode(d *decoder) {
	*c = See{
		ID: d.Text(), Was: d.Text(), Incarnation: d.Text(), ClusterAddress: d.Text(), APIAddress: d.Text(), Version: d.Text(),
		Tables: d.tables(), Certificate: d.certificate(),
	}
}

func (c *See) check(now *content, _ state.Time) *interrex.Error {
	known := now.member(c.ID)
	for _, r := range now.removed {
		if r.ID == c.ID && r.Incarnation == c.Incarnation {
			return interrex.Errorf(interrex.ErrConflict, "agent %s was removed from the cluster with this disk", c.ID)
		}
	}
	switch {
	case known == nil && c.Was != "":
		return notFound(c.ID)
	case known == nil && len(now.members) >= MaxMembers:
		return tooMany(now)
	case known != nil && known.Incarnation != c.Was:
		return interrex.Errorf(interrex.ErrConflict, "member %s has the disk %q, not %q", c.ID, known.Incarnation, c.Was)
	}
	return nil
}

func (c *See) apply(t *Table, turn *state.Turn) *Reply {
	known := t.Member(c.ID)
	next, kind := &Member{ID: c.ID, Added: turn.Wall}, interrex.MemberAdded
	if known != nil {
		copied := *known
		next, kind = &copied, interrex.MemberChanged
	}
	next.Incarnation, next.ClusterAddress, next.APIAddress = c.Incarnation, c.ClusterAddress, c.APIAddress
	next.Version, next.Tables, next.Certificate, next.Revision = c.Version, c.Tables, c.Certificate, turn.Revision
	t.change(func(now *content) { now.put(next) })
	emit(turn, kind, next)
	return &Reply{Member: next}
}

// News reports whether the command would change what is recorded of its agent.
func (c *See) News(t *Table) bool {
	known := t.Member(c.ID)
	return known == nil || !known.sameSight(&Member{
		Incarnation: c.Incarnation, ClusterAddress: c.ClusterAddress, APIAddress: c.APIAddress, Version: c.Version, Tables: c.Tables,
		Certificate: c.Certificate,
	})
}
