package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/wire"
)

// probes are what is served to GET.
var probes = []string{"/livez", "/readyz", "/healthz", "/leader", "/metrics"}

// plainPaths are those of plain HTTP, with any method.
var plainPaths = []string{"/changes", "/kv"}

// classify returns the error for a call that the RPC library refused, with an HTTP
// status and no detail, before it reached a method: nothing has happened.
func (s *Server) classify(f rpcFailure, status int, answer http.Header, r *http.Request) *interrex.Error {
	header := r.Header.Get
	switch {
	case f.Code == "invalid_argument" && strings.HasPrefix(f.Message, "parse timeout"):
		return interrex.Errorf(interrex.KindInvalid, "Connect-Timeout-Ms: %q is not valid: give milliseconds, such as 5000", header("Connect-Timeout-Ms"))
	case f.Code == "invalid_argument":
		text := strings.TrimPrefix(f.Message, "unmarshal message: ")
		return interrex.Errorf(interrex.KindInvalid, "%s", strings.TrimPrefix(text, string(interrex.KindInvalid)+": "))
	case f.Code == "resource_exhausted":
		return interrex.Errorf(interrex.KindTooLarge, "%s", f.Message)
	case f.Code == "deadline_exceeded":
		return interrex.Errorf(interrex.KindTimeout, "the request's own time was over before it was read; nothing has happened")
	case f.Code == "canceled":
		return interrex.Errorf(interrex.KindTimeout, "%s", f.Message)
	case f.Code == "unimplemented" && header("Content-Encoding") != "":
		return interrex.Errorf(interrex.KindInvalid, "Content-Encoding: %q is not served: use gzip, or none", header("Content-Encoding"))
	case status == http.StatusNotFound:
		return s.nothingAt(r)
	case status == http.StatusMethodNotAllowed:
		return interrex.Errorf(interrex.KindInvalid, "%s is not served at %s: use POST", r.Method, r.URL.Path)
	case status == http.StatusUnsupportedMediaType:
		return unsupported(answer.Get("Accept-Post"), r)
	case status == http.StatusHTTPVersionNotSupported:
		return interrex.Errorf(interrex.KindInvalid, "%s is not served over %s: it streams both ways and needs HTTP/2", r.URL.Path, r.Proto)
	}
	return interrex.Errorf(interrex.KindOutcomeUnknown, "%s", f.Message)
}

// nothingAt says what may have been meant by a path.
func (s *Server) nothingAt(r *http.Request) *interrex.Error {
	if slices.Contains(probes, r.URL.Path) {
		return interrex.Errorf(interrex.KindNotFound, "%s is not served at %s: use GET", r.Method, r.URL.Path)
	}
	hint := ""
	if near := s.nearestPath(r.URL.Path); near != "" {
		hint = ": did you mean " + near + "?"
	}
	return interrex.Errorf(interrex.KindNotFound, "there is nothing at %s %s%s", r.Method, r.URL.Path, hint)
}

// nearestPath returns the path that is served whose last part is closest, and
// of several the one that is closest as a whole; "" when none is close.
func (s *Server) nearestPath(path string) string {
	last := func(p string) string { return strings.ToLower(p[strings.LastIndexByte(p, '/')+1:]) }
	path = strings.TrimSuffix(path, "/")
	served := slices.Concat(s.paths(), probes, plainPaths)
	var names []string
	for _, p := range served {
		names = append(names, last(p))
	}
	near, best := config.Nearest(last(path), names), ""
	if last(path) == "" || near == "" {
		return ""
	}
	for i, p := range served {
		if names[i] == near && (best == "" || config.Distance(path, p) < config.Distance(path, best)) {
			best = p
		}
	}
	return best
}

// paths lists the methods that the API serves.
func (s *Server) paths() (all []string) {
	for _, name := range s.services() {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			continue // health is not in the registry everywhere
		}
		methods := d.(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			all = append(all, fmt.Sprintf("/%s/%s", name, methods.Get(i).Name()))
		}
	}
	return all
}

// unsupported says which content types a method takes, and how a stream is
// asked for in JSON. accepted are the types, separated by commas.
func unsupported(accepted string, r *http.Request) *interrex.Error {
	types := slices.DeleteFunc(strings.Split(accepted, ", "), func(t string) bool {
		return strings.Contains(t, ";") || strings.HasPrefix(t, "application/grpc") && strings.Contains(t, "+")
	})
	what := fmt.Sprintf("content type %q is not served at %s", r.Header.Get("Content-Type"), r.URL.Path)
	if slices.Contains(types, "application/json") {
		return interrex.Errorf(interrex.KindInvalid, "%s: write Content-Type: application/json; served are %s", what, strings.Join(types, ", "))
	}
	easy := ""
	if table, is := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/interrex.v1."), "Service/Watch"); is && !strings.Contains(table, "/") && table != "Stream" {
		easy = fmt.Sprintf("; 'interrex %s watch -o json' does all that", strings.ToLower(table))
	}
	return interrex.Errorf(interrex.KindInvalid, "%s, which is a stream: write Content-Type: application/connect+json; %s%s; served are %s",
		what, enveloping, easy, strings.Join(types, ", "))
}

// enveloping is how messages of a stream are told apart.
const enveloping = `five bytes stand before each message, in both directions: a zero, and the length in four bytes, big-endian (the empty request is printf '\0\0\0\0\2{}')`

// explained returns the errors that the library makes of a stream's requests in
// JSON the detail that all others have.
type explained struct{}

var _ connect.Interceptor = explained{}

// WrapUnary implements connect.Interceptor. What a unary method refuses has its
// detail, and what is refused before is tidied: see tidy.
func (explained) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc { return next }

// WrapStreamingClient implements connect.Interceptor.
func (explained) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (explained) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		err := next(ctx, conn)
		made := (*connect.Error)(nil)
		if !errors.As(err, &made) || len(made.Details()) > 0 {
			return err
		}
		if unread := (*interrex.Error)(nil); errors.As(err, &unread) {
			return wire.Error(unread)
		}
		switch text := made.Message(); {
		case !strings.HasPrefix(conn.RequestHeader().Get("Content-Type"), "application/connect+json"):
		case made.Code() == connect.CodeResourceExhausted:
			return wire.Error(interrex.Errorf(interrex.KindTooLarge, "%s: %s", text, enveloping))
		case made.Code() == connect.CodeInvalidArgument, strings.HasPrefix(text, "protocol error"):
			return wire.Error(interrex.Errorf(interrex.KindInvalid, "%s: %s", text, enveloping))
		}
		return err
	}
}
