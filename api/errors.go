package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// tidy returns every error that has an HTTP status the one shape: those that the
// RPC library makes by itself (malformed JSON, too large a body, a method that
// does not exist) have no detail, and some no body. A stream that has begun ends
// with status 200 and an error of its own.
func (s *Server) tidy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := &tidyWriter{ResponseWriter: w}
		next.ServeHTTP(t, r)
		if t.status != 0 {
			s.writeError(t, r)
		}
	})
}

// tidyWriter holds errors back; everything else passes.
type tidyWriter struct {
	http.ResponseWriter
	status int // of the error; 0: none
	body   bytes.Buffer
}

func (t *tidyWriter) WriteHeader(status int) {
	if status < http.StatusBadRequest {
		t.ResponseWriter.WriteHeader(status)
		return
	}
	t.status = status
}

func (t *tidyWriter) Write(p []byte) (int, error) {
	if t.status != 0 {
		return t.body.Write(p)
	}
	return t.ResponseWriter.Write(p)
}

// Flush implements http.Flusher, for streams.
func (t *tidyWriter) Flush() {
	if f, can := t.ResponseWriter.(http.Flusher); can && t.status == 0 {
		f.Flush()
	}
}

// Unwrap is for http.ResponseController.
func (t *tidyWriter) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// rpcFailure is an error in the JSON of the Connect protocol.
type rpcFailure struct {
	Code    string      `json:"code"`
	Message string      `json:"message,omitempty"`
	Details []rpcDetail `json:"details,omitempty"`
}

type rpcDetail struct {
	Type  string          `json:"type"`
	Value string          `json:"value"`
	Debug json.RawMessage `json:"debug,omitempty"`
}

// writeError writes an error that was held back.
func (s *Server) writeError(t *tidyWriter, r *http.Request) {
	w, body, status := t.ResponseWriter, t.body.Bytes(), t.status
	var found rpcFailure
	if json.Unmarshal(body, &found) != nil || found.Code == "" {
		found = rpcFailure{}
	}
	if len(found.Details) == 0 {
		err := s.classify(found, status, w.Header(), r)
		numbers := err.Kind.Numbers()
		if found.Code != "" {
			status = numbers.HTTP
		}
		found = rpcFailure{Code: connect.Code(numbers.RPC).String(), Message: err.Error(), Details: details(s.detail(err))}
		body, _ = json.Marshal(found) // of strings alone: it cannot fail
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Del("Content-Length")
	w.Header().Del("Content-Encoding")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller has gone, if it fails
}

// details makes the details of the Connect protocol.
func details(m *interrexv1.Error) []rpcDetail {
	value, err := proto.Marshal(m)
	if err != nil {
		return nil // a text that is no UTF-8: the code and the message stay
	}
	text, _ := protojson.Marshal(m) // it was marshalled once already
	return []rpcDetail{{
		Type:  string(m.ProtoReflect().Descriptor().FullName()),
		Value: base64.RawStdEncoding.EncodeToString(value),
		Debug: text,
	}}
}

// notFound answers what is served nowhere.
func notFound(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }

// detail makes the detail of an error, and names the leader where that helps.
func (s *Server) detail(err error) *interrexv1.Error {
	m := wire.Detail(err)
	kind := interrex.Kind(m.Kind)
	if m.LeaderId == "" && (kind.Retryable() || kind == interrex.KindOutcomeUnknown) {
		l := s.config.Leadership.Current()
		m.LeaderId, m.LeaderAddress = l.LeaderID, l.LeaderAddress
	}
	return m
}

func (s *Server) notLeader(l interrex.Leadership) error {
	if l.LeaderID == "" || l.LeaderID == s.config.ID { // it is not ready to lead
		return s.noLeader()
	}
	err := interrex.Errorf(interrex.KindNotLeader, "agent %s does not lead in term %d, %s does; nothing has happened, ask there", s.config.ID, l.Term, l.LeaderID)
	err.LeaderID, err.LeaderAddress, err.RetryAfter = l.LeaderID, l.LeaderAddress, maxPause
	return err
}

func (s *Server) noLeader() error {
	l := s.config.Leadership.Current()
	err := interrex.Errorf(interrex.KindNoLeader, "agent %s knows of no leader in term %d at revision %d; nothing has happened, try again", s.config.ID, l.Term, s.config.State.Revision())
	err.RetryAfter = 500 * time.Millisecond
	return err
}

// rpcError makes the error that ends a stream; nil of nil.
func (s *Server) rpcError(err error) error {
	if err == nil {
		return nil
	}
	var answered *connect.Error
	if interrex.KindOf(err) == "" && errors.As(err, &answered) {
		return answered
	}
	return wire.Error(wire.FromDetail(s.detail(err)))
}

// guard turns a panic in a method's own code into an error.
func (s *Server) guard(number uint32, err *error) {
	reason := recover()
	if reason == nil {
		return
	}
	procedure := "no method"
	if i := slices.IndexFunc(s.procedures, func(m wire.Method) bool { return m.Number == number }); i >= 0 {
		procedure = s.procedures[i].Procedure
	}
	*err = s.panicked(procedure, reason)
}

// panicked makes the error of a call that failed in the worst way.
func (s *Server) panicked(procedure string, reason any) error {
	s.config.Logger.Errorf("panic in %s: %v\n%s", procedure, reason, debug.Stack())
	return interrex.Errorf(interrex.KindOutcomeUnknown, "agent %s failed while it answered: %v", s.config.ID, reason)
}
