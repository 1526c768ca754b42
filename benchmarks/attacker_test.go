package benchmarks

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// attackEnv turns this program into an attacker of the target that it has as JSON.
const attackEnv = "INTERREX_BENCH_ATTACK"

// target is what one attacker attacks.
type target struct {
	Attack       string
	API, Cluster string // addresses of an agent's two ports
	Token        string // what the attacker shows; empty: nothing

	made atomic.Int64 // calls, connections or frames so far
}

// attack hurts an agent, until its context ends, as a caller that can reach it may. Its
// errors are what the agent refuses it with.
type attack struct {
	name string
	by   caller
	run  func(ctx context.Context, t *target) error
}

// caller is who attacks.
type caller int

const (
	anyone   caller = iota // on an API without tokens, where each caller is an operator
	limited                // that, and also with a token for the namespace "attack"
	stranger               // only with a token that the cluster does not know
)

// The attacks, each at a fixed rate, so that a faster agent is not attacked more.
var attacks = []attack{
	{"extends that fail", limited, failingExtends},
	{"made-up names", anyone, madeUpNames},
	{"takeovers with metadata", anyone, takeovers},
	{"small appends", limited, smallAppends},
	{"appends of 500 KiB", anyone, bigAppends},
	{"resources of 500 KiB", limited, bigResources},
	{"webhooks that do not answer", anyone, silentWebhooks},
	{"lists that nobody reads", limited, unreadLists},
	{"resource lists that nobody reads", anyone, unreadResources},
	{"lists as JSON", limited, jsonLists},
	{"watches that nobody reads", limited, unreadWatches},
	{"watches of nothing", anyone, idleWatches},
	{"long polls", anyone, longPolls},
	{"refused tokens", stranger, refusedTokens},
	{"calls that are denied", stranger, deniedCalls},
	{"joins that are refused", anyone, refusedJoins},
	{"gzip bombs", anyone, bombs},
	{"slow requests", anyone, slowRequests},
	{"idle connections", anyone, idleConnections},
	{"connections that are dropped", anyone, droppedConnections},
	{"streams reset at once", anyone, resets},
	{"frames without a request", anyone, idleFrames},
	{"headers without end", anyone, endlessHeaders},
	{"header bombs", anyone, headerBombs},
}

// runAttack is the main function of an attacker, which ends with its standard input.
func runAttack(text string) error {
	var t target
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	ctx, end := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		end()
	}()
	for _, a := range attacks {
		if a.name == t.Attack {
			return t.attack(ctx, a)
		}
	}
	return fmt.Errorf("no attack %q", t.Attack)
}

// attack attacks until ctx ends, and writes how much it has done a second. It does not
// wait for what hangs then.
func (t *target) attack(ctx context.Context, a attack) error {
	began, failed := time.Now(), make(chan error, 1)
	go func() { failed <- a.run(ctx, t) }()
	select {
	case err := <-failed:
		if err != nil || ctx.Err() == nil {
			return fmt.Errorf("it has ended early: %v", err)
		}
	case <-ctx.Done():
	}
	_, err := fmt.Printf("%.0f\n", float64(t.made.Load())/time.Since(began).Seconds())
	return err
}

// attacker starts a process that attacks; stop returns how much it did a second.
func attacker(b *testing.B, t *target) (stop func() (perSecond float64)) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	text, err := json.Marshal(t)
	if err != nil {
		b.Fatal(err)
	}
	var out strings.Builder
	cmd := exec.Command(self)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(environ(), attackEnv+"="+string(text)), &out, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	return func() (perSecond float64) {
		_ = in.Close()
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		err := cmd.Wait()
		if err == nil {
			_, err = fmt.Sscan(out.String(), &perSecond)
		}
		if err != nil {
			b.Errorf("the attack %q: %v", t.Attack, err)
		}
		return perSecond
	}
}

// paced calls do so many times a second, from some goroutines, until ctx ends.
func paced(ctx context.Context, callers, perSecond int, do func(caller int)) {
	each(ctx, callers, func(c int) {
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

// each lets so many goroutines do what they do until ctx ends.
func each(ctx context.Context, n int, do func(i int)) { opened(ctx, n, 0, do) }

// opened is each whose goroutines begin one after the other, in such intervals.
func opened(ctx context.Context, n int, interval time.Duration, do func(i int)) {
	var all sync.WaitGroup
	defer all.Wait()
	for i := range n {
		all.Go(func() {
			pause(ctx, time.Duration(i)*interval)
			for ctx.Err() == nil {
				do(i)
			}
		})
	}
}

// opening is the interval of attacks that open much: 2 000 a second.
const opening = 500 * time.Microsecond

// post sends a JSON request, and drops the answer.
func (t *target) post(ctx context.Context, c *http.Client, method, body string) (status int) {
	return t.do(ctx, c, http.MethodPost, "/interrex.v1."+method, body, http.Header{"Content-Type": {"application/json"}})
}

func (t *target) do(ctx context.Context, c *http.Client, verb, path, body string, h http.Header) (status int) {
	r, err := http.NewRequestWithContext(ctx, verb, "http://"+t.API+path, strings.NewReader(body))
	if err != nil {
		return 0
	}
	r.Header = h
	t.show(h)
	answer, err := c.Do(r)
	t.made.Add(1)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

// show adds the caller's token to a header.
func (t *target) show(h http.Header) http.Header {
	if t.Token != "" {
		h.Set("Authorization", "Bearer "+t.Token)
	}
	return h
}

// unencrypted returns a client that speaks HTTP/2 with prior knowledge over one
// connection.
func unencrypted() *http.Client {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: p}}
}
