package renewal

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peercall"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/state"
)

// world is an agent n1 of a cluster, and a voter with the CA's key.
type world struct {
	*testing.T
	ca      *authority.Authority
	table   *member.Table
	dir     string
	issuer  Issuer
	wanted  bool
	names   []string
	lost    error  // in place of the voter's answer
	answer  *Grant // likewise
	asked   int
	changed int
}

func newWorld(t *testing.T, issued time.Time) *world {
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, ca: ca, table: member.New(), dir: t.TempDir()}
	voter := t.TempDir()
	if err := ca.Save(voter); err != nil {
		t.Fatal(err)
	}
	w.apply(&member.SetCA{Cert: string(ca.Cert())})
	w.apply(&member.See{ID: "n1", Incarnation: "disk", Version: "1"})
	w.issuer = Issuer{
		Dir: voter, Table: w.table, Now: time.Now, Logger: silent.Logger{},
		Record: func(_ context.Context, c *member.Recertify) ([][]byte, error) { return w.table.Trusted(), w.do(c) },
	}
	key, raw, err := authority.NewRequest("n1", []string{"api.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(raw)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(request, "n1", issued)
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.SaveAgent(w.dir, key, cert, [][]byte{ca.Cert()}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) do(c state.Command) error {
	decoded, err := w.table.Decode(c.Append(nil))
	if err == nil {
		err = w.table.Check(0, decoded)
	}
	if err == nil {
		w.table.Apply(&state.Turn{Revision: 1, Wall: time.Unix(1, 0), Table: machine.MemberTable}, decoded)
	}
	return err
}

func (w *world) apply(c state.Command) {
	w.Helper()
	if err := w.do(c); err != nil {
		w.Fatal(err)
	}
}

func (w *world) present() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(w.dir, authority.AgentCertName), filepath.Join(w.dir, authority.AgentKeyName))
	return &pair, err
}

func (w *world) leaf() *x509.Certificate {
	w.Helper()
	cert, err := w.present()
	if err != nil {
		w.Fatal(err)
	}
	return cert.Leaf
}

func (w *world) worker() *Worker {
	return &Worker{part: 2.0 / 3, config: Config{
		ID: "n1", Dir: w.dir, Certificate: w.present, Changed: func() { w.changed++ }, Clock: clock.WallClock, Logger: silent.Logger{},
		Member:  func() bool { return true },
		Trusted: w.table.Trusted, Gone: w.table.Gone,
		Wanted: func(*x509.Certificate) bool { return w.wanted },
		Names:  func() []string { return w.names },
		Ask: func(ctx context.Context, q *Request) (*Grant, error) {
			w.asked++
			if _, is := ctx.Deadline(); !is {
				w.Error("nothing bounds a renewal")
			}
			if w.answer != nil {
				return w.answer, nil
			}
			grant, err := w.issuer.Issue(ctx, q)
			return grant, errors.Join(err, w.lost)
		},
	}}
}

func (w *world) look() {
	w.Helper()
	if err := w.worker().look(w.Context()); err != nil {
		w.Fatal(err)
	}
}

func TestACertificateIsRenewedAtTwoThirdsOfItsLife(t *testing.T) {
	young := newWorld(t, time.Now().Add(-authority.CertLife*6/10))
	before := young.leaf()
	young.look()
	if !young.leaf().Equal(before) {
		t.Error("it is renewed early")
	}
	w := newWorld(t, time.Now().Add(-authority.CertLife*7/10))
	before = w.leaf()
	w.look()
	after := w.leaf()
	if time.Until(after.NotAfter) < authority.CertLife-time.Hour || string(after.RawSubjectPublicKeyInfo) == string(before.RawSubjectPublicKeyInfo) {
		t.Fatalf("it ends at %v, with the former key or another", after.NotAfter)
	}
	if after.DNSNames[1] != "api.example.com" || w.table.Member("n1").Key != string(after.RawSubjectPublicKeyInfo) {
		t.Errorf("its names are %v, or the table has another key", after.DNSNames)
	}
	w.look()
	if w.asked != 1 {
		t.Errorf("%d renewals", w.asked)
	}
}

