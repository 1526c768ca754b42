package interrex_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

// numbers are a kind's RPC code, HTTP status and exit code.
type numbers struct {
	rpc        uint32
	http, exit int
}

func numbersOf(k interrex.Kind) numbers { return numbers{k.RPC(), k.HTTP(), k.Exit()} }

// kinds is the contract's table, row by row.
var kinds = []struct {
	kind      interrex.Kind
	numbers   numbers
	retryable bool
}{
	{interrex.ErrInvalid, numbers{3, 400, 2}, false},
	{interrex.ErrTooLarge, numbers{3, 400, 2}, false},
	{interrex.ErrNotFound, numbers{5, 404, 3}, false},
	{interrex.ErrHeld, numbers{10, 409, 4}, false},
	{interrex.ErrNotHeld, numbers{10, 409, 4}, false},
	{interrex.ErrCASFailure, numbers{10, 409, 4}, false},
	{interrex.ErrWrongUID, numbers{10, 409, 4}, false},
	{interrex.ErrGroupVersionMismatch, numbers{10, 409, 4}, false},
	{interrex.ErrConflict, numbers{10, 409, 4}, false},
	{interrex.ErrUnauthenticated, numbers{16, 401, 5}, false},
	{interrex.ErrDenied, numbers{7, 403, 5}, false},
	{interrex.ErrVetoed, numbers{7, 403, 5}, false},
	{interrex.ErrNotLeader, numbers{14, 503, 6}, true},
	{interrex.ErrNoLeader, numbers{14, 503, 6}, true},
	{interrex.ErrUnavailable, numbers{14, 503, 6}, true},
	{interrex.ErrInconsistent, numbers{14, 503, 6}, true},
	{interrex.ErrOtherCluster, numbers{14, 503, 6}, true},
	{interrex.ErrDraining, numbers{14, 503, 6}, true},
	{interrex.ErrOverloaded, numbers{8, 429, 6}, true},
	{interrex.ErrTimeout, numbers{4, 504, 6}, true},
	{interrex.ErrOutcomeUnknown, numbers{2, 500, 7}, false},
	{interrex.ErrNameGone, numbers{9, 400, 7}, false},
	{interrex.ErrCompacted, numbers{11, 410, 8}, false},
	{interrex.ErrWatchClosed, numbers{11, 410, 8}, false},
	{interrex.ErrDisabled, numbers{12, 501, 1}, false},
}

func TestEachKindHasItsNumbers(t *testing.T) {
	for _, row := range kinds {
		if got := numbersOf(row.kind); got != row.numbers {
			t.Errorf("%s: %+v, want %+v", row.kind, got, row.numbers)
		}
		if got := row.kind.Retryable(); got != row.retryable {
			t.Errorf("%s: retryable is %t", row.kind, got)
		}
	}
}

func TestTheStatusIsThatOfTheAnswer(t *testing.T) {
	post := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/interrex.v1.LeaseService/Get", nil)
	post.Header.Set("Content-Type", "application/json")
	for _, row := range kinds {
		answer := httptest.NewRecorder()
		if err := connect.NewErrorWriter().Write(answer, post, wire.Error(row.kind)); err != nil {
			t.Fatal(err)
		}
		want := row.kind.HTTP()
		if want == http.StatusGone { // Connect has no code for it
			want = http.StatusBadRequest
		}
		if answer.Code != want {
			t.Errorf("%s is answered with %d, not with %d", row.kind, answer.Code, want)
		}
	}
}

func TestUnknownKindCountsAsOutcomeUnknown(t *testing.T) {
	if got, want := numbersOf("of tomorrow"), numbersOf(interrex.ErrOutcomeUnknown); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if interrex.Kind("of tomorrow").Retryable() {
		t.Error("an unknown kind promises that nothing happened")
	}
}

func TestAnErrorIsItsKindsSentinelAndNoOther(t *testing.T) {
	for _, row := range kinds {
		err := fmt.Errorf("cannot do it: %w", interrex.Errorf(row.kind, "since %d", 1))
		for _, other := range kinds {
			if got, want := errors.Is(err, other.kind), row.kind == other.kind; got != want {
				t.Errorf("errors.Is(%v, %v) = %t", err, other.kind, got)
			}
		}
		if interrex.KindOf(err) != row.kind {
			t.Errorf("KindOf(%v) = %q", err, interrex.KindOf(err))
		}
		if got := interrex.KindOf(fmt.Errorf("cannot: %w", row.kind)); got != row.kind {
			t.Errorf("KindOf of the kind %v = %q", row.kind, got)
		}
	}
}

func TestKindOfAStrangerIsEmpty(t *testing.T) {
	if got := interrex.KindOf(io.EOF); got != "" {
		t.Errorf("KindOf(io.EOF) = %q", got)
	}
	if got := interrex.KindOf(nil); got != "" {
		t.Errorf("KindOf(nil) = %q", got)
	}
}

func TestTheTextSaysKindThenMessage(t *testing.T) {
	if got := interrex.Errorf(interrex.ErrHeld, "by %s", "ann").Error(); got != "held: by ann" {
		t.Errorf("text: %q", got)
	}
	if got := (&interrex.Error{Kind: interrex.ErrNoLeader}).Error(); got != "no leader" {
		t.Errorf("text without a message: %q", got)
	}
}

func TestTheCauseIsSeen(t *testing.T) {
	err := interrex.Errorf(interrex.ErrUnavailable, "the log is closed").WithCause(io.ErrClosedPipe)
	if !errors.Is(err, io.ErrClosedPipe) || !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("%v hides its cause or its kind", err)
	}
}
