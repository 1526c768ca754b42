package admission

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/wire"
)

const testBudget = limits.MinRequestBytes

// many takes what is left of a share, for callers that each have little.
func many(b *Budget, s Share) (close func()) {
	var all []*Account
	for i := 0; ; i++ {
		a := b.Open(Caller{Name: fmt.Sprint("caller", i)})
		all = append(all, a)
		if a.Take(testBudget/1024, s) != nil {
			break
		}
	}
	return func() {
		for _, a := range all {
			a.Close()
		}
	}
}

func TestWhatIsSmallFitsWhereNothingLargeDoes(t *testing.T) {
	b := NewBudget(testBudget)
	for share, most := range map[Share]int64{Large: 12, Small: 15, Urgent: 16} {
		leave := many(b, share)
		if b.Used() != testBudget/16*most {
			t.Errorf("a share of %d is %d bytes, want %d", share, b.Used(), testBudget/16*most)
		}
		err := b.Open(Caller{}).Take(1<<16, share)
		if interrex.KindOf(err) != interrex.ErrOverloaded || interrex.RetryAfter(err) <= 0 || !strings.Contains(err.Error(), "of memory that they may") {
			t.Errorf("beyond it: %v, retried after %v", err, interrex.RetryAfter(err))
		}
		if leave(); b.Used() != 0 {
			t.Errorf("%d bytes are left", b.Used())
		}
	}
	peer := b.Open(Caller{Door: Peer})
	if err := peer.Take(testBudget, Large); err != nil {
		t.Errorf("what an agent forwards: %v", err)
	}
}

// One caller has a quarter of the memory, however many requests it has, and as much again
// for its extends. Others have what they need.
func TestOneCallerHasAQuarterOfTheMemory(t *testing.T) {
	const size = 4 * testBudget
	b := NewBudget(size)
	first, second, other := b.Open(Caller{Name: "flood"}), b.Open(Caller{Name: "flood"}), b.Open(Caller{Name: "good"})
	for first.Take(1<<20, Large) == nil && second.Take(1<<20, Large) == nil {
	}
	if b.Used() != size/4 {
		t.Errorf("it has %d bytes", b.Used())
	}
	if err := second.Take(1<<10, Small); interrex.KindOf(err) != interrex.ErrOverloaded || !strings.Contains(err.Error(), "your requests") || interrex.RetryAfter(err) <= 0 {
		t.Errorf("even a little: %v", err)
	}
	if err := second.Take(size/8, Urgent); err != nil {
		t.Errorf("its extends: %v", err)
	}
	if err := other.Take(size/8, Large); err != nil {
		t.Errorf("another caller: %v", err)
	}
	first.Close()
	second.Close()
	if other.Close(); b.Used() != 0 {
		t.Errorf("%d bytes are left", b.Used())
	}
}

func TestTheBudgetIsAPartOfTheMemoryThatThereIs(t *testing.T) {
	if got := NewBudget(0).Limit(); got < limits.MinRequestBytes || got > max(memory()/8, limits.MinRequestBytes) {
		t.Errorf("the default is %d, of %d", got, memory())
	}
	if got := NewBudget(100 << 20).Limit(); got != 100<<20 {
		t.Errorf("one that is set is %d", got)
	}
}

// The smallest limit counts, wherever it is set.
func TestTheMemoryIsTheSmallestLimit(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	machine, err := memlimit.FromSystem()
	if err != nil {
		t.Fatal(err)
	}
	want := machine
	if group, err := memlimit.FromCgroup(); err == nil {
		want = min(want, group)
	}
	if got := memory(); got != int64(want) {
		t.Errorf("without a limit of Go's own it is %d of %d", got, want)
	}
	const own = 1 << 30
	debug.SetMemoryLimit(own)
	if got := memory(); got != min(own, int64(want)) {
		t.Errorf("with a limit of Go's own of %d it is %d of %d", own, got, want)
	}
}

// However small the budget is, a caller may have the largest message.
func TestTheLargestMessageFits(t *testing.T) {
	b := NewBudget(testBudget)
	if err := b.Open(Caller{Name: "ann"}).Take(jsonCost*wire.MaxMessage, Large); err != nil {
		t.Error(err)
	}
	if u := b.Use(); u.Most != "ann" || u.Has != jsonCost*wire.MaxMessage || u.May != u.Has {
		t.Errorf("used is %+v", u)
	}
}

