package member

import (
	"encoding/binary"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/state"
)

func appendMember(b []byte, m *Member) []byte {
	b = codec.AppendText(codec.AppendText(codec.AppendText(b, m.ID), m.Key), m.Incarnation)
	b = append(b, m.role())
	b = codec.AppendText(codec.AppendText(codec.AppendText(b, m.ClusterAddress), m.APIAddress), m.Version)
	b = appendCertificate(appendTables(b, m.Tables), m.Certificate)
	b = binary.AppendVarint(codec.AppendBool(b, m.Renew), m.Added.UnixNano())
	return binary.AppendUvarint(b, uint64(m.Revision))
}

// The roles of a member, as they are encoded.
const (
	mayVote byte = iota
	nonVoter
	forwards
)

func (m *Member) role() byte {
	switch {
	case m.Forwards:
		return forwards
	case m.NonVoter:
		return nonVoter
	}
	return mayVote
}

func (d *decoder) role(m *Member) {
	switch role := d.Bytes(1); {
	case d.Failed():
	case role[0] == nonVoter:
		m.NonVoter = true
	case role[0] == forwards:
		m.Forwards = true
	case role[0] != mayVote:
		d.Fail()
	}
}

func appendCertificate(b []byte, c Certificate) []byte {
	b = codec.AppendText(codec.AppendText(b, c.Serial), c.Issuer)
	if c.Ends.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, c.Ends.Unix())
}

func appendToken(b []byte, t *JoinToken) []byte {
	b = codec.AppendText(codec.AppendText(b, t.Key), t.For)
	b = binary.AppendUvarint(binary.AppendUvarint(b, t.MaxUses), uint64(len(t.Uses)))
	for _, u := range t.Uses {
		b = codec.AppendText(codec.AppendText(b, u.ID), u.Sum)
	}
	b = binary.AppendUvarint(b, uint64(t.Expires))
	return binary.AppendUvarint(b, uint64(t.Created))
}

// appendRotation appends what is known of the CAs besides the cluster's own.
func appendRotation(b []byte, c *content) []byte {
	b = codec.AppendTexts(binary.AppendUvarint(b, uint64(c.since)), c.gone)
	if b = codec.AppendBool(b, c.rotation != nil); c.rotation == nil {
		return b
	}
	r := c.rotation
	b = codec.AppendText(append(binary.AppendUvarint(b, uint64(r.Began)), byte(r.Phase)), r.Next)
	return codec.AppendTexts(codec.AppendTexts(b, r.Former), r.Without)
}

// decoder reads what the append functions wrote.
type decoder struct{ codec.Decoder }

func newDecoder(b string) *decoder { return &decoder{codec.NewDecoder(b)} }

// count reads a length of at most most.
func (d *decoder) count(most int) int {
	n := d.Uvarint()
	if n > uint64(most) {
		d.Fail()
		return 0
	}
	return int(n)
}

// texts reads at most most texts; none: nil.
func (d *decoder) texts(most int) (all []string) {
	for n := d.count(most); n > 0 && !d.Failed(); n-- {
		all = append(all, d.Text())
	}
	return all
}

func (d *decoder) phase() Phase {
	p := Phase(d.count(int(Dropping)))
	if p < Asked {
		d.Fail()
	}
	return p
}

func (d *decoder) step() Step { return Step{d.phase(), d.Text()} }

func (d *decoder) rotation(c *content) {
	c.since, c.gone = interrex.Revision(d.Uvarint()), d.texts(maxGone)
	if d.Bool() {
		c.rotation = &Rotation{
			Began: interrex.Revision(d.Uvarint()), Phase: d.phase(), Next: d.Text(), Former: d.texts(maxFormer), Without: d.texts(MaxMembers),
		}
	}
}

func (d *decoder) tables() (all []TableVersion) {
	for n := d.count(maxTables); n > 0; n-- {
		name, version := d.Text(), d.Uvarint()
		if version > 1<<16-1 {
			d.Fail()
		}
		all = append(all, TableVersion{name, uint16(version)})
	}
	return all
}

func (d *decoder) certificate() Certificate {
	c := Certificate{Serial: d.Text(), Issuer: d.Text()}
	if ends := d.Varint(); ends != 0 {
		c.Ends = time.Unix(ends, 0).UTC()
	}
	return c
}

func (d *decoder) member() *Member {
	m := &Member{ID: d.Text(), Key: d.Text(), Incarnation: d.Text()}
	d.role(m)
	m.ClusterAddress, m.APIAddress, m.Version, m.Tables = d.Text(), d.Text(), d.Text(), d.tables()
	m.Certificate, m.Renew = d.certificate(), d.Bool()
	m.Added, m.Revision = time.Unix(0, d.Varint()).UTC(), interrex.Revision(d.Uvarint())
	return m
}

func (d *decoder) token() *JoinToken {
	t := &JoinToken{Key: d.Text(), For: d.Text(), MaxUses: d.Uvarint()}
	t.ID = (&CreateJoinToken{Key: t.Key}).ID()
	for n := d.count(limits.MaxJoinUses); n > 0; n-- {
		t.Uses = append(t.Uses, Use{d.Text(), d.Text()})
	}
	t.Expires, t.Created = state.Time(d.Uvarint()), interrex.Revision(d.Uvarint())
	return t
}
