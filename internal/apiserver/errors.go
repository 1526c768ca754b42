package apiserver

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex/gen/interrexv1"
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
		found = rpcFailure{Code: connect.Code(numbers.RPC).String(), Message: err.Error(), Details: details(s.standing.Detail(err))}
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
