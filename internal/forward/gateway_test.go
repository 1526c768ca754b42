package forward

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/peercall"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/transport"
)

// fleet are members, each at an address of its own.
type fleet struct {
	*testing.T
	ca *certificates.CA

	mu      sync.Mutex
	epoch   map[string]interrex.Epoch // by ID
	leader  map[string]string         // by ID; nothing: a leads
	orders  Orders
	members map[string]*http.Server // by address
	log     []string                // who answered, and with which token
	led     interrex.Leadership     // as the gateway has told
	cuts    string                  // the member that cuts its answers

	statuses map[string]int // of answers, by what Authorization says; 200 for others
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	return &fleet{T: t, ca: ca, epoch: map[string]interrex.Epoch{}, leader: map[string]string{}, members: map[string]*http.Server{}}
}

// member starts one, which lets agents forward unless may says why not.
func (f *fleet) member(id string, may func(string) error) (address string) {
	f.Helper()
	given, err := f.ca.TLS(id)
	if err != nil {
		f.Fatal(err)
	}
	config, err := certificates.Server(given, peering.ForwardProtocol)
	if err != nil {
		f.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	address = l.Addr().String()
	callers := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/unauthenticated" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path == "/stream" {
			_, _ = io.WriteString(w, "begun")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		body, _ := io.ReadAll(r.Body)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.log = append(f.log, id+" "+r.Header.Get("Authorization")+" "+string(body))
		if f.cuts == id {
			panic(http.ErrAbortHandler)
		}
		if status := f.statuses[r.Header.Get("Authorization")]; status != 0 {
			w.WriteHeader(status)
		}
	})
	tell := func(_ string, from *Whereabouts) (*Members, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.log = append(f.log, fmt.Sprint(id, " told ", from.Trusts))
		m := &Members{ID: id, ClusterID: "c", Epoch: f.epoch[id], LeaderID: "a", LeaderAddress: "a:1", Term: 3, Orders: f.orders}
		if leader, is := f.leader[id]; is {
			m.LeaderID = leader
		}
		for address := range f.members {
			m.Addresses = append(m.Addresses, address)
		}
		return m, nil
	}
	remove := func(_ context.Context, of string) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.log = append(f.log, id+" removes "+of)
		return nil
	}
	epoch := func() interrex.Epoch {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.epoch[id]
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler: Serve(http.NewServeMux(), MemberConfig{Callers: callers, May: may, Tell: tell, Remove: remove, Epoch: epoch, Logger: silent.Logger{}}), Protocols: protocols,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context { return peercall.WithPeer(ctx, "f1") },
	}
	f.mu.Lock()
	f.members[address] = server
	f.mu.Unlock()
	go func() { _ = server.Serve(shaken{tls.NewListener(l, config)}) }()
	f.Cleanup(func() { _ = server.Close() })
	return address
}

// shaken accepts connections that do not look like TLS to an http.Server.
type shaken struct{ net.Listener }

func (s shaken) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{c}, nil
}

func (f *fleet) stop(address string) {
	f.mu.Lock()
	server := f.members[address]
	delete(f.members, address)
	f.mu.Unlock()
	_ = server.Close()
}

func (f *fleet) lead(l interrex.Leadership) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.led = l
}

func (f *fleet) leadership() interrex.Leadership {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.led
}

// answers returns what the members got for callers.
func (f *fleet) answers() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.log), func(line string) bool { return strings.Contains(line, " told ") })
}

// heard reports whether a member was told something.
func (f *fleet) heard(line string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.log, line)
}

// set changes what members say.
func (f *fleet) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// gateway starts the gateway of agent f1.
func (f *fleet) gateway(join ...string) *Gateway { return f.gatewayOf(GatewayConfig{}, join...) }

// gatewayOf does so with a configuration, which it completes.
func (f *fleet) gatewayOf(c GatewayConfig, join ...string) *Gateway {
	f.Helper()
	if c.TLS == nil {
		c.TLS = f.gatewayTLS()
	}
	c.Join, c.Token = func() []string { return join }, func() (string, error) { return "own", nil }
	c.Lead, c.Clock, c.Logger = f.lead, clock.WallClock, silent.Logger{}
	if c.Note == nil {
		c.Note = func(Cluster) error { return nil }
	}
	g := NewGateway(c)
	f.Cleanup(func() { g.Kill(); _ = g.Wait() })
	return g
}

