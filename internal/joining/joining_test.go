package joining

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/state"
)

// cluster is the members of a cluster as far as joining needs it: one table.
type cluster struct {
	*testing.T
	ca *authority.Authority

	mu       sync.Mutex
	table    *member.Table
	now      state.Time
	revision interrex.Revision
	refuse   error // of the next admission
	keyless  bool
	voters   []string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{T: t, ca: ca, table: member.New()}
	c.must(&member.SetCA{Cert: string(ca.Cert())})
	return c
}

func (c *cluster) apply(m state.Command) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	decoded, err := c.table.Decode(m.Append(nil))
	if err == nil {
		err = c.table.Check(c.now, decoded)
	}
	if err == nil {
		c.revision++
		c.table.Apply(&state.Turn{Revision: c.revision, Now: c.now, Wall: testreplica.Wall(c.now), Table: machine.MemberTable}, decoded)
	}
	return err
}

func (c *cluster) must(m state.Command) {
	c.Helper()
	if err := c.apply(m); err != nil {
		c.Fatal(err)
	}
}

func (c *cluster) token(uses uint64) jointoken.Token {
	c.Helper()
	token := jointoken.New(c.ca.Pin())
	c.must(&member.CreateJoinToken{Key: string(token.PublicKey()), Uses: uses, TTL: time.Hour})
	return token
}

// serve starts a member, and returns its address. Its certificate is issued by ca.
func (c *cluster) serve(ca *authority.Authority, change ...func(*HandlerConfig)) string {
	c.Helper()
	config := HandlerConfig{
		Table: c.table, Now: func() state.Time { return c.now }, Wall: time.Now, Logger: silent.Logger{},
		Admit: func(_ context.Context, m *member.Admit) ([][]byte, error) {
			if err := c.refuse; err != nil {
				c.refuse = nil
				return nil, err
			}
			err := c.apply(m)
			return c.table.Trusted(), err
		},
		Authority: func([]byte) (*authority.Authority, error) {
			if c.keyless {
				return nil, fs.ErrNotExist
			}
			return c.ca, nil
		},
		ClusterID: func() string { return "the cluster" }, Epoch: func() interrex.Epoch { return interrex.Epoch{Number: 1, Bits: 7} },
		Members: func() []string { return []string{"h:1", "h:2"} },
		Voters:  func() []string { return c.voters },
		Session: func(ctx context.Context) *tls.ConnectionState {
			state := ctx.Value(connKey{}).(hidden).tls.ConnectionState()
			return &state
		},
	}
	for _, do := range change {
		do(&config)
	}
	key, raw, err := authority.NewRequest("m1", nil)
	if err != nil {
		c.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(raw)
	if err != nil {
		c.Fatal(err)
	}
	der, err := ca.Issue(csr, "m1", time.Now())
	if err != nil {
		c.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.Fatal(err)
	}
	s := &http.Server{Handler: NewHandler(config), ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, conn)
	}}
	var serving sync.WaitGroup
	serving.Go(func() {
		_ = s.Serve(listener{tls.NewListener(plain, &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{Protocol},
			Certificates: []tls.Certificate{{Certificate: [][]byte{der, ca.Cert()}, PrivateKey: key}},
		})})
	})
	c.Cleanup(func() {
		_ = s.Close()
		serving.Wait()
	})
	return plain.Addr().String()
}

type connKey struct{}

// listener hides from net/http that its connections are TLS: it would refuse the
// protocol.
type listener struct{ net.Listener }

type hidden struct {
	net.Conn
	tls *tls.Conn
}

func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return hidden{conn, conn.(*tls.Conn)}, nil
}

