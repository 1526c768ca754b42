package raftworker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/raftrules"
)

// line intercepts what a leader sends. Its functions are for one agent each, and are
// called after the call has been answered.
type line struct {
	mu        sync.Mutex
	append    map[string]func(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error
	installed map[string]func(*offer)
}

// offer is a snapshot that was sent.
type offer struct {
	request raft.InstallSnapshotRequest
	data    []byte
	answer  raft.InstallSnapshotResponse
	err     error
	again   func() (raft.InstallSnapshotResponse, error) // sends it once more
}

func (l *line) onAppend(to string, do func(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append[to] = do
}

func (l *line) onSnapshot(to string, do func(*offer)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.installed[to] = do
}

type lined struct {
	Transport
	line *line
}

func (s lined) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := s.Transport.AppendEntries(id, to, args, resp)
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	if do := s.line.append[string(id)]; do != nil && err == nil && args.PrevLogEntry+uint64(len(args.Entries)) > 0 {
		err = do(args, resp)
	}
	return err
}

func (s lined) InstallSnapshot(id raft.ServerID, to raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	content, err := io.ReadAll(data)
	if err != nil {
		return err
	}
	send := func(resp *raft.InstallSnapshotResponse) error {
		return s.Transport.InstallSnapshot(id, to, args, resp, bytes.NewReader(content))
	}
	o := &offer{request: *args, data: content, err: send(resp), answer: *resp, again: func() (r raft.InstallSnapshotResponse, err error) {
		err = send(&r)
		return r, err
	}}
	o.answer = *resp
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	if do := s.line.installed[string(id)]; do != nil {
		do(o)
	}
	return o.err
}

// snapshotCluster returns the leader, the two others and their lines.
func snapshotCluster(t *testing.T) (first *running, rest []*running, lines map[*running]*line, all map[string]*running) {
	t.Helper()
	of := map[*agent]*line{}
	all = startCluster(t, func(a *agent, _ *peering.Transport) {
		l := &line{
			append:    map[string]func(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error{},
			installed: map[string]func(*offer){},
		}
		of[a] = l
		make := a.cfg.Transport
		a.cfg.segment = 4 << 10 // what is compacted is gone, and not only left out
		a.cfg.Transport = func(life Rules) (Transport, error) {
			tr, err := make(life)
			if err != nil {
				return nil, err
			}
			return lined{tr, l}, nil
		}
	}, "a", "b", "c")
	first = leader(t, all)
	lines = map[*running]*line{}
	for _, r := range all {
		lines[r] = of[r.agent]
	}
	return first, followers(all, first), lines, all
}

// write writes n entries through a leader, of which four fill a segment.
func (r *running) write(n int) {
	r.t.Helper()
	for i := range n {
		r.put(r.w, fmt.Sprintf("%s%d", strings.Repeat("key", 330), i))
	}
}

// compact makes a snapshot that leaves one entry in the log.
func (r *running) compact() (index uint64) {
	r.t.Helper()
	r.w.life.leave(1)
	if err := r.w.life.raft.Snapshot().Error(); err != nil {
		r.t.Fatal(err)
	}
	r.w.life.leave(0)
	if first, err := r.w.life.dir.FirstIndex(); err != nil || first < 2 {
		r.t.Fatalf("it is not compacted: %d, %v", first, err)
	}
	list, err := r.w.life.snapshots.List()
	if err != nil {
		r.t.Fatal(err)
	}
	return list[0].Index
}

func (r *running) applied() uint64 {
	i, _ := r.state.Applied()
	return i
}

// catchesUp waits until an agent has applied all that a leader has.
func (r *running) catchesUp(first *running) {
	r.t.Helper()
	r.until("all entries", func() bool { return r.applied() >= first.applied() })
}

// restart begins another life, with a state of its own as another process has.
func (r *running) restart() {
	r.t.Helper()
	r.state = newState(r.t, r.log)
	r.cfg.State = r.state
	r.w = r.start()
}

// taken waits until an agent has taken a leader's snapshot, and returns it.
func taken(from *running, offers <-chan *offer) *offer {
	from.t.Helper()
	select {
	case o := <-offers:
		return o
	case <-time.After(within):
		from.t.Fatalf("no snapshot was sent: %+v\n%v", from.tracker.Current(), from.log.all())
		return nil
	}
}

// offered waits until a leader has offered its snapshot to an agent that is stopped. The
// entries that it had read before it compacted its log could reach the agent instead.
func offered(from *running, l *line, to string) {
	from.t.Helper()
	tried := make(chan struct{}, 100)
	l.onSnapshot(to, func(*offer) {
		select {
		case tried <- struct{}{}:
		default:
		}
	})
	select {
	case <-tried:
	case <-time.After(within):
		from.t.Fatalf("no snapshot was offered: %+v\n%v", from.tracker.Current(), from.log.all())
	}
}

// recorded returns the snapshots that an agent has taken.
func recorded(l *line, to string) <-chan *offer {
	offers := make(chan *offer, 100)
	l.onSnapshot(to, func(o *offer) {
		if o.err == nil && o.answer.Success {
			offers <- o
		}
	})
	return offers
}

func TestOneLostAnswerBehindASnapshotHoldsNothingUp(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart in between %v", restarts), func(t *testing.T) {
			first, rest, lines, all := snapshotCluster(t)
			late, third := rest[0], rest[1]
			late.stop(late.w)
			first.write(100)
			at := first.compact()
			offered(first, lines[first], late.name())
			// Only with the late one there is a quorum.
			third.stop(third.w)
			delete(all, third.name())
			lost := make(chan struct{})
			lines[first].onAppend(late.name(), func(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
				if len(args.Entries) == 0 || !resp.Success || args.PrevLogEntry != at {
					return nil
				}
				select {
				case <-lost:
					return nil
				default:
					close(lost)
					return errors.New("the answer is lost")
				}
			})
			late.restart()
			result := make(chan error, 1)
			go func() { result <- first.w.life.raft.Apply(first.entry("behind"), 0).Error() }()
			select {
			case <-lost:
			case <-result: // it has lost its leadership meanwhile: its next term begins with an entry
				<-lost
			case <-time.After(within):
				t.Fatalf("nothing was appended behind the snapshot: %v", late.log.all())
			}
			if restarts {
				late.stop(late.w)
				late.restart()
			}
			committed := func() bool {
				now := leader(t, all)
				done := make(chan error, 1)
				go func() { done <- now.w.life.raft.Apply(now.entry("committed"), 0).Error() }()
				select {
				case err := <-done:
					return err == nil
				case <-time.After(within):
					t.Fatalf("nothing is committed: %v", late.log.all())
					return false
				}
			}
			first.until("a commit", committed)
			late.catchesUp(first)
			if late.w.Stuck() != 0 {
				t.Error("there is an alarm")
			}
			stopAll(all)
		})
	}
}

