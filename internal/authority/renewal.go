package authority

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/interrex/interrex/internal/disk"
)

// renewalName is the file in which a renewal is kept until an agent's own files have
// been replaced: its new key, then its certificate, then the authorities.
const renewalName = "agent.renewal"

// Renewal is a certificate that is being renewed.
type Renewal struct {
	Key         *ecdsa.PrivateKey
	Certificate []byte   // in DER; nil: it has not been issued yet
	Authorities [][]byte // in DER
}

// Save writes the renewal into a data directory, at once.
func (r *Renewal) Save(dir string) error {
	der, err := x509.MarshalPKCS8PrivateKey(r.Key)
	if err != nil {
		return fmt.Errorf("cannot encode the agent's key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if r.Certificate != nil {
		for _, cert := range append([][]byte{r.Certificate}, r.Authorities...) {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})...)
		}
	}
	return disk.ReplaceFile("the agent's next certificate", filepath.Join(dir, renewalName), text)
}

// Install replaces the agent's files by the certificate that was issued, and ends the
// renewal.
func (r *Renewal) Install(dir string) error {
	if err := SaveAgent(dir, r.Key, r.Certificate, r.Authorities); err != nil {
		return err
	}
	return EndRenewal(dir)
}

// EndRenewal forgets the renewal in a data directory.
func EndRenewal(dir string) error {
	if err := os.Remove(filepath.Join(dir, renewalName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot remove the agent's next certificate: %w", err)
	}
	return nil
}

// ReadRenewal returns the renewal in a data directory; nil: there is none.
func ReadRenewal(dir string) (*Renewal, error) {
	path := filepath.Join(dir, renewalName)
	text, err := disk.ReadFile(path)
	if err != nil || text == nil {
		return nil, err
	}
	key, rest, err := firstKey(text)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w: delete it", path, err)
	}
	r := &Renewal{Key: key}
	for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		if r.Certificate == nil {
			r.Certificate = block.Bytes
		} else {
			r.Authorities = append(r.Authorities, block.Bytes)
		}
	}
	return r, nil
}

func firstKey(text []byte) (key *ecdsa.PrivateKey, rest []byte, err error) {
	block, rest := pem.Decode(bytes.TrimSpace(text))
	if block == nil {
		return nil, nil, errors.New("it has no key in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, is := parsed.(*ecdsa.PrivateKey)
	if !is {
		return nil, nil, fmt.Errorf("it has a %T, not an ECDSA key", parsed)
	}
	return key, rest, nil
}

// FinishRenewal replaces the agent's files in a data directory if a renewal was cut
// between the certificate and these files.
func FinishRenewal(dir string) error {
	r, err := ReadRenewal(dir)
	if err != nil || r == nil || r.Certificate == nil {
		return err
	}
	return r.Install(dir)
}

// Reissue issues the certificate in a data directory again, for the same key and the
// same names, if it has ended and the authority's key is there. It reports whether it
// did.
func Reissue(dir, id string, now time.Time) (bool, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, AgentCertName), filepath.Join(dir, AgentKeyName))
	if err != nil {
		return false, fmt.Errorf("cannot read the agent's certificate: %w", err)
	}
	key, is := pair.PrivateKey.(*ecdsa.PrivateKey)
	if _, err := KeySince(dir); err != nil || !is || now.Before(pair.Leaf.NotAfter) {
		return false, nil
	}
	ca, err := Load(dir)
	if err != nil {
		return false, err
	}
	raw, err := Request(key, id, namesOf(pair.Leaf))
	if err != nil {
		return false, err
	}
	request, err := x509.ParseCertificateRequest(raw)
	if err != nil {
		return false, err
	}
	cert, err := ca.Issue(request, id, now)
	if err != nil {
		return false, err
	}
	return true, disk.ReplaceFile("the agent's certificate", filepath.Join(dir, AgentCertName), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
}

// Names returns names for a certificate request, with those of the former certificate
// that fit beside them.
func Names(names []string, former *x509.Certificate) []string {
	all := slices.Clone(names)
	for _, name := range namesOf(former) {
		if len(all) < maxNames-1 && !slices.Contains(all, name) { // the agent's ID is one more
			all = append(all, name)
		}
	}
	return all
}

// HasNames reports whether a certificate has names as they were in its request.
func HasNames(cert *x509.Certificate, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		if ip := net.ParseIP(name); ip != nil {
			return !slices.ContainsFunc(cert.IPAddresses, ip.Equal)
		}
		return !slices.Contains(cert.DNSNames, name)
	})
}

// namesOf returns the names in a certificate.
func namesOf(cert *x509.Certificate) []string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// HowToReturn says how an agent whose certificate has ended, or is of a CA that was
// replaced, gets another. forwards is whether it runs without raft.
func HowToReturn(id, dir string, forwards bool) string {
	flag := ""
	if forwards {
		flag = " --forward"
	}
	return fmt.Sprintf("run 'interrex join-token create --for %s >FILE' on a member, and here 'interrex agent join ADDRESS --token-file FILE --data-dir %s%s' with a member's cluster address", id, dir, flag)
}
