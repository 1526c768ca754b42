package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/interrex/interrex"
)

// Requests from one replica to the leader's: JSON over HTTP, on connections of the
// Handle.

// The limits of forwarding.
const (
	maxCall       = 2 << 20          // bytes of a request
	maxConnected  = 16               // connections to the leader
	takeTimeout   = 10 * time.Second // for Run to begin
	headerTimeout = 10 * time.Second
	idleTimeout   = 5 * time.Minute
)

// call is a request: one of the fields is set.
type call struct {
	Read   *interrex.ResourceID        `json:",omitempty"`
	Write  *interrex.Resource          `json:",omitempty"`
	Delete *deleteCall                 `json:",omitempty"`
	List   *interrex.ResourceSelection `json:",omitempty"`
}

type deleteCall struct {
	ID      interrex.ResourceID
	Version string
}

// reply is the answer to a call.
type reply struct {
	Resource  interrex.Resource
	Resources []interrex.Resource
	Failure   *failure `json:",omitempty"`
}

// failure is an error in its encoding.
type failure struct {
	Kind    interrex.Kind
	Message string
	Stored  *interrex.Resource `json:",omitempty"`
}

func failureOf(err error) *failure {
	var mismatch GroupVersionMismatchError
	var known *interrex.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mismatch):
		return &failure{Kind: interrex.ErrGroupVersionMismatch, Stored: &mismatch.Stored}
	case errors.Is(err, interrex.ErrOutcomeUnknown):
		return &failure{Kind: interrex.ErrOutcomeUnknown, Message: err.Error()}
	case errors.As(err, &known):
		return &failure{Kind: known.Kind, Message: known.Message}
	}
	return &failure{Kind: interrex.ErrUnavailable, Message: err.Error()}
}

// leader is the client of the leader's Backend.
type leader struct {
	backend *Backend

	mu     sync.Mutex
	client *http.Client
	cancel context.CancelFunc // ends the client's calls
	life   context.Context
}

func (l *leader) read(ctx context.Context, id interrex.ResourceID) (interrex.Resource, error) {
	r, err := l.do(ctx, call{Read: &id})
	return r.Resource, mismatch(id.Type, err)
}

func (l *leader) write(ctx context.Context, res interrex.Resource) (interrex.Resource, error) {
	r, err := l.do(ctx, call{Write: &res})
	return r.Resource, err
}

func (l *leader) delete(ctx context.Context, id interrex.ResourceID, version string) error {
	_, err := l.do(ctx, call{Delete: &deleteCall{ID: id, Version: version}})
	return err
}

func (l *leader) list(ctx context.Context, s interrex.ResourceSelection) ([]interrex.Resource, error) {
	r, err := l.do(ctx, call{List: &s})
	return r.Resources, err
}

// drop closes the connections to the previous leader. Calls on them fail.
func (l *leader) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil {
		l.cancel()
		l.client.CloseIdleConnections()
		l.client = nil
	}
}

// dialled returns the client of the leader, and the context that ends with it.
func (l *leader) dialled() (*http.Client, context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client == nil {
		l.life, l.cancel = context.WithCancel(context.Background())
		l.client = &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				c, err := l.backend.handle.DialLeader(ctx)
				if err != nil {
					return nil, &net.OpError{Op: "dial", Err: err}
				}
				return c, nil
			},
			MaxConnsPerHost: maxConnected, MaxIdleConnsPerHost: maxConnected, IdleConnTimeout: idleTimeout / 2,
		}}
	}
	return l.client, l.life
}

// do calls the leader. A call without an answer may have been executed, if it was
// sent.
func (l *leader) do(ctx context.Context, q call) (reply, error) {
	client, life := l.dialled()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	body, err := json.Marshal(q)
	if err != nil {
		return reply{}, interrex.Errorf(interrex.ErrInvalid, "storage: %v", err)
	}
	r, err := post(ctx, client, body)
	if err != nil {
		l.drop()
		return reply{}, l.lost(ctx, q, err)
	}
	if r.Failure == nil {
		return r, nil
	}
	err = r.Failure.err()
	if kind := r.Failure.Kind; kind == interrex.ErrNotLeader || kind == interrex.ErrInconsistent || kind == interrex.ErrUnavailable {
		l.drop() // it is no longer the leader
	}
	return reply{}, inconsistent(ctx, err)
}

