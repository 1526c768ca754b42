package machine_test

import (
	"fmt"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// inert is a table that stores nothing and answers nothing, so that what is
// measured is the state's own.
type inert struct{ *testtable.Register }

func (inert) Decode([]byte) (state.Command, error)         { return nil, nil }
func (inert) Check(state.Time, state.Command) error        { return nil }
func (inert) Apply(*state.Turn, state.Command) state.Reply { return nil }
func (inert) AppendReply(b []byte, _ state.Reply) []byte   { return b }
func (inert) DecodeReply(b []byte) (state.Reply, error)    { return nil, nil }

// BenchmarkApply: time and allocations are of one operation, in entries of 256.
func BenchmarkApply(b *testing.B) {
	quiet := func() []state.Table { return []state.Table{inert{testtable.NewRegister()}} }
	for name, tables := range map[string]func() []state.Table{"nothing stored": quiet, "register": register} {
		b.Run(name+"/no request id", func(b *testing.B) { benchmarkApply(b, tables, func(int, *state.Operation) {}) })
		b.Run(name+"/counted", func(b *testing.B) {
			benchmarkApply(b, tables, func(i int, op *state.Operation) {
				op.Caller, op.RequestID, op.Mark = "ann", fmt.Sprint("1-0000000000000001.", i), uint64(max(i, 257)-256)
			})
		})
		b.Run(name+"/single", func(b *testing.B) {
			benchmarkApply(b, tables, func(i int, op *state.Operation) { op.RequestID = fmt.Sprint("id", i) })
		})
	}
}

func benchmarkApply(b *testing.B, tables func() []state.Table, envelope func(int, *state.Operation)) {
	const batch = 256
	r := testreplica.New(b, tables)
	r.OpenName("ann", 1)
	logs := make([]*raft.Log, (b.N+batch-1)/batch)
	for i := range logs {
		e := &machine.Entry{Stamp: state.Time(i)}
		for j := range batch {
			op := set(fmt.Sprint("key", j), "twenty bytes of text")
			envelope(i*batch+j, &op)
			e.Operations = append(e.Operations, op)
		}
		logs[i] = &raft.Log{Index: uint64(i + 2), Data: e.Append(nil)}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, l := range logs {
		r.State.Apply(l)
		r.Events = r.Events[:0]
	}
	b.StopTimer()
	if err := r.State.Halted(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkEntry(b *testing.B) {
	e := &machine.Entry{}
	for j := range 256 {
		e.Operations = append(e.Operations, request(fmt.Sprint("client.", j), fmt.Sprint("key", j)))
	}
	buffer := e.Append(nil)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buffer = e.Append(buffer[:0])
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := machine.DecodeEntry(buffer); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFreeze: what a snapshot of all the names that there may be stops.
func BenchmarkFreeze(b *testing.B) {
	r := testreplica.New(b, register)
	for i := range 64 {
		ops := make([]state.Operation, 1024)
		for j := range ops {
			ops[j] = opening("ann", "", uint64(i*1024+j+1))
		}
		r.Do(1, ops...)
	}
	b.ResetTimer()
	for b.Loop() {
		f, err := r.State.Snapshot()
		if err != nil {
			b.Fatal(err)
		}
		f.Release()
	}
}
