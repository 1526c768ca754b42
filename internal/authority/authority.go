// Package authority owns the certificate authority of a cluster: the certificates
// that it issues to agents, and their requests.
package authority

import (
	"bytes"
	"crypto"
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
	CertName = "ca.pem" // its certificate
	KeyName  = "ca.key" // its key
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
	key  crypto.Signer
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
	key, err := parseKey(text)
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

// Load reads an authority from a data directory. It fails with fs.ErrNotExist if
// there is no key.
func Load(dir string) (*Authority, error) {
	key, err := os.ReadFile(filepath.Join(dir, KeyName))
	if err != nil {
		return nil, fmt.Errorf("cannot read the CA's key: %w", err)
	}
	cert, err := os.ReadFile(filepath.Join(dir, CertName))
	if err != nil {
		return nil, fmt.Errorf("cannot read the CA's certificate: %w", err)
	}
	a, err := parse(cert, key)
	if err != nil {
		return nil, fmt.Errorf("cannot use the CA in %s: %w", dir, err)
	}
	return a, nil
}

// parse makes an authority of a key in PEM, and of the certificate that it belongs
// to, among those of certs.
func parse(certs, key []byte) (*Authority, error) {
	signer, err := parseKey(key)
	if err != nil {
		return nil, err
	}
	for rest := certs; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, fmt.Errorf("%s has no certificate of the key in %s", CertName, KeyName)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", CertName, err)
		}
		if signer.PublicKey.Equal(cert.PublicKey) {
			return &Authority{cert, signer}, nil
		}
	}
}

func parseKey(key []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(key)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s is not a PKCS #8 key in PEM, as 'openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256' makes", KeyName)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", KeyName, err)
	}
	signer, is := parsed.(*ecdsa.PrivateKey)
	if !is {
		return nil, fmt.Errorf("%s is a %T, not an ECDSA key", KeyName, parsed)
	}
	return signer, nil
}

// Of makes an authority of its certificate and its key, in PEM, if they belong
// together.
func Of(cert *x509.Certificate, key []byte) (*Authority, error) {
	signer, err := parseKey(key)
	if err != nil {
		return nil, err
	}
	if !signer.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the key and the certificate do not belong together")
	}
	return &Authority{cert, signer}, nil
}

// Key returns the authority's key, in PEM. It is a secret.
func (a *Authority) Key() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the CA's key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// SaveKey writes the authority's key into a directory, readable by its owner only.
func (a *Authority) SaveKey(dir string) error {
	key, err := a.Key()
	if err != nil {
		return err
	}
	return disk.ReplaceFile("the CA's key", filepath.Join(dir, KeyName), key)
}

// KeySince returns since when a directory has an authority's key; fs.ErrNotExist: it
// has none.
func KeySince(dir string) (time.Time, error) {
	info, err := os.Stat(filepath.Join(dir, KeyName))
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot look for the CA's key: %w", err)
	}
	return info.ModTime(), nil
}

// DeleteKey deletes the authority's key in a directory.
func DeleteKey(dir string) error {
	err := os.Remove(filepath.Join(dir, KeyName))
	if err == nil {
		err = disk.OS{}.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("cannot delete the CA's key: %w", err)
	}
	return nil
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
	var all bytes.Buffer
	for _, ca := range authorities {
		_ = pem.Encode(&all, &pem.Block{Type: "CERTIFICATE", Bytes: ca}) // to memory
	}
	return errors.Join(
		SaveKey(dir, key),
		disk.ReplaceFile("the agent's certificate", filepath.Join(dir, AgentCertName), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
		disk.ReplaceFile("the CA's certificate", filepath.Join(dir, CertName), all.Bytes()),
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