func post(ctx context.Context, client *http.Client, body []byte) (r reply, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://leader/", bytes.NewReader(body))
	if err != nil {
		return r, err
	}
	answer, err := client.Do(q)
	if err != nil {
		return r, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10)) // as much as can be read
		return r, errors.New(answer.Status + ": " + string(text))
	}
	return r, json.NewDecoder(answer.Body).Decode(&r)
}

// lost returns the error of a call without an answer.
func (l *leader) lost(ctx context.Context, q call, err error) error {
	l.backend.logger.Debugf("cannot reach the leader: %v", err)
	var dial *net.OpError
	kind := interrex.ErrUnavailable
	if dialled := errors.As(err, &dial) && dial.Op == "dial"; !dialled && (q.Write != nil || q.Delete != nil) {
		kind = interrex.ErrOutcomeUnknown
	}
	return inconsistent(ctx, interrex.Errorf(kind, "cannot reach the leader: %v", err).WithCause(err))
}

// err decodes the error.
func (f *failure) err() error {
	if f.Kind == interrex.ErrGroupVersionMismatch && f.Stored != nil {
		return GroupVersionMismatchError{Stored: *f.Stored}
	}
	return interrex.Errorf(f.Kind, "%s", f.Message)
}

// mismatch completes the error of a read with the requested type.
func mismatch(asked interrex.ResourceType, err error) error {
	var m GroupVersionMismatchError
	if errors.As(err, &m) {
		m.RequestedType = asked
		return m
	}
	return err
}

// server serves the requests of other replicas. It never forwards them.
type server struct {
	backend *Backend
	conns   chan net.Conn
	over    chan struct{}
	once    sync.Once
}

func newServer(b *Backend) *server {
	return &server{backend: b, conns: make(chan net.Conn), over: make(chan struct{})}
}

// run serves until ctx ends.
func (s *server) run(ctx context.Context) {
	h := &http.Server{
		Handler:           http.MaxBytesHandler(s, maxCall),
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = h.Serve(s) }) // Close ends it
	<-ctx.Done()
	s.Close()
	_ = h.Close() // errors of closing connections do not matter
	serving.Wait()
}

// take passes a connection to Run, or closes it if Run does not take it.
func (s *server) take(c net.Conn) {
	late := time.NewTimer(takeTimeout)
	defer late.Stop()
	select {
	case s.conns <- c:
		return
	case <-s.over:
	case <-late.C:
		s.backend.logger.Warningf("closed the connection of another replica: Run did not take it within %v", takeTimeout)
	}
	_ = c.Close()
}

// Accept is part of net.Listener.
func (s *server) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.over:
		return nil, net.ErrClosed
	}
}

// Close is part of net.Listener.
func (s *server) Close() error {
	s.once.Do(func() { close(s.over) })
	return nil
}

// Addr is part of net.Listener.
func (s *server) Addr() net.Addr { return &net.UnixAddr{Name: "storage", Net: "unix"} }

// ServeHTTP answers one call.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q call
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var out reply
	err := s.answer(r.Context(), q, &out)
	out.Failure = failureOf(err)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // fails only if the caller is gone
}

func (s *server) answer(ctx context.Context, q call, out *reply) (err error) {
	b := s.backend
	if !b.handle.IsLeader() {
		return interrex.Errorf(interrex.ErrNotLeader, "this replica does not lead")
	}
	switch {
	case q.Read != nil:
		out.Resource, err = b.readHere(ctx, *q.Read)
	case q.Write != nil:
		c, err := writeOf(*q.Write)
		if err == nil {
			out.Resource, err = b.writeHere(ctx, c)
		}
		return err
	case q.Delete != nil:
		c, err := deleteOf(q.Delete.ID, q.Delete.Version)
		if err == nil {
			_, err = b.apply(ctx, c)
		}
		return err
	case q.List != nil:
		out.Resources, err = b.listHere(ctx, *q.List)
	default:
		err = interrex.Errorf(interrex.ErrInvalid, "storage: an empty call")
	}
	return err
}