// maxAppended is how many entries raft sends at once.
const maxAppended = 64

// A leader that still has its whole log never sends a snapshot. It has stepped
// back behind what a follower has left.
func TestALeaderThatHasItsWholeLogComesForwardAgain(t *testing.T) {
	for _, n := range []int{10, 100} {
		for _, behind := range []string{"an empty log", "some entries", "a log of its own"} {
			t.Run(fmt.Sprintf("%d entries and %s", n, behind), func(t *testing.T) {
				first, rest, lines, all := snapshotCluster(t)
				late, whole := rest[0], rest[1]
				if behind == "a log of its own" {
					first.write(n)
					late.catchesUp(first)
					late.compact()
				} else {
					late.stop(late.w)
					first.write(n)
					first.compact()
					offered(first, lines[first], late.name())
					offers := recorded(lines[first], late.name())
					late.restart()
					taken(first, offers)
				}
				late.catchesUp(first)
				if behind == "some entries" {
					first.write(3)
					late.catchesUp(first)
				}
				before := late.applied()
				refuse := 3
				stepped := make(chan struct{})
				lines[whole].onAppend(late.name(), func(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
					if refuse > 0 {
						*resp = raft.AppendEntriesResponse{Term: resp.Term, NoRetryBackoff: true}
						if refuse--; refuse == 0 {
							close(stepped)
						}
					}
					return nil
				})
				id := raft.ServerID(whole.name())
				whole.until("transfer", func() bool {
					return whole.tracker.Current().Ready || first.w.life.raft.LeadershipTransferToServer(id, raft.ServerAddress(id)).Error() != nil && whole.tracker.Current().Ready
				})
				<-stepped
				whole.write(5)
				late.catchesUp(whole)
				if late.applied() <= before {
					t.Errorf("it has come from %d to %d", before, late.applied())
				}
				// Raft would write again what it was sent from the first entry on, old
				// members too.
				if begin, err := late.w.life.dir.FirstIndex(); err != nil || n > maxAppended && begin <= maxAppended {
					t.Errorf("its log begins at %d, %v", begin, err)
				}
				stopAll(all)
			})
		}
	}
}

