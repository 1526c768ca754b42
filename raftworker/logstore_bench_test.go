package raftworker

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

// BenchmarkLogStore measures what raft commits on each log store, one
// operation an entry: the table of docs/decisions/log-store.md. Both stores
// are measured in one run, since the disk is only comparable with itself.
func BenchmarkLogStore(b *testing.B) {
	for _, voters := range []int{1, 3} {
		for _, callers := range []int{1, 64, 256} {
			for _, store := range []string{"raft-wal", "bbolt"} {
				b.Run(fmt.Sprintf("voters=%d/callers=%d/%s", voters, callers, store), func(b *testing.B) {
					benchStore(b, store, voters, callers, true)
				})
			}
		}
	}
}

// BenchmarkBatchApplyCh measures whether raft's buffered apply channel pays
// for the timeout that it makes vague.
func BenchmarkBatchApplyCh(b *testing.B) {
	for _, callers := range []int{1, 4, 64, 256} {
		for _, batch := range []bool{false, true} {
			b.Run(fmt.Sprintf("callers=%d/%v", callers, batch), func(b *testing.B) {
				benchStore(b, "raft-wal", 3, callers, batch)
			})
		}
	}
}

func benchStore(b *testing.B, store string, voters, callers int, batch bool) {
	leader := benchCluster(b, store, voters, batch)
	command := make([]byte, 200)
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ResetTimer()
	for range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := leader.Apply(command, 0).Error(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
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
	var log LogStore
	var err error
	if store == "bbolt" {
		log, err = openBolt(dir)
	} else {
		log, err = NewLogStore(dir, SyncAfterWrite, LogStoreConfig{SegmentSize: 64 << 20})
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
	b.Cleanup(func() { r.Shutdown().Error(); trans.Close(); log.Close() })
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
