package benchmarks

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// ttl is long enough that nothing expires during a measurement.
const ttl = time.Hour

// holder is as long as the default one.
const holder = "some-host-name/12345/0123456789abcdef"

// way is how callers reach the agents; it makes the operation of one caller after
// the other.
type way struct {
	name  string
	begin func(b *testing.B, c *cluster, callers int) func(caller int) error
}

// The ways. Each claim is for a new name; each extend is for the caller's own lease.
var ways = []way{
	{"claim", claims(client.Config{})},
	{"extend", extends},
	{"claim-unary", claims(client.Config{OneShot: true})},
	{"claim-json", jsonClaims(false)},
	{"claim-json-h2", jsonClaims(true)},
}

// BenchmarkClaims measures claims and extends end to end, compared with raw raft
// that commits as many entries as its callers can.
func BenchmarkClaims(b *testing.B) {
	for _, agents := range []int{1, 3} {
		b.Run(fmt.Sprintf("agents=%d", agents), func(b *testing.B) {
			raw, c := newRawRaft(b, agents), newCluster(b, agents, "off")
			for _, callers := range []int{1, 64, 256} {
				for _, w := range ways {
					b.Run(fmt.Sprintf("callers=%d/%s", callers, w.name), func(b *testing.B) {
						measure(b, raw, c, callers, w)
					})
				}
			}
		})
	}
}

// BenchmarkClaimsToSQLite measures claims while every agent keeps its table of
// holders in SQLite, as it does by default.
func BenchmarkClaimsToSQLite(b *testing.B) {
	raw, c := newRawRaft(b, 3), newCluster(b, 3, "sqlite")
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("agents=3/callers=%d", callers), func(b *testing.B) {
			measure(b, raw, c, callers, ways[0])
		})
	}
}

func measure(b *testing.B, raw *rawRaft, c *cluster, callers int, w way) {
	do := w.begin(b, c, callers)
	compare(b, raw.with(callers), func(d time.Duration) Sample { return closedLoop(callers, d, do) })
}

// claims makes claims through the Go client.
func claims(cfg client.Config) func(*testing.B, *cluster, int) func(int) error {
	return func(b *testing.B, c *cluster, _ int) func(int) error {
		leases, next := c.dial(cfg).Leases(), newNames(b)
		return func(int) error {
			_, err := leases.Claim(b.Context(), interrex.ClaimRequest{Key: next(), Holder: holder, TTL: ttl})
			return err
		}
	}
}

func extends(b *testing.B, c *cluster, callers int) func(int) error {
	leases, next := c.dial(client.Config{}).Leases(), newNames(b)
	mine := make([]interrex.ExtendRequest, callers)
	for i := range mine {
		a, err := leases.Claim(b.Context(), interrex.ClaimRequest{Key: next(), Holder: holder, TTL: ttl})
		if err != nil {
			b.Fatal(err)
		}
		mine[i] = interrex.ExtendRequest{Key: a.Lease.Key, Token: a.Lease.Token}
	}
	return func(caller int) error {
		_, err := leases.Extend(b.Context(), mine[caller])
		return err
	}
}

// jsonClaims makes the requests that curl would send, over persistent connections.
func jsonClaims(http2 bool) func(*testing.B, *cluster, int) func(int) error {
	return func(b *testing.B, c *cluster, callers int) func(int) error {
		t := &http.Transport{MaxIdleConnsPerHost: callers, Protocols: &http.Protocols{}}
		t.Protocols.SetHTTP1(!http2)
		t.Protocols.SetUnencryptedHTTP2(http2)
		b.Cleanup(t.CloseIdleConnections)
		post := &http.Client{Transport: t, Timeout: patience}
		url, next := c.url(c.leader())+"/interrex.v1.LeaseService/Claim", newNames(b)
		return func(int) error {
			body := fmt.Appendf(nil, `{"key":%q,"holder":%q,"ttl":"%ds"}`, next(), holder, int(ttl.Seconds()))
			answer, err := post.Post(url, "application/json", bytes.NewReader(body))
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			if err == nil && answer.StatusCode != http.StatusOK {
				err = fmt.Errorf("%s: %s", answer.Status, text)
			}
			return err
		}
	}
}

// newNames returns unused names.
func newNames(b *testing.B) func() interrex.Key {
	series := strconv.FormatInt(time.Now().UnixNano(), 36)
	var n atomic.Int64
	return func() interrex.Key { return numbered(series, n.Add(1)) }
}
