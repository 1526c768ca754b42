package admission

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock/testclock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/peercall"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/wire"
)

// known are tokens for tests, by their text.
type known struct {
	first  context.Context
	open   bool
	grants map[string]*accesstoken.Grant
}

func (k known) MaxSilence() time.Duration { return time.Minute }

func (k known) Open() (context.Context, bool) { return k.first, k.open }

func (k known) Grant(text string) (*accesstoken.Grant, error) {
	if g := k.grants[text]; g != nil {
		return g, nil
	}
	return nil, interrex.Errorf(interrex.ErrUnauthenticated, "there is no such token")
}

func (k known) Named(name string) *accesstoken.Grant {
	return &accesstoken.Grant{Name: name, Valid: context.Background()}
}

// shown returns the TLS of a request with a verified certificate.
func shown(name, root string) *tls.ConnectionState {
	return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: name}}, {Raw: []byte(root)}}}}
}

// silence says whether an agent hears its leader.
type silence int

const (
	hears   silence = iota
	unheard         // since the agent was started
	cutOff          // for longer than tokens allow
)

func (s silence) of() (time.Duration, bool) {
	if s == cutOff {
		return time.Minute + 1, true
	}
	return time.Minute, s == hears
}

func TestWhoACallerIs(t *testing.T) {
	valid, end := context.WithCancelCause(context.Background())
	tokens := known{first: context.Background(), grants: map[string]*accesstoken.Grant{
		"ann": {Name: "ann", Valid: valid}, "op": {Name: "op", Operator: true, Valid: valid},
	}}
	opened := tokens
	opened.open = true
	clear, secure := (*tls.ConnectionState)(nil), &tls.ConnectionState{}
	for what, c := range map[string]struct {
		tokens   known
		door     Door
		tls      *tls.ConnectionState
		header   string
		silence  silence
		name     string
		operator bool
		want     interrex.Kind
	}{
		"anybody without tokens":             {opened, Public, clear, "", hears, "", true, ""},
		"any token without tokens":           {opened, Public, clear, "Bearer no", hears, "", true, ""},
		"over TLS without tokens":            {opened, Public, secure, "", hears, "", true, ""},
		"a header in place of a certificate": {opened, Public, secure, "Bearer no", hears, "", false, interrex.ErrUnauthenticated},
		"before the cluster is known":        {opened, Public, secure, "", unheard, "", false, interrex.ErrUnavailable},
		"the same without TLS":               {opened, Public, clear, "", unheard, "", true, ""}, // with a doubt
		"the same with a certificate":        {opened, Public, shown("ann", "theirs"), "", unheard, "", false, interrex.ErrUnavailable},
		"the same with an agent's":           {opened, Public, shown("n1", "ours"), "", unheard, "n1", true, ""},
		"the same with a token":              {tokens, Public, clear, "Bearer ann", unheard, "", false, interrex.ErrUnavailable},
		"without the leader for too long":    {tokens, Public, clear, "Bearer op", cutOff, "", false, interrex.ErrUnavailable},
		"such a certificate then":            {tokens, Public, shown("n1", "theirs"), "", cutOff, "", false, interrex.ErrUnavailable},
		"an agent's certificate then":        {tokens, Public, shown("n1", "ours"), "", cutOff, "n1", true, ""},
		"nobody's then":                      {tokens, Public, clear, "", cutOff, "", false, interrex.ErrUnauthenticated},
		"anybody then, without tokens":       {opened, Public, clear, "", cutOff, "", true, ""},
		"the socket then":                    {tokens, Socket, clear, "", cutOff, "", true, ""},
		"a certificate without tokens":       {opened, Public, shown("ann", "theirs"), "", hears, "ann", true, ""},
		"the same at the socket":             {opened, Socket, clear, "", unheard, "", true, ""},
		"anybody":                            {tokens, Public, clear, "", hears, "", false, interrex.ErrUnauthenticated},
		"another scheme":                     {tokens, Public, clear, "Basic ann", hears, "", false, interrex.ErrUnauthenticated},
		"a token":                            {tokens, Public, clear, "Bearer ann", hears, "ann", false, ""},
		"an operator's token":                {tokens, Public, secure, "bearer op", hears, "op", true, ""},
		"a token that is not known":          {tokens, Public, shown("n1", "ours"), "Bearer no", hears, "", false, interrex.ErrUnauthenticated},
		"an agent's certificate":             {tokens, Public, shown("n1", "ours"), "", hears, "n1", true, ""},
		"another CA's certificate":           {tokens, Public, shown("n1", "theirs"), "", hears, "n1", false, ""},
		"a certificate without a name":       {tokens, Public, shown("", "theirs"), "", hears, "", false, interrex.ErrUnauthenticated},
		"the socket":                         {tokens, Socket, clear, "", hears, "", true, ""},
		"another agent":                      {tokens, Peer, secure, "", hears, "", true, ""},
		"without raft, nobody":               {tokens, Forwarded, clear, "", hears, "", false, interrex.ErrUnauthenticated},
		"without raft, a token":              {tokens, Forwarded, clear, "Bearer ann", hears, "ann", false, ""},
		"without raft, without tokens":       {opened, Forwarded, clear, "", hears, "", true, ""},
		"without raft, before it is known":   {opened, Forwarded, clear, "", unheard, "", false, interrex.ErrUnavailable},
		"without raft, any token":            {opened, Forwarded, clear, "Bearer no", hears, "", false, interrex.ErrUnauthenticated},
		"the agent itself":                   {tokens, Inside, clear, "", hears, "", true, ""},
	} {
		g := &Guard{Tokens: c.tokens, Silence: c.silence.of, CAs: func() [][]byte { return [][]byte{[]byte("next"), []byte("ours")} }, Member: func(string) context.Context { return t.Context() }}
		r := httptest.NewRequest("GET", "/changes", nil)
		r.TLS = c.tls
		r.Header.Set("Authorization", c.header)
		got, _, err := g.identify(c.door, r)
		if interrex.KindOf(err) != c.want || err == nil && (got.Name != c.name || got.Operator != c.operator || got.Door != c.door) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
		if may := got.May(accesstoken.Use{Table: "lease", Verb: "claim", Key: "a/b"}) == nil; err == nil && may != c.operator {
			t.Errorf("%s may claim a lease: %v", what, may)
		}
		if c.want == interrex.ErrUnavailable && interrex.RetryAfter(err) <= 0 {
			t.Errorf("%s: it is not to be retried: %v", what, err)
		}
	}
	end(nil)
	for _, d := range []Door{Public, Forwarded} {
		if c, valid, err := (&Guard{}).identify(d, httptest.NewRequest("GET", "/changes", nil)); err != nil || !c.Operator || c.Door != d || valid != nil {
			t.Errorf("where there are no tokens, anybody is %+v, %v", c, err)
		}
	}
}