// fine lets every agent forward.
func fine(string) error { return nil }

// gatewayTLS returns the certificate of agent f1.
func (f *fleet) gatewayTLS() transport.TLS {
	f.Helper()
	given, err := f.ca.TLS("f1")
	if err != nil {
		f.Fatal(err)
	}
	return given
}

// half trusts the authorities of one, and has a certificate of another.
type half struct{ trusts, has transport.TLS }

func (h half) Certificate() (*tls.Certificate, error) { return h.has.Certificate() }
func (h half) Roots() (*x509.CertPool, error)         { return h.trusts.Roots() }

// open opens a stream through a gateway, and returns a channel that is closed when it is
// cut.
func (f *fleet) open(g *Gateway) <-chan struct{} {
	f.Helper()
	reading, writing := io.Pipe()
	f.Cleanup(func() { _ = writing.Close() })
	begun, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer func() { _ = recover() }() // a proxy panics when an answer is cut
		r := httptest.NewRequest(http.MethodPost, "/stream", reading)
		g.ServeHTTP(firstWrite{httptest.NewRecorder(), begun}, r.WithContext(admission.WithCaller(r.Context(), admission.Caller{Door: admission.Public})))
	}()
	<-begun
	return ended
}

// firstWrite closes a channel when an answer begins.
type firstWrite struct {
	*httptest.ResponseRecorder
	begun chan struct{}
}

func (w firstWrite) Write(p []byte) (int, error) {
	close(w.begun)
	return w.ResponseRecorder.Write(p)
}

// until waits until something is so.
func (f *fleet) until(what string, is func() bool) {
	f.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			f.Fatalf("after a minute: %s", what)
		}
	}
}

// post sends a request that arrives at a door, and returns its status and its answer.
func (f *fleet) post(g *Gateway, d admission.Door, token, body string) (int, string) {
	f.Helper()
	return f.postTo("/interrex.v1.LeaseService/Claim", g, d, token, body)
}

func (f *fleet) postTo(path string, g *Gateway, d admission.Door, token, body string) (int, string) {
	f.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r.WithContext(admission.WithCaller(r.Context(), admission.Caller{Door: d})))
	return w.Code, w.Body.String()
}

func TestRequestsGoToAnotherMemberWhenOneIsGone(t *testing.T) {
	f := newFleet(t)
	one, two := f.member("a", fine), f.member("b", fine)
	g := f.gateway(one) // it learns the other one's address
	f.until("it knows both", func() bool { return len(g.addresses()) == 2 })
	f.stop(one)
	f.until("it has noticed", func() bool { return g.Told().ID == "b" })
	if got, want := f.leadership(), (interrex.Leadership{Term: 3, LeaderID: "a", LeaderAddress: "a:1"}); got != want {
		t.Errorf("the leader is told as %+v, want %+v", got, want)
	}
	if words := g.Words(); !strings.Contains(words, "forwarded to b at "+two+", led by a") {
		t.Error(words)
	}
	reached, _ := g.Failed()
	if code, text := f.post(g, admission.Public, "", "1"); code != http.StatusOK {
		t.Fatalf("%d %s", code, text)
	}
	f.stop(two)
	f.until("nobody is reached", func() bool {
		code, text := f.post(g, admission.Public, "", "2")
		return code == http.StatusServiceUnavailable && strings.Contains(text, "nothing has happened")
	})
	f.until("it says so", func() bool { _, err := g.Failed(); return err != nil && g.Told().ID == "" })
	f.until("it says that nobody is known to lead", func() bool { return f.leadership() == interrex.Leadership{Term: 3} })
	if since, _ := g.Failed(); !since.After(reached) {
		t.Errorf("no member is reached since %v, and one was since %v", since, reached)
	}
	if words := g.Words(); !strings.Contains(words, "forwards nothing") {
		t.Error(words)
	}
}

func TestARequestThatWasNotSentKeepsItsBody(t *testing.T) {
	f := newFleet(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().String()
	_ = l.Close()
	here := f.member("a", fine)
	for range 8 { // the addresses are tried in any order
		g := f.gateway(gone, here)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://member/x", &closing{Reader: strings.NewReader("body")})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := g.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Fatal(answer.Status)
		}
	}
	for _, line := range f.answers() {
		if line != "a  body" {
			t.Errorf("the member got %q", line)
		}
	}
}

