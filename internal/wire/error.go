package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wording"
)

// Error returns the RPC error for err, with its interrex.v1.Error detail; nil if err
// is nil. An error without a kind becomes ErrOutcomeUnknown, since nothing more is
// known. A *connect.Error that has a detail already is returned unchanged.
func Error(err error) *connect.Error {
	if err == nil {
		return nil
	}
	var answered *connect.Error
	if errors.As(err, &answered) && detail(answered) != nil {
		return answered
	}
	m := Detail(err)
	kind := interrex.Kind(m.Kind)
	// Only the text: the receiver, too, reads the kind from the detail.
	e := connect.NewError(connect.Code(kind.RPC()), errors.New(interrex.Errorf(kind, "%s", m.Message).Error()))
	if d, err := connect.NewErrorDetail(m); err == nil {
		e.AddDetail(d)
	}
	return e
}

// maxMessage is the size of an error's message, in bytes.
const maxMessage = 4 << 10

// Detail returns the detail of err, which Error includes, and which answers an
// operation on a stream. Its message is err's text without the kind, of which it has the
// first maxMessage bytes: some texts quote what a caller sent.
func Detail(err error) *interrexv1.Error {
	kind := interrex.KindOf(err)
	if kind == "" {
		return &interrexv1.Error{Kind: string(interrex.ErrOutcomeUnknown), Message: wording.Excerpt(err.Error(), maxMessage)}
	}
	m := &interrexv1.Error{Kind: string(kind), Message: wording.Excerpt(text(err), maxMessage)}
	var e *interrex.Error
	if !errors.As(err, &e) {
		return m
	}
	m.LeaderId = e.LeaderID
	m.LeaderAddress = e.LeaderAddress
	m.Holder = e.Holder
	m.HeldSince = Timestamp(e.HeldSince)
	m.Remaining = Optional(e.Remaining)
	m.Waiting = Count(e.Waiting)
	m.FirstRevision = uint64(e.FirstRevision)
	m.Lost = uint64(e.Lost)
	m.RetryAfter = Optional(e.RetryAfter)
	m.Stored = e.Stored
	return m
}

// FromDetail converts a detail; nil if m is nil. An unknown kind, of a newer agent,
// becomes ErrOutcomeUnknown.
func FromDetail(m *interrexv1.Error) *interrex.Error {
	if m == nil {
		return nil
	}
	e := &interrex.Error{
		Kind:          interrex.Kind(m.Kind),
		Message:       m.Message,
		LeaderID:      m.LeaderId,
		LeaderAddress: m.LeaderAddress,
		Holder:        m.Holder,
		Remaining:     m.Remaining.AsDuration(),
		Waiting:       int(m.Waiting),
		FirstRevision: interrex.Revision(m.FirstRevision),
		Lost:          interrex.Revision(m.Lost),
		RetryAfter:    m.RetryAfter.AsDuration(),
		Stored:        m.Stored,
	}
	if m.HeldSince != nil {
		e.HeldSince = m.HeldSince.AsTime()
	}
	if !known(e.Kind) {
		e.Kind, e.Message = interrex.ErrOutcomeUnknown, strings.TrimSuffix(m.Kind+": "+m.Message, ": ")
	}
	return e
}

// FromError converts any error of a call to one with a kind; nil to nil. The kind is
// that of the detail. A code without one was made by a library on the way: a write
// may have happened nevertheless (ErrOutcomeUnknown), unless the call provably never
// left (ErrUnavailable); a read gets the kind of the code.
func FromError(err error, write bool) error {
	if err == nil {
		return nil
	}
	if interrex.KindOf(err) != "" {
		return err
	}
	var answered *connect.Error
	if errors.As(err, &answered) {
		if m := detail(answered); m != nil {
			return FromDetail(m).WithCause(err)
		}
	}
	kind, message := interrex.ErrOutcomeUnknown, err.Error()
	if answered != nil {
		message = answered.Message() // without the code, which is less specific than the kind
	}
	switch {
	case NeverLeft(err):
		kind = interrex.ErrUnavailable
	case !write && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		kind = interrex.ErrTimeout
	case !write && answered != nil:
		kind = kindOfRead(answered.Code())
	}
	return interrex.Errorf(kind, "%s", message).WithCause(err)
}

// ErrServesTLS says that a port to which a request was sent in cleartext serves TLS.
var ErrServesTLS = errors.New("the connection was closed without a response")

// NeverLeft reports whether err says that no request can have reached a server: the
// connection was not made, its certificate was not accepted here, or only one side
// speaks TLS.
func NeverLeft(err error) bool {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return true
	}
	var cert *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	return errors.Is(err, ErrServesTLS) || errors.As(err, &cert) || errors.As(err, &header) && string(header.RecordHeader[:]) == "HTTP/"
}

// Answered reports whether err was made by an agent, and not by a library or a timer
// on the way to it.
func Answered(err error) bool {
	var call *connect.Error
	if errors.As(err, &call) {
		return detail(call) != nil
	}
	var e *interrex.Error
	return errors.As(err, &e) && e.Unwrap() == nil
}

// detail returns the interrex.v1.Error that err carries, or nil.
func detail(err *connect.Error) *interrexv1.Error {
	for _, d := range err.Details() {
		v, decodeErr := d.Value()
		if m, ok := v.(*interrexv1.Error); ok && decodeErr == nil {
			return m
		}
	}
	return nil
}

// kindOfRead returns the kind of a code without a detail. A failed read has changed
// nothing, so a temporary error is ErrUnavailable.
func kindOfRead(c connect.Code) interrex.Kind {
	switch c {
	case connect.CodeInvalidArgument:
		return interrex.ErrInvalid
	case connect.CodeNotFound:
		return interrex.ErrNotFound
	case connect.CodeUnauthenticated:
		return interrex.ErrUnauthenticated
	case connect.CodePermissionDenied:
		return interrex.ErrDenied
	case connect.CodeUnimplemented, connect.CodeFailedPrecondition:
		return interrex.ErrDisabled
	case connect.CodeResourceExhausted:
		return interrex.ErrOverloaded
	case connect.CodeCanceled, connect.CodeDeadlineExceeded:
		return interrex.ErrTimeout
	}
	return interrex.ErrUnavailable
}

// known reports whether the kind is known here.
func known(k interrex.Kind) bool {
	return k == interrex.ErrOutcomeUnknown || k.RPC() != interrex.ErrOutcomeUnknown.RPC()
}

// text returns err's whole text without the kind, which is a field of its own on the
// wire, and is put before the text again when it is read.
func text(err error) string {
	var e *interrex.Error
	switch {
	case errors.As(err, &e):
		return strings.Replace(err.Error(), e.Error(), e.Message, 1)
	case err.Error() == string(interrex.KindOf(err)):
		return ""
	}
	return err.Error()
}
