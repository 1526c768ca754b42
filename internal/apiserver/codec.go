package apiserver

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

// jsonCodec encodes messages as JSON in wire's form. It refuses unknown fields, so
// that a misspelt field is an error and does not silently get its default.
type jsonCodec struct{ name string }

var _ connect.Codec = jsonCodec{}

// jsonCodecs replaces Connect's own two JSON codecs.
func jsonCodecs() connect.HandlerOption {
	return connect.WithHandlerOptions(
		connect.WithCodec(jsonCodec{"json"}),
		connect.WithCodec(jsonCodec{"json; charset=utf-8"}),
	)
}

// Name implements connect.Codec.
func (c jsonCodec) Name() string { return c.name }

// Marshal implements connect.Codec.
func (c jsonCodec) Marshal(message any) ([]byte, error) {
	return c.MarshalAppend(nil, message)
}

// MarshalAppend spares Connect a copy.
func (c jsonCodec) MarshalAppend(b []byte, message any) ([]byte, error) {
	switch m := message.(type) {
	case *any: // see api.Method.Handler
		return c.MarshalAppend(b, *m)
	case *wire.Response:
		return m.AppendJSON(b)
	case proto.Message:
		return wire.AppendJSON(b, m)
	}
	return nil, fmt.Errorf("cannot encode %T: it is not a protobuf message", message)
}

// Unmarshal implements connect.Codec.
func (c jsonCodec) Unmarshal(b []byte, message any) error {
	m, ok := message.(proto.Message)
	if !ok {
		return fmt.Errorf("cannot decode %T: it is not a protobuf message", message)
	}
	if err := wire.UnmarshalJSON(b, m); interrex.KindOf(err) != "" {
		return err
	} else if err != nil {
		return misread(b, m.ProtoReflect(), err)
	}
	return nil
}

// gzipped replaces Connect's own decompression: of a message that is too large Connect
// decompresses the rest, only to say how large it is, and 4 MiB can become 4 GiB.
func gzipped() connect.HandlerOption {
	return connect.WithCompression("gzip",
		func() connect.Decompressor { return new(unzipper) },
		func() connect.Compressor { return newGzipWriter() })
}

// newGzipWriter returns a compressor that takes a third of the time of gzip's default.
func newGzipWriter() *gzip.Writer {
	w, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // fails only for a level that is not known
	return w
}

// unzipper decompresses one message at a time, and little more than the largest one.
type unzipper struct {
	gzip.Reader
	read int
}

// Reset implements connect.Decompressor.
func (u *unzipper) Reset(from io.Reader) error {
	u.read = 0
	return u.Reader.Reset(from)
}

var errUnread = errors.New("the rest is not decompressed")

// Read implements io.Reader.
func (u *unzipper) Read(p []byte) (int, error) {
	if u.read > wire.MaxMessage {
		return 0, errUnread
	}
	n, err := u.Reader.Read(p)
	u.read += n
	return n, err
}