// A member that has got a request may have done what it asks for.
func TestARequestThatMayHaveBeenSentIsNotSentAgain(t *testing.T) {
	f := newFleet(t)
	f.cuts = "a"
	cuts, answers := f.member("a", fine), f.member("b", fine)
	cut := 0
	for sent := 0; cut < 4 && sent < 100; { // the addresses are tried in any order
		g := f.gateway(cuts, answers)
		for _, body := range []string{"body", ""} {
			code, text := f.post(g, admission.Public, "", body)
			if sent++; len(f.answers()) != sent {
				t.Fatalf("%d requests were sent %d times", sent, len(f.answers()))
			}
			last := f.answers()[sent-1]
			switch byCut := strings.HasPrefix(last, "a "); {
			case !byCut && code == http.StatusOK:
			case byCut && code == http.StatusInternalServerError && strings.Contains(text, `"outcome unknown"`):
				cut++
				if code, text := f.post(g, admission.Public, "", ""); code != http.StatusOK { // the other one is tried first now
					t.Errorf("the next request: %d %s", code, text)
				}
				sent++
				continue
			default:
				t.Fatalf("%q is answered with %d %s", last, code, text)
			}
		}
	}
}

// Only a member knows what a caller may do.
func TestWhoMaySeeHowAnAgentDoesIsAskedOfAMember(t *testing.T) {
	f := newFleet(t)
	f.statuses = map[string]int{"": 401, "Bearer few": 403, "Bearer busy": 503}
	address := f.member("a", func(string) error { return nil })
	g := f.gateway(address)
	for shown, want := range map[string]interrex.Kind{
		"": interrex.ErrUnauthenticated, "Bearer few": interrex.ErrDenied, "Bearer busy": interrex.ErrUnavailable, "Bearer all": "",
	} {
		r := httptest.NewRequest(http.MethodGet, "/status", nil)
		if shown != "" {
			r.Header.Set("Authorization", shown)
		}
		if err := g.May(r); interrex.KindOf(err) != want {
			t.Errorf("who shows %q: %v, want %q", shown, err, want)
		}
	}
	f.stop(address)
	f.until("nobody may once no member is reached", func() bool {
		return interrex.KindOf(g.May(httptest.NewRequest(http.MethodGet, "/status", nil))) == interrex.ErrUnavailable
	})
}

func TestAddressesThatAreNotKnownAnyMoreAreForgotten(t *testing.T) {
	join := []string{"a:1", "b:1"}
	g := &Gateway{config: GatewayConfig{Join: func() []string { return join }}, members: roster{lines: map[string]*memberLine{}}}
	if got := g.addresses(); len(got) != 2 {
		t.Errorf("there are %q", got)
	}
	if first := g.members.line("a:1"); g.members.line("a:1") != first || g.members.line("b:1") == first {
		t.Error("a member has two lines, or two have one")
	}
	g.members.demote("nowhere:1")
	for _, address := range join {
		if g.members.demote(address); g.addresses()[1] != address {
			t.Errorf("%s is not the last one of %q", address, g.addresses())
		}
	}
	join = join[1:]
	if got := g.addresses(); len(got) != 1 || got[0] != "b:1" || len(g.members.lines) != 1 || g.members.lines["b:1"] == nil {
		t.Errorf("left are %q, with %d lines", got, len(g.members.lines))
	}
	for n := range 2 * maxAddresses {
		join = append(join, fmt.Sprintf("c:%d", n))
	}
	if got := g.addresses(); len(got) != maxAddresses {
		t.Errorf("%d are remembered", len(got))
	}
}

func TestOnlyCallersOfTheAgentItselfHaveItsToken(t *testing.T) {
	f := newFleet(t)
	g := f.gateway(f.member("a", fine))
	for _, c := range []struct {
		door  admission.Door
		token string
	}{{admission.Public, ""}, {admission.Public, "theirs"}, {admission.Socket, ""}, {admission.Socket, "theirs"}, {admission.Inside, ""}} {
		if code, text := f.post(g, c.door, c.token, ""); code != http.StatusOK {
			t.Fatalf("%d %s", code, text)
		}
	}
	want := "a  |a Bearer theirs |a Bearer own |a Bearer theirs |a Bearer own "
	if got := strings.Join(f.answers(), "|"); got != want {
		t.Errorf("the member got %q, want %q", got, want)
	}
	g.config.Token = func() (string, error) { return "", errors.New("no such file") }
	if code, text := f.post(g, admission.Socket, "", ""); code != http.StatusUnauthorized || !strings.Contains(text, "api.token-file: no such file") {
		t.Errorf("%d %s", code, text)
	}
}