// The machine was given another address, which is in the configuration.
func TestACertificateIsRenewedWhenItLacksAName(t *testing.T) {
	w := newWorld(t, time.Now())
	w.names = []string{"localhost", "0:0::1", "10.0.0.9", "api2.example.com"}
	w.look()
	w.look()
	after := w.leaf()
	for _, name := range []string{"::1", "10.0.0.9", "api2.example.com", "api.example.com"} {
		if err := after.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if w.asked != 1 {
		t.Errorf("%d renewals", w.asked)
	}
	w.names = nil
	for i := range 40 { // more than one certificate may have
		w.names = []string{fmt.Sprintf("10.0.1.%d", i)}
		w.look()
	}
	if err := w.leaf().VerifyHostname("10.0.1.39"); err != nil {
		t.Error(err)
	}
}

func TestARenewalWhoseAnswerWasLostIsContinuedWithTheSameKey(t *testing.T) {
	w := newWorld(t, time.Now())
	w.apply(&member.Renew{ID: "n1"})
	w.wanted, w.lost = true, errors.New("cut")
	before := w.leaf()
	if err := w.worker().look(t.Context()); err == nil || !w.leaf().Equal(before) {
		t.Fatalf("the answer was lost, and %v", err)
	}
	recorded := w.table.Member("n1").Key
	w.wanted, w.lost = false, nil // the agent was restarted, and the renewal is recorded
	w.look()
	if after := w.leaf(); after.Equal(before) || string(after.RawSubjectPublicKeyInfo) != recorded {
		t.Error("the certificate is not for the recorded key")
	}
}

func TestAnEndedCertificateSaysHowTheAgentReturns(t *testing.T) {
	w := newWorld(t, time.Now().Add(-authority.CertLife-time.Hour))
	alone := w.worker()
	alone.config.Return = authority.HowToReturn("n1", w.dir, true)
	alone.config.Member = func() bool { return false } // as far as it knows, before it has met the others
	err := alone.look(t.Context())
	if err == nil || !strings.Contains(err.Error(), "join-token create --for n1") || !strings.Contains(err.Error(), w.dir+" --forward'") {
		t.Errorf("%v", err)
	}
	if w.asked != 0 {
		t.Error("another agent was asked, with a certificate that none accepts")
	}
}

func TestOnlyAnAgentWithTheCAsKeyIssues(t *testing.T) {
	w := newWorld(t, time.Now())
	present, err := w.present()
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := authority.NewRequest("n1", nil)
	if err != nil {
		t.Fatal(err)
	}
	q, err := request("n1", nil, present, key)
	if err != nil {
		t.Fatal(err)
	}
	q.Signature[len(q.Signature)-1] ^= 1
	if _, err := w.issuer.Issue(t.Context(), q); !errors.Is(err, interrex.ErrDenied) {
		t.Errorf("a wrong signature: %v", err)
	}
	w.issuer.Dir = t.TempDir()
	if _, err := w.issuer.Issue(t.Context(), q); !errors.Is(err, interrex.ErrNotFound) {
		t.Errorf("without the key: %v", err)
	}
}

func TestACertificateThatWasIssuedIsInstalledWithoutAskingAgain(t *testing.T) {
	w := newWorld(t, time.Now())
	present, err := w.present()
	if err != nil {
		t.Fatal(err)
	}
	blocked := w.worker()
	blocked.config.Certificate = func() (*tls.Certificate, error) { return present, nil }
	file := filepath.Join(w.dir, authority.AgentCertName)
	if err := errors.Join(os.Remove(file), os.MkdirAll(filepath.Join(file, "in the way"), 0o700)); err != nil {
		t.Fatal(err)
	}
	w.wanted = true
	if err := blocked.look(t.Context()); err == nil {
		t.Fatal("it was installed")
	}
	if err := os.RemoveAll(file); err != nil {
		t.Fatal(err)
	}
	w.wanted = false
	if err := blocked.look(t.Context()); err != nil || w.asked != 1 {
		t.Errorf("%d renewals, %v", w.asked, err)
	}
	if w.table.Member("n1").Key != string(w.leaf().RawSubjectPublicKeyInfo) || w.changed != 1 {
		t.Errorf("the certificate that was issued is not in use, or that is announced %d times", w.changed)
	}
}

func TestAGrantForSomethingElseIsRefused(t *testing.T) {
	w, other := newWorld(t, time.Now()), newWorld(t, time.Now())
	grant, err := w.issuer.Issue(t.Context(), w.ask("n1"))
	if err != nil {
		t.Fatal(err)
	}
	present, _ := w.present()
	for name, g := range map[string]*Grant{
		"the key of another":       grant,
		"the CA of another":        {Certificate: present.Leaf.Raw, Authorities: [][]byte{other.ca.Cert()}},
		"no CA":                    {Certificate: present.Leaf.Raw},
		"nothing that can be read": {Certificate: []byte("x"), Authorities: grant.Authorities},
	} {
		if err := g.check(present.PrivateKey.(*ecdsa.PrivateKey)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	good := &Grant{Certificate: present.Leaf.Raw, Authorities: [][]byte{other.ca.Cert(), w.ca.Cert()}}
	if err := good.check(present.PrivateKey.(*ecdsa.PrivateKey)); err != nil {
		t.Error(err)
	}
	w.wanted, w.answer = true, grant
	before := w.leaf()
	if err := w.worker().look(t.Context()); err == nil || !w.leaf().Equal(before) {
		t.Errorf("it is in use: %v", err)
	}
}

func TestACertificateIsRenewedThoughTheFileOfTheCAIsGone(t *testing.T) {
	w := newWorld(t, time.Now())
	if err := os.Remove(filepath.Join(w.dir, authority.CertName)); err != nil {
		t.Fatal(err)
	}
	elsewhere := w.worker()
	elsewhere.config.Trusted = func() [][]byte { return nil } // the certificates are, and so is the file
	if err := elsewhere.look(t.Context()); err != nil {
		t.Error(err)
	}
	w.wanted = true
	before := w.leaf()
	if err := w.worker().look(t.Context()); err == nil || w.leaf().Equal(before) {
		t.Errorf("it is renewed: %v, %v", !w.leaf().Equal(before), err)
	}
	w.wanted = false
	w.look()
}

// An agent that cannot be renewed is in nobody's way.
func TestARenewalThatFailsIsTriedLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now())
		w.wanted, w.lost = true, errors.New("nobody is there")
		worker, err := NewWorker(w.worker().config)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if w.asked < 8 || w.asked > 30 {
			t.Errorf("%d times within an hour", w.asked)
		}
		w.lost = nil
		for before := w.asked; w.asked == before; synctest.Wait() {
			time.Sleep(time.Second)
		}
		w.lost = errors.New("nobody is there")
		before := w.asked
		time.Sleep(every + firstPause + time.Second)
		synctest.Wait()
		if w.asked < before+2 {
			t.Errorf("after it had been done, %d times", w.asked-before)
		}
		worker.Kill()
		if err := worker.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// ask makes the request of n1 for a new key, with a certificate request for an agent.
func (w *world) ask(id string) *Request {
	w.Helper()
	present, err := w.present()
	if err != nil {
		w.Fatal(err)
	}
	key, csr, err := authority.NewRequest(id, nil)
	if err != nil {
		w.Fatal(err)
	}
	q, err := request("n1", nil, present, key)
	if err != nil {
		w.Fatal(err)
	}
	q.CSR = csr
	return q
}

func TestAnAgentRenewsOnlyItsOwnCertificate(t *testing.T) {
	w := newWorld(t, time.Now())
	mux := http.NewServeMux()
	w.issuer.Serve(mux)
	call := func(peer string, q *Request) int {
		t.Helper()
		body, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, httptest.NewRequestWithContext(peercall.WithPeer(t.Context(), peer), http.MethodPost, path, bytes.NewReader(body)))
		return answer.Code
	}
	if status := call("n2", w.ask("n1")); status != http.StatusForbidden || w.table.Member("n1").Key != "" {
		t.Errorf("for another one: %d", status)
	}
	if status := call("n1", w.ask("n2")); status != http.StatusBadRequest || w.table.Member("n1").Key != "" {
		t.Errorf("with another one's name: %d", status)
	}
	if status := call("n1", w.ask("n1")); status != http.StatusOK || w.table.Member("n1").Key == "" {
		t.Errorf("for itself: %d", status)
	}
}

// The log decides which CA issues: this agent may be behind it.
func TestACertificateIsOfTheCAThatTheLogNames(t *testing.T) {
	w := newWorld(t, time.Now())
	next, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var trusted [][]byte
	w.issuer.Record = func(context.Context, *member.Recertify) ([][]byte, error) { return trusted, nil }
	if _, err := w.issuer.Issue(t.Context(), w.ask("n1")); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("it names none: %v", err)
	}
	trusted = [][]byte{next.Cert(), w.ca.Cert()}
	if _, err := w.issuer.Issue(t.Context(), w.ask("n1")); !errors.Is(err, interrex.ErrNotFound) {
		t.Errorf("its key is not here: %v", err)
	}
	if err := authority.AddKey(w.issuer.Dir, next, w.table.Spent, w.table.Spent); err != nil {
		t.Fatal(err)
	}
	grant, err := w.issuer.Issue(t.Context(), w.ask("n1"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(next.Cert())
	if err != nil {
		t.Fatal(err)
	}
	if cert, err := x509.ParseCertificate(grant.Certificate); err != nil || cert.CheckSignatureFrom(ca) != nil || len(grant.Authorities) != 2 {
		t.Errorf("it is of another CA (%v)", err)
	}
}

// While the CA is rotated an agent trusts both, its next certificate is of the new one, and
// then it forgets the former.
func TestAnAgentFollowsARotation(t *testing.T) {
	w := newWorld(t, time.Now())
	next, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	trusts := func(n int) {
		t.Helper()
		w.look()
		if all, err := authority.ReadTrust(w.dir); err != nil || len(all) != n {
			t.Errorf("it trusts %d CAs, not %d (%v)", len(all), n, err)
		}
	}
	step := func() member.Step {
		s, _ := w.table.Step()
		return s
	}
	trusts(1)
	w.apply(&member.RotateCA{})
	w.apply(&member.OfferCA{Step: step(), Cert: string(next.Cert())})
	trusts(2)
	trusts(2)
	if w.changed != 1 {
		t.Errorf("that it trusts another CA is announced %d times", w.changed)
	}
	w.apply(&member.AdvanceCA{Step: step()})
	w.apply(&member.AdvanceCA{Step: step()})
	if err := authority.AddKey(w.issuer.Dir, next, w.table.Spent, w.table.Spent); err != nil {
		t.Fatal(err)
	}
	if !w.table.IssuedByFormer(w.leaf()) {
		t.Error("its certificate is not to be renewed")
	}
	w.wanted = true
	trusts(2)
	if cert, err := x509.ParseCertificate(next.Cert()); err != nil || w.leaf().CheckSignatureFrom(cert) != nil || w.table.IssuedByFormer(w.leaf()) {
		t.Errorf("its certificate is not of the new CA (%v)", err)
	}
	w.wanted = false
	w.apply(&member.AdvanceCA{Step: step()})
	trusts(1)
}
