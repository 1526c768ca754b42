package member

import (
	"crypto/x509"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// SetCA sets the certificate of the cluster's CA, once.
type SetCA struct{ Cert string } // in DER

// About is part of state.Command.
func (c *SetCA) About() state.About { return state.About{Name: "set_ca", Privileged: true} }

// Validate reports which field is not allowed.
func (c *SetCA) Validate() error {
	if len(c.Cert) > maxCA {
		return interrex.Errorf(interrex.ErrTooLarge, "ca: %d bytes: at most %d are allowed", len(c.Cert), maxCA)
	}
	cert, err := x509.ParseCertificate([]byte(c.Cert))
	if err != nil || !cert.IsCA {
		return interrex.Errorf(interrex.ErrInvalid, "ca: it is not the certificate of a CA, in DER")
	}
	return nil
}

// Append encodes the command.
func (c *SetCA) Append(b []byte) []byte { return codec.AppendText(append(b, opSetCA), c.Cert) }

func (c *SetCA) decode(d *decoder) { c.Cert = d.Text() }

func (c *SetCA) check(now *content, _ state.Time) *interrex.Error {
	if now.ca != "" && now.ca != c.Cert {
		return interrex.Errorf(interrex.ErrConflict, "this cluster has a CA already: 'interrex ca rotate' replaces it")
	}
	return nil
}

func (c *SetCA) apply(t *Table, _ *state.Turn) *Reply {
	t.change(func(next *content) { next.ca = c.Cert })
	return &Reply{}
}