func TestTheShareGoesByTheSize(t *testing.T) {
	for n, want := range map[int]Share{1: Small, SmallBytes: Small, SmallBytes + 1: Large} {
		if got := ShareFor(n); got != want {
			t.Errorf("%d bytes have the share %d, want %d", n, got, want)
		}
	}
}

func TestAnAccountGivesBackAllButWhatIsLeft(t *testing.T) {
	b := NewBudget(testBudget)
	a := b.Open(Caller{Name: "ann"})
	if err := a.Take(1<<20, Large); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1 << 10, 1 << 15} { // the second is more than it has
		if a.Rest(n); b.Used() != 1<<10 {
			t.Errorf("%d bytes are left beside %d", b.Used(), n)
		}
	}
}

func TestWhatHasNoAccountHasNoLimit(t *testing.T) {
	a := AccountOf(t.Context())
	if err := errors.Join(a.Take(testBudget, Large), a.Wait(t.Context(), testBudget, Large)); err != nil {
		t.Error(err)
	}
	a.Force(1)
	a.Give(1)
	a.Rest(1)
}

func TestAStreamWaitsUntilItsMessageFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(testBudget)
		others, a := b.Open(Caller{Door: Peer}), b.Open(Caller{Name: "ann"})
		if err := others.Take(testBudget, Urgent); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for i := range time.Duration(2) { // what comes free first is not enough
			time.AfterFunc((i+1)*time.Second, func() { others.Give(testBudget/32 + 1) })
		}
		if err := a.Wait(t.Context(), 1, Small); err != nil || time.Since(begun) != 2*time.Second {
			t.Errorf("the first, after %v: %v", time.Since(begun), err)
		}
		a.Close()
		if err := others.Take(testBudget/16+2, Urgent); err != nil {
			t.Fatal(err)
		}
		begun = time.Now()
		if err := a.Wait(t.Context(), 1, Small); interrex.KindOf(err) != interrex.ErrOverloaded || time.Since(begun) != patience {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		time.AfterFunc(time.Second, func() { others.Give(testBudget / 2) })
		begun = time.Now()
		if err := a.Wait(t.Context(), 1, Small); err != nil || time.Since(begun) != time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := a.Wait(gone, testBudget, Small); !errors.Is(err, context.Canceled) {
			t.Errorf("its caller has gone: %v", err)
		}
		if n := b.waiting.Load(); n != 0 {
			t.Errorf("%d are said to wait", n)
		}
	})
}

// budgeted passes a request through a budget to a handler.
func budgeted(b *Budget, r *http.Request, handle http.HandlerFunc) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	free := func(path string) bool { return path == "/livez" }
	b.Handler(free, handle).ServeHTTP(w, r)
	return w
}

func TestABodyTakesMemoryAsItArrives(t *testing.T) {
	b := NewBudget(testBudget)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(make([]byte, 1<<20))
	_ = z.Close()
	for what, c := range map[string]struct {
		body         string
		kind, coding string
		want         int64 // beyond RequestBytes
	}{
		"a small one":       {"{}", "application/json", "", 0},
		"JSON":              {strings.Repeat("x", 1<<20), "application/json", "", 12 << 20},
		"protobuf":          {strings.Repeat("x", 1<<20), "application/proto", "", 6 << 20},
		"too large a one":   {strings.Repeat("x", 8<<20), "application/proto", "", 6 * wire.MaxMessage},
		"what is not":       {strings.Repeat("x", 1<<20), "text/plain", "identity", 6 << 20},
		"a compressed one":  {packed.String(), "application/proto", "gzip", 6 << 20},
		"a very small bomb": {"x", "application/proto", "gzip", 0},
	} {
		r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		r.Header.Set("Content-Encoding", c.coding)
		budgeted(b, r, func(_ http.ResponseWriter, r *http.Request) {
			if AccountOf(r.Context()) == nil {
				t.Errorf("%s: it has no account", what)
			}
			if before := b.Used(); before != RequestBytes {
				t.Errorf("%s: before it is read it takes %d", what, before)
			}
			_, err := io.Copy(io.Discard, r.Body)
			got := b.Used() - RequestBytes
			if err != nil || got < c.want-RequestBytes || got > c.want+c.want/8 {
				t.Errorf("%s: %d bytes are taken, want %d: %v", what, got, c.want, err)
			}
		})
		if b.Used() != 0 {
			t.Errorf("%s: %d bytes are left", what, b.Used())
		}
	}
}

