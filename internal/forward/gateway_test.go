package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/peercall"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/transport"
)

// fleet are members, each at an address of its own.
type fleet struct {
	*testing.T
	ca *certificates.CA

	mu      sync.Mutex
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
	return &fleet{T: t, ca: ca, members: map[string]*http.Server{}}
}

// member starts one, which lets agents forward unless may says why not.
func (f *fleet) member(id string, may func(string) error) (address string) {
	f.Helper()
	given, err := f.ca.TLS(id)
	if err != nil {
		f.Fatal(err)
	}
	config, err := certificates.Server(given, transport.ForwardProtocol)
	if err != nil {
		f.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	address = l.Addr().String()
	callers := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
	tell := func(string) (*Members, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		m := &Members{ID: id, ClusterID: "c", LeaderID: "a", LeaderAddress: "a:1", Term: 3}
		for address := range f.members {
			m.Addresses = append(m.Addresses, address)
		}
		return m, nil
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler: Serve(http.NewServeMux(), callers, may, tell, silent.Logger{}), Protocols: protocols,
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

func (f *fleet) answers() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.log...)
}

// gateway starts the gateway of agent f1.
func (f *fleet) gateway(join ...string) *Gateway {
	f.Helper()
	given, err := f.ca.TLS("f1")
	if err != nil {
		f.Fatal(err)
	}
	g := NewGateway(GatewayConfig{
		TLS: given, Join: func() []string { return join }, Token: func() (string, error) { return "own", nil },
		Lead: f.lead, Clock: clock.WallClock, Logger: silent.Logger{},
	})
	f.Cleanup(func() { g.Kill(); _ = g.Wait() })
	return g
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
	fine := func(string) error { return nil }
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
	if words := g.Words(); !strings.Contains(words, "reaches no member") {
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
	here := f.member("a", func(string) error { return nil })
	for range 8 { // the addresses are tried in any order
		g := f.gateway(gone, here)
		if code, text := f.post(g, admission.Public, "", "body"); code != http.StatusOK {
			t.Fatalf("%d %s", code, text)
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
	fine := func(string) error { return nil }
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
	g := &Gateway{config: GatewayConfig{Join: func() []string { return join }}, lines: map[string]*memberLine{}}
	if got := g.addresses(); len(got) != 2 {
		t.Errorf("there are %q", got)
	}
	if first := g.line("a:1"); g.line("a:1") != first || g.line("b:1") == first {
		t.Error("a member has two lines, or two have one")
	}
	g.demote("nowhere:1")
	for _, address := range join {
		if g.demote(address); g.addresses()[1] != address {
			t.Errorf("%s is not the last one of %q", address, g.addresses())
		}
	}
	join = join[1:]
	if got := g.addresses(); len(got) != 1 || got[0] != "b:1" || len(g.lines) != 1 || g.lines["b:1"] == nil {
		t.Errorf("left are %q, with %d lines", got, len(g.lines))
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
	g := f.gateway(f.member("a", func(string) error { return nil }))
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

// Who the members are, and a new certificate, are for the agent: who reaches its port may
// be anybody.
func TestWhatAnAgentAsksForItselfIsNotForItsCallers(t *testing.T) {
	f := newFleet(t)
	g := f.gateway(f.member("a", func(string) error { return nil }))
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
	fine := f.member("b", func(string) error { return nil })
	for range 8 { // the addresses are tried in any order
		both := f.gateway(refuses, fine)
		f.until("the other one takes requests", func() bool { return both.Told().ID == "b" })
	}
}