func TestAnAgentSaysThatItsTokenIsNotAccepted(t *testing.T) {
	f := newFleet(t)
	g := f.gateway(f.member("a", fine))
	said := new(warnings)
	g.config.Logger = said
	for _, c := range []struct {
		door  admission.Door
		token string
	}{{admission.Public, ""}, {admission.Socket, "theirs"}, {admission.Socket, ""}} {
		if code, _ := f.postTo("/unauthenticated", g, c.door, c.token, ""); code != http.StatusUnauthorized {
			t.Fatal(code)
		}
	}
	if n := said.n.Load(); n != 1 {
		t.Errorf("it says so %d times, and one request showed its own token", n)
	}
}

// warnings counts what is said about the token's file.
type warnings struct {
	silent.Logger
	n atomic.Int32
}

func (w *warnings) Warningf(format string, _ ...any) {
	if strings.HasPrefix(format, "api.token-file: a member does not accept") {
		w.n.Add(1)
	}
}

// Who the members are, and a new certificate, are for the agent: who reaches its port may
// be anybody.
func TestWhatAnAgentAsksForItselfIsNotForItsCallers(t *testing.T) {
	f := newFleet(t)
	g := f.gateway(f.member("a", fine))
	if code, text := f.postTo(membersPath, g, admission.Public, "", "{}"); code != http.StatusOK || text != "" {
		t.Errorf("a caller is told %d %s", code, text)
	}
	if got := strings.Join(f.answers(), "|"); got != "a  {}" {
		t.Errorf("what is for callers got %q", got)
	}
	f.until("the agent itself is told", func() bool { return g.Told().ID == "a" })
}

func TestAMemberThatRefusesIsLeft(t *testing.T) {
	f := newFleet(t)
	refuses := f.member("a", func(id string) error { return interrex.Errorf(interrex.ErrRemoved, "agent %s was removed", id) })
	g := f.gateway(refuses)
	f.until("it says why", func() bool {
		_, err := g.Failed()
		return err != nil && strings.Contains(err.Error(), "agent f1 was removed")
	})
	if code, text := f.post(g, admission.Public, "", ""); code != http.StatusBadRequest || !strings.Contains(text, "agent f1 was removed") {
		t.Errorf("%d %s", code, text)
	}
	here := f.member("b", fine)
	for range 8 { // the addresses are tried in any order
		both := f.gateway(refuses, here)
		f.until("the other one takes requests", func() bool { return both.Told().ID == "b" })
	}
}

func TestWhenItsMemberKnowsNoLeaderAnotherOneIsUsed(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	one := f.member("a", fine)
	g := f.gateway(one)
	f.until("it is told", func() bool { return g.Told().ID == "a" })
	opened := f.open(g)
	f.set(func() { f.leader["a"] = "" })
	f.until("it says that there is none", func() bool { since, id := g.Leaderless(); return !since.IsZero() && id == "a" })
	f.member("b", fine) // which knows the leader
	f.until("the other one is used", func() bool { since, _ := g.Leaderless(); return g.Told().ID == "b" && since.IsZero() })
	select {
	case <-opened:
	case <-time.After(time.Minute):
		t.Error("a stream through the former member goes on: it would get nothing until that one finds a leader")
	}
	f.set(func() { delete(f.leader, "a") })
	if code, text := f.post(g, admission.Public, "", "1"); code != http.StatusOK || f.answers()[len(f.answers())-1] != "b  1" {
		t.Errorf("%d %s, %q", code, text, f.answers())
	}
}

// Where no member knows a leader, an election is under way, or there is no quorum: the
// streams stay where they are.
func TestAnElectionCutsNoStreams(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	g := f.gateway(f.member("a", fine), f.member("b", fine))
	f.until("it is told", func() bool { return g.Told().ID != "" })
	at, opened := g.Told().ID, f.open(g)
	f.set(func() { f.leader["a"], f.leader["b"], f.log = "", "", nil })
	f.until("it has asked the other one", func() bool { return g.isLeaderless() && f.heard("a told []") && f.heard("b told []") })
	f.set(func() { delete(f.leader, "a"); delete(f.leader, "b") })
	f.until("there is a leader again", func() bool { since, _ := g.Leaderless(); return since.IsZero() })
	select {
	case <-opened:
		t.Error("it was cut")
	default:
	}
	if now := g.Told().ID; now != at {
		t.Errorf("it is at %s now", now)
	}
}