func TestABodyThatDoesNotFitIsRefusedInEachForm(t *testing.T) {
	b := NewBudget(testBudget)
	others := b.Open(Caller{Door: Peer, Remote: "n2"})
	if err := others.Take(testBudget/16*12, Urgent); err != nil {
		t.Fatal(err)
	}
	post := func(size int) error {
		r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader(strings.Repeat("x", size)))
		var err error
		budgeted(b, r, func(_ http.ResponseWriter, r *http.Request) { _, err = io.ReadAll(r.Body) })
		return err
	}
	if err := post(1 << 10); err != nil {
		t.Errorf("a small one: %v", err)
	}
	err := post(1 << 20)
	var rpc *connect.Error
	if interrex.KindOf(err) != interrex.ErrOverloaded || !errors.As(err, &rpc) || rpc.Code() != connect.CodeResourceExhausted {
		t.Errorf("a large one: %v", err)
	}
	if b.Used() != testBudget/16*12 || b.Refused() == 0 {
		t.Errorf("%d bytes are taken, %d refused", b.Used(), b.Refused())
	}
	others.Force(testBudget)
	r := httptest.NewRequest(http.MethodPut, "/kv/a", strings.NewReader("x"))
	if w := budgeted(b, r, nil); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("when nothing fits: %d %v", w.Code, w.Header())
	}
	probed := false
	budgeted(b, httptest.NewRequest(http.MethodGet, "/livez", nil), func(http.ResponseWriter, *http.Request) { probed = true })
	if !probed {
		t.Error("a probe is refused")
	}
}

// framed returns messages, each with its prefix.
func framed(flags byte, messages ...string) string {
	var all []byte
	for _, m := range messages {
		all = binary.BigEndian.AppendUint32(append(all, flags), uint32(len(m)))
		all = append(all, m...)
	}
	return string(all)
}

func TestOfAStreamOneMessageIsCounted(t *testing.T) {
	b := NewBudget(testBudget)
	big, small := strings.Repeat("x", 1<<20), "x"
	body := framed(0, big, big, small) + framed(1, strings.Repeat("x", 1<<10)) + framed(0, small)
	r := httptest.NewRequest(http.MethodPost, interrexv1.StreamServiceOperateProcedure, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/grpc")
	budgeted(b, r, func(_ http.ResponseWriter, r *http.Request) {
		for i, want := range []int64{6 << 20, 6 << 20, 0, 6 << 20, 0} {
			var prefix [5]byte
			_, err := io.ReadFull(r.Body, prefix[:])
			if err == nil {
				_, err = io.CopyN(io.Discard, r.Body, int64(binary.BigEndian.Uint32(prefix[1:])))
			}
			if got := b.Used() - RequestBytes; err != nil || got < want-RequestBytes || got > want+want/8 {
				t.Errorf("message %d: %d bytes are taken, want %d: %v", i, got, want, err)
			}
		}
	})
	if b.Used() != 0 {
		t.Errorf("%d bytes are left", b.Used())
	}
}

// What is taken is given back whatever becomes of the requests.
func TestAfterAStormNothingIsTaken(t *testing.T) {
	b := NewBudget(testBudget)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range 200 {
				body := io.LimitReader(zeros{}, random.Int64N(1<<20))
				r := httptest.NewRequest(http.MethodPost, "/x", body)
				r = r.WithContext(WithCaller(r.Context(), Caller{Name: fmt.Sprint("caller", i%8)}))
				func() {
					defer func() { _ = recover() }()
					budgeted(b, r, func(_ http.ResponseWriter, r *http.Request) {
						_, _ = io.CopyN(io.Discard, r.Body, random.Int64N(1<<20))
						a := AccountOf(r.Context())
						if n := random.IntN(1 << 20); a.Take(n, Large) == nil && n%2 == 0 {
							a.Give(n)
						}
						a.Force(random.IntN(100))
						switch random.IntN(3) {
						case 0:
							panic(http.ErrAbortHandler)
						case 1:
							a.Rest(RequestBytes)
						}
					})
				}()
			}
		})
	}
	all.Wait()
	if b.Used() != 0 {
		t.Errorf("%d bytes are left", b.Used())
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
