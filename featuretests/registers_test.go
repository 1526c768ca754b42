package featuretests

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/interrex/interrex"
)

// registerLine is one call of a history that is written by hand.
type registerLine struct {
	registerRequest
	from, to int
	out      registerAnswer
}

func registerVerdict(lines []registerLine) porcupine.CheckResult {
	var h History
	for i, l := range lines {
		h.record(l.out.result, porcupine.Operation{ClientId: i, Input: l.registerRequest, Output: l.out, Call: int64(l.from), Return: int64(l.to)})
	}
	return h.Check(registerModel(), time.Minute)
}

func asked(v verb, version, value string) registerRequest {
	return registerRequest{verb: v, name: "a", version: version, value: value}
}

func TestHonestRegistersPass(t *testing.T) {
	for name, lines := range map[string][]registerLine{
		"a register is written, compared and set, and deleted": {
			{asked(store, noVersion, "1"), 0, 1, registerAnswer{result: granted, version: 5}},
			{asked(store, noVersion, "2"), 2, 3, registerAnswer{result: refused}},
			{asked(store, "5", "3"), 4, 5, registerAnswer{result: granted, version: 7}},
			{asked(store, "5", "4"), 6, 7, registerAnswer{result: refused}},
			{asked(get, "", ""), 8, 9, registerAnswer{granted, "3", 7}},
			{asked(remove, "5", ""), 10, 11, registerAnswer{result: refused}},
			{asked(remove, "7", ""), 12, 13, registerAnswer{result: granted}},
			{asked(remove, "7", ""), 14, 15, registerAnswer{result: granted}},
			{asked(get, "", ""), 16, 17, registerAnswer{result: refused}},
			{asked(store, "7", "5"), 18, 19, registerAnswer{result: refused}},
			{asked(store, anyVersion, "6"), 20, 21, registerAnswer{result: granted, version: 9}},
		},
		"of two at once one is first": {
			{asked(store, anyVersion, "1"), 0, 9, registerAnswer{result: granted, version: 6}},
			{asked(store, anyVersion, "2"), 0, 9, registerAnswer{result: granted, version: 5}},
			{asked(get, "", ""), 1, 8, registerAnswer{granted, "2", 5}},
			{asked(get, "", ""), 10, 11, registerAnswer{granted, "1", 6}},
		},
		"a write of unknown outcome is done late, and shows its version": {
			{asked(store, anyVersion, "1"), 0, 1, registerAnswer{result: granted, version: 5}},
			{asked(store, "5", "2"), 2, 3, registerAnswer{result: unknown}},
			{asked(get, "", ""), 4, 5, registerAnswer{granted, "1", 5}},
			{asked(get, "", ""), 6, 7, registerAnswer{granted, "2", 8}},
			{asked(store, "8", "3"), 8, 9, registerAnswer{result: granted, version: 9}},
		},
		"a delete of unknown outcome is never done": {
			{asked(store, anyVersion, "1"), 0, 1, registerAnswer{result: granted, version: 5}},
			{asked(remove, anyVersion, ""), 2, 3, registerAnswer{result: unknown}},
			{asked(store, "5", "2"), 4, 5, registerAnswer{result: granted, version: 6}},
		},
	} {
		if got := registerVerdict(lines); got != porcupine.Ok {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestBrokenRegistersAreFound(t *testing.T) {
	first := registerLine{asked(store, anyVersion, "1"), 0, 1, registerAnswer{result: granted, version: 5}}
	second := registerLine{asked(store, "5", "2"), 2, 3, registerAnswer{result: granted, version: 6}}
	for name, lines := range map[string][]registerLine{
		"a stale read":                        {first, second, {asked(get, "", ""), 4, 5, registerAnswer{granted, "1", 5}}},
		"a lost write":                        {first, second, {asked(store, "5", "3"), 4, 5, registerAnswer{result: granted, version: 7}}},
		"two writes replace one version":      {first, {asked(store, "5", "2"), 2, 9, registerAnswer{result: granted, version: 6}}, {asked(store, "5", "3"), 2, 9, registerAnswer{result: granted, version: 7}}},
		"two creates":                         {{asked(store, noVersion, "1"), 0, 9, registerAnswer{result: granted, version: 6}}, {asked(store, noVersion, "2"), 0, 9, registerAnswer{result: granted, version: 7}}},
		"the stored version is refused":       {first, {asked(store, "5", "2"), 2, 3, registerAnswer{result: refused}}},
		"a value under another version":       {first, {asked(get, "", ""), 2, 3, registerAnswer{granted, "1", 6}}},
		"a version falls":                     {first, {asked(store, anyVersion, "2"), 2, 3, registerAnswer{result: granted, version: 4}}},
		"a deleted value is read":             {first, {asked(remove, "5", ""), 2, 3, registerAnswer{result: granted}}, {asked(get, "", ""), 4, 5, registerAnswer{granted, "1", 5}}},
		"a read misses a value":               {first, {asked(get, "", ""), 2, 3, registerAnswer{result: refused}}},
		"a delete of another version":         {first, {asked(remove, "4", ""), 2, 3, registerAnswer{result: granted}}},
		"an unknown write is seen and undone": {first, {asked(store, "5", "2"), 2, 3, registerAnswer{result: unknown}}, {asked(get, "", ""), 4, 5, registerAnswer{granted, "2", 6}}, {asked(get, "", ""), 6, 7, registerAnswer{granted, "1", 5}}},
		"a write that was never asked":        {first, {asked(get, "", ""), 2, 3, registerAnswer{granted, "9", 9}}},
	} {
		if got := registerVerdict(lines); got != porcupine.Illegal {
			t.Errorf("%s: %s, want it found", name, got)
		}
	}
}

// racers are callers that read, compare and set a few registers.
type racers struct {
	name    string // of their registers
	history History
	round   atomic.Int64 // whose registers they use
	done    atomic.Int64 // operations that were answered
	stop    context.CancelFunc
	all     sync.WaitGroup
}

// startRacers starts two callers on each way to the registers.
func startRacers(t *testing.T, name string, ways ...Registers) *racers {
	t.Helper()
	r := &racers{name: name}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(t.Context())
	for i := range 2 * len(ways) {
		one := RegisterRecorder{Registers: ways[i/2], History: &r.history, Client: i}
		r.all.Go(func() { r.race(ctx, one) })
	}
	t.Cleanup(r.all.Wait)
	t.Cleanup(r.stop)
	return r
}

// race runs one caller. It requires versions that it has seen, which others have
// often replaced meanwhile.
func (r *racers) race(ctx context.Context, by RegisterRecorder) {
	seen, d := map[string]string{}, drawer(by.Client)
	for n := 0; ctx.Err() == nil; n++ {
		name := fmt.Sprintf("%s/%d/%d", r.name, r.round.Load(), d.IntN(3))
		if out := outcomeOf(r.one(ctx, by, d.IntN(100), name, fmt.Sprintf("%d.%d", by.Client, n), seen)); out == granted || out == refused {
			r.done.Add(1)
		}
		pause(ctx, time.Duration(5+d.IntN(10))*time.Millisecond)
	}
}

func (r *racers) one(ctx context.Context, by RegisterRecorder, n int, name, value string, seen map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var err error
	version := seen[name]
	switch {
	case n < 40 || version == "" && n < 80:
		seen[name], err = by.Get(ctx, name)
	case n < 75:
		seen[name], err = by.Put(ctx, name, version, value)
	case n < 85:
		seen[name], err = by.Put(ctx, name, noVersion, value)
	case n < 90:
		seen[name], err = by.Put(ctx, name, anyVersion, value)
	case n < 97:
		err = by.Remove(ctx, name, version)
	default:
		err = by.Remove(ctx, name, anyVersion)
	}
	return err
}

// more waits until the racers have done that many more operations.
func (r *racers) more(t *testing.T, n int) {
	t.Helper()
	before := r.done.Load()
	enough(t, "operations more", n, func() int { return int(r.done.Load() - before) })
}

// end ends the race once it has at least floor answered operations.
func (r *racers) end(t *testing.T, floor int) {
	t.Helper()
	enough(t, "answered operations", floor, r.history.answered)
	r.stop()
	r.all.Wait()
	answered, without := r.history.Count()
	t.Logf("%d operations were answered, %d had an unknown outcome or none, from seed %d on", answered, without, seed)
}

var raceFor = flag.Duration("race-for", 20*time.Second, "how long registers are raced for while agents fail")

// Callers at every agent read, compare, set and delete registers while leaders and
// followers are killed and paused: one order of all operations explains every
// answer.
func TestRegistersAreLinearizable(t *testing.T) {
	f := newFleet(t, 3, nil)
	var ways []Registers
	for i := range f.members {
		ways = append(ways, f.client(i).Resources())
	}
	r := startRacers(t, "race", ways...)
	faults := []func(int){
		func(i int) { f.kill(i); r.more(t, 50); f.start(i) },
		func(i int) {
			f.signal(i, syscall.SIGSTOP)
			r.more(t, 50)
			f.signal(i, syscall.SIGCONT)
		},
	}
	for end, n := time.Now().Add(*raceFor), 0; time.Now().Before(end); n++ {
		r.round.Add(1)
		r.more(t, 100)
		victim := f.leader()
		if n%4 > 1 {
			victim = f.others(victim)[n%2]
		}
		faults[n%2](victim)
		r.more(t, 50)
	}
	r.end(t, 500)
	r.history.judge(t, registerModel())
}

// faulty are registers with an occasional planted fault.
type faulty struct {
	Registers
	read  func(now interrex.Resource) (instead interrex.Resource)
	write func(interrex.WriteResourceRequest) (made interrex.Answer[interrex.Resource], lost bool)
}

func (f faulty) Read(ctx context.Context, id interrex.ResourceID, o interrex.ReadOptions) (interrex.Resource, interrex.Revision, error) {
	got, revision, err := f.Registers.Read(ctx, id, o)
	if err == nil && f.read != nil {
		got = f.read(got)
	}
	return got, revision, err
}

func (f faulty) Write(ctx context.Context, r interrex.WriteResourceRequest) (interrex.Answer[interrex.Resource], error) {
	if f.write != nil {
		if made, lost := f.write(r); lost {
			return made, nil
		}
	}
	return f.Registers.Write(ctx, r)
}

// A check of histories that finds nothing in broken ones would prove nothing.
func TestPlantedFaultsOfRegistersAreFound(t *testing.T) {
	f := newFleet(t, 1, nil)
	honest := f.client().Resources()
	var mu sync.Mutex
	old, reads := map[string]interrex.Resource{}, 0
	stale := faulty{Registers: honest, read: func(now interrex.Resource) interrex.Resource {
		mu.Lock()
		defer mu.Unlock()
		// The first version seen, since the previous one may be just as valid while
		// others write.
		before, known := old[now.ID.Name]
		if !known {
			old[now.ID.Name] = now
			return now
		}
		if before.Version == now.Version {
			return now
		}
		if reads++; reads%20 == 0 {
			return before
		}
		return now
	}}
	var writes atomic.Int64
	lossy := faulty{Registers: honest, write: func(q interrex.WriteResourceRequest) (a interrex.Answer[interrex.Resource], lost bool) {
		if q.Resource.Version == "" || writes.Add(1)%20 != 0 {
			return a, false
		}
		version, _ := strconv.ParseUint(q.Resource.Version, 10, 64)
		a.Value = q.Resource
		a.Value.Version = fmt.Sprint(version + 1)
		return a, true
	}}
	for _, c := range []struct {
		fault string
		way   Registers
		want  porcupine.CheckResult
	}{
		{"none", honest, porcupine.Ok}, {"a stale read", stale, porcupine.Illegal}, {"a lost write", lossy, porcupine.Illegal},
	} {
		t.Run(c.fault, func(t *testing.T) {
			r := startRacers(t, c.fault, c.way, honest)
			r.more(t, 500)
			r.end(t, 500)
			if got := r.history.Check(registerModel(), time.Minute); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