// joiner returns the configuration of an agent that joins.
func joiner(t *testing.T, token jointoken.Token, id string, addresses ...string) Config {
	t.Helper()
	key, csr, err := authority.NewRequest(id, []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	return Config{ID: id, Token: token, Addresses: addresses, Key: key, CSR: csr, Clock: clock.WallClock, Logger: silent.Logger{}}
}

func TestAnAgentJoins(t *testing.T) {
	c := newCluster(t)
	token := c.token(1)
	j := joiner(t, token, "n1", c.serve(c.ca))
	for range maxAtOnce + 1 { // the answer may have been lost
		grant, err := Try(t.Context(), j)
		if err != nil {
			t.Fatal(err)
		}
		if !grant.Anew || grant.ClusterID != "the cluster" || strings.Join(grant.Members, " ") != "h:1 h:2" || string(grant.Authorities[0]) != string(c.ca.Cert()) {
			t.Errorf("it got %+v", grant)
		}
		cert, err := x509.ParseCertificate(grant.Certificate)
		if err != nil || cert.DNSNames[0] != "n1" || !j.Key.PublicKey.Equal(cert.PublicKey) || cert.IPAddresses[0].String() != "127.0.0.1" {
			t.Errorf("its certificate is %+v (%v)", cert, err)
		}
	}
	if m := c.table.Member("n1"); m == nil || c.table.JoinToken(token.ID()).Left() != 0 {
		t.Errorf("the member is %+v", m)
	}
	_, err := Join(t.Context(), joiner(t, token, "n2", j.Addresses...))
	if interrex.KindOf(err) != interrex.ErrDenied || !strings.Contains(err.Error(), "was used 1 time,") {
		t.Errorf("a second agent with it: %v", err)
	}
}

func TestAJoinerKnowsItsCluster(t *testing.T) {
	c := newCluster(t)
	other := newCluster(t)
	token := c.token(1)
	_, err := Join(t.Context(), joiner(t, token, "n1", other.serve(other.ca)))
	if interrex.KindOf(err) != interrex.ErrUnauthenticated || !strings.Contains(err.Error(), "does not belong to the CA") {
		t.Errorf("another cluster: %v", err)
	}
	if other.table.Member("n1") != nil {
		t.Error("the other cluster has admitted it")
	}
	grant, err := Join(t.Context(), joiner(t, token, "n1", other.serve(other.ca), c.serve(c.ca)))
	if err != nil || grant == nil {
		t.Errorf("one of two addresses is right: %v", err)
	}
}

// Somebody in between who passes everything on has another session with the member.
func TestASignatureIsOfNoUseInAnotherSession(t *testing.T) {
	c := newCluster(t)
	token := c.token(1)
	address := c.serve(c.ca)
	j := joiner(t, token, "n1", address)
	first, err := j.dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	q, err := j.sign(first)
	if err != nil {
		t.Fatal(err)
	}
	second, err := j.dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	body, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	a := post(t, second, string(body))
	if a.Kind != string(interrex.ErrDenied) || !strings.Contains(a.Message, "not valid for this session") {
		t.Errorf("it is answered with %+v", a)
	}
}

// post sends a body over a connection.
func post(t *testing.T, conn net.Conn, body string) (a answer) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://x"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAMemberWithoutTheKeyNamesOthers(t *testing.T) {
	c := newCluster(t)
	issuing := c.serve(c.ca)
	keyless := c.serve(c.ca, func(h *HandlerConfig) {
		h.Authority = func([]byte) (*authority.Authority, error) { return nil, fs.ErrNotExist }
		h.Voters = func() []string { return []string{issuing} }
		h.Admit = func(context.Context, *member.Admit) ([][]byte, error) {
			t.Error("a use of the token is counted where no certificate can be issued")
			return nil, errors.New("no")
		}
	})
	token := c.token(2)
	if _, err := Try(t.Context(), joiner(t, token, "n1", keyless)); err != nil {
		t.Error(err)
	}
	c.keyless = true
	if _, err := Try(t.Context(), joiner(t, token, "n2", issuing)); !strings.Contains(err.Error(), "does not have the CA's key") {
		t.Errorf("nobody has it: %v", err)
	}
}

