package compare

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/peercall"
)

func TestAgentsExchangeTheirReports(t *testing.T) {
	at := machine.ComparedEntry{Index: 7, Term: 2}
	b := NewBoard(clock.WallClock)
	b.rounds = []*round{{at, map[string]Report{}}}
	mux := http.NewServeMux()
	b.Serve(mux, "b")
	server := httptest.NewUnstartedServer(mux)
	server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { return peercall.WithPeer(ctx, "a") }
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}
	mine := reports("a:s=x")["a"]
	mine.At = at
	if _, err := Exchange(t.Context(), dial, "b", mine); interrex.KindOf(err) != interrex.ErrUnavailable {
		t.Errorf("before it has hashed: %v", err)
	}
	if got := b.reports(at)["a"]; len(got.Sections) != 1 || got.Sections[0].Hash != "x" {
		t.Errorf("it has got %+v", got)
	}
	theirs := reports("b:s=y")["b"]
	theirs.At = at
	b.note("b", theirs)
	got, err := Exchange(t.Context(), dial, "b", mine)
	if err != nil || got.At != at || len(got.Sections) != 1 || got.Sections[0] != theirs.Sections[0] {
		t.Errorf("%+v, %v", got, err)
	}
	mine.At.Term++
	if _, err := Exchange(t.Context(), dial, "b", mine); err == nil {
		t.Error("the report on another entry is taken")
	}
}
