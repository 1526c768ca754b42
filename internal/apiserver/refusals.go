package apiserver

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wording"
)

// refusals converts the errors that the RPC library makes by itself into the format
// of all others.
type refusals struct{ server *Server }

// tidy returns a handler that gives every error with an HTTP status the same
// format: those that the RPC library makes (malformed JSON, too large a body, an
// unknown method) have no detail, and some no body. A stream that has begun ends
// with status 200 and an error of its own.
func (f refusals) tidy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := &tidyWriter{ResponseWriter: w}
		next.ServeHTTP(t, r)
		if t.status != 0 {
			f.writeError(t, r)
		}
	})
}

// tidyWriter holds back errors, and passes everything else on.
type tidyWriter struct {
	http.ResponseWriter
	status int // of the error; 0 if there is none
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

// Unwrap serves http.ResponseController.
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
func (f refusals) writeError(t *tidyWriter, r *http.Request) {
	w, body, status := t.ResponseWriter, t.body.Bytes(), t.status
	var found rpcFailure
	if json.Unmarshal(body, &found) != nil || found.Code == "" {
		found = rpcFailure{}
	}
	if len(found.Details) == 0 {
		err := f.classify(found, status, w.Header(), r)
		if found.Code != "" {
			status = err.Kind.HTTP()
		}
		found = rpcFailure{Code: connect.Code(err.Kind.RPC()).String(), Message: err.Error(), Details: details(f.server.checker.Detail(err))}
		body, _ = json.Marshal(found) // only strings: it cannot fail
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Del("Content-Length")
	w.Header().Del("Content-Encoding")
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the caller has gone
}

// details returns the details of an error in the Connect protocol.
func details(m *interrexv1.Error) []rpcDetail {
	value, err := proto.Marshal(m)
	if err != nil {
		return nil // a text is not UTF-8: only the code and the message are sent
	}
	text, _ := protojson.Marshal(m) // cannot fail: it was marshalled before
	return []rpcDetail{{
		Type:  string(m.ProtoReflect().Descriptor().FullName()),
		Value: base64.RawStdEncoding.EncodeToString(value),
		Debug: text,
	}}
}

// notFound answers a path that is not served.
func notFound(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }

// probePaths are served only to GET.
var probePaths = []string{"/livez", "/readyz", "/healthz", "/leader", "/metrics"}

// plainPaths are those of plain HTTP, served to any method.
var plainPaths = []string{"/changes", "/kv"}

// classify returns the error for a call that the RPC library refused, with an HTTP
// status and no detail, before it reached a method: nothing has happened.
func (f refusals) classify(found rpcFailure, status int, answer http.Header, r *http.Request) *interrex.Error {
	header := r.Header.Get
	switch {
	case found.Code == "invalid_argument" && strings.HasPrefix(found.Message, "parse timeout"):
		return interrex.Errorf(interrex.ErrInvalid, "Connect-Timeout-Ms: %q is not valid: give milliseconds, such as 5000", header("Connect-Timeout-Ms"))
	case found.Code == "invalid_argument":
		text := strings.TrimPrefix(found.Message, "unmarshal message: ")
		if large, is := strings.CutPrefix(text, string(interrex.ErrTooLarge)+": "); is {
			return interrex.Errorf(interrex.ErrTooLarge, "%s", large)
		}
		return interrex.Errorf(interrex.ErrInvalid, "%s", strings.TrimPrefix(text, string(interrex.ErrInvalid)+": "))
	case found.Code == "resource_exhausted":
		return interrex.Errorf(interrex.ErrTooLarge, "%s", found.Message)
	case found.Code == "deadline_exceeded":
		return interrex.Errorf(interrex.ErrTimeout, "the request timed out before it was read; nothing has happened")
	case found.Code == "canceled":
		return interrex.Errorf(interrex.ErrTimeout, "%s", found.Message)
	case found.Code == "unimplemented" && header("Content-Encoding") != "":
		return interrex.Errorf(interrex.ErrInvalid, "Content-Encoding: %q is not served: use gzip, or none", header("Content-Encoding"))
	case status == http.StatusNotFound:
		return f.nothingAt(r)
	case status == http.StatusMethodNotAllowed:
		return interrex.Errorf(interrex.ErrInvalid, "%s is not served at %s: use POST", r.Method, r.URL.Path)
	case status == http.StatusUnsupportedMediaType:
		return unsupported(answer.Get("Accept-Post"), r)
	case status == http.StatusHTTPVersionNotSupported:
		return interrex.Errorf(interrex.ErrInvalid, "%s is not served over %s: it streams both ways and needs HTTP/2", r.URL.Path, r.Proto)
	}
	return interrex.Errorf(interrex.ErrOutcomeUnknown, "%s", found.Message)
}

// nothingAt returns the error for a path that is not served, with the nearest one.
func (f refusals) nothingAt(r *http.Request) *interrex.Error {
	if slices.Contains(probePaths, r.URL.Path) {
		return interrex.Errorf(interrex.ErrNotFound, "%s is not served at %s: use GET", r.Method, r.URL.Path)
	}
	hint := ""
	if near := f.nearestPath(r.URL.Path); near != "" {
		hint = ": did you mean " + near + "?"
	}
	return interrex.Errorf(interrex.ErrNotFound, "there is nothing at %s %s%s", r.Method, wording.Line(r.URL.Path, maxShownPath), hint)
}

// maxShownPath is how many bytes of a path an error shows, and the length up to which a
// near one is looked for.
const maxShownPath = 256

// nearestPath returns the served path whose last part is closest, and of several
// the one that is closest as a whole; "" if none is close.
func (f refusals) nearestPath(path string) string {
	last := func(p string) string { return strings.ToLower(p[strings.LastIndexByte(p, '/')+1:]) }
	path = strings.TrimSuffix(path, "/")
	if last(path) == "" || len(path) > maxShownPath {
		return ""
	}
	served := slices.Concat(f.paths(), probePaths, plainPaths)
	var names []string
	for _, p := range served {
		names = append(names, last(p))
	}
	near, best := wording.Nearest(last(path), names), ""
	if near == "" {
		return ""
	}
	for i, p := range served {
		if names[i] == near && (best == "" || wording.Distance(path, p) < wording.Distance(path, best)) {
			best = p
		}
	}
	return best
}

// paths lists the methods that the API serves.
func (f refusals) paths() (all []string) {
	for _, name := range f.server.services() {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			continue // health is not in every registry
		}
		methods := d.(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			all = append(all, fmt.Sprintf("/%s/%s", name, methods.Get(i).Name()))
		}
	}
	return all
}

// unsupported returns an error that names the content types of a method, and how to
// call a stream in JSON. accepted are the types, separated by commas.
func unsupported(accepted string, r *http.Request) *interrex.Error {
	types := slices.DeleteFunc(strings.Split(accepted, ", "), func(t string) bool {
		return strings.Contains(t, ";") || strings.HasPrefix(t, "application/grpc") && strings.Contains(t, "+")
	})
	what := fmt.Sprintf("content type %q is not served at %s", r.Header.Get("Content-Type"), r.URL.Path)
	if slices.Contains(types, "application/json") {
		return interrex.Errorf(interrex.ErrInvalid, "%s: use Content-Type: application/json; served are %s", what, strings.Join(types, ", "))
	}
	easy := ""
	if table, is := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/interrex.v1."), "Service/Watch"); is && !strings.Contains(table, "/") && table != "Stream" {
		easy = fmt.Sprintf("; 'interrex %s watch -o json' does all that", strings.ToLower(table))
	}
	return interrex.Errorf(interrex.ErrInvalid, "%s, which is a stream: use Content-Type: application/connect+json; %s%s; served are %s",
		what, enveloping, easy, strings.Join(types, ", "))
}

// enveloping describes how the messages of a stream are delimited.
const enveloping = `each message has a prefix of five bytes, in both directions: a zero, and the length in four bytes, big-endian (the empty request is printf '\0\0\0\0\2{}')`