// The log decides which CA issues: this member may be behind it.
func TestAnAgentIsAdmittedBeforeItGetsACertificate(t *testing.T) {
	c := newCluster(t)
	next, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issuing, token := c.serve(c.ca), c.token(9)
	for name, test := range map[string]struct {
		trusted [][]byte
		refused error
		kind    interrex.Kind // empty: another member is named
		says    string
	}{
		"it is refused":         {[][]byte{c.ca.Cert()}, interrex.Errorf(interrex.ErrDenied, "not this one"), interrex.ErrDenied, "not this one"},
		"there is no CA":        {nil, nil, interrex.ErrUnavailable, "has no CA"},
		"the key is not here":   {[][]byte{next.Cert(), c.ca.Cert()}, nil, "", "<nil>"},
		"the key is not usable": {[][]byte{{}}, nil, interrex.ErrUnavailable, "it is damaged"},
	} {
		address := c.serve(c.ca, func(h *HandlerConfig) {
			h.Voters = func() []string { return []string{issuing} }
			h.Admit = func(context.Context, *member.Admit) ([][]byte, error) { return test.trusted, test.refused }
			h.Authority = func(der []byte) (*authority.Authority, error) {
				switch string(der) {
				case string(c.ca.Cert()):
					return c.ca, nil
				case "":
					return nil, errors.New("it is damaged")
				}
				return nil, fs.ErrNotExist
			}
		})
		a, err := joiner(t, token, "n1", address).ask(t.Context(), address)
		if interrex.KindOf(err) != test.kind || a.Grant != nil || (test.kind == "") != (len(a.Elsewhere) == 1) || !strings.Contains(fmt.Sprint(err), test.says) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func TestWhatAnAgentSaysOfItselfIsRecorded(t *testing.T) {
	c := newCluster(t)
	address := c.serve(c.ca)
	j := joiner(t, c.token(1), "f1", address)
	j.Forwards = true
	if _, err := Join(t.Context(), j); err != nil || !c.table.Member("f1").Forwards {
		t.Errorf("an agent without raft is %+v, %v", c.table.Member("f1"), err)
	}
	first := joiner(t, c.token(1), "n1", address)
	if _, err := Join(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	c.must(&member.See{ID: "n1", Incarnation: "old"})
	again := joiner(t, c.token(1), "n1", address)
	if _, err := Join(t.Context(), again); interrex.KindOf(err) != interrex.ErrConflict {
		t.Errorf("another agent of that ID: %v", err)
	}
	again.Former, again.Incarnation = first.Key, "new"
	if _, err := Join(t.Context(), again); err != nil || !c.table.Removed("n1", "old") {
		t.Errorf("one with its key, on another disk: %v", err)
	}
}

func TestAJoinerAsksAgain(t *testing.T) {
	c := newCluster(t)
	token := c.token(1)
	c.refuse = interrex.Errorf(interrex.ErrNoLeader, "an election is under way")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	if _, err := Join(t.Context(), joiner(t, token, "n1", closed.Addr().String(), c.serve(c.ca))); err != nil {
		t.Error(err)
	}
	if c.refuse != nil {
		t.Error("it was not refused")
	}
	if c.table.Member("n1") == nil {
		t.Error("it has a certificate, and was not admitted")
	}
}

func TestWhatIsNoMemberIsNamed(t *testing.T) {
	c := newCluster(t)
	token := c.token(1)
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	web := httptest.NewUnstartedServer(http.NotFoundHandler())
	web.TLS = &tls.Config{Certificates: []tls.Certificate{}}
	web.StartTLS()
	defer web.Close()
	for address, says := range map[string]string{
		plain.Listener.Addr().String(): "does not use TLS",
		web.Listener.Addr().String():   "cluster address of an agent",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := Join(ctx, joiner(t, token, "n1", address))
		cancel()
		if err == nil || !strings.Contains(err.Error(), says) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, which does not say %q", err, says)
		}
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	c := newCluster(t)
	token, proposed := c.token(9), 0
	address := c.serve(c.ca, func(h *HandlerConfig) {
		admit := h.Admit
		h.Admit = func(ctx context.Context, m *member.Admit) ([][]byte, error) {
			proposed++
			return admit(ctx, m)
		}
	})
	send := func(change func(*request)) answer {
		j := joiner(t, token, "n1", address)
		conn, err := j.dial(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		q, err := j.sign(conn)
		if err != nil {
			t.Fatal(err)
		}
		change(q)
		body, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		return post(t, conn, string(body))
	}
	if a := send(func(*request) {}); a.Grant == nil {
		t.Fatalf("a right one: %+v", a)
	}
	for about, test := range map[string]struct {
		change func(*request)
		kind   interrex.Kind
		says   string
	}{
		"another ID":      {func(q *request) { q.ID = "n2" }, interrex.ErrInvalid, "it is for agent n1, not for n2"},
		"no request":      {func(q *request) { q.CSR = nil }, interrex.ErrInvalid, "csr: it is not"},
		"another token":   {func(q *request) { q.Token = "0123456789abcdef" }, interrex.ErrNotFound, "does not exist"},
		"no token":        {func(q *request) { q.Token = "" }, interrex.ErrInvalid, "token"},
		"a signature":     {func(q *request) { q.Signature[0] ^= 1 }, interrex.ErrDenied, "signature"},
		"a former key":    {func(q *request) { q.Former = make([]byte, 1000) }, interrex.ErrTooLarge, "former"},
		"a large request": {func(q *request) { q.Former = make([]byte, maxBody) }, interrex.ErrInvalid, "too large"},
		"another cluster": {func(q *request) { q.Held = &Held{ClusterID: "elsewhere"} }, interrex.ErrConflict, "belongs to the cluster elsewhere"},
	} {
		if a := send(test.change); a.Kind != string(test.kind) || !strings.Contains(a.Message, test.says) || a.Grant != nil {
			t.Errorf("%s: %+v", about, a)
		}
	}
	if proposed != 1 {
		t.Errorf("%d were proposed", proposed)
	}
}

func TestNothingElseIsServedWhereAgentsJoin(t *testing.T) {
	c := newCluster(t)
	token := c.token(9)
	address := c.serve(c.ca)
	for _, line := range []string{"GET /join", "GET /", "POST /interrex.v1.LeaseService/Claim"} {
		j := joiner(t, token, "n1", address)
		conn, err := j.dial(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", line); err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(conn)
		if err != nil || !strings.Contains(string(said), line+": agents join here, with POST /join") {
			t.Errorf("%s: %s, %v", line, said, err)
		}
		_ = conn.Close()
	}
}

func TestAClusterThatIssuesNothing(t *testing.T) {
	c := newCluster(t)
	token := c.token(1)
	outside := c.serve(c.ca, func(h *HandlerConfig) { h.Table = member.New() })
	if _, err := Join(t.Context(), joiner(t, token, "n1", outside)); interrex.KindOf(err) != interrex.ErrDisabled || !strings.Contains(err.Error(), "no CA of its own") {
		t.Errorf("a CA from outside: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	standalone := c.serve(c.ca, func(h *HandlerConfig) { h.ClusterID = func() string { return "" } })
	if _, err := Join(ctx, joiner(t, token, "n1", standalone)); interrex.KindOf(err) != interrex.ErrUnavailable {
		t.Errorf("an agent without a cluster: %v", err)
	}
}

func TestAGrantForAnotherKeyIsRefused(t *testing.T) {
	c := newCluster(t)
	j := joiner(t, c.token(1), "n1")
	other, err := ecdsa.GenerateKey(j.Key.Curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(j.CSR)
	if err != nil {
		t.Fatal(err)
	}
	der, err := c.ca.Issue(csr, "n1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	g := &Grant{Certificate: der, Authorities: [][]byte{c.ca.Cert()}}
	if err := j.verify(g); err != nil {
		t.Errorf("its own: %v", err)
	}
	if err := j.verify(&Grant{Certificate: der, Authorities: [][]byte{newCluster(t).ca.Cert()}}); err == nil || !strings.Contains(err.Error(), "does not belong to the CA") {
		t.Errorf("another CA's: %v", err)
	}
	j.Key = other
	if err := j.verify(g); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("another's: %v", err)
	}
	text, err := json.Marshal(answer{Grant: g})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := j.read(&http.Response{Body: io.NopCloser(bytes.NewReader(text))}); err == nil {
		t.Errorf("it is taken: %+v", a)
	}
}

func TestWhatIsAskedForAgain(t *testing.T) {
	for kind, final := range map[interrex.Kind][2]bool{ // in the first round, and later
		interrex.ErrDenied: {true, true}, interrex.ErrConflict: {true, true}, interrex.ErrUnauthenticated: {true, true},
		interrex.ErrNotFound:    {false, true}, // a member may be behind the log
		interrex.ErrUnavailable: {}, interrex.ErrOverloaded: {}, interrex.ErrNoLeader: {}, interrex.ErrOutcomeUnknown: {},
	} {
		err := fmt.Errorf("cannot join: %w", interrex.Errorf(kind, "no"))
		if got := [2]bool{isFinal(err, 1), isFinal(err, lagging)}; got != final {
			t.Errorf("%s is final: %v", kind, got)
		}
	}
	if isFinal(errors.New("connection refused"), 1000) {
		t.Error("an error of the network is final")
	}
}

// A member whose certificate is of the former CA will be renewed; what speaks another
// protocol is no place to join.
func TestMembersThatCannotLetAnAgentInYet(t *testing.T) {
	former, c := newCluster(t), newCluster(t)
	for name, test := range map[string]struct {
		by       *authority.Authority
		protocol string
		kind     interrex.Kind
		says     string
	}{
		"not renewed yet":  {former.ca, Protocol, interrex.ErrUnavailable, "has not been renewed"},
		"another protocol": {c.ca, "", "", "is it the cluster address"},
	} {
		key, raw, err := authority.NewRequest("m1", nil)
		if err != nil {
			t.Fatal(err)
		}
		csr, err := x509.ParseCertificateRequest(raw)
		if err != nil {
			t.Fatal(err)
		}
		der, err := test.by.Issue(csr, "m1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der, c.ca.Cert(), former.ca.Cert()}, PrivateKey: key}}}
		if test.protocol != "" {
			config.NextProtos = []string{test.protocol}
		}
		l, err := tls.Listen("tcp", "127.0.0.1:0", config)
		if err != nil {
			t.Fatal(err)
		}
		var serving sync.WaitGroup
		serving.Go(func() {
			if conn, err := l.Accept(); err == nil {
				_ = conn.(*tls.Conn).Handshake()
				_ = conn.Close()
			}
		})
		j := joiner(t, jointoken.New(c.ca.Pin()), "n1", l.Addr().String())
		if _, err := j.dial(t.Context(), l.Addr().String()); interrex.KindOf(err) != test.kind || err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
		serving.Wait()
		_ = l.Close()
	}
}