func TestRequestsDoNotGoBackToAnOlderEpoch(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	old, recovered, another := interrex.Epoch{Bits: 1}, interrex.Epoch{Number: 1, Bits: 2}, interrex.Epoch{Number: 1, Bits: 3}
	f.epoch["a"], f.epoch["b"], f.epoch["c"] = old, recovered, another
	left, here := f.member("a", fine), f.member("b", fine)
	var noted []Cluster
	g := f.gatewayOf(GatewayConfig{Known: Cluster{"c", old}, Note: func(c Cluster) error { noted = append(noted, c); return nil }}, left, here)
	f.until("the later epoch is used", func() bool { return g.Told().ID == "b" })
	if len(noted) != 1 || noted[0] != (Cluster{"c", recovered}) || g.Cluster() != noted[0] {
		t.Errorf("it has noted %v", noted)
	}
	f.member("c", fine)
	f.stop(here)
	f.until("it has looked for another", func() bool { _, err := g.Failed(); return err != nil })
	if _, err := g.Failed(); !strings.Contains(err.Error(), "the cluster was recovered without") {
		t.Error(err)
	}
	before := len(f.answers())
	for range 3 {
		if code, text := f.post(g, admission.Public, "", "1"); code != http.StatusServiceUnavailable {
			t.Errorf("%d %s", code, text)
		}
	}
	if after := f.answers(); len(after) != before {
		t.Errorf("a member that was left behind was asked: %q", after[before:])
	}
}

