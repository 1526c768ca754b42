package apiserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/listener"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/wire"
)

// stale reports that its agent leads while old is set.
type stale struct {
	consistency.Leadership
	old atomic.Bool
}

func (s *stale) Current() interrex.Leadership {
	l := s.Leadership.Current()
	if s.old.Load() {
		l.Leader = true
	}
	return l
}

func TestWhatTheQueueRefusedIsSentToTheNewLeader(t *testing.T) {
	var agents []*stale
	nodes := cluster(t, 3, func(c *Config) {
		s := &stale{Leadership: c.Leadership}
		agents = append(agents, s)
		c.Leadership = s
	})
	_, f := follower(t, nodes)
	knows := agents[f.id[0]-'a']
	knows.old.Store(true)
	s := f.stream(t.Context(), f.url)
	s.send(claimOp(1, "jobs/late", "ann"))
	f.waitFor(func() bool { return f.queue.Report()["taken"].(uint64) > 0 })
	knows.old.Store(false)
	if a := s.answers(1)[1]; as[interrexv1.ClaimResponse](t, a).GetLease().GetHolder() != "ann" {
		t.Errorf("%v", a)
	}
}

func TestAFeatureThatIsOffIsDisabled(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.Switches = method.NewSwitches(method.LeasesSetting) })[0]
	if r := nd.curl("LeaseService/Claim", `{"key":"a/b","holder":"ann"}`); r.status != 501 || r.kind() != "disabled" {
		t.Errorf("%d %s", r.status, r.body)
	}
	s := nd.stream(t.Context(), nd.url)
	s.send(claimOp(1, "a/b", "ann"))
	if a := s.answers(1)[1]; a.GetError().GetKind() != "disabled" {
		t.Errorf("%v", a)
	}
	p := nd.stream(t.Context(), nd.peer)
	p.send(claimOp(1, "a/b", "ann"))
	if a := p.answers(1)[1]; a.GetError() != nil {
		t.Errorf("another agent's callers are refused: %v", a)
	}
}

func TestAnEventualReadWaitsForItsRevision(t *testing.T) {
	l, f := follower(t, cluster(t, 3))
	for i := range 50 {
		key := fmt.Sprintf("jobs/%d", i)
		token := l.claimed(key, "ann")
		get := op(1, interrexv1.LeaseServiceGetProcedure, &interrexv1.GetRequest{
			Key: key, Consistency: interrexv1.Consistency_CONSISTENCY_EVENTUAL, MinRevision: token,
		})
		if _, err := f.call(t.Context(), get); err != nil {
			t.Fatalf("%s at %d: %v", key, token, err)
		}
	}
	get := op(1, interrexv1.LeaseServiceGetProcedure, &interrexv1.GetRequest{Key: "jobs/1", Consistency: interrexv1.Consistency_CONSISTENCY_EVENTUAL})
	s := f.stream(t.Context(), f.url)
	s.send(get)
	if a := s.answers(1)[1]; as[interrexv1.GetResponse](t, a).GetLease().GetHolder() != "ann" {
		t.Errorf("%v", a)
	}
}

func TestAPeerThatTakesNothingIsCutOff(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.SendWait = 50 * time.Millisecond })[0]
	nd.watch(&interrexv1.WatchRequest{})
	nd.waitFor(func() bool { return nd.ring.Stats().Watchers == 1 })
	random, source := make([]byte, 3000), rand.NewChaCha8([32]byte{}) // what is compressed away fills no window
	for i := 0; nd.ring.Stats().Watchers > 0; i++ {
		if i > 20000 {
			t.Fatal("the watch goes on though nobody reads it")
		}
		_, _ = source.Read(random) // it has no end
		metadata := map[string]string{"m": base64.StdEncoding.EncodeToString(random)}
		flood := op(0, interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: "jobs/flood", Holder: "ann", Takeover: true, Metadata: metadata})
		if _, err := nd.call(t.Context(), flood); err != nil {
			t.Fatal(err)
		}
	}
}

// panics is a Reads that panics.
type panics struct{}

func (panics) Index(context.Context) (uint64, error) { panic("no index") }

func TestAPanicIsOneCallsFailure(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.Reads = func() (consistency.Reads, bool) { return panics{}, true } })[0]
	if r := nd.curl("LeaseService/Get", `{"key":"a/b"}`); r.status != 500 || r.kind() != "outcome unknown" {
		t.Errorf("%d %s", r.status, r.body)
	}
	s := nd.stream(t.Context(), nd.url)
	s.send(getOp(1, "a/b"))
	if _, err := s.conn.Receive(); interrex.KindOf(wire.FromError(err, true)) != interrex.ErrOutcomeUnknown {
		t.Errorf("on a stream: %v", err)
	}
	if r := nd.curl("LeaseService/Claim", `{"key":"a/b","holder":"ann"}`); r.status != 200 {
		t.Errorf("after it: %d %s", r.status, r.body)
	}
}

func TestReadsWithoutRaftAreUnavailable(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.Reads = func() (consistency.Reads, bool) { return nil, false } })[0]
	if r := nd.curl("LeaseService/Get", `{"key":"a/b"}`); r.status != 503 || r.kind() != "unavailable" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestListenerOffersHTTP2OverTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// httptest's own certificate is valid for example.com.
	like := httptest.NewUnstartedServer(nil)
	like.StartTLS()
	server, pool := like.TLS.Certificates[0], x509.NewCertPool()
	pool.AddCert(like.Certificate())
	like.Close()
	w, err := listener.New(listener.Config{
		Listener: l, Logger: silent.Logger{}, TLS: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{server}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, r.Proto) }),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { w.Kill(); _ = w.Wait() }()
	for _, http2 := range []bool{false, true} {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(!http2)
		protocols.SetHTTP2(http2)
		c := &http.Client{Transport: &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: "example.com"}}}
		answer, err := c.Get("https://" + l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if (answer.ProtoMajor == 2) != http2 {
			t.Errorf("HTTP/2 wanted: %v, spoken: %s", http2, answer.Proto)
		}
		c.CloseIdleConnections()
	}
	if w.Report()["tls"] != true {
		t.Errorf("%v", w.Report())
	}
}
