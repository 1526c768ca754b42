package member_test

import (
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/member"
)

// step returns the step that the rotation is at.
func (w *world) step() member.Step {
	w.Helper()
	s, under := w.table.Step()
	if !under {
		w.Fatal("no rotation is under way")
	}
	return s
}

func (w *world) offer(ca []byte) { w.must(&member.OfferCA{Step: w.step(), Cert: string(ca)}) }

func (w *world) advance() { w.must(&member.AdvanceCA{Step: w.step()}) }

// trusts checks the CAs that are trusted, in order.
func (w *world) trusts(when string, want ...*authority.Authority) {
	w.Helper()
	all := w.table.Trusted()
	if len(all) != len(want) {
		w.Fatalf("%s: %d CAs are trusted, not %d", when, len(all), len(want))
	}
	for i, ca := range want {
		if string(all[i]) != string(ca.Cert()) {
			w.Errorf("%s: CA %d is another one", when, i)
		}
	}
}

// rotating returns a table of a cluster whose first CA is to be replaced by a second.
func rotating(t *testing.T) (w *world, first, second *authority.Authority) {
	w, first, second = &world{T: t, table: member.New()}, newCA(t), newCA(t)
	w.must(&member.SetCA{Cert: string(first.Cert())})
	w.must(&member.RotateCA{})
	w.offer(second.Cert())
	return w, first, second
}

// What is left out of a rotation has the limit of members, also when members are replaced
// while it is under way: a snapshot with more could not be restored.
func TestARotationForgetsWhoIsNoMember(t *testing.T) {
	w, _, _ := rotating(t)
	w.must(&member.See{ID: "n1", Incarnation: "a"})
	w.must(&member.See{ID: "n2", Incarnation: "b"})
	w.must(&member.RotateCA{Without: []string{"n1", "n2"}})
	w.must(&member.Remove{ID: "n1"})
	w.must(&member.See{ID: "n3", Incarnation: "c"})
	w.must(&member.RotateCA{Without: []string{"n3"}})
	if all := w.table.Rotation().Without; !slices.Equal(all, []string{"n2", "n3"}) {
		t.Errorf("left out are %v", all)
	}
}

func TestARotationGoesThroughItsPhases(t *testing.T) {
	w, first, second := rotating(t)
	for _, phase := range []member.Phase{member.Trusting, member.Handing} {
		w.trusts(phase.String(), first, second)
		if w.step().Phase != phase || w.table.CA() != string(first.Cert()) || w.table.Spent(first.Pin()) || w.table.Spent(second.Pin()) {
			t.Errorf("in phase %s: %+v", phase, w.table.Rotation())
		}
		w.advance()
	}
	w.trusts("renewing", second, first)
	if w.table.CA() != string(second.Cert()) || !w.table.Spent(first.Pin()) || w.table.Gone(first.Pin()) {
		t.Errorf("renewing: %+v", w.table.Rotation())
	}
	stale := w.step()
	w.advance()
	w.trusts("dropping", second)
	if !w.table.Gone(first.Pin()) || w.table.Gone(second.Pin()) || len(w.table.Known()) != 2 {
		t.Errorf("dropping: %+v", w.table.Rotation())
	}
	w.refused(&member.AdvanceCA{Step: stale}, interrex.ErrConflict, "not in phase renewing")
	w.refused(&member.OfferCA{Step: w.step(), Cert: string(newCA(t).Cert())}, interrex.ErrConflict, "already")
	w.advance()
	if w.table.Rotation() != nil || !w.table.Spent(first.Pin()) {
		t.Errorf("after it: %+v", w.table.Rotation())
	}
	w.refused(&member.AdvanceCA{Step: stale}, interrex.ErrConflict, "not in phase")
}

// The next CA's key may be lost before it is the cluster's, and after.
func TestARotationStartsOverWithAnotherCA(t *testing.T) {
	w, first, second := rotating(t)
	third, fourth := newCA(t), newCA(t)
	w.advance()
	w.offer(third.Cert())
	pin := second.Pin()
	w.refused(&member.AdvanceCA{Step: member.Step{Phase: member.Trusting, CA: string(pin[:])}}, interrex.ErrConflict, "not in phase trusting of that CA")
	w.trusts("before it is the cluster's", first, third)
	if w.step().Phase != member.Trusting || !w.table.Gone(second.Pin()) {
		t.Errorf("it goes on with %+v", w.table.Rotation())
	}
	w.refused(&member.OfferCA{Step: w.step(), Cert: string(second.Cert())}, interrex.ErrConflict, "is, or was")
	w.advance()
	w.advance()
	w.offer(fourth.Cert())
	w.trusts("after it has issued certificates", third, fourth, first)
	w.advance()
	w.advance()
	w.trusts("renewing", fourth, first, third)
	w.advance()
	w.trusts("dropping", fourth)
	if !w.table.Gone(first.Pin()) || !w.table.Gone(third.Pin()) {
		t.Error("a CA between is not forgotten")
	}
}

func TestOneRotationReplacesOnlySoManyCAs(t *testing.T) {
	w, first, second := rotating(t)
	for _, ca := range []*authority.Authority{first, second} {
		w.refused(&member.OfferCA{Step: w.step(), Cert: string(ca.Cert())}, interrex.ErrConflict, "is, or was")
	}
	const most = 8
	for n := 1; n < most; n++ {
		w.advance()
		w.advance()
		w.offer(newCA(t).Cert())
	}
	w.advance()
	w.advance()
	w.restores()
	w.refused(&member.OfferCA{Step: w.step(), Cert: string(newCA(t).Cert())}, interrex.ErrConflict, "which is the limit")
}

