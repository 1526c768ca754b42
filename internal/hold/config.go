package hold

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/validation"
)

// Backend makes attempts. Each call is one attempt, which the Backend must not repeat,
// and returns soon after its context has ended. An error without a kind counts as
// interrex.ErrOutcomeUnknown.
type Backend interface {
	// Claim with a request id and a wait promises further attempts.
	Claim(context.Context, interrex.ClaimRequest) (interrex.LeaseAnswer, error)
	Extend(context.Context, interrex.ExtendRequest) (interrex.LeaseAnswer, error)
	Revoke(context.Context, interrex.RevokeRequest) (interrex.RevokeAnswer, error)
	Transfer(context.Context, interrex.TransferRequest) (interrex.LeaseAnswer, error)
}

// IDs makes the ids of requests.
type IDs interface {
	// Open returns the id of a new request. An error means that nothing has happened.
	Open(ctx context.Context, waits bool) (ID, error)
}

// ID is the id of one request.
type ID struct {
	Text string
	// Done is called once, when the request was answered or abandoned, or goes on under
	// another id: no attempt follows under this one.
	Done func()
	// Moves reports whether an error of kind interrex.ErrNameGone means that nothing of the
	// request was done, so that it goes on under another id. nil: no error does.
	Moves func(error) bool
}

// Gone reports whether a request goes on under another id after an error of an attempt.
// If not, told is what its caller is told.
func (id ID) Gone(err error) (moves bool, told error) {
	switch {
	case interrex.KindOf(err) != interrex.ErrNameGone:
		return false, err
	case id.Moves != nil && id.Moves(err):
		return true, nil
	}
	return false, interrex.Errorf(interrex.ErrOutcomeUnknown, "the records of the client's requests were dropped, and whether this one was done is not known any more: read the current state (%v)", err).WithCause(err)
}

// DefaultTimeout bounds a claim that does not wait.
const DefaultTimeout = 30 * time.Second

// Config configures a Keeper.
type Config struct {
	Backend Backend
	IDs     IDs             // nil: random ones
	Clock   Clock           // nil: SystemClock()
	Logger  interrex.Logger // nil: nothing is logged
	// Holder is the holder's name if HoldOptions have none; empty: DefaultHolder(),
	// called once.
	Holder string
	// Timeout bounds a claim that does not wait; 0: DefaultTimeout.
	Timeout time.Duration
	// Agents is how many agents the Backend asks in turn; 0: 1. Extends that fail are
	// logged once so many have failed in a row, or half of the ttl is over.
	Agents int
	// Overstayed is called for each function of Run that returned later than half a
	// margin after its context ended. It must not block. May be nil.
	Overstayed func()
}

// Validate returns an error that names the field that is not valid.
func (c Config) Validate() error {
	switch {
	case c.Backend == nil:
		return errors.New("nil Backend not valid")
	case c.Timeout < 0:
		return errors.New("negative Timeout not valid")
	case c.Agents < 0:
		return errors.New("negative Agents not valid")
	}
	if c.Holder != "" {
		return validation.Holder(c.Holder)
	}
	return nil
}

// withDefaults fills in the optional fields.
func (c Config) withDefaults() Config {
	if c.IDs == nil {
		c.IDs = randomIDs{}
	}
	if c.Clock == nil {
		c.Clock = SystemClock()
	}
	if c.Logger == nil {
		c.Logger = silent.Logger{}
	}
	if c.Holder == "" {
		c.Holder = DefaultHolder()
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Overstayed == nil {
		c.Overstayed = func() {}
	}
	return c
}

// HolderVariable is the environment variable that names this process's holder.
const HolderVariable = "INTERREX_HOLDER"

// DefaultHolder returns the value of $INTERREX_HOLDER, else HOST/PID/RANDOM, a
// different one at each call.
func DefaultHolder() string {
	if s := os.Getenv(HolderVariable); s != "" {
		return s
	}
	host, err := os.Hostname()
	if err != nil || validation.Holder(host) != nil || len(host) > limits.MaxHolder/2 {
		host = "unknown"
	}
	return host + "/" + strconv.Itoa(os.Getpid()) + "/" + rand.Text()[:8]
}

// randomIDs are request ids without a mark: a retry is safe for as long as the record
// is kept, by default ten minutes of cluster time.
type randomIDs struct{}

func (randomIDs) Open(context.Context, bool) (ID, error) {
	return ID{Text: rand.Text(), Done: func() {}}, nil
}
