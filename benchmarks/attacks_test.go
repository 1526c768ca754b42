package benchmarks

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
)

// attackEnv turns this program into an attacker: the name of an attack, a space, and the
// address of an agent.
const attackEnv = "INTERREX_BENCH_ATTACK"

// attack hurts an agent, until its context ends, as a caller that can reach it may. Its
// errors are what the agent refuses it with.
type attack struct {
	name string
	run  func(ctx context.Context, address string) error
}

// The attacks, each at a fixed rate, so that a faster agent is not attacked more.
var attacks = []attack{
	{"extends that fail", failingExtends},
	{"lists that nobody reads", unreadLists},
	{"made-up names", madeUpNames},
	{"takeovers with metadata", takeovers},
	{"watchers of nothing", idleWatchers},
	{"gzip bombs", bombs},
	{"slow requests", slowRequests},
	{"streams reset at once", resets},
}

// runAttack is the main function of an attacker, which ends with its standard input.
func runAttack(what string) error {
	name, address, _ := strings.Cut(what, "@")
	ctx, end := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		end()
	}()
	for _, a := range attacks {
		if a.name == name {
			return a.run(ctx, address)
		}
	}
	return fmt.Errorf("no attack %q", name)
}

// paced calls do so many times a second, from some goroutines, until ctx ends.
func paced(ctx context.Context, callers, perSecond int, do func(caller int)) {
	var all sync.WaitGroup
	defer all.Wait()
	for c := range callers {
		all.Go(func() {
			tick := time.NewTicker(time.Second * time.Duration(callers) / time.Duration(perSecond))
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					do(c)
				case <-ctx.Done():
					return
				}
			}
		})
	}
}

// unencrypted returns a client that speaks HTTP/2 with prior knowledge over one
// connection.
func unencrypted() *http.Client {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: p}}
}

func failingExtends(ctx context.Context, address string) error {
	streams := make([]*client.Stream, 8)
	for i := range streams {
		s, err := client.NewStream(client.StreamConfig{HTTP: unencrypted(), BaseURL: "http://" + address})
		if err != nil {
			return err
		}
		defer s.Close()
		streams[i] = s
	}
	body := []byte("\x0a\x08bench/no\x10\x01") // key, token 1
	paced(ctx, len(streams)*8, 8000, func(c int) {
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, _ = streams[c%len(streams)].Call(bounded, &interrexv1.Operation{Method: extendNumber, Body: body})
	})
	return nil
}

// The numbers of methods on a stream.
const (
	extendNumber = 258
	listNumber   = 264
)

func unreadLists(ctx context.Context, address string) error {
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for ctx.Err() == nil {
				service := interrexv1.NewStreamServiceClient(unencrypted(), "http://"+address, connect.WithGRPC())
				conn := service.Operate(ctx)
				for id := uint64(1); ctx.Err() == nil; id++ {
					if conn.Send(&interrexv1.OperateRequest{Operations: []*interrexv1.Operation{{Id: id, Method: listNumber}}}) != nil {
						break
					}
				}
			}
		})
	}
	all.Wait()
	return nil
}

// post sends a JSON request, and drops the answer.
func post(ctx context.Context, c *http.Client, address, method, body string) (status int) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/interrex.v1."+method, strings.NewReader(body))
	if err != nil {
		return 0
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.Do(r)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

func madeUpNames(ctx context.Context, address string) error {
	c := unencrypted()
	post(ctx, c, address, "LeaseService/Claim", `{"key":"bench/taken","holder":"attacker","ttl":"3600s"}`)
	paced(ctx, 64, 4000, func(int) {
		post(ctx, c, address, "LeaseService/Claim", `{"key":"bench/taken","holder":"x","request_id":"`+rand.Text()+`.1"}`)
	})
	return nil
}

func takeovers(ctx context.Context, address string) error {
	c := unencrypted()
	metadata := strings.Repeat("m", 4000)
	paced(ctx, 32, 1000, func(int) {
		post(ctx, c, address, "LeaseService/Claim", fmt.Sprintf(`{"key":"bench/mine","holder":"attacker","takeover":true,"request_id":%q,"metadata":{"m":%q}}`, rand.Text(), metadata))
	})
	return nil
}

func idleWatchers(ctx context.Context, address string) error {
	c, err := client.Dial(ctx, client.Config{Addresses: []string{"http://" + address}})
	if err != nil {
		return err
	}
	defer c.Close()
	var all sync.WaitGroup
	for i := range 5000 {
		w, err := c.Leases().Watch(ctx, interrex.WatchRequest{Namespace: "bench", Prefix: fmt.Sprint("nothing/", i, "/")})
		if err != nil {
			return err
		}
		all.Go(func() {
			for {
				if _, err := w.Next(ctx); err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return nil
}

// bomb returns 3 MiB of zeros, compressed.
func bomb() []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(make([]byte, 3<<20))
	_ = w.Close()
	return b.Bytes()
}

func bombs(ctx context.Context, address string) error {
	c, body := unencrypted(), bomb()
	paced(ctx, 64, 400, func(int) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/interrex.v1.LeaseService/Claim", bytes.NewReader(body))
		if err != nil {
			return
		}
		r.Header.Set("Content-Type", "application/proto")
		r.Header.Set("Content-Encoding", "gzip")
		if answer, err := c.Do(r); err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
	})
	return nil
}

// slowRequests are connections that are idle, send a header or a body a byte at a time,
// or do not read their answer.
func slowRequests(ctx context.Context, address string) error {
	forms := []string{
		"",
		"POST /interrex.v1.LeaseService/Claim HTTP/1.1\r\nHost: localhost\r\nX: ",
		"POST /interrex.v1.LeaseService/Claim HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{",
		strings.Repeat("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 500),
	}
	var all sync.WaitGroup
	for i := range 2000 {
		all.Go(func() {
			for ctx.Err() == nil {
				slowly(ctx, address, forms[i%len(forms)])
			}
		})
	}
	all.Wait()
	return nil
}

func slowly(ctx context.Context, address, first string) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		time.Sleep(100 * time.Millisecond) // the agent refuses it for now
		return
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	_, err = io.WriteString(c, first)
	for err == nil && ctx.Err() == nil {
		time.Sleep(time.Second) // slow is the attack
		if first != "" {
			_, err = io.WriteString(c, "x")
		}
	}
}

// resets opens streams and resets them at once.
func resets(ctx context.Context, address string) error {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				_ = resetting(ctx, address)
			}
		})
	}
	all.Wait()
	return nil
}

func resetting(ctx context.Context, address string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		time.Sleep(100 * time.Millisecond) // the agent refuses it for now
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return err
	}
	f := http2.NewFramer(c, c)
	go func() {
		for {
			if _, err := f.ReadFrame(); err != nil {
				return
			}
		}
	}()
	var head bytes.Buffer
	h := hpack.NewEncoder(&head)
	for _, field := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "localhost"}, {":path", "/interrex.v1.LeaseService/List"}, {"content-type", "application/json"}} {
		if err := h.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			return err
		}
	}
	err = f.WriteSettings()
	for id := uint32(1); err == nil && id < 1<<30; id += 2 {
		err = errors.Join(
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head.Bytes(), EndHeaders: true}),
			f.WriteRSTStream(id, http2.ErrCodeCancel))
		if id%100 == 1 {
			time.Sleep(10 * time.Millisecond) // 5 000 a second on each connection
		}
	}
	return err
}
