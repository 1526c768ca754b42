package authority

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/jointoken"
)

// ReadTrust returns the certificates of the CAs that an agent trusts, from its data
// directory.
func ReadTrust(dir string) ([]*x509.Certificate, error) {
	path := filepath.Join(dir, CertName)
	text, err := disk.ReadSmall(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the CA's certificate: %w", err)
	}
	var all []*x509.Certificate
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("cannot read the CA's certificate: %s: %w", path, err)
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, errors.New("cannot read the CA's certificate: " + path + " has no certificate in PEM")
	}
	return all, nil
}

// Trust makes an agent trust further CAs, in DER, and forget those that are gone, and
// reports whether its file has changed. All others stay, and so does the CA of the
// agent's own certificate, without which it could not be used.
func Trust(dir string, trusted [][]byte, gone func(jointoken.Pin) bool, own *x509.Certificate) (bool, error) {
	present, err := ReadTrust(dir)
	if err != nil {
		return false, err
	}
	next := slices.Clone(trusted)
	var was [][]byte
	for _, ca := range present {
		was = append(was, ca.Raw)
		known := slices.ContainsFunc(next, func(der []byte) bool { return bytes.Equal(der, ca.Raw) })
		if !known && (!gone(jointoken.PinOf(ca)) || own.CheckSignatureFrom(ca) == nil) {
			next = append(next, ca.Raw)
		}
	}
	if slices.EqualFunc(was, next, bytes.Equal) {
		return false, nil
	}
	return true, saveTrust(dir, next)
}

func saveTrust(dir string, authorities [][]byte) error {
	var text []byte
	for _, ca := range authorities {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca})...)
	}
	return disk.ReplaceFile("the CA's certificate", filepath.Join(dir, CertName), text)
}
