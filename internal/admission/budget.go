package admission

import (
	"context"
	"math"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/fairshare"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/wire"
)

// Budget is the memory that all requests under way at an agent may use together: their
// bodies, what they were decoded to, and answers that are not sent yet. Its sizes are
// estimates, rather too high than too low.
type Budget struct {
	limit   int64
	full    error           // one for all that do not fit, so that many of them take no memory
	excess  error           // the same, of callers that have as much as they may
	pool    *fairshare.Pool // by Caller.Share
	refused atomic.Uint64
	waiting atomic.Int64 // number of those that wait

	mu    sync.Mutex
	freed chan struct{} // closed when something is given back to those that wait
}

// NewBudget returns a budget of a number of bytes, of which nothing is used; 0: an
// eighth of the memory that this process may use, and at least limits.MinRequestBytes.
func NewBudget(limit int64) *Budget {
	if limit == 0 {
		limit = max(memory()/8, limits.MinRequestBytes)
	}
	const then = "read your answers, and try again, or another agent; nothing has happened"
	full := interrex.Errorf(interrex.ErrOverloaded, "the requests under way at this agent use the %d MiB of memory that they may: %s", limit>>20, then)
	excess := interrex.Errorf(interrex.ErrOverloaded, "your requests under way at this agent use as much memory as those of one caller may, which is a quarter of what others leave of %d MiB: %s", limit>>20, then)
	full.RetryAfter, excess.RetryAfter = 200*time.Millisecond, 200*time.Millisecond
	return &Budget{limit: limit, full: full, excess: excess, pool: fairshare.New(limit), freed: make(chan struct{})}
}

// memory returns how much memory this process may use: the smallest of its cgroup's
// limit, Go's own (GOMEMLIMIT) and the machine's.
func memory() int64 {
	least := debug.SetMemoryLimit(-1)
	for _, limit := range []func() (uint64, error){memlimit.FromCgroup, memlimit.FromSystem} {
		if n, err := limit(); err == nil && n < uint64(least) {
			least = int64(n)
		}
	}
	if least == math.MaxInt64 { // nothing is known: that of a small machine
		return 8 * limits.MinRequestBytes
	}
	return least
}

// Limit returns the size of the budget.
func (b *Budget) Limit() int64 { return b.limit }

// Used returns what requests use of it.
func (b *Budget) Used() int64 { return b.pool.Used() }

// Use returns what requests use of it, and the caller whose use most.
func (b *Budget) Use() fairshare.Use {
	u := b.pool.Use()
	u.May = max(u.May, jsonCost*wire.MaxMessage)
	return u
}

// Refused returns how often something did not fit.
func (b *Budget) Refused() uint64 { return b.refused.Load() }

// Share is how much of a budget may be used when more is taken, in sixteenths. What is
// small still fits where no list does, and extends where nothing else does.
type Share int64

// The shares of a budget.
const (
	Large  Share = 12
	Small  Share = 15 // of at most SmallBytes
	Urgent Share = 16 // extends, what other agents forward, and small bodies that are not decoded yet
)

// SmallBytes is how much memory a small request takes at most.
const SmallBytes = 32 << 10

// ShareFor returns the share for what takes n bytes.
func ShareFor(n int) Share {
	if n <= SmallBytes {
		return Small
	}
	return Large
}

// most returns how much may be used when more is taken.
func (b *Budget) most(s Share) int64 { return b.limit / 16 * int64(s) }

func (b *Budget) give(who string, n int64) {
	b.pool.Give(who, n)
	if b.waiting.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.freed)
	b.freed = make(chan struct{})
}

// change returns a channel that is closed when something is given back.
func (b *Budget) change() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.freed
}

// Account is what one request, or one stream, uses of a Budget. The nil Account has no
// limit.
type Account struct {
	budget *Budget
	who    string
	peer   bool // of another agent, which limits its callers: all that it takes is urgent
	held   atomic.Int64
}

// Open opens an account for a request of a caller. Close closes it.
func (b *Budget) Open(c Caller) *Account {
	return &Account{budget: b, who: c.Share(), peer: c.Door == Peer}
}

// Take takes n bytes, or fails with ErrOverloaded.
func (a *Account) Take(n int, s Share) error {
	if a == nil || n <= 0 || a.fits(n, s) {
		return nil
	}
	a.budget.refused.Add(1)
	if a.budget.Used()+int64(n) <= a.budget.most(s) {
		return a.budget.excess
	}
	return a.budget.full
}

// fits takes n bytes if they fit. A caller may have twice as much for its extends, and
// the largest message however small the budget is.
func (a *Account) fits(n int, s Share) bool {
	on := a.budget.pool.Usual()
	switch {
	case a.peer:
		s, on.Part = Urgent, 0
	case s == Urgent:
		on.Part /= 2
	case s == Large:
		on.Least = max(on.Least, jsonCost*wire.MaxMessage)
	}
	if on.Most = a.budget.most(s); !a.budget.pool.TakeOn(on, a.who, int64(n)) {
		return false
	}
	a.held.Add(int64(n))
	return true
}

// Force takes n bytes for what exists already and cannot be refused any more.
func (a *Account) Force(n int) {
	if a != nil {
		a.budget.pool.Force(a.who, int64(n))
		a.held.Add(int64(n))
	}
}

// Give gives n bytes back.
func (a *Account) Give(n int) {
	if a != nil && n != 0 {
		a.held.Add(int64(-n))
		a.budget.give(a.who, int64(n))
	}
}

// Rest gives back all but n bytes.
func (a *Account) Rest(n int) {
	if a != nil {
		a.Give(max(int(a.held.Load())-n, 0))
	}
}

// patience is how long a stream waits until its next message fits.
const patience = 10 * time.Second

// Wait takes n bytes once they fit. It fails with ErrOverloaded if they do not in time.
func (a *Account) Wait(ctx context.Context, n int, s Share) error {
	if a == nil || n <= 0 || a.fits(n, s) {
		return nil
	}
	a.budget.waiting.Add(1)
	defer a.budget.waiting.Add(-1)
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		freed := a.budget.change()
		if a.fits(n, s) {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late.C:
			return a.Take(n, s)
		}
	}
}

// Close gives back all that is left.
func (a *Account) Close() { a.budget.give(a.who, a.held.Swap(0)) }

type accountKey struct{}

// AccountOf returns the account of the request of ctx; nil if there is none.
func AccountOf(ctx context.Context) *Account {
	a, _ := ctx.Value(accountKey{}).(*Account)
	return a
}

// RequestBytes is what every request takes, with a small body: its goroutine, its
// headers, and its part of a connection.
const RequestBytes = 16 << 10

// fieldBytes is what each field of its header takes beyond usualFields.
const (
	usualFields = 32
	fieldBytes  = 256
)

// Handler returns a handler that opens an account for each request of a caller that is
// known, and counts its body while it is read. Requests for free paths are served even if
// there is no memory.
func (b *Budget) Handler(free func(path string) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := b.Open(CallerOf(r.Context()))
		defer a.Close()
		if err := a.Take(RequestBytes+fieldBytes*max(0, len(r.Header)-usualFields), Urgent); err != nil && !free(r.URL.Path) {
			Refuse(w, r, err)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), accountKey{}, a))
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = newMeter(r, a)
		}
		next.ServeHTTP(w, r)
		if r.ProtoMajor == 2 { // the account is open until the peer takes the last bytes: its other requests do not wait for that
			_ = http.NewResponseController(w).Flush() // an error means that the caller has gone
		}
	})
}
