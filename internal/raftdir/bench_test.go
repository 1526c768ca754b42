package raftdir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	bolt "go.etcd.io/bbolt"
)

// slice is how long one rival works before the other one's turn comes.
const slice = 250 * time.Millisecond

// BenchmarkLogStore measures what raft commits on each log store, one
// operation an entry: the table of docs/decisions/log-store.md. The rivals work
// by turns, so that both have the same load from elsewhere; an iteration is one turn
// of each.
func BenchmarkLogStore(b *testing.B) {
	for _, voters := range []int{1, 3} {
		for _, callers := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("voters=%d/callers=%d", voters, callers), func(b *testing.B) {
				compare(b, callers,
					rival{"raft-wal", benchCluster(b, "raft-wal", voters, true)},
					rival{"bbolt", benchCluster(b, "bbolt", voters, true)})
			})
		}
	}
}

// BenchmarkBatchApplyCh measures the gain of raft's buffered apply channel, at the
// applier's four entries in flight and above.
func BenchmarkBatchApplyCh(b *testing.B) {
	for _, callers := range []int{1, 4, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			compare(b, callers,
				rival{"buffered", benchCluster(b, "raft-wal", 3, true)},
				rival{"direct", benchCluster(b, "raft-wal", 3, false)})
		})
	}
}

type rival struct {
	name   string
	leader *raft.Raft
}

func compare(b *testing.B, callers int, first, second rival) {
	var done [2]int64
	b.ResetTimer()
	for range b.N {
		for i, r := range []rival{first, second} {
			done[i] += commits(b, r.leader, callers)
		}
	}
	b.StopTimer()
	seconds := (time.Duration(b.N) * slice).Seconds()
	b.ReportMetric(float64(done[0])/seconds, first.name+"/s")
	b.ReportMetric(float64(done[1])/seconds, second.name+"/s")
	b.ReportMetric(float64(done[0])/float64(max(done[1], 1)), "ratio")
}

// commits counts what callers get committed in one slice.
func commits(b *testing.B, leader *raft.Raft, callers int) int64 {
	command := make([]byte, 200)
	end := time.Now().Add(slice)
	var n atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for time.Now().Before(end) {
				if err := leader.Apply(command, 0).Error(); err != nil {
					b.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	all.Wait()
	return n.Load()
}

func benchCluster(b *testing.B, store string, voters int, batch bool) *raft.Raft {
	var members raft.Configuration
	var transports []*raft.NetworkTransport
	for i := range voters {
		trans, err := raft.NewTCPTransportWithConfig("127.0.0.1:0", nil, &raft.NetworkTransportConfig{
			MaxPool: 3, Timeout: 5 * time.Second, MaxRPCsInFlight: 1, Logger: hclog.NewNullLogger(),
		})
		if err != nil {
			b.Fatal(err)
		}
		transports = append(transports, trans)
		members.Servers = append(members.Servers, raft.Server{ID: raft.ServerID(fmt.Sprint(i)), Address: trans.LocalAddr()})
	}
	var rafts []*raft.Raft
	for i, trans := range transports {
		rafts = append(rafts, benchRaft(b, store, fmt.Sprint(i), trans, members, batch))
	}
	deadline := time.After(20 * time.Second)
	for {
		for _, r := range rafts {
			if r.State() == raft.Leader {
				return r
			}
		}
		select {
		case <-deadline:
			b.Fatal("no leader")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func benchRaft(b *testing.B, store, id string, trans *raft.NetworkTransport, members raft.Configuration, batch bool) *raft.Raft {
	dir := b.TempDir()
	var log interface {
		raft.LogStore
		io.Closer
	}
	var err error
	if store == "bbolt" {
		log, err = openBolt(dir)
	} else {
		log, err = Open(dir, Config{SegmentSize: 64 << 20})
	}
	if err != nil {
		b.Fatal(err)
	}
	cfg := raft.DefaultConfig()
	cfg.LocalID = raft.ServerID(id)
	cfg.Logger = hclog.NewNullLogger()
	cfg.BatchApplyCh = batch
	stable := raft.NewInmemStore()
	if err := raft.BootstrapCluster(cfg, log, stable, raft.NewInmemSnapshotStore(), trans, members); err != nil {
		b.Fatal(err)
	}
	r, err := raft.NewRaft(cfg, nowhereFSM{}, log, stable, raft.NewInmemSnapshotStore(), trans)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Shutdown().Error(); trans.CloseStreams(); trans.Close(); log.Close() })
	return r
}

type nowhereFSM struct{}

func (nowhereFSM) Apply(*raft.Log) any                 { return nil }
func (nowhereFSM) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("none") }
func (nowhereFSM) Restore(io.ReadCloser) error         { return errors.New("none") }

// boltLog is the rival: a log store on bbolt, tuned as its users recommend.
type boltLog struct{ db *bolt.DB }

var logBucket = []byte("logs")

func openBolt(dir string) (*boltLog, error) {
	db, err := bolt.Open(filepath.Join(dir, "logs"), 0o600, &bolt.Options{
		NoFreelistSync: true, FreelistType: bolt.FreelistMapType, NoGrowSync: false,
	})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(logBucket)
		return err
	})
	return &boltLog{db}, err
}

func indexKey(i uint64) []byte { return binary.BigEndian.AppendUint64(nil, i) }

func (s *boltLog) end(first bool) (index uint64, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(logBucket).Cursor()
		k, _ := c.Last()
		if first {
			k, _ = c.First()
		}
		if k != nil {
			index = binary.BigEndian.Uint64(k)
		}
		return nil
	})
	return index, err
}

func (s *boltLog) FirstIndex() (uint64, error) { return s.end(true) }
func (s *boltLog) LastIndex() (uint64, error)  { return s.end(false) }
func (s *boltLog) IsMonotonic() bool           { return false }
func (s *boltLog) Close() error                { return s.db.Close() }

func (s *boltLog) GetLog(index uint64, log *raft.Log) error {
	return s.db.View(func(tx *bolt.Tx) error {
		v := tx.Bucket(logBucket).Get(indexKey(index))
		if v == nil {
			return raft.ErrLogNotFound
		}
		*log = raft.Log{
			Index: index, Term: binary.LittleEndian.Uint64(v), Type: raft.LogType(v[8]),
			Data: append([]byte(nil), v[9:]...),
		}
		return nil
	})
}

func (s *boltLog) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

func (s *boltLog) StoreLogs(logs []*raft.Log) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(logBucket)
		bucket.FillPercent = 0.9 // keys come in order
		for _, l := range logs {
			v := append(binary.LittleEndian.AppendUint64(nil, l.Term), byte(l.Type))
			if err := bucket.Put(indexKey(l.Index), append(v, l.Data...)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *boltLog) DeleteRange(first, last uint64) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		c := tx.Bucket(logBucket).Cursor()
		for k, _ := c.Seek(indexKey(first)); k != nil && binary.BigEndian.Uint64(k) <= last; k, _ = c.Next() {
			if err := c.Delete(); err != nil {
				return err
			}
		}
		return nil
	})
}