func TestTheClusterIsTheOneInTheLatestEpoch(t *testing.T) {
	epoch := func(number, bits uint64) interrex.Epoch { return interrex.Epoch{Number: number, Bits: bits} }
	known := Cluster{"c", epoch(1, 1)}
	for what, c := range map[string]struct {
		known Cluster
		says  Members
		want  Cluster
	}{
		"nothing is known":            {Cluster{}, Members{ClusterID: "c", Epoch: epoch(0, 9)}, Cluster{"c", epoch(0, 9)}},
		"it has joined":               {Cluster{ID: "c"}, Members{ClusterID: "c", Epoch: epoch(0, 9)}, Cluster{"c", epoch(0, 9)}},
		"the same":                    {known, Members{ClusterID: "c", Epoch: epoch(1, 1)}, known},
		"a recovery":                  {known, Members{ClusterID: "c", Epoch: epoch(2, 0)}, Cluster{"c", epoch(2, 0)}},
		"another recovery":            {known, Members{ClusterID: "c", Epoch: epoch(1, 2)}, Cluster{}},
		"a half that was left behind": {known, Members{ClusterID: "c", Epoch: epoch(0, 9)}, Cluster{}},
		"another cluster":             {known, Members{ClusterID: "d", Epoch: epoch(2, 9)}, Cluster{}},
	} {
		got, err := c.known.next(&c.says)
		if (err == nil) != (c.want != Cluster{}) || err == nil && got != c.want {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
}

func TestAMemberOfAnotherClusterIsNotUsed(t *testing.T) {
	f := newFleet(t)
	g := f.gatewayOf(GatewayConfig{Known: Cluster{ID: "another"}}, f.member("a", fine))
	f.until("it says so", func() bool {
		_, err := g.Failed()
		return err != nil && strings.Contains(err.Error(), "a is a member of the cluster c, and this agent forwards to the cluster another")
	})
}

// The rotation of the CA waits until every member knows which CAs it trusts.
func TestWhileTheCAIsRotatedAllMembersAreToldWhatIsTrusted(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	one, two := f.member("a", fine), f.member("b", fine)
	var trusts atomic.Value
	trusts.Store("former")
	g := f.gatewayOf(GatewayConfig{Trusts: func([][]byte) []string { return []string{trusts.Load().(string)} }}, one, two)
	f.until("it is told", func() bool { return g.Told().ID != "" })
	f.set(func() { f.orders = Orders{Authorities: [][]byte{{1}, {2}}, Rotating: true} })
	f.until("both hear it", func() bool { return f.heard("a told [former]") && f.heard("b told [former]") })
	trusts.Store("next")
	f.until("both hear of the change", func() bool { return f.heard("a told [next]") && f.heard("b told [next]") })
}

func TestAChangeOfWhatIsTrustedIsToldAtOnce(t *testing.T) {
	g := &Gateway{config: GatewayConfig{Clock: clock.WallClock, Trusts: func([][]byte) []string { return []string{"next"} }}, surveyed: time.Now().Add(time.Hour)}
	rotating := &Members{LeaderID: "a", Orders: Orders{Rotating: true}}
	if !g.surveyDue(rotating) {
		t.Error("the members are to learn of it only later")
	}
	if g.trusted = []string{"next"}; g.surveyDue(rotating) {
		t.Error("they are told again at once")
	}
	if g.trusted = nil; g.surveyDue(&Members{LeaderID: "a"}) {
		t.Error("they are told although nothing is rotated")
	}
}

// A member that is behind must not make the agent forget the next CA.
func TestOrdersOfAMemberThatIsBehindAreNotFollowed(t *testing.T) {
	f := newFleet(t)
	g := f.gateway(f.member("a", fine))
	f.until("it is told", func() bool { return g.Told().ID == "a" })
	say := func(revision interrex.Revision, cas ...byte) *Members {
		m := &Members{ID: "b", LeaderID: "a", Revision: revision}
		for _, ca := range cas {
			m.Authorities = append(m.Authorities, []byte{ca})
		}
		return m
	}
	g.note(say(5, 1, 2), nil)
	g.note(say(4, 1), nil)
	if now := g.Orders().Authorities; len(now) != 2 {
		t.Errorf("it follows %v", now)
	}
	g.note(say(6, 2), nil)
	if now := g.Orders().Authorities; len(now) != 1 || now[0][0] != 2 {
		t.Errorf("it follows %v", now)
	}
}

func TestAnAgentThatNoMemberAcceptsSaysHowItComesBack(t *testing.T) {
	f := newFleet(t)
	address := f.member("a", fine)
	other := newFleet(t) // with another CA
	for what, g := range map[string]*Gateway{
		"it does not trust them": other.gatewayOf(GatewayConfig{Return: "run THIS"}, address),
		"they do not trust it":   f.gatewayOf(GatewayConfig{TLS: half{f.gatewayTLS(), other.gatewayTLS()}, Return: "run THIS"}, address),
	} {
		f.until(what, func() bool {
			_, err := g.Failed()
			return err != nil && strings.Contains(err.Error(), "if they do not accept this agent any more, run THIS")
		})
	}
	nobody := f.gatewayOf(GatewayConfig{Return: "run THIS"}, "127.0.0.1:1")
	f.until("nobody is there", func() bool {
		_, err := nobody.Failed()
		return err != nil && strings.Contains(err.Error(), "127.0.0.1:1: ")
	})
	if _, err := nobody.Failed(); strings.Contains(err.Error(), "THIS") {
		t.Errorf("a member that is off is no reason for another certificate: %v", err)
	}
}

func TestAnAgentLeavesThroughAMemberThatAnswers(t *testing.T) {
	f := newFleet(t)
	gone, here := f.member("a", fine), f.member("b", fine)
	f.stop(gone)
	if err := f.gateway(gone, here).Leave(t.Context()); err != nil || strings.Join(f.answers(), "|") != "b removes f1" {
		t.Errorf("%v, %q", err, f.answers())
	}
	removed := f.member("c", func(string) error { return interrex.Errorf(interrex.ErrRemoved, "it was removed") })
	if err := f.gateway(removed).Leave(t.Context()); err != nil {
		t.Errorf("an agent that was removed cannot leave: %v", err)
	}
	if err := f.gateway(gone).Leave(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot leave: no member has removed this agent: "+gone) {
		t.Error(err)
	}
}

// What there was no time to ask is asked first the next time.
func TestALookThatIsOverLeavesTheOthersForTheNextOne(t *testing.T) {
	join := []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}
	g := &Gateway{config: GatewayConfig{Join: func() []string { return join }}, members: roster{lines: map[string]*memberLine{}}}
	over, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	order := g.addresses()
	if _, _, err := g.ask(over); interrex.KindOf(err) != interrex.ErrUnavailable {
		t.Errorf("got %v", err)
	}
	if got := g.addresses(); !slices.Equal(got, append(order[1:], order[0])) {
		t.Errorf("the next look begins with %q, and this one with %q", got, order)
	}
}
