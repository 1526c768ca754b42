package forward

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/jointoken"
)

func TestWhatAMemberTellsOfCertificates(t *testing.T) {
	from, until := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	authority := func() (*x509.Certificate, *ecdsa.PrivateKey) {
		ca, key, err := certificates.SelfSigned("ca", from, until)
		if err != nil {
			t.Fatal(err)
		}
		return ca, key
	}
	first, key := authority()
	second, _ := authority()
	der, err := x509.CreateCertificate(rand.Reader, certificates.Template("f1", from, until), first, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	present, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		told         Orders
		renews, gone bool // the certificate is to be renewed, and its CA is not trusted any more
	}{
		"nothing":                   {Orders{}, false, false},
		"its CA":                    {Orders{Authorities: [][]byte{first.Raw}}, false, false},
		"a next CA":                 {Orders{Authorities: [][]byte{second.Raw, first.Raw}}, true, false},
		"another CA":                {Orders{Authorities: [][]byte{second.Raw}}, true, true},
		"that it is to be renewed":  {Orders{Authorities: [][]byte{first.Raw}, Renew: true, Key: present.RawSubjectPublicKeyInfo}, true, false},
		"the same of its last key":  {Orders{Authorities: [][]byte{first.Raw}, Renew: true, Key: second.RawSubjectPublicKeyInfo}, false, false},
		"its key":                   {Orders{Authorities: [][]byte{first.Raw}, Key: present.RawSubjectPublicKeyInfo}, false, false},
		"what is not a certificate": {Orders{Authorities: [][]byte{[]byte("x")}}, false, true},
	} {
		if got := c.told.Renews(present); got != c.renews {
			t.Errorf("told %s, it is to be renewed: %v", what, got)
		}
		if got := c.told.Gone(jointoken.PinOfDER(first.Raw)); got != c.gone {
			t.Errorf("told %s, its CA is gone: %v", what, got)
		}
	}
}
