package wire_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

var kinds = []interrex.Kind{
	interrex.ErrInvalid, interrex.ErrTooLarge, interrex.ErrNotFound, interrex.ErrHeld, interrex.ErrNotHeld,
	interrex.ErrCASFailure, interrex.ErrWrongUID, interrex.ErrGroupVersionMismatch, interrex.ErrConflict,
	interrex.ErrUnauthenticated, interrex.ErrDenied, interrex.ErrVetoed, interrex.ErrNotLeader, interrex.ErrNoLeader,
	interrex.ErrUnavailable, interrex.ErrInconsistent, interrex.ErrDraining, interrex.ErrOverloaded, interrex.ErrTimeout,
	interrex.ErrOutcomeUnknown, interrex.ErrNameGone, interrex.ErrCompacted, interrex.ErrWatchClosed, interrex.ErrDisabled,
}

func contains(err error, s string) bool { return err != nil && strings.Contains(err.Error(), s) }

func full(k interrex.Kind) *interrex.Error {
	return &interrex.Error{
		Kind: k, Message: "cannot claim mine/a: why", LeaderID: "a1", LeaderAddress: "https://a1:7400",
		Holder: "ann", HeldSince: when, Remaining: time.Second, Waiting: 3, FirstRevision: 9, Lost: 12, RetryAfter: time.Millisecond, Stored: []byte("x"),
	}
}

func TestEveryKindComesBackWithAllThatItSays(t *testing.T) {
	for _, k := range kinds {
		for _, write := range []bool{true, false} {
			sent := wire.Error(full(k))
			if got, want := uint32(sent.Code()), k.RPC(); got != want {
				t.Errorf("%s has code %d, want %d", k, got, want)
			}
			back := wire.FromError(fmt.Errorf("calling: %w", error(sent)), write)
			var e *interrex.Error
			if !errors.As(back, &e) {
				t.Fatalf("%s came back as %v", k, back)
			}
			if call := new(connect.Error); !errors.As(back, &call) {
				t.Errorf("%s came back without the call's error", k)
			}
			if !reflect.DeepEqual(e.WithCause(nil), full(k)) {
				t.Errorf("%s came back as %+v", k, e)
			}
		}
		if e := wire.FromDetail(wire.Detail(full(k))); !reflect.DeepEqual(e, full(k)) {
			t.Errorf("%s came back on a stream as %+v", k, e)
		}
	}
}

func TestAKindIsFoundUnderItsWrapping(t *testing.T) {
	err := wire.Error(fmt.Errorf("cannot hold x: %w", interrex.Errorf(interrex.ErrHeld, "by ann")))
	if back := wire.FromError(err, true); back.Error() != "held: cannot hold x: by ann" {
		t.Errorf("came back as %q", back)
	}
	if back := wire.FromError(wire.Error(interrex.ErrVetoed), true); back.Error() != "vetoed" {
		t.Errorf("a bare kind came back as %q", back)
	}
}

func TestAnErrorWithoutAKindIsOutcomeUnknown(t *testing.T) {
	if got := wire.Error(errors.New("boom")); got.Code() != connect.CodeUnknown || interrex.KindOf(wire.FromError(got, false)) != interrex.ErrOutcomeUnknown {
		t.Errorf("got %v", got)
	}
}

func TestNoErrorIsNone(t *testing.T) {
	if wire.Error(nil) != nil || wire.FromError(nil, true) != nil || wire.FromDetail(nil) != nil {
		t.Error("an error was made of none")
	}
}

func TestAnErrorThatWasMadeAlreadyIsKept(t *testing.T) {
	first := wire.Error(full(interrex.ErrHeld))
	if wire.Error(fmt.Errorf("again: %w", error(first))) != first {
		t.Error("it was made again")
	}
	if held := error(full(interrex.ErrHeld)); wire.FromError(held, true) != held {
		t.Error("one with its kind was made again")
	}
}

func TestAKindOfANewerAgentIsOutcomeUnknown(t *testing.T) {
	e := wire.FromDetail(&interrexv1.Error{Kind: "on fire", Message: "run"})
	if e.Error() != "outcome unknown: on fire: run" {
		t.Errorf("got %q", e)
	}
}

