package member_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

func TestTableConforms(t *testing.T) {
	var tokens []jointoken.Token
	var keys []*ecdsa.PrivateKey
	ca := newCA(t)
	all := []*authority.Authority{ca, newCA(t), newCA(t)}
	step := func(r *mathrand.Rand, first int) member.Step {
		pin := all[r.IntN(len(all))].Pin()
		return member.Step{Phase: member.Phase(first + r.IntN(6-first)), CA: string(pin[:])}
	}
	for n := range 6 {
		tokens = append(tokens, jointoken.Token{Seed: [32]byte{byte(n)}})
		keys = append(keys, newKey(t))
	}
	var recertified [][]byte // made once: to sign takes long
	for n := range keys {
		for of := range keys {
			recertified = append(recertified, recertify(t, fmt.Sprint("n", of), keys[n], keys[of], ca).Append(nil))
		}
	}
	statetest.Run(t, statetest.Config{
		New: func() state.Table { return member.New() },
		Command: func(r *mathrand.Rand, seen []state.Reply) []byte {
			id, token := fmt.Sprint("n", r.IntN(6)), tokens[r.IntN(len(tokens))]
			incarnation := fmt.Sprint("disk", r.IntN(3))
			switch r.IntN(26) {
			case 18:
				return (&member.RotateCA{Without: []string{id}}).Append(nil)
			case 19, 20:
				return (&member.OfferCA{Step: step(r, 1), Cert: string(all[r.IntN(len(all))].Cert())}).Append(nil)
			case 21, 22, 23:
				return (&member.AdvanceCA{Step: step(r, 2)}).Append(nil)
			case 24, 25:
				return (&member.Add{ID: id, Address: []string{"10.0.0.1:7401", "10.0.0.2:7401"}[r.IntN(2)]}).Append(nil)
			case 14:
				return (&member.Renew{ID: id}).Append(nil)
			case 15, 16, 17:
				return recertified[r.IntN(len(recertified))]
			case 12, 13:
				return (&member.SetCA{Cert: string(ca.Cert())}).Append(nil)
			case 0, 1, 2:
				c := &member.CreateJoinToken{Key: string(token.PublicKey()), Uses: 1 + r.Uint64N(4), TTL: time.Duration(1+r.IntN(60)) * time.Second}
				if r.IntN(4) == 0 {
					c.For = id
				}
				return c.Append(nil)
			case 3:
				return (&member.RevokeJoinToken{ID: token.ID()}).Append(nil)
			case 4:
				return (&member.Remove{ID: id}).Append(nil)
			case 5:
				return (&member.SetVoter{ID: id, Voter: r.IntN(2) == 0}).Append(nil)
			case 6, 7, 8:
				was := ""
				for _, reply := range seen {
					if m := reply.(*member.Reply).Member; m != nil {
						id, was = m.ID, m.Incarnation
					}
				}
				return (&member.See{
					ID: id, Was: was, Incarnation: incarnation, ClusterAddress: "10.0.0.1:7401", APIAddress: "10.0.0.1:7400",
					Version: "1.0", Certificate: member.Certificate{Serial: incarnation, Issuer: "a CA", Ends: time.Unix(1e9, 0).UTC()}, Tables: []member.TableVersion{{Name: "leases", Version: 1}, {Name: "members", Version: 2}},
				}).Append(nil)
			}
			return admit(t, id, token, keys[r.IntN(len(keys))], nil).Append(nil)
		},
	})
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// admit makes the command of an agent with a token and a key; former, unless it is
// nil, is the key that it had before.
func admit(t *testing.T, id string, token jointoken.Token, key, former *ecdsa.PrivateKey) *member.Admit {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	session, request := jointoken.Session{1, 2, 3}, []byte("request of "+id)
	sum := sha256.Sum256(request)
	c := &member.Admit{
		ID: id, Token: token.ID(), Key: string(public), Session: string(session[:]), Request: string(sum[:]),
		Signature: string(token.Sign(session, request)),
	}
	if former != nil {
		digest := sha256.Sum256(jointoken.Statement(session, sum))
		signed, err := ecdsa.SignASN1(rand.Reader, former, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		c.Former = string(signed)
	}
	return c
}
