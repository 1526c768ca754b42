package member

import (
	"crypto/x509"
	"slices"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/jointoken"
)

// Phase is how far a rotation of the cluster's CA has come.
type Phase byte

// The phases, in their order.
const (
	Asked    Phase = iota + 1 // the leader makes the next CA
	Trusting                  // every member comes to trust the next CA beside the present one
	Handing                   // every voter gets the next CA's key
	Renewing                  // the next CA is the cluster's, and every member gets a certificate of it
	Dropping                  // every member forgets the former CA
)

// String returns the phase's name for callers.
func (p Phase) String() string {
	if p < Asked || p > Dropping {
		return "unknown"
	}
	return [...]string{"starting", "trusting", "handing", "renewing", "dropping"}[p-Asked]
}

// Rotation is a rotation of the cluster's CA. It is immutable.
type Rotation struct {
	Began interrex.Revision // at which it was asked for
	Phase Phase
	Next  string // the next CA, in DER; empty before there is one, and once it is the cluster's
	// Former are the CAs that were the cluster's since the rotation began, in DER.
	Former []string
	// Without are the members that no phase waits for, by ID.
	Without []string
}

// The limits of a rotation.
const (
	maxFormer = 8
	// maxGone is the number of pins that are remembered of CAs that were the cluster's.
	maxGone = 16
)

// Rotation returns the rotation of the CA that is under way; nil: none is.
func (t *Table) Rotation() *Rotation { return t.content.Load().rotation }

// Trusted returns the CAs whose certificates the cluster's agents accept, in DER, first
// the one that issues them.
func (t *Table) Trusted() [][]byte { return der(t.content.Load().trusted()) }

// der returns certificates as they are in a certificate pool.
func der(certs []string) (all [][]byte) {
	for _, cert := range certs {
		all = append(all, []byte(cert))
	}
	return all
}

func (c *content) trusted() []string {
	switch r := c.rotation; {
	case c.ca == "":
		return nil
	case r == nil || r.Phase == Dropping:
		return []string{c.ca}
	case r.Next != "":
		return append([]string{c.ca, r.Next}, r.Former...)
	default:
		return append([]string{c.ca}, r.Former...)
	}
}

// Known returns the CAs of which the rotation that is under way speaks, and the
// cluster's, in DER.
func (t *Table) Known() [][]byte {
	trusted, former, _ := t.Authorities()
	return append(trusted, former...)
}

// Authorities returns the CAs that are Trusted, those that are being dropped, and whether
// a rotation is under way, all as of one moment.
func (t *Table) Authorities() (trusted, dropping [][]byte, rotating bool) {
	now := t.content.Load()
	if r := now.rotation; r != nil && r.Phase == Dropping {
		dropping = der(r.Former)
	}
	return der(now.trusted()), dropping, now.rotation != nil
}

// Gone reports whether the CA with a pin was the cluster's, or was to be, and must not
// be trusted any more.
func (t *Table) Gone(pin jointoken.Pin) bool {
	return slices.Contains(t.content.Load().gone, string(pin[:]))
}

// Spent reports whether the key of the CA with a pin is of no use any more: it issues
// no further certificate.
func (t *Table) Spent(pin jointoken.Pin) bool {
	now := t.content.Load()
	return slices.Contains(now.gone, string(pin[:])) ||
		now.rotation != nil && slices.ContainsFunc(now.rotation.Former, func(ca string) bool { return pinOf(ca) == string(pin[:]) })
}

// IssuedByFormer reports whether a certificate is of a CA that was the cluster's, while
// members get certificates of the present one.
func (t *Table) IssuedByFormer(cert *x509.Certificate) bool {
	r := t.Rotation()
	return r != nil && r.Phase == Renewing && slices.ContainsFunc(r.Former, func(der string) bool {
		ca, err := x509.ParseCertificate([]byte(der))
		return err == nil && cert.CheckSignatureFrom(ca) == nil
	})
}

// Recertified reports whether an agent without raft got its certificate of the present CA:
// nothing else of it is recorded than its certificates.
func (t *Table) Recertified(m *Member) bool { return m.Revision >= t.content.Load().since && !m.Renew }

// Outdated reports whether a join token was created before the CA was rotated.
func (t *Table) Outdated(token *JoinToken) bool { return token.Created < t.content.Load().since }

// pinOf returns the pin of a CA, as bytes.
func pinOf(der string) string {
	pin := jointoken.PinOfDER([]byte(der))
	return string(pin[:])
}

// forget notes that CAs are not to be trusted any more.
func (c *content) forget(cas ...string) {
	c.gone = slices.Clone(c.gone)
	for _, ca := range cas {
		c.gone = append(c.gone, pinOf(ca))
	}
	c.gone = c.gone[max(0, len(c.gone)-maxGone):]
}

// rotate replaces the rotation by a changed copy; nil ends it.
func (t *Table) rotate(do func(c *content, r *Rotation) *Rotation) {
	t.change(func(c *content) {
		var next Rotation
		if c.rotation != nil {
			next = *c.rotation
		}
		c.rotation = do(c, &next)
	})
}

// underWay returns why a step does not follow the rotation as it is.
func (c *content) underWay(s Step) *interrex.Error {
	if now, is := c.step(); !is || now != s {
		return interrex.Errorf(interrex.ErrConflict, "the rotation of the CA is not in phase %s of that CA any more", s.Phase)
	}
	return nil
}

// checkRotatable returns why the CA cannot be rotated now.
func (c *content) checkRotatable(without []string) *interrex.Error {
	if c.ca == "" {
		return interrex.Errorf(interrex.ErrDisabled, "this cluster has no CA of its own: its agents' certificates come from elsewhere: add the next CA's certificate to each agent's cluster.tls.ca, then replace the certificates, then remove the former CA's: the files are read again without a restart")
	}
	for _, id := range without {
		if c.member(id) == nil {
			return notFound(id)
		}
	}
	for _, m := range c.members {
		if v := m.tableVersion(); v != 0 && v < rotatable {
			return interrex.Errorf(interrex.ErrConflict, "member %s runs version %s, which cannot rotate the CA: upgrade it first", m.ID, m.Version)
		}
	}
	return nil
}

// rotatable is the first version of this table that knows rotations.
const rotatable = 2

// tableVersion returns the version of this table that the member has; 0: not seen.
func (m *Member) tableVersion() uint16 {
	for _, t := range m.Tables {
		if t.Name == tableName {
			return t.Version
		}
	}
	return 0
}

// leavesOut reports whether a rotation is under way that waits for none of the members.
func (t *Table) leavesOut(ids []string) bool {
	r := t.Rotation()
	return r != nil && !slices.ContainsFunc(ids, func(id string) bool { return !slices.Contains(r.Without, id) })
}