func TestALogThatConflictsWithASnapshotIsCut(t *testing.T) {
	t.Parallel() // it waits for elections
	first, rest, _, all := snapshotCluster(t)
	first.write(5)
	for _, r := range rest {
		r.catchesUp(first)
	}
	// It writes entries that no other agent receives.
	first.mute.Store(true)
	for i := range 60 {
		first.w.life.raft.Apply(first.entry(fmt.Sprint("lost", i)), 0)
	}
	old, err := first.w.life.dir.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	first.until("its entries", func() bool { old, _ = first.w.life.dir.LastIndex(); return old >= 60 })
	if err := first.w.life.transport.Close(); err != nil { // as SIGKILL
		t.Fatal(err)
	}
	first.w.Kill()
	_ = first.w.Wait()
	first.mute.Store(false)
	delete(all, first.name())
	second := leader(t, all)
	second.write(20)
	at := second.compact()
	if at >= old {
		t.Fatalf("the snapshot is of %d, and the log ends at %d", at, old)
	}
	first.restart()
	ended := make(chan error, 1)
	go func() { ended <- first.w.Wait() }()
	select {
	case err := <-ended:
		if !errors.Is(err, raftrules.ErrConflict) {
			t.Fatal(err)
		}
	case <-time.After(within):
		t.Fatalf("its life goes on: %v", first.log.all())
	}
	first.restart()
	if r := first.w.life.dir.Report(); r.Last != at-1 || r.Floor.Index != at-1 || r.Short() {
		t.Errorf("its log is not cut at %d: %+v", at, r)
	}
	first.catchesUp(second)
	if second.put(second.w, "after"); first.w.Quarantine() != nil {
		t.Error(first.w.Quarantine())
	}
	first.catchesUp(second)
	all[first.name()] = first
	stopAll(all)
}

func TestASnapshotThatComesAgainIsNotInstalled(t *testing.T) {
	first, rest, lines, all := snapshotCluster(t)
	late := rest[0]
	late.stop(late.w)
	first.write(50)
	at := first.compact()
	offered(first, lines[first], late.name())
	offers := recorded(lines[first], late.name())
	late.restart()
	o := taken(first, offers)
	if o.request.LastLogIndex != at {
		t.Fatalf("it is of %d, not %d", o.request.LastLogIndex, at)
	}
	first.write(20)
	late.catchesUp(first)
	sent := func(times int) {
		t.Helper()
		applied := late.w.life.raft.AppliedIndex()
		last, _ := late.w.life.dir.LastIndex()
		for range times {
			var answer raft.InstallSnapshotResponse
			late.until("an answer", func() (arrived bool) { // streams to an earlier life are dead
				var err error
				answer, err = o.again()
				return err == nil
			})
			if !answer.Success {
				t.Fatalf("answered %+v", answer)
			}
		}
		if now := late.w.life.raft.AppliedIndex(); now < applied {
			t.Errorf("the state was at %d, and is at %d", applied, now)
		}
		if now, _ := late.w.life.dir.LastIndex(); now < last {
			t.Errorf("the log ended at %d, and ends at %d", last, now)
		}
	}
	sent(3)
	if late.w.Stuck() != at {
		t.Errorf("stuck at %d, want %d", late.w.Stuck(), at)
	}
	first.write(5)
	late.catchesUp(first)
	late.stop(late.w)
	late.restart()
	// It has the entry in its log, or applied.
	sent(1)
	late.catchesUp(first)
	stopAll(all)
}

