package listener

import (
	"net"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex/internal/silent"
)

func TestOneAddressHasAQuarterOfAllConnections(t *testing.T) {
	var next []*conn
	for range 4 {
		for _, from := range []string{"10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"} {
			next = append(next, &conn{from: net.ParseIP(from)})
		}
	}
	log, metrics := &lines{}, NewMetrics()
	l := newLimited(Config{Listener: &accepting{next: next}, MaxConnections: 12, Logger: log, Metrics: metrics})
	var open []net.Conn
	for {
		c, err := l.accept()
		if err != nil {
			break
		}
		open = append(open, c)
	}
	refused := map[string]int{}
	for _, c := range next {
		refused[addressOf(c).String()] += c.closed
	}
	// Both forms of 10.0.0.1 are one, and so are the addresses of one IPv6 network.
	want := map[string]int{"10.0.0.1": 5, "10.0.0.2": 1, "2001:db8::": 5, "2001:db8:0:1::": 1}
	for a, n := range want {
		if refused[a] != n {
			t.Errorf("of %s %d are refused, want %d: %v", a, refused[a], n, refused)
		}
	}
	if n := of(t, metrics, "interrex_api_connections"); n != 12 || len(open) != 12 || l.count() != 12 {
		t.Errorf("%d are open, and counted %v", len(open), n)
	}
	if n := of(t, metrics, "interrex_api_connections_refused_total"); n != 12 || log.warnings == 0 || log.warnings > 5 {
		t.Errorf("%v are counted, and %d warnings, of 12 that are refused", n, log.warnings)
	}
	for _, c := range open {
		_ = c.Close()
	}
	if n := of(t, metrics, "interrex_api_connections"); n != 0 || l.count() != 0 || len(l.from) != 0 {
		t.Errorf("%v are counted when all are closed", n)
	}
}

// of returns the sum of a metric.
func of(t *testing.T, m *Metrics, name string) (sum float64) {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(m)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, one := range f.GetMetric() {
			if f.GetName() == name {
				sum += one.GetGauge().GetValue() + one.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestASocketHasNoLimitForOneAddress(t *testing.T) {
	l := newLimited(Config{Listener: &accepting{}, MaxConnections: 4, Logger: silent.Logger{}})
	for range 4 {
		if p, err := l.enter(addressOf(unixConn{})); err != nil || p.turns != nil {
			t.Error(p, err)
		}
	}
	if _, err := l.enter(addressOf(unixConn{})); err == nil {
		t.Error("there is no limit at all")
	}
}

type unixConn struct{ net.Conn }

func (unixConn) RemoteAddr() net.Addr { return &net.UnixAddr{} }