func TestACodeWithoutADetailIsAnUnknownOutcomeForAWrite(t *testing.T) {
	for c := connect.CodeCanceled; c <= connect.CodeUnauthenticated; c++ {
		err := wire.FromError(connect.NewError(c, errors.New("a library")), true)
		if !errors.Is(err, interrex.ErrOutcomeUnknown) {
			t.Errorf("%s is %v", c, err)
		}
	}
	for _, err := range []error{context.Canceled, context.DeadlineExceeded, net.ErrClosed} {
		if got := wire.FromError(err, true); !errors.Is(got, interrex.ErrOutcomeUnknown) || !errors.Is(got, err) {
			t.Errorf("%v is %v", err, got)
		}
	}
}

func TestACodeWithoutADetailIsTakenForARead(t *testing.T) {
	for c, kind := range map[connect.Code]interrex.Kind{
		connect.CodeInvalidArgument: interrex.ErrInvalid, connect.CodeNotFound: interrex.ErrNotFound,
		connect.CodeUnauthenticated: interrex.ErrUnauthenticated, connect.CodePermissionDenied: interrex.ErrDenied,
		connect.CodeUnimplemented: interrex.ErrDisabled, connect.CodeFailedPrecondition: interrex.ErrDisabled, connect.CodeResourceExhausted: interrex.ErrOverloaded,
		connect.CodeUnavailable: interrex.ErrUnavailable, connect.CodeInternal: interrex.ErrUnavailable,
		connect.CodeDeadlineExceeded: interrex.ErrTimeout, connect.CodeCanceled: interrex.ErrTimeout,
	} {
		if got := interrex.KindOf(wire.FromError(connect.NewError(c, errors.New("a library")), false)); got != kind {
			t.Errorf("%s is %s, want %s", c, got, kind)
		}
	}
}

func TestWhatProvablyNeverLeftIsUnavailable(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	cert := &tls.CertificateVerificationError{Err: errors.New("unknown authority")}
	plain := tls.RecordHeaderError{Msg: "not TLS", RecordHeader: [5]byte([]byte("HTTP/"))}
	for _, cause := range []error{dial, cert, plain} {
		err := wire.FromError(connect.NewError(connect.CodeUnavailable, fmt.Errorf("post: %w", cause)), true)
		if !errors.Is(err, interrex.ErrUnavailable) {
			t.Errorf("%v is %v", cause, err)
		}
	}
	read := &net.OpError{Op: "read", Err: errors.New("connection reset")}
	garbled := tls.RecordHeaderError{Msg: "garbled", RecordHeader: [5]byte{0x17, 9, 9}} // amid what was said
	for _, cause := range []error{read, garbled} {
		if err := wire.FromError(connect.NewError(connect.CodeUnavailable, cause), true); !errors.Is(err, interrex.ErrOutcomeUnknown) {
			t.Errorf("a connection that broke by %v is %v", cause, err)
		}
	}
}

func TestWhatAnAgentHasAnsweredIsItsOwn(t *testing.T) {
	made := interrex.Errorf(interrex.ErrUnavailable, "no")
	for _, c := range []struct {
		err  error
		want bool
	}{
		{wire.Error(made), true},
		{fmt.Errorf("call: %w", wire.FromError(wire.Error(made), true)), true},
		{connect.NewError(connect.CodeUnavailable, errors.New("a library")), false},
		{wire.FromError(connect.NewError(connect.CodeUnavailable, errors.New("a library")), false), false},
		{interrex.Errorf(interrex.ErrTimeout, "late").WithCause(context.DeadlineExceeded), false},
		{errors.New("x"), false},
		{nil, false},
	} {
		if got := wire.Answered(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

func TestRetryAfterIsFoundUnderItsWrapping(t *testing.T) {
	if got := interrex.RetryAfter(fmt.Errorf("x: %w", error(full(interrex.ErrNoLeader)))); got != time.Millisecond {
		t.Errorf("got %s", got)
	}
	if got := interrex.RetryAfter(errors.New("x")); got != 0 {
		t.Errorf("got %s", got)
	}
}

// Some errors quote what a caller sent, which may be much.
func TestAnErrorsMessageIsBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for what, err := range map[string]error{"of a kind": interrex.Errorf(interrex.ErrInvalid, "%q", long), "of none": errors.New(long)} {
		if n := len(wire.Detail(err).GetMessage()); n > 5000 || n < 1000 {
			t.Errorf("an error %s has a message of %d bytes", what, n)
		}
	}
}
