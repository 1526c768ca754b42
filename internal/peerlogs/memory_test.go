package peerlogs

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/inbound"
)

// kept is a Store in memory.
type kept struct {
	b   []byte
	err error
}

func (k *kept) Load() ([]byte, error) { return k.b, k.err }
func (k *kept) Save(b []byte) error   { k.b = bytes.Clone(b); return k.err }

// of is a hello of agent b.
func of(life string, term uint64, end Place, since uint64) Hello {
	return Hello{ID: "b", Incarnation: "disk", Life: life, Term: term, End: end, Since: since}
}

func newMemory(t *testing.T, s Store) *Memory {
	t.Helper()
	m := &Memory{}
	if err := m.Load(s); err != nil {
		t.Fatal(err)
	}
	return m
}

// introduced compares and meets, and returns what the other agent is sent.
func (m *Memory) introduced(t *testing.T, h Hello) Remembered {
	t.Helper()
	told, err := m.Compare(h)
	if err != nil || told == nil {
		t.Fatalf("%+v: %v, %v", h, told, err)
	}
	if err := m.Meet(h); err != nil {
		t.Fatal(err)
	}
	return *told
}

func known(m *Memory, id string) bool {
	_, known := m.Of(id)
	return known
}

func heartbeat(term uint64) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ID: []byte("b")}, Term: term}
}

func appended(term, index uint64) *raft.AppendEntriesRequest {
	r := heartbeat(term)
	r.PrevLogTerm, r.PrevLogEntry = term, index-1
	r.Entries = []*raft.Log{{Term: term, Index: index}}
	return r
}

func TestWhatAnAgentHasStoredIsRememberedForItsNextLife(t *testing.T) {
	for name, hear := range map[string]func(*Memory){
		"it has acknowledged": func(m *Memory) {
			m.HearAnswer("b", "", appended(3, 50), &raft.AppendEntriesResponse{Term: 3, Success: true})
		},
		"it has led": func(m *Memory) { m.HearRequest(appended(3, 50)) },
		"it has taken a snapshot": func(m *Memory) {
			m.HearAnswer("b", "", &raft.InstallSnapshotRequest{Term: 3, LastLogTerm: 3, LastLogIndex: 50}, &raft.InstallSnapshotResponse{Term: 3, Success: true})
		},
		"it has sent a snapshot": func(m *Memory) {
			m.HearRequest(&raft.InstallSnapshotRequest{RPCHeader: raft.RPCHeader{ID: []byte("b")}, Term: 3, LastLogTerm: 3, LastLogIndex: 50})
		},
		"it has said so in a hello": func(m *Memory) { _ = m.Meet(of("1", 3, Place{3, 50}, 3)) },
	} {
		t.Run(name, func(t *testing.T) {
			store := &kept{}
			m := newMemory(t, store)
			m.introduced(t, of("1", 3, Place{3, 10}, 3))
			hear(m)
			if told := m.introduced(t, of("1", 3, Place{3, 10}, 3)); told.Stored.Index == 50 {
				t.Error("a life is told what it has said itself")
			}
			if err := m.Save(store); err != nil {
				t.Fatal(err)
			}
			for _, m := range []*Memory{m, newMemory(t, store)} { // and after a restart
				if told := m.introduced(t, of("2", 3, Place{3, 10}, 3)); told.Stored != (Place{3, 50}) || told.In != 3 || told.Term != 3 {
					t.Errorf("the next life is told %+v", told)
				}
			}
		})
	}
}