func TestAnAPIBeyondLoopbackAdmitsNobodyBeforeTheFirstToken(t *testing.T) {
	valid := context.Background()
	opened := known{first: valid, open: true}
	tokens := known{first: valid, grants: map[string]*accesstoken.Grant{"ann": {Name: "ann", Valid: valid}}}
	for what, c := range map[string]struct {
		tokens  known
		closed  bool
		header  string
		silence silence
		want    interrex.Kind
	}{
		"nobody":                  {opened, true, "", hears, interrex.ErrUnauthenticated},
		"before it is known":      {opened, true, "", unheard, interrex.ErrUnavailable},
		"where it may be open":    {opened, false, "", hears, ""},
		"once there are tokens":   {tokens, true, "", hears, interrex.ErrUnauthenticated},
		"a token, once there are": {tokens, true, "Bearer ann", hears, ""},
	} {
		g := &Guard{Tokens: c.tokens, Silence: c.silence.of, CAs: func() [][]byte { return nil }}
		r := httptest.NewRequest("GET", "/changes", nil)
		r = r.WithContext(WithEntrance(valid, Entrance{Closed: c.closed}, func() {}))
		r.TLS = &tls.ConnectionState{}
		r.Header.Set("Authorization", c.header)
		if _, _, err := g.identify(Public, r); interrex.KindOf(err) != c.want {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A stream may be older than the doubt: each of its operations is judged.
func TestWhatWasAdmittedIsInDoubtOnceTheLeaderIsNotHeard(t *testing.T) {
	valid := context.Background()
	tokens := known{first: valid, grants: map[string]*accesstoken.Grant{"op": {Name: "op", Operator: true, Valid: valid}}}
	opened := tokens
	opened.open = true
	for what, c := range map[string]struct {
		tokens      known
		before, now silence
		doubt       bool
	}{
		"a token":                       {tokens, hears, cutOff, true},
		"a token that is fresh again":   {tokens, hears, hears, false},
		"an open API that is not known": {opened, unheard, unheard, true},
		"an open API that is known now": {opened, unheard, hears, false},
		"an open API that is cut off":   {opened, hears, cutOff, false},
	} {
		at := c.before
		g := &Guard{Tokens: c.tokens, Silence: func() (time.Duration, bool) { return at.of() }, CAs: func() [][]byte { return nil }}
		r := httptest.NewRequest("GET", "/changes", nil)
		r.Header.Set("Authorization", "Bearer op")
		got, _, err := g.identify(Public, r)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		at = c.now
		if err := got.Doubt(); (interrex.KindOf(err) == interrex.ErrUnavailable) != c.doubt {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// changing are tokens whose names may do something else later.
type changing struct {
	known
	grant *accesstoken.Grant
}

func (c *changing) Named(string) *accesstoken.Grant { return c.grant }

func TestWhatTheOwnerOfACertificateMayDoIsLookedUp(t *testing.T) {
	tokens := &changing{known{first: t.Context()}, &accesstoken.Grant{Name: "ann", Valid: t.Context()}}
	g := &Guard{Tokens: tokens, Silence: hears.of, CAs: func() [][]byte { return [][]byte{[]byte("ours")} }}
	r := httptest.NewRequest("GET", "/changes", nil)
	r.TLS = shown("ann", "theirs")
	c, _, err := g.identify(Public, r)
	if err != nil || c.Now().Operator || c.Now().May(accesstoken.Use{Table: "lease", Verb: "list"}) == nil {
		t.Errorf("without a token: %+v, %v", c, err)
	}
	tokens.grant = &accesstoken.Grant{Name: "ann", Operator: true, Valid: t.Context()}
	if c = c.Now(); !c.Operator || c.May(accesstoken.Use{Table: "lease", Verb: "list"}) != nil {
		t.Errorf("with one: %+v", c)
	}
}

// Agents that were removed, or run without raft, have a certificate of the cluster's CA
// as well.
func TestTheCertificateOfAnAgentThatIsNoMemberMakesNobody(t *testing.T) {
	member, remove := context.WithCancel(t.Context())
	g := &Guard{Tokens: known{first: t.Context()}, Silence: hears.of, CAs: func() [][]byte { return [][]byte{[]byte("ours")} },
		Member: func(id string) context.Context {
			if id != "n4" || member.Err() != nil {
				return nil
			}
			return member
		}}
	r := httptest.NewRequest("GET", "/changes", nil)
	r.TLS = shown("n4", "ours")
	c, _, err := g.identify(Public, r)
	if err != nil || !c.Now().Operator {
		t.Fatalf("a member: %+v, %v", c, err)
	}
	g.Admit(Public, func(string) bool { return false }, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		remove()
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
			t.Error("what is open does not end with the removal")
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
	if c = c.Now(); c.Operator || c.May(accesstoken.Use{Table: "lease", Verb: "list"}) == nil {
		t.Errorf("once it is removed, it is %+v", c)
	}
	if c, _, err := g.identify(Public, r); interrex.KindOf(err) != interrex.ErrUnauthenticated {
		t.Errorf("after it was removed: %+v, %v", c, err)
	}
}

func TestAnEmptyAuthorizationIsNone(t *testing.T) {
	g := &Guard{Tokens: known{first: t.Context()}, Silence: hears.of, CAs: func() [][]byte { return nil }}
	r := httptest.NewRequest("GET", "/changes", nil)
	r.TLS = shown("ann", "theirs")
	r.Header["Authorization"] = []string{""}
	if got, _, err := g.identify(Public, r); err != nil || got.Name != "ann" || got.Operator {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAnAuthorizationThatIsThereTwiceIsRefused(t *testing.T) {
	g := &Guard{Tokens: known{grants: map[string]*accesstoken.Grant{"ann": {Name: "ann"}, "op": {Name: "op"}}}, Silence: hears.of,
		CAs: func() [][]byte { return [][]byte{[]byte("ours")} }, Member: func(string) context.Context { return t.Context() }}
	r := httptest.NewRequest("GET", "/changes", nil)
	r.TLS = shown("n1", "ours") // a certificate does not count beside it
	r.Header["Authorization"] = []string{"Bearer ann", "Bearer op"}
	if got, _, err := g.identify(Public, r); interrex.KindOf(err) != interrex.ErrUnauthenticated {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWhatACallerDoesEndsWithItsToken(t *testing.T) {
	valid, end := context.WithCancelCause(context.Background())
	g := &Guard{Tokens: known{grants: map[string]*accesstoken.Grant{"ann": {Name: "ann", Valid: valid}}}, Silence: hears.of}
	r := httptest.NewRequest("GET", "/changes", nil)
	r.Header.Set("Authorization", "Bearer ann")
	revoked := interrex.Errorf(interrex.ErrUnauthenticated, "revoked")
	g.Admit(Public, func(string) bool { return false }, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		end(revoked)
		<-r.Context().Done()
		if context.Cause(r.Context()) != revoked {
			t.Errorf("it ends with %v", context.Cause(r.Context()))
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
}

// Where a request comes from decides in whose share its caller is.
func TestWhatTheOwnerOfACertificateDoesEndsWithItsTokens(t *testing.T) {
	valid, revoke := context.WithCancelCause(t.Context())
	g := &Guard{Tokens: &changing{grant: &accesstoken.Grant{Name: "ann", Valid: valid}}, Silence: hears.of, CAs: func() [][]byte { return nil }}
	r := httptest.NewRequest("GET", "/changes", nil)
	r.TLS = shown("ann", "theirs")
	over := interrex.Errorf(interrex.ErrUnauthenticated, "revoked")
	g.Admit(Public, func(string) bool { return false }, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		revoke(over)
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
		if got := context.Cause(r.Context()); got != over {
			t.Errorf("it ends with %v", got)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
}

func TestWhereACallerComesFrom(t *testing.T) {
	for what, c := range map[string]struct {
		door      Door
		from      string
		origin    string
		via, peer string
	}{
		"IPv4":               {Public, "192.0.2.7:5000", "192.0.2.7", "", ""},
		"IPv4 as IPv6":       {Public, "[::ffff:192.0.2.7]:5000", "192.0.2.7", "", ""},
		"IPv6":               {Public, "[2001:db8:1:2:3:4:5:6]:5000", "2001:db8:1:2::/64", "", ""},
		"IPv6 with a zone":   {Public, "[fe80::7%eth0]:5000", "fe80::/64", "", ""},
		"no address":         {Public, "@", "", "", ""},
		"without raft":       {Forwarded, "192.0.2.7:5000", "192.0.2.7", "", ""},
		"the socket":         {Socket, "192.0.2.7:5000", "", "", ""},
		"an agent":           {Peer, "192.0.2.7:5000", "", "n2", "n2"},
		"one without its ID": {Peer, "192.0.2.7:5000", "", "192.0.2.7:5000", ""},
	} {
		r := httptest.NewRequest("GET", "/changes", nil)
		r.RemoteAddr = c.from
		if c.peer != "" {
			r = r.WithContext(peercall.WithPeer(r.Context(), c.peer))
		}
		var got Caller
		(&Guard{}).Admit(c.door, func(string) bool { return false }, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got = CallerOf(r.Context())
		})).ServeHTTP(httptest.NewRecorder(), r)
		if got.Origin != c.origin || got.Via != c.via || got.Door != c.door {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

func TestARequestSaysWhatItsCallerKnew(t *testing.T) {
	for what, c := range map[string]struct {
		sent  []string
		known interrex.Revision
		code  int
	}{
		"nothing":             {nil, 0, 200},
		"a revision":          {[]string{"7"}, 7, 200},
		"two":                 {[]string{"7", "8"}, 0, 400},
		"what is no revision": {[]string{"-1"}, 0, 400},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/changes", nil)
		if c.sent != nil {
			r.Header[wire.HeaderKnown] = c.sent
		}
		var got Caller
		(&Guard{Audit: NewAudit(silent.Logger{}, testclock.NewClock(time.Unix(1000, 0)))}).Admit(Public, func(string) bool { return false }, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got = CallerOf(r.Context())
		})).ServeHTTP(w, r)
		if got.Known != c.known || w.Code != c.code {
			t.Errorf("%s: %d, %d %s", what, got.Known, w.Code, w.Body)
		}
	}
}

// Nobody can make a token at an agent without raft.
func TestARefusalSaysWhereATokenIsNamed(t *testing.T) {
	g := &Guard{Tokens: known{}, Silence: hears.of}
	for d, want := range map[Door]string{Public: "'interrex token create' makes one", Forwarded: "api.token-file"} {
		if _, _, err := g.identify(d, httptest.NewRequest("GET", "/changes", nil)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// One of the callers of an open API makes the first token, which closes it.
func TestAnOpenAPIThatClosesAnswersWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, end := context.WithCancelCause(t.Context())
		g := &Guard{Tokens: known{first: first, open: true}, Silence: hears.of}
		g.Admit(Public, func(string) bool { return false }, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			closed := interrex.Errorf(interrex.ErrUnauthenticated, "closed")
			end(closed)
			if synctest.Wait(); r.Context().Err() != nil {
				t.Errorf("it ends at once, with %v", context.Cause(r.Context()))
			}
			time.Sleep(closing)
			if synctest.Wait(); context.Cause(r.Context()) != closed {
				t.Errorf("it ends with %v", context.Cause(r.Context()))
			}
		})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/changes", nil))
	})
}

// counted is a context that counts what waits for its end.
type counted struct {
	context.Context
	done  chan struct{} // never closed
	waits int
}

// Done makes it a context of its own.
func (c *counted) Done() <-chan struct{} { return c.done }

// AfterFunc is for context.AfterFunc.
func (c *counted) AfterFunc(func()) (stop func() bool) {
	c.waits++
	return func() bool { c.waits--; return true }
}

func TestARequestThatIsOverLeavesNothingWithItsToken(t *testing.T) {
	valid := &counted{Context: t.Context(), done: make(chan struct{})}
	g := &Guard{Tokens: known{grants: map[string]*accesstoken.Grant{"ann": {Name: "ann", Valid: valid}}}, Silence: hears.of}
	r := httptest.NewRequest("GET", "/changes", nil)
	r.Header.Set("Authorization", "Bearer ann")
	var during context.Context
	g.Admit(Public, func(string) bool { return false }, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if during = r.Context(); valid.waits != 1 {
			t.Errorf("%d wait for the end of the token", valid.waits)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
	if valid.waits != 0 || during.Err() == nil {
		t.Errorf("%d wait for the end of the token afterwards, and the request has ended: %v", valid.waits, during.Err())
	}
}

func TestAnybodyMayRequestAProbe(t *testing.T) {
	to := &lines{Logger: silent.Logger{}}
	g := &Guard{Tokens: known{}, Silence: hears.of, CAs: func() [][]byte { return [][]byte{[]byte("ours")} }, Member: func(string) context.Context { return t.Context() },
		Audit: NewAudit(to, testclock.NewClock(time.Unix(1000, 0)))}
	h := g.Admit(Public, func(path string) bool { return path == "/livez" }, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := CallerOf(r.Context())
		if may := c.May(accesstoken.Use{Table: "agent", Verb: "read"}) == nil; may != (r.TLS != nil) {
			t.Errorf("%+v may do more: %v", c, may)
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	for path, want := range map[string]int{"/livez": 202, "/changes": 401} {
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest("GET", path, nil)); w.Code != want || (want == 401) != (w.Header().Get("WWW-Authenticate") == "Bearer") {
			t.Errorf("%s: %d, %v", path, w.Code, w.Header())
		}
	}
	if len(to.all) != 1 || !strings.Contains(to.all[0], `"/changes"`) {
		t.Errorf("the audit has %q", to.all)
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/livez", nil)
	r.TLS = shown("n1", "ours")
	if h.ServeHTTP(w, r); w.Code != 202 {
		t.Errorf("a caller that is known: %d", w.Code)
	}
}

func TestWhoeverComesByTheSocketIsAdmitted(t *testing.T) {
	w := httptest.NewRecorder()
	(&Guard{Tokens: known{}}).Admit(Socket, func(string) bool { return false }, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := CallerOf(r.Context()); c.Door != Socket || !c.Operator {
			t.Errorf("it is %+v", c)
		}
		w.WriteHeader(http.StatusAccepted)
	})).ServeHTTP(w, httptest.NewRequest("GET", "/changes", nil))
	if w.Code != http.StatusAccepted {
		t.Errorf("status %d", w.Code)
	}
}

func TestARefusalHasTheFormOfItsRequest(t *testing.T) {
	for contentType, form := range map[string]string{
		"application/json": `"details":`, "text/plain": `{"error":"denied: there`,
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/kv/a", strings.NewReader("x"))
		r.Header.Set("Content-Type", contentType)
		Refuse(w, r, interrex.Errorf(interrex.ErrDenied, "there is no rule"))
		if w.Code != 403 || !strings.Contains(w.Body.String(), form) || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %d %s, %v", contentType, w.Code, w.Body, w.Header())
		}
	}
}

func TestARefusalNamesTheMissingRule(t *testing.T) {
	rule, err := interrex.ParseAccessRule("lease:claim:*:own")
	if err != nil {
		t.Fatal(err)
	}
	c := Caller{Name: "ann", Grant: &accesstoken.Grant{Name: "ann", Rules: []interrex.AccessRule{rule}}}
	c.Grant.Rules = append(c.Grant.Rules, interrex.AccessRule{Table: "lease", Verbs: []string{"revoke"}, Prefix: "a/*", Own: true})
	for u, want := range map[accesstoken.Use]string{
		{Table: "lease", Verb: "revoke", Key: "a/b", Held: "bob"}:  `"bob" holds a/b`,
		{Table: "lease", Verb: "revoke", Key: "b/b", Held: "bob"}:  "ann lacks the rule lease:revoke:b/b",
		{Table: "lease", Verb: "extend", Key: "a/b"}:               "lease:extend:a/b",
		{Table: "lease", Verb: "claim", Key: "a/b", Holder: "bob"}: `not as "bob"`,
		{Table: "lease", Verb: "list", Key: "a/", Prefix: true}:    "lease:list:a/*",
	} {
		if err := c.May(u); interrex.KindOf(err) != interrex.ErrDenied || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", u, err, want)
		}
	}
	if err := c.May(accesstoken.Use{Table: "lease", Verb: "claim", Key: "a/b", Holder: "ann"}); err != nil {
		t.Error(err)
	}
	for _, may := range []Caller{{Name: "op", Operator: true, Grant: c.Grant}, {}} {
		if err := may.May(accesstoken.Use{Table: "lease", Verb: "extend", Key: "a/b"}); err != nil {
			t.Errorf("%+v: %v", may, err)
		}
	}
}

func TestARefusedStreamSaysThatItDidNotBegin(t *testing.T) {
	for path, want := range map[string]string{
		interrexv1.StreamServiceOperateProcedure: "true", interrexv1.StreamServiceWatchProcedure: "true", interrexv1.LeaseServiceClaimProcedure: "",
	} {
		r := httptest.NewRequest(http.MethodPost, path, nil)
		r.Header.Set("Content-Type", "application/connect+proto")
		w := httptest.NewRecorder()
		Refuse(w, r, interrex.Errorf(interrex.ErrUnauthenticated, "who?"))
		if got := w.Result().Header.Get(wire.HeaderRefused); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
