// Command kvstore is a replicated key-value store in one file: its own state
// machine, on the log of the agent inside it, and HTTP to read and write it. It is
// the shortest such program.
//
//	go run ./examples/kvstore                      one agent, in memory
//	curl -X PUT -d blue http://127.0.0.1:8080/colour
//	curl http://127.0.0.1:8080/colour
//
// README.md shows how to run three of them as a cluster.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
)

// store is the state machine: keys and values.
type store struct {
	mu     sync.RWMutex // HTTP reads while the agent applies
	values map[string]string
}

// change is a command: it sets a key, or deletes it.
type change struct {
	Op    string `json:"op"` // "set" or "delete"
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
}

// Apply applies one change, and returns the previous value.
func (s *store) Apply(c interrex.FSMCommand) ([]byte, error) {
	var to change
	if err := json.Unmarshal(c.Data, &to); err != nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot read the change as JSON: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.values[to.Key]
	switch {
	case to.Op == "set":
		s.values[to.Key] = to.Value
	case to.Op == "delete" && known:
		delete(s.values, to.Key)
	case to.Op == "delete":
		return nil, interrex.Errorf(interrex.ErrNotFound, "there is no key %q", to.Key)
	default:
		return nil, interrex.Errorf(interrex.ErrInvalid, `op: %q is not valid: use "set" or "delete"`, to.Op)
	}
	return []byte(before), nil
}

// Snapshot returns all keys and values. JSON sorts them, so equal stores have equal
// bytes.
func (s *store) Snapshot() ([]byte, error) { return json.Marshal(s.values) }

// Restore replaces all of them.
func (s *store) Restore(b []byte) error {
	values := map[string]string{}
	if err := json.Unmarshal(b, &values); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values = values
	return nil
}

func (s *store) get(key string) (value string, found bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	value, found = s.values[key]
	return value, found
}

// kv is the program: an agent, and its current store.
type kv struct {
	agent *agent.Agent
	store atomic.Pointer[store]
}

// newStore is an agent.Config.FSM.
func (k *kv) newStore() interrex.FSM {
	s := &store{values: map[string]string{}}
	k.store.Store(s)
	return s
}

// ServeHTTP reads (GET), sets (PUT, the body is the value) and deletes (DELETE)
// the key that the path names. A read is of this agent's own store, which may be
// a little behind.
func (k *kv) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.URL.Path, "/")
	switch r.Method {
	case http.MethodGet:
		value, found := k.store.Load().get(key)
		if !found {
			http.Error(w, fmt.Sprintf("there is no key %q", key), http.StatusNotFound)
			return
		}
		fmt.Fprint(w, value)
	case http.MethodPut:
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 512<<10))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		k.change(w, r, change{"set", key, string(body)})
	case http.MethodDelete:
		k.change(w, r, change{Op: "delete", Key: key})
	default:
		http.Error(w, "GET, PUT and DELETE are served", http.StatusMethodNotAllowed)
	}
}

// change applies a change to the stores of all agents.
func (k *kv) change(w http.ResponseWriter, r *http.Request, c change) {
	data, err := json.Marshal(c)
	if err == nil {
		var answer interrex.Answer[[]byte]
		if answer, err = k.agent.Propose(r.Context(), interrex.Proposal{Data: data}); err == nil {
			fmt.Fprintf(w, "revision %d, before: %q\n", answer.Revision, answer.Value)
			return
		}
	}
	http.Error(w, err.Error(), interrex.KindOf(err).HTTP())
}

func main() {
	var c agent.Config
	listen := flag.String("http", "127.0.0.1:8080", "where the store is served")
	flag.StringVar(&c.ID, "id", "", "this agent's name")
	flag.StringVar(&c.DataDir, "data-dir", "", "where the agent keeps its log; empty: in memory")
	flag.StringVar(&c.Cluster.Listen, "cluster", "", "where other agents reach this one")
	peers := flag.String("peers", "", "the addresses of the other agents, with commas between")
	flag.StringVar(&c.Cluster.TLS.CA, "ca", "", "the CA of the agents' certificates")
	flag.StringVar(&c.Cluster.TLS.Cert, "cert", "", "this agent's certificate")
	flag.StringVar(&c.Cluster.TLS.Key, "key", "", "its key")
	flag.Parse()
	if *peers != "" {
		c.Cluster.Join = strings.Split(*peers, ",")
		c.Cluster.BootstrapExpect = 1 + len(c.Cluster.Join)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, c, *listen, func(address string) { fmt.Printf("the store is at http://%s\n", address) }); err != nil {
		log.Fatal(err)
	}
}

// run serves a store until ctx ends. It calls serves with the address once it does.
func run(ctx context.Context, c agent.Config, listen string, serves func(address string)) (err error) {
	k := &kv{}
	c.FSM = k.newStore
	c.Raft.SnapshotInterval, c.Raft.SnapshotThreshold = 5*time.Second, 1024
	if c.Logger == nil {
		c.Logger = agent.Slog(slog.Default())
	}
	if k.agent, err = agent.New(c); err != nil {
		return err
	}
	if err := k.agent.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.agent.Stop(context.Background())) }() // drains
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: k, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	serves(l.Addr().String())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