func TestWhatSaysNothingIsNotRemembered(t *testing.T) {
	m := newMemory(t, nil)
	m.introduced(t, of("1", 3, Place{3, 10}, 3))
	m.HearRequest(&raft.RequestPreVoteRequest{RPCHeader: raft.RPCHeader{ID: []byte("b")}, Term: 9})
	m.HearAnswer("b", "", &raft.RequestPreVoteRequest{Term: 9}, &raft.RequestPreVoteResponse{Term: 9})
	m.HearAnswer("b", "", appended(3, 50), &raft.AppendEntriesResponse{Term: 3})
	m.HearRequest(heartbeat(3))
	m.HearRequest(&raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ID: []byte("stranger")}, Term: 9})
	if told := m.introduced(t, of("2", 3, Place{3, 10}, 3)); told.Stored != (Place{3, 10}) || told.Term != 3 {
		t.Errorf("%+v", told)
	}
	if _, err := m.Compare(Hello{ID: "stranger", Incarnation: "x", Life: "1", Term: 1}); err != nil {
		t.Error(err)
	}
	// Another disk has promised nothing.
	other := of("3", 1, Place{}, 0)
	other.Incarnation = "other"
	if told, err := m.Compare(other); err != nil || told.Stored != (Place{}) || told.Term != 0 {
		t.Errorf("%+v, %v", told, err)
	}
}

func TestWhatWasTruncatedRightlyIsForgotten(t *testing.T) {
	m := newMemory(t, nil)
	m.introduced(t, of("1", 3, Place{3, 10}, 3))
	m.HearAnswer("b", "", appended(3, 50), &raft.AppendEntriesResponse{Term: 3, Success: true})
	// Its floor was written in a later term than that in which it was received from.
	if told := m.introduced(t, of("2", 5, Place{3, 20}, 5)); told.Stored != (Place{3, 20}) {
		t.Errorf("%+v", told)
	}
}

func TestAnOlderDiskIsRefused(t *testing.T) {
	for name, hear := range map[string]func(*Memory){
		"a heartbeat": func(m *Memory) { m.HearRequest(heartbeat(7)) },
		"a vote request": func(m *Memory) {
			m.HearRequest(&raft.RequestVoteRequest{RPCHeader: raft.RPCHeader{ID: []byte("b")}, Term: 7})
		},
		"a vote": func(m *Memory) {
			m.HearAnswer("b", "", &raft.RequestVoteRequest{Term: 7}, &raft.RequestVoteResponse{Term: 7, Granted: true})
		},
		"a hello": func(m *Memory) { _ = m.Meet(of("1", 7, Place{3, 10}, 3)) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(t, nil)
			m.introduced(t, of("1", 3, Place{3, 10}, 3))
			hear(m)
			if _, err := m.Compare(of("1", 6, Place{3, 10}, 3)); err != nil {
				t.Errorf("a late hello of the same life: %v", err)
			}
			told, err := m.Compare(of("2", 6, Place{3, 10}, 3))
			if err == nil || !strings.Contains(err.Error(), "older copy of its disk: messages from it were received in term 7, and its disk has only term 6") || told.Term != 7 {
				t.Errorf("%+v, %v", told, err)
			}
			if _, err := m.Compare(of("2", 7, Place{3, 10}, 3)); err != nil {
				t.Errorf("the disk as it was: %v", err)
			}
		})
	}
}

func TestNothingOfAnEarlierLifeCounts(t *testing.T) {
	m := newMemory(t, nil)
	m.introduced(t, of("1", 3, Place{3, 10}, 3))
	if n, err := m.Current("b", "1", 5, nil); n != 5 || err != nil {
		t.Error(n, err)
	}
	m.introduced(t, of("2", 3, Place{3, 10}, 3))
	if n, err := m.Current("b", "1", 5, nil); n != 0 || !errors.Is(err, inbound.ErrEarlierLife) {
		t.Error(n, err)
	}
	before := m.Life("b")
	m.introduced(t, of("3", 3, Place{3, 10}, 3))
	err := m.HearAnswer("b", before, &raft.TimeoutNowRequest{}, &raft.TimeoutNowResponse{})
	if !errors.Is(err, inbound.ErrEarlierLife) {
		t.Errorf("an answer across two lives: %v", err)
	}
}

