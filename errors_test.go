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

// kinds is the contract's table, row by row.
var kinds = []struct {
	kind      interrex.Kind
	numbers   interrex.Numbers
	retryable bool
}{
	{interrex.ErrInvalid, interrex.Numbers{RPC: 3, HTTP: 400, Exit: 2}, false},
	{interrex.ErrTooLarge, interrex.Numbers{RPC: 3, HTTP: 400, Exit: 2}, false},
	{interrex.ErrNotFound, interrex.Numbers{RPC: 5, HTTP: 404, Exit: 3}, false},
	{interrex.ErrHeld, interrex.Numbers{RPC: 10, HTTP: 409, Exit: 4}, false},
	{interrex.ErrNotHeld, interrex.Numbers{RPC: 10, HTTP: 409, Exit: 4}, false},
	{interrex.ErrCASFailure, interrex.Numbers{RPC: 10, HTTP: 409, Exit: 4}, false},
	{interrex.ErrWrongUID, interrex.Numbers{RPC: 10, HTTP: 409, Exit: 4}, false},
	{interrex.ErrGroupVersionMismatch, interrex.Numbers{RPC: 10, HTTP: 409, Exit: 4}, false},
	{interrex.ErrConflict, interrex.Numbers{RPC: 10, HTTP: 409, Exit: 4}, false},
	{interrex.ErrUnauthenticated, interrex.Numbers{RPC: 16, HTTP: 401, Exit: 5}, false},
	{interrex.ErrDenied, interrex.Numbers{RPC: 7, HTTP: 403, Exit: 5}, false},
	{interrex.ErrVetoed, interrex.Numbers{RPC: 7, HTTP: 403, Exit: 5}, false},
	{interrex.ErrNotLeader, interrex.Numbers{RPC: 14, HTTP: 503, Exit: 6}, true},
	{interrex.ErrNoLeader, interrex.Numbers{RPC: 14, HTTP: 503, Exit: 6}, true},
	{interrex.ErrUnavailable, interrex.Numbers{RPC: 14, HTTP: 503, Exit: 6}, true},
	{interrex.ErrInconsistent, interrex.Numbers{RPC: 14, HTTP: 503, Exit: 6}, true},
	{interrex.ErrOtherCluster, interrex.Numbers{RPC: 14, HTTP: 503, Exit: 6}, true},
	{interrex.ErrDraining, interrex.Numbers{RPC: 14, HTTP: 503, Exit: 6}, true},
	{interrex.ErrOverloaded, interrex.Numbers{RPC: 8, HTTP: 429, Exit: 6}, true},
	{interrex.ErrTimeout, interrex.Numbers{RPC: 4, HTTP: 504, Exit: 6}, true},
	{interrex.ErrOutcomeUnknown, interrex.Numbers{RPC: 2, HTTP: 500, Exit: 7}, false},
	{interrex.ErrNameGone, interrex.Numbers{RPC: 9, HTTP: 400, Exit: 7}, false},
	{interrex.ErrCompacted, interrex.Numbers{RPC: 11, HTTP: 410, Exit: 8}, false},
	{interrex.ErrWatchClosed, interrex.Numbers{RPC: 11, HTTP: 410, Exit: 8}, false},
	{interrex.ErrDisabled, interrex.Numbers{RPC: 12, HTTP: 501, Exit: 1}, false},
}

func TestEachKindHasItsNumbers(t *testing.T) {
	for _, row := range kinds {
		if got := row.kind.Numbers(); got != row.numbers {
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
		want := row.kind.Numbers().HTTP
		if want == http.StatusGone { // Connect has no code for it
			want = http.StatusBadRequest
		}
		if answer.Code != want {
			t.Errorf("%s is answered with %d, not with %d", row.kind, answer.Code, want)
		}
	}
}

func TestUnknownKindCountsAsOutcomeUnknown(t *testing.T) {
	if got, want := interrex.Kind("of tomorrow").Numbers(), interrex.ErrOutcomeUnknown.Numbers(); got != want {
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