func TestAskingAgainIsNoSecondRotation(t *testing.T) {
	w, _, _ := rotating(t)
	w.must(&member.See{ID: "n1", Incarnation: "a"})
	began := w.table.Rotation().Began
	if _, idle := w.table.Idle(&member.RotateCA{}); !idle {
		t.Error("asked again it changes something")
	}
	if _, idle := w.table.Idle(&member.RotateCA{Without: []string{"n1"}}); idle {
		t.Error("leaving a member out changes nothing")
	}
	w.must(&member.RotateCA{Without: []string{"n1"}})
	if r := w.table.Rotation(); r.Began != began || r.Phase != member.Trusting || len(r.Without) != 1 {
		t.Errorf("it is %+v", r)
	}
	if _, idle := w.table.Idle(&member.RotateCA{Without: []string{"n1"}}); !idle {
		t.Error("leaving a member out twice changes something")
	}
	w.must(&member.See{ID: "n0", Incarnation: "a"})
	w.must(&member.RotateCA{Without: []string{"n0", "n1"}})
	if all := w.table.Rotation().Without; !slices.Equal(all, []string{"n0", "n1"}) {
		t.Errorf("left out are %v", all)
	}
}

func TestRotationsThatAreRefused(t *testing.T) {
	w := &world{T: t, table: member.New()}
	w.refused(&member.RotateCA{}, interrex.ErrDisabled, "cluster.tls.ca")
	w.must(&member.SetCA{Cert: string(testCA())})
	w.refused(&member.RotateCA{Without: []string{"n9"}}, interrex.ErrNotFound, "n9")
	w.refused(&member.RotateCA{Without: []string{"n2", "n1"}}, interrex.ErrInvalid, "out of order")
	w.must(&member.See{ID: "n1", Incarnation: "a", Version: "0.9", Tables: []member.TableVersion{{Name: "members", Version: 1}}})
	w.refused(&member.RotateCA{}, interrex.ErrConflict, "member n1 runs version 0.9")
	pin := jointoken.Pin{}
	w.refused(&member.OfferCA{Step: member.Step{Phase: member.Asked, CA: string(pin[:])}, Cert: string(nextCA())}, interrex.ErrConflict, "not in phase starting")
	w.refused(&member.AdvanceCA{Step: member.Step{Phase: member.Asked, CA: string(pin[:])}}, interrex.ErrInvalid, "phase")
}

func TestJoinTokensEndWithTheCAThatTheyPin(t *testing.T) {
	w, first, _ := rotating(t)
	token := jointoken.New(first.Pin())
	w.must(&member.CreateJoinToken{Key: string(token.PublicKey()), Uses: 9, TTL: time.Hour})
	w.must(admit(t, "n1", token, newKey(t), nil))
	w.advance()
	w.must(admit(t, "n2", token, newKey(t), nil))
	w.advance()
	w.refused(admit(t, "n3", token, newKey(t), nil), interrex.ErrDenied, "ended when the cluster's CA was rotated")
	if !w.table.Outdated(w.table.JoinTokens()[0]) {
		t.Error("the list does not say so")
	}
	after := jointoken.New(jointoken.Pin{})
	w.must(&member.CreateJoinToken{Key: string(after.PublicKey()), Uses: 9, TTL: time.Hour})
	w.must(admit(t, "n3", after, newKey(t), nil))
}

// The leader offers further CAs as long as the key of the last one is lost.
func TestTheCAsThatAreForgottenAreTheOldest(t *testing.T) {
	w, _, second := rotating(t)
	const most = 16
	var last *authority.Authority
	for range most + 1 {
		last = newCA(t)
		w.offer(last.Cert())
	}
	w.offer(newCA(t).Cert())
	if w.table.Gone(second.Pin()) || !w.table.Gone(last.Pin()) {
		t.Error("not the oldest is forgotten")
	}
	w.restores()
}

// The certificates of the former CA are renewed, while members get those of the present.
func TestWhoHasACertificateOfTheFormerCAIsKnown(t *testing.T) {
	w, first, second := rotating(t)
	certificate := func(ca *authority.Authority) *x509.Certificate {
		t.Helper()
		cert, err := x509.ParseCertificate([]byte(recertify(t, "n1", newKey(t), newKey(t), ca).Former))
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	w.must(&member.See{ID: "n1", Incarnation: "disk"})
	before, after := certificate(first), certificate(second)
	check := func(when string, former, recertified bool) {
		t.Helper()
		if got := w.table.IssuedByFormer(before); got != former || w.table.IssuedByFormer(after) {
			t.Errorf("%s: of the former CA: %v, %v", when, got, w.table.IssuedByFormer(after))
		}
		if got := w.table.Recertified(w.table.Member("n1")); got != recertified {
			t.Errorf("%s: recertified: %v", when, got)
		}
	}
	check("trusting", false, true)
	w.advance()
	w.advance()
	check("renewing", true, false)
	w.must(&member.Renew{ID: "n1"})
	check("asked to renew", true, false)
	w.must(recertify(t, "n1", newKey(t), newKey(t), second))
	check("renewed", true, true)
	w.advance()
	check("dropping", false, true)
}

// While both CAs are trusted, a certificate of either can be renewed.
func TestACertificateOfTheFormerCAIsRenewedUntilThatIsForgotten(t *testing.T) {
	w, first, second := rotating(t)
	one, two, three := newKey(t), newKey(t), newKey(t)
	w.must(&member.See{ID: "n1", Incarnation: "disk"})
	w.advance()
	w.advance()
	w.must(recertify(t, "n1", two, one, first))
	w.must(recertify(t, "n1", three, two, second))
	w.advance()
	w.refused(recertify(t, "n1", one, three, first), interrex.ErrDenied, "--for n1")
	w.must(recertify(t, "n1", one, three, second))
}
