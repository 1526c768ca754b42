// Package authority owns the certificate authority of a cluster: the certificates
// that it issues to agents, and their requests.
package authority

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/jointoken"
)

// The names of the authority's files in a data directory.
const (
	CertName = "ca.pem" // its certificate; while it is rotated that of the next one too
	KeyName  = "ca.key" // its key; likewise
)

const (
	// Life is how long an authority's certificate is valid.
	Life = 10 * 365 * 24 * time.Hour
	// CertLife is how long a certificate of an agent is valid. It is renewed at two
	// thirds of it.
	CertLife = 90 * 24 * time.Hour
	// early is how long before now a certificate is valid already, for clocks that
	// differ.
	early = time.Hour
	// name is the one in an authority's certificate.
	name = "interrex CA"
	// maxNames is the number of further names in one certificate.
	maxNames = 32
)

// Authority issues the certificates of a cluster's agents.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes an authority with a new key, ECDSA P-256.
func New(now time.Time) (*Authority, error) {
	cert, key, err := certificates.SelfSigned(name, now.Add(-early), now.Add(Life))
	if err != nil {
		return nil, err
	}
	return &Authority{cert, key}, nil
}

// OfKey makes the authority of a key that several agents have, in PEM. Each of them gets
// the same certificate, byte for byte, at any time: so it is valid for a century.
func OfKey(text []byte) (*Authority, error) {
	block, _ := pem.Decode(text)
	key, err := parseKey(block)
	if err != nil {
		return nil, err
	}
	from := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	cert, err := certificates.SelfSignedBy(key, name, from, from.AddDate(100, 0, 0))
	if err != nil {
		return nil, err
	}
	return &Authority{cert, key}, nil
}

// Save writes the authority into a directory, its key first. Both files are
// readable by their owner only.
func (a *Authority) Save(dir string) error {
	return errors.Join(
		a.SaveKey(dir),
		disk.ReplaceFile("the CA's certificate", filepath.Join(dir, CertName), a.PEM()),
	)
}

// Cert returns the authority's certificate, in DER.
func (a *Authority) Cert() []byte { return a.cert.Raw }

// PEM returns the authority's certificate, in PEM.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Pin returns the pin of the authority's key.
func (a *Authority) Pin() jointoken.Pin { return jointoken.PinOf(a.cert) }

// Issue returns a certificate, in DER, for the agent and the key of a request. It is
// for server and client use, and valid from an hour before now for CertLife, but not
// longer than the authority itself.
func (a *Authority) Issue(request *x509.CertificateRequest, id string, now time.Time) ([]byte, error) {
	if err := CheckRequest(request, id); err != nil {
		return nil, err
	}
	end := now.Add(CertLife)
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	if !end.After(now) {
		return nil, fmt.Errorf("cannot issue a certificate: the CA's own ended at %s: 'interrex ca rotate' makes another", a.cert.NotAfter.UTC().Format(time.RFC3339))
	}
	template := certificates.Template(id, now.Add(-early), end)
	template.DNSNames, template.IPAddresses = request.DNSNames, request.IPAddresses
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, request.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("cannot issue a certificate: %w", err)
	}
	return der, nil
}

// CheckRequest returns why an agent cannot get a certificate for a request: it must be
// signed with its own key, ECDSA P-256 or Ed25519, and have the agent's ID as its
// only DNS name that is a single label and not localhost.
func CheckRequest(request *x509.CertificateRequest, id string) error {
	if err := request.CheckSignature(); err != nil {
		return fmt.Errorf("certificate request: its signature is wrong: %w", err)
	}
	switch key := request.PublicKey.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return fmt.Errorf("certificate request: a key on %s is not valid: use ECDSA P-256 or Ed25519", key.Curve.Params().Name)
		}
	default:
		return fmt.Errorf("certificate request: a key of type %T is not valid: use ECDSA P-256 or Ed25519", key)
	}
	if n := len(request.DNSNames) + len(request.IPAddresses); n > maxNames {
		return fmt.Errorf("certificate request: %d names: at most %d are allowed", n, maxNames)
	}
	if len(request.URIs)+len(request.EmailAddresses) > 0 {
		return errors.New("certificate request: URIs and mail addresses are not allowed: give DNS names and IP addresses")
	}
	for _, name := range request.DNSNames {
		if strings.ContainsAny(name, "* \x00") {
			return fmt.Errorf("certificate request: the name %q is not valid: give a host's name, without wildcards", name)
		}
	}
	found, err := certificates.IDOf(&x509.Certificate{DNSNames: request.DNSNames})
	if err != nil {
		return fmt.Errorf("certificate request: %w", err)
	}
	if found != id {
		return fmt.Errorf("certificate request: it is for agent %s, not for %s", found, id)
	}
	return nil
}

// NewRequest makes a key, ECDSA P-256, and a certificate request for an agent, in
// DER: see Request.
func NewRequest(id string, names []string) (key *ecdsa.PrivateKey, request []byte, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, fmt.Errorf("cannot make the agent's key: %w", err)
	}
	request, err = Request(key, id, names)
	return key, request, err
}

// Request makes a certificate request for an agent and its key, in DER. Further names
// are host names and IP addresses, at which callers reach its API.
func Request(key *ecdsa.PrivateKey, id string, names []string) ([]byte, error) {
	if err := certificates.CheckID(id); err != nil {
		return nil, err
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: id}, DNSNames: []string{id}}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if name != id {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("cannot make a certificate request: %w", err)
	}
	parsed, err := x509.ParseCertificateRequest(request)
	if err == nil {
		err = CheckRequest(parsed, id)
	}
	return request, err
}

// SaveKey writes an agent's key into a directory, readable by its owner only.
func SaveKey(dir string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("cannot encode the agent's key: %w", err)
	}
	return disk.ReplaceFile("the agent's key", filepath.Join(dir, AgentKeyName), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// SaveAgent writes an agent's key and certificate into a directory, and replaces
// those that are there, each at once: first the key, then the certificate, then the
// authorities. Readers of the files keep the previous ones until the pair matches.
func SaveAgent(dir string, key *ecdsa.PrivateKey, cert []byte, authorities [][]byte) error {
	return errors.Join(
		SaveKey(dir, key),
		disk.ReplaceFile("the agent's certificate", filepath.Join(dir, AgentCertName), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
		saveTrust(dir, authorities),
	)
}

// Enrolled reports whether a directory has an agent's certificate, with its authorities.
func Enrolled(dir string) bool {
	for _, name := range []string{AgentCertName, CertName} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// The names of an agent's own files in its data directory.
const (
	AgentCertName = "agent.pem"
	AgentKeyName  = "agent.key"
)
