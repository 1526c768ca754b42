package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/certificates"
)

var now = time.Now().UTC().Truncate(time.Second)

func newAuthority(t *testing.T) *Authority {
	t.Helper()
	a, err := New(now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// issue issues a certificate to an agent.
func issue(t *testing.T, a *Authority, id string, names ...string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, raw, err := NewRequest(id, names)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(raw)
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.Issue(request, id, now)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func TestAnIssuedCertificateServesBothEndsAndItsNames(t *testing.T) {
	a := newAuthority(t)
	cert, _ := issue(t, a, "n1", "api.example.com", "10.0.0.1", "localhost")
	if id, err := certificates.IDOf(cert); id != "n1" || err != nil {
		t.Errorf("its ID is %q (%v)", id, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	for _, name := range []string{"n1", "api.example.com", "10.0.0.1", "localhost"} {
		for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
				t.Errorf("%s, use %v: %v", name, use, err)
			}
		}
	}
	if from, to := now.Sub(cert.NotBefore), cert.NotAfter.Sub(now); from != time.Hour || to != CertLife {
		t.Errorf("it is valid from %v before now until %v after", from, to)
	}
}

func TestACertificateEndsWithItsAuthority(t *testing.T) {
	a := newAuthority(t)
	_, raw, err := NewRequest("n1", nil)
	if err != nil {
		t.Fatal(err)
	}
	request, _ := x509.ParseCertificateRequest(raw)
	late := now.Add(Life - time.Hour)
	der, err := a.Issue(request, "n1", late)
	if err != nil {
		t.Fatal(err)
	}
	if cert, _ := x509.ParseCertificate(der); !cert.NotAfter.Equal(a.cert.NotAfter) {
		t.Errorf("it ends at %v, the authority at %v", cert.NotAfter, a.cert.NotAfter)
	}
	if _, err := a.Issue(request, "n1", now.Add(Life)); err == nil || !strings.Contains(err.Error(), "ca rotate") {
		t.Errorf("an authority that has ended: %v", err)
	}
}

func TestAnAuthorityComesBackFromItsFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty directory: %v", err)
	}
	a := newAuthority(t)
	if err := a.Save(dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, KeyName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info.Mode(), err)
	}
	other := newAuthority(t)
	both := append(other.PEM(), a.PEM()...)
	if err := os.WriteFile(filepath.Join(dir, CertName), both, 0o600); err != nil {
		t.Fatal(err)
	}
	back, err := Load(dir)
	if err != nil || back.Pin() != a.Pin() {
		t.Fatalf("%v, %v", back, err)
	}
	cert, _ := issue(t, back, "n1")
	if err := cert.CheckSignatureFrom(a.cert); err != nil {
		t.Error(err)
	}
	unused := newAuthority(t) // one that was made, and never came to be the next
	if err := saveKeys(dir, []*ecdsa.PrivateKey{unused.key, a.key}); err != nil {
		t.Fatal(err)
	}
	if back, err := Load(dir); err != nil || back.Pin() != a.Pin() {
		t.Errorf("behind another key: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, CertName), other.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "no certificate of a key") {
		t.Errorf("the certificate of another authority: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, KeyName), []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "PKCS #8") {
		t.Errorf("no key: %v", err)
	}
}

func TestRequestsThatAreNotAllowed(t *testing.T) {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	many := []string{"n1"}
	for range maxNames {
		many = append(many, "a.example")
	}
	link := &url.URL{Scheme: "spiffe", Host: "x"}
	for name, test := range map[string]struct {
		request x509.CertificateRequest
		key     any
	}{
		"another agent":        {x509.CertificateRequest{DNSNames: []string{"n2"}}, own},
		"two agents":           {x509.CertificateRequest{DNSNames: []string{"n1", "n2"}}, own},
		"no agent":             {x509.CertificateRequest{DNSNames: []string{"a.example"}}, own},
		"a wildcard":           {x509.CertificateRequest{DNSNames: []string{"n1", "*.example"}}, own},
		"a mail address":       {x509.CertificateRequest{DNSNames: []string{"n1"}, EmailAddresses: []string{"a@b.example"}}, own},
		"a URI":                {x509.CertificateRequest{DNSNames: []string{"n1"}, URIs: []*url.URL{link}}, own},
		"too many names":       {x509.CertificateRequest{DNSNames: many}, own},
		"an RSA key":           {x509.CertificateRequest{DNSNames: []string{"n1"}}, weak},
		"a key on other curve": {x509.CertificateRequest{DNSNames: []string{"n1"}}, other},
	} {
		raw, err := x509.CreateCertificateRequest(rand.Reader, &test.request, test.key)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParseCertificateRequest(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckRequest(parsed, "n1"); err == nil {
			t.Errorf("%s is allowed", name)
		}
		if _, err := newAuthority(t).Issue(parsed, "n1", now); err == nil {
			t.Errorf("%s gets a certificate", name)
		}
	}
	_, raw, _ := NewRequest("n1", nil)
	raw[len(raw)-1] ^= 1
	if parsed, err := x509.ParseCertificateRequest(raw); err == nil {
		if err := CheckRequest(parsed, "n1"); err == nil {
			t.Error("a wrong signature is allowed")
		}
	}
	for _, names := range [][]string{{"n2"}, {"*.x.example"}} {
		if _, _, err := NewRequest("n1", names); err == nil {
			t.Errorf("a request for %v is made", names)
		}
	}
}

func TestAChainIsVerifiedByThePin(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	leaf, key := issue(t, a, "n1")
	foreign, _ := issue(t, other, "n1")
	sign := func(template, parent *x509.Certificate, public any) *x509.Certificate {
		t.Helper()
		der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	clients := certificates.Template("n1", now.Add(-time.Hour), now.Add(time.Hour))
	clients.ExtKeyUsage = clients.ExtKeyUsage[1:]
	caller := sign(clients, a.cert, key.Public())
	plain := certificates.Template("n9", now.Add(-time.Hour), now.Add(time.Hour))
	plain.Subject = a.cert.Subject
	noCA := sign(plain, plain, a.key.Public())
	for name, test := range map[string]struct {
		chain []*x509.Certificate
		now   time.Time
		valid bool
	}{
		"a member":                          {[]*x509.Certificate{leaf, a.cert}, now, true},
		"its second authority":              {[]*x509.Certificate{leaf, other.cert, a.cert}, now, true},
		"nothing":                           {nil, now, false},
		"no authority":                      {[]*x509.Certificate{leaf}, now, false},
		"another cluster":                   {[]*x509.Certificate{foreign, other.cert}, now, false},
		"another's member with this CA":     {[]*x509.Certificate{foreign, a.cert}, now, false},
		"the authority as if it were agent": {[]*x509.Certificate{a.cert}, now, false},
		"a caller":                          {[]*x509.Certificate{caller, a.cert}, now, false},
		"an authority that is none":         {[]*x509.Certificate{leaf, noCA}, now, false},
		"a certificate that has ended":      {[]*x509.Certificate{leaf, a.cert}, now.Add(CertLife + time.Hour), false},
	} {
		ca, err := VerifyPinned(test.chain, a.Pin(), test.now)
		if (err == nil) != test.valid || test.valid && ca != a.cert {
			t.Errorf("%s: %v, %v", name, ca != nil, err)
		}
	}
}

// While members get certificates of the new CA, a joiner comes to some that have none yet:
// it asks again. With a token of the former CA it is told what has happened.
func TestAChainSaysWhetherTheCAWasRotated(t *testing.T) {
	now, former := newAuthority(t), newAuthority(t)
	renewed, _ := issue(t, now, "n1")
	not, _ := issue(t, former, "n1")
	if _, err := VerifyPinned([]*x509.Certificate{not, now.cert, former.cert}, now.Pin(), time.Now()); !errors.Is(err, ErrNotYet) {
		t.Errorf("a member that is not renewed: %v", err)
	}
	if _, err := VerifyPinned([]*x509.Certificate{renewed, now.cert, former.cert}, former.Pin(), time.Now()); err == nil || !strings.Contains(err.Error(), "rotated after the join token was made") {
		t.Errorf("a token of the former CA: %v", err)
	}
}

func TestAnAgentsFilesAreReadAsItsSource(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	cert, key := issue(t, a, "n1")
	if err := SaveAgent(dir, key, cert.Raw, [][]byte{a.Cert()}); err != nil {
		t.Fatal(err)
	}
	files := &certificates.Files{
		CA: filepath.Join(dir, CertName), Cert: filepath.Join(dir, AgentCertName), Key: filepath.Join(dir, AgentKeyName), ID: "n1",
	}
	got, err := files.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	if !got.Leaf.Equal(cert) {
		t.Error("another certificate is read")
	}
}

func TestAllWhoShareAKeyMakeOneAuthority(t *testing.T) {
	text, err := newAuthority(t).Key()
	if err != nil {
		t.Fatal(err)
	}
	one, err := OfKey(text)
	if err != nil {
		t.Fatal(err)
	}
	other, err := OfKey(text)
	if err != nil || !other.cert.Equal(one.cert) || one.cert.NotBefore.Year() != 2020 {
		t.Fatalf("another certificate is made, from %v on (%v)", one.cert.NotBefore, err)
	}
	if _, err := Of(newAuthority(t).cert, text); err == nil {
		t.Error("the certificate of another authority belongs to it")
	}
	cert, _ := issue(t, one, "n1")
	if ca, err := VerifyPinned([]*x509.Certificate{cert, other.cert}, other.Pin(), now); err != nil || !ca.Equal(one.cert) {
		t.Errorf("what one issues the other does not accept: %v", err)
	}
	if _, err := OfKey([]byte("no key")); err == nil || !strings.Contains(err.Error(), "openssl genpkey") {
		t.Errorf("no key: %v", err)
	}
}
