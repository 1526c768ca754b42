package member_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/member"
)

func newCA(t *testing.T) *authority.Authority {
	t.Helper()
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func publicOf(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(public)
}

// recertify makes the command of an agent that had a certificate of ca for former, and
// has a new key.
func recertify(t *testing.T, id string, key, former *ecdsa.PrivateKey, ca *authority.Authority) *member.Recertify {
	t.Helper()
	raw, err := authority.Request(former, id, nil)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(raw)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(request, id, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := &member.Recertify{ID: id, Key: publicOf(t, key), Former: string(cert)}
	digest := sha256.Sum256(member.RenewalStatement(c.ID, c.Key))
	signature, err := ecdsa.SignASN1(rand.Reader, former, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	c.Signature = string(signature)
	return c
}

func TestAKeyIsReplacedOnlyAgainstASignatureWithTheFormerOne(t *testing.T) {
	s := &world{T: t, table: member.New()}
	ca := newCA(t)
	s.must(&member.SetCA{Cert: string(ca.Cert())})
	first, second, third := newKey(t), newKey(t), newKey(t)
	s.must(&member.See{ID: "n1", Incarnation: "disk", Version: "1"}) // a founder: its key is not recorded

	s.must(recertify(t, "n1", second, first, ca))
	if m := s.table.Member("n1"); m.Key != publicOf(t, second) {
		t.Fatal("the new key is not recorded")
	}
	s.must(recertify(t, "n1", second, first, ca)) // its answer was lost
	s.must(recertify(t, "n1", third, second, ca))

	forged := recertify(t, "n1", first, third, ca)
	forged.Key = publicOf(t, second)
	for name, c := range map[string]*member.Recertify{
		"a key that is not the last one": recertify(t, "n1", second, first, ca),
		"a certificate of another CA":    recertify(t, "n1", first, third, newCA(t)),
		"another key than was signed":    forged,
		"another agent's signature": {
			ID: "n1", Key: publicOf(t, first), Former: recertify(t, "n1", first, third, ca).Former, Signature: recertify(t, "n2", first, third, ca).Signature,
		},
		"another agent's certificate": {
			ID: "n1", Key: publicOf(t, first), Former: recertify(t, "n2", first, third, ca).Former, Signature: recertify(t, "n1", first, third, ca).Signature,
		},
	} {
		if _, err := s.do(c); !errors.Is(err, interrex.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.do(recertify(t, "n9", first, third, ca)); !errors.Is(err, interrex.ErrNotFound) {
		t.Errorf("an agent that is no member: %v", err)
	}
	if m := s.table.Member("n1"); m.Key != publicOf(t, third) {
		t.Error("a refused command changed the key")
	}
}

func TestARenewalThatIsAskedForEndsWithTheNewKey(t *testing.T) {
	s := &world{T: t, table: member.New()}
	if _, err := s.do(&member.Renew{ID: "n1"}); !errors.Is(err, interrex.ErrDisabled) || !strings.Contains(err.Error(), "no CA of its own") {
		t.Errorf("without a CA: %v", err)
	}
	ca := newCA(t)
	s.must(&member.SetCA{Cert: string(ca.Cert())})
	if _, err := s.do(&member.Renew{ID: "n1"}); !errors.Is(err, interrex.ErrNotFound) {
		t.Errorf("an agent that is no member: %v", err)
	}
	s.must(&member.See{ID: "n1", Incarnation: "disk", Version: "1"})
	s.must(&member.Renew{ID: "n1"})
	if !s.table.Member("n1").Renew {
		t.Fatal("it is not asked for")
	}
	s.must(recertify(t, "n1", newKey(t), newKey(t), ca))
	if s.table.Member("n1").Renew {
		t.Error("it is still asked for")
	}
}