func TestNothingCountsBetweenTheHellosOfTwoLives(t *testing.T) {
	m := newMemory(t, nil)
	m.introduced(t, of("1", 3, Place{3, 10}, 3))
	told, err := m.Compare(of("2", 3, Place{3, 10}, 3)) // it is sent what counts until now
	if err != nil || told.Stored != (Place{3, 10}) {
		t.Fatalf("%+v, %v", told, err)
	}
	late := m.HearAnswer("b", "1", appended(3, 50), &raft.AppendEntriesResponse{Term: 3, Success: true})
	if !errors.Is(late, inbound.ErrEarlierLife) || m.of["b"].Stored != (Place{3, 10}) {
		t.Errorf("an answer of the life before counts: %v, %+v", late, m.of["b"])
	}
	if _, err := m.Current("b", "1", 5, nil); !errors.Is(err, inbound.ErrEarlierLife) {
		t.Errorf("a stream of the life before goes on: %v", err)
	}
	// The hello of the life before was read first, and is completed last.
	if err := m.Meet(of("1", 3, Place{3, 10}, 3)); !errors.Is(err, inbound.ErrEarlierLife) {
		t.Errorf("a late hello: %v", err)
	}
	if err := m.Meet(of("2", 3, Place{3, 10}, 3)); err != nil || m.Life("b") != "2" {
		t.Errorf("%v, life %s", err, m.Life("b"))
	}
}

func TestWhatIsHeardOfAgainInAnEarlierTermKeepsItsTerm(t *testing.T) {
	m := newMemory(t, nil)
	m.introduced(t, of("1", 3, Place{3, 10}, 3))
	m.record("b", 5, Place{3, 50}, 5)
	m.record("b", 5, Place{3, 50}, 4)
	if is := m.of["b"]; is.In != 5 {
		t.Errorf("%+v", is)
	}
}

func TestMemoryIsBoundedAndTakesUpTheNewest(t *testing.T) {
	m := newMemory(t, nil)
	for i := range 2 * maxKnown {
		h := of("1", 3, Place{3, 10}, 3)
		h.ID = fmt.Sprint(i)
		m.introduced(t, h)
	}
	if len(m.of) > maxKnown || len(m.lives) > maxKnown || !known(m, fmt.Sprint(2*maxKnown-1)) {
		t.Errorf("%d agents and %d lives are remembered", len(m.of), len(m.lives))
	}
}

func TestAMemoryThatCannotBeReadIsSaid(t *testing.T) {
	for _, s := range []Store{&kept{err: errors.New("broken")}, &kept{b: []byte("{")}} {
		m := &Memory{}
		if err := m.Load(s); err == nil {
			t.Errorf("%+v", s)
		}
		m.introduced(t, of("1", 3, Place{3, 10}, 3))
	}
	m := newMemory(t, nil)
	m.introduced(t, of("1", 3, Place{3, 10}, 3))
	full := &kept{err: errors.New("full")}
	if err := m.Save(full); err == nil {
		t.Error("no error")
	}
	full.b, full.err = nil, nil
	if err := m.Save(full); err != nil || full.b == nil {
		t.Errorf("it is not saved later: %v", err)
	}
	full.b = nil
	if err := m.Save(full); err != nil || full.b != nil {
		t.Errorf("what is not new is saved again: %v", err)
	}
}

func TestWhereAgentsWereMetIsRemembered(t *testing.T) {
	disk := &kept{}
	m := newMemory(t, disk)
	m.MeetAt("b", "10.0.0.2:7401") // it was not met
	m.introduced(t, of("first", 1, Place{}, 1))
	m.MeetAt("b", "10.0.0.2:7401")
	m.introduced(t, of("second", 1, Place{}, 1))
	if err := m.Save(disk); err != nil {
		t.Fatal(err)
	}
	m = newMemory(t, disk)
	if at := m.Addresses(); len(at) != 1 || at["b"] != "10.0.0.2:7401" {
		t.Errorf("after a restart: %v", at)
	}
	m.introduced(t, of("third", 2, Place{}, 1))
	if at := m.Addresses(); at["b"] != "10.0.0.2:7401" {
		t.Errorf("once it was met again: %v", at)
	}
	m.MeetAt("b", "")
	if at := m.Addresses(); len(at) != 0 {
		t.Errorf("of one that is not to be looked for any more: %v", at)
	}
}
