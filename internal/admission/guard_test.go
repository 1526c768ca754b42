package admission

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/juju/clock/testclock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/silent"
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
		g := &Guard{Tokens: c.tokens, Silence: c.silence.of, CAs: func() [][]byte { return [][]byte{[]byte("next"), []byte("ours")} }, Member: func(string) bool { return true }}
		r := httptest.NewRequest("GET", "/changes", nil)
		r.TLS = c.tls
		r.Header.Set("Authorization", c.header)
		got, _, err := g.identify(c.door, r)
		if interrex.KindOf(err) != c.want || err == nil && (got.Name != c.name || got.Operator != c.operator || got.Door != c.door) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	end(nil)
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
		r = r.WithContext(WithEntrance(valid, Entrance{Closed: c.closed}))
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
	member := true
	g := &Guard{Tokens: known{first: t.Context()}, Silence: hears.of, CAs: func() [][]byte { return [][]byte{[]byte("ours")} },
		Member: func(id string) bool { return id == "n4" && member }}
	r := httptest.NewRequest("GET", "/changes", nil)
	r.TLS = shown("n4", "ours")
	c, _, err := g.identify(Public, r)
	if err != nil || !c.Now().Operator {
		t.Fatalf("a member: %+v, %v", c, err)
	}
	member = false
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
	g := &Guard{Tokens: known{grants: map[string]*accesstoken.Grant{"ann": {Name: "ann"}, "op": {Name: "op"}}}, Silence: hears.of}
	r := httptest.NewRequest("GET", "/changes", nil)
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

func TestAnybodyMayRequestAProbe(t *testing.T) {
	g := &Guard{Tokens: known{}}
	h := g.Admit(Public, func(path string) bool { return path == "/livez" }, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if CallerOf(r.Context()).May(accesstoken.Use{Table: "agent", Verb: "read"}) == nil {
			t.Error("it may do more")
		}
	}))
	for path, want := range map[string]int{"/livez": 200, "/changes": 401} {
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest("GET", path, nil)); w.Code != want || (want == 401) != (w.Header().Get("WWW-Authenticate") == "Bearer") {
			t.Errorf("%s: %d, %v", path, w.Code, w.Header())
		}
	}
}

func TestARefusalNamesTheMissingRule(t *testing.T) {
	rule, err := interrex.ParseAccessRule("lease:claim:*:own")
	if err != nil {
		t.Fatal(err)
	}
	c := Caller{Name: "ann", Grant: &accesstoken.Grant{Name: "ann", Rules: []interrex.AccessRule{rule}}}
	for u, want := range map[accesstoken.Use]string{
		{Table: "lease", Verb: "extend", Key: "a/b"}:               "lease:extend:a/b",
		{Table: "lease", Verb: "claim", Key: "a/b", Holder: "bob"}: "its own name",
		{Table: "lease", Verb: "list", Key: "a/", Prefix: true}:    "lease:list:a/*",
	} {
		if err := c.May(u); interrex.KindOf(err) != interrex.ErrDenied || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", u, err, want)
		}
	}
	if err := c.May(accesstoken.Use{Table: "lease", Verb: "claim", Key: "a/b", Holder: "ann"}); err != nil {
		t.Error(err)
	}
}

// lines keeps what is logged at INFO.
type lines struct {
	interrex.Logger
	all []string
}

func (l *lines) Infof(format string, args ...any) {
	l.all = append(l.all, fmt.Sprintf(format, args...))
}

// A flood of requests without a token does not hide what callers with one do.
func TestStrangersDoNotHideOthersFromTheAudit(t *testing.T) {
	to, now := &lines{Logger: silent.Logger{}}, testclock.NewClock(time.Unix(1000, 0))
	a := NewAudit(to, now)
	for range 2 * auditBurst {
		a.refused(Caller{}, "/changes", interrex.Errorf(interrex.ErrUnauthenticated, "who?"))
	}
	a.Judged(Caller{Operator: true, Door: Socket}, "/Create", "", true, nil)
	if n := len(to.all); n != auditBurst+1 || !strings.Contains(to.all[n-1], `"door":"socket"`) {
		t.Errorf("%d lines, the last one %s", n, to.all[n-1])
	}
}

func TestTheAuditIsLimited(t *testing.T) {
	to, now := &lines{Logger: silent.Logger{}}, testclock.NewClock(time.Unix(1000, 0))
	a := NewAudit(to, now)
	denied := interrex.Errorf(interrex.ErrDenied, "no")
	for range 150 {
		a.Judged(Caller{Name: "ann"}, "/Claim", "a/b", false, denied)
	}
	if len(to.all) != auditBurst {
		t.Errorf("%d lines are logged", len(to.all))
	}
	a.refused(Caller{}, "/"+strings.Repeat("a", 1000), interrex.Errorf(interrex.ErrUnauthenticated, "who?"))
	if len(to.all) != auditBurst+1 || len(to.all[auditBurst]) > 400 {
		t.Errorf("a stranger has %d bytes in line %d", len(to.all[len(to.all)-1]), len(to.all))
	}
	now.Advance(time.Second)
	a.Judged(Caller{Name: "op", Operator: true}, "/Create", "", true, nil)
	a.Judged(Caller{Name: "op", Operator: true}, "/Claim", "", false, nil)                   // no operator's act
	a.Judged(Caller{Name: "ann", Door: Peer}, "/Claim", "", false, denied)                   // logged where it came from
	a.Judged(Caller{Name: "ann"}, "/Claim", "", true, interrex.Errorf(interrex.ErrHeld, "")) // no refusal of rights
	var line auditLine
	if err := json.Unmarshal([]byte(to.all[len(to.all)-1]), &line); err != nil || len(to.all) != auditBurst+2 || line.Dropped != 50 || line.Result != "allowed" || line.Caller != "op" {
		t.Errorf("%d lines, the last one %+v, %v", len(to.all), line, err)
	}
}
