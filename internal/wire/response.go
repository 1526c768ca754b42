package wire

import (
	"errors"
	"net/http"
	"strings"

	"google.golang.org/protobuf/proto"
)

// Response is the response to a unary call: a message, or the bytes that were made of
// it, in the encoding that the caller has requested.
type Response struct {
	Message proto.Message // nil: bytes were made of it
	Proto   []byte
	JSON    []byte
}

// WantsJSON reports whether a unary request, whose response is encoded as it is itself,
// is in JSON.
func WantsJSON(h http.Header) bool {
	return strings.Contains(strings.ToLower(h.Get("Content-Type")), "json")
}

var errOtherEncoding = errors.New("cannot encode the response: it is in another encoding already")

// AppendProto appends the response as protobuf.
func (r *Response) AppendProto(b []byte) ([]byte, error) {
	switch {
	case r.Message != nil:
		return proto.MarshalOptions{}.MarshalAppend(b, r.Message)
	case r.JSON != nil:
		return nil, errOtherEncoding
	}
	return append(b, r.Proto...), nil
}

// AppendJSON appends the response as JSON.
func (r *Response) AppendJSON(b []byte) ([]byte, error) {
	switch {
	case r.Message != nil:
		return AppendJSON(b, r.Message)
	case r.JSON == nil:
		return nil, errOtherEncoding
	}
	return append(b, r.JSON...), nil
}