func TestWhatBecomesOfALeadersSnapshot(t *testing.T) {
	first, rest, _, all := snapshotCluster(t)
	first.write(5)
	for _, r := range rest {
		r.catchesUp(first)
	}
	first.mute.Store(true) // entries that are stored, and not applied
	for i := range 5 {
		first.w.life.raft.Apply(first.entry(fmt.Sprint("stored", i)), 0)
	}
	rules, dir := first.w.life.rules, first.w.life.dir
	applied, term := first.w.life.raft.AppliedIndex(), dir.Term()
	first.until("its entries", func() bool { last, _ := dir.LastIndex(); return last >= applied+5 })
	last, _ := dir.LastIndex()
	for _, c := range []struct {
		name               string
		index, of, request uint64
		taken, refused     bool
	}{
		{"applied", applied, term, term, true, false},
		{"applied, of a leader to come", applied, term, term + 1, true, false},
		{"stored", last, term, term, true, false},
		{"ahead", last + 1, term, term, false, false},
		{"of an old leader", applied, term, term - 1, false, false},
		{"there is another entry", last, term + 1, term + 1, false, true},
	} {
		response, err, answered := rules.Answer(&raft.InstallSnapshotRequest{Term: c.request, LastLogIndex: c.index, LastLogTerm: c.of})
		if answered != (c.taken || c.refused) || errors.Is(err, raftrules.ErrConflict) != c.refused {
			t.Errorf("%s: answered %v, %v", c.name, answered, err)
		}
		if c.taken {
			if r := response.(*raft.InstallSnapshotResponse); !r.Success || r.Term != term {
				t.Errorf("%s: %+v", c.name, r)
			}
		}
	}
	if err := first.w.Wait(); !errors.Is(err, raftrules.ErrConflict) {
		t.Errorf("after a conflict its life ends with %v", err)
	}
	delete(all, first.name())
	stopAll(all)
}

// Raft may have been storing entries while a snapshot was looked at.
func TestASnapshotIsNotInstalledOverALogThatReachesIt(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	a.put(w, "one")
	l := w.life
	last, term := l.raft.AppliedIndex(), l.dir.Term()
	create := func(index uint64) error {
		sink, err := l.snapshots.Create(raft.SnapshotVersionMax, index, term, raft.Configuration{}, 0, l.transport)
		if err == nil {
			err = sink.Cancel()
		}
		return err
	}
	if err := create(last); err != nil {
		t.Errorf("raft's own: %v", err)
	}
	for index, installed := range map[uint64]bool{last - 1: false, last: false, last + 100: true} {
		answered := l.rules.Handing(&raft.InstallSnapshotRequest{Term: term, LastLogIndex: index, LastLogTerm: term})
		if err := create(index); (err == nil) != installed {
			t.Errorf("a leader's of %d, where the log ends at %d: %v", index, last, err)
		}
		answered()
		if err := create(index); err != nil {
			t.Errorf("raft's own, after that: %v", err)
		}
	}
	a.stop(w)
}

func TestWhatStandsForAnEntryIsNotSent(t *testing.T) {
	first, rest, lines, all := snapshotCluster(t)
	late := rest[0]
	late.stop(late.w)
	first.write(20)
	first.compact()
	offered(first, lines[first], late.name())
	offers := recorded(lines[first], late.name())
	late.restart()
	at := taken(first, offers).request.LastLogIndex
	first.write(3)
	late.catchesUp(first)
	var entries []*raft.Log
	for _, index := range []uint64{at, at + 1} {
		entry := new(raft.Log)
		if err := late.w.life.dir.GetLog(index, entry); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry)
	}
	for from, allowed := range []bool{false, true} {
		if err := late.w.life.rules.MaySend(&raft.AppendEntriesRequest{Entries: entries[from:]}); (err == nil) != allowed {
			t.Errorf("from entry %d on: %v", entries[from].Index, err)
		}
	}
	stopAll(all)
}
