package services

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/state"
)

// Maintenance returns the unary methods of MaintenanceService: those that restore a
// snapshot.
func Maintenance() method.Service {
	return method.Service{Methods: []method.Method{
		method.Propose(interrexv1.MaintenanceServiceStageProcedure, stage, staged),
		method.Write(interrexv1.MaintenanceServiceRestoreProcedure, machine.SystemTable, restore, restored),
		method.Write(interrexv1.MaintenanceServiceUnstageProcedure, machine.SystemTable, unstage, unstaged),
		method.Privileged("see which snapshot is being restored", method.ReadState(interrexv1.MaintenanceServiceStagedProcedure, showStaged)),
	}}
}

// stage is made on the leader, whose build decides what can be read.
func stage(m *interrexv1.StageRequest, s *machine.State) (state.TableID, state.Command, error) {
	c := &machine.Stage{File: m.GetFile(), Offset: int64(m.GetOffset()), Data: m.GetData()}
	if c.Offset == 0 {
		c.Reads = s.Reads()
	}
	return machine.SystemTable, c, nil
}

func staged(_ *interrexv1.StageRequest, r state.Result, _ *machine.State) (*interrexv1.StageResponse, error) {
	part, is := r.Reply.(machine.StagedFile)
	if !is {
		return nil, errReply(r)
	}
	return &interrexv1.StageResponse{Bytes: uint64(part.Bytes)}, nil
}

func restore(m *interrexv1.RestoreRequest) (state.Command, error) {
	return &machine.Restore{File: m.GetFile(), Bytes: int64(m.GetBytes()), Checksum: m.GetChecksum()}, nil
}

func restored(r state.Result, _ state.State) (*interrexv1.RestoreResponse, error) {
	at, is := r.Reply.(machine.RestoredFile)
	if !is {
		return nil, errReply(r)
	}
	return &interrexv1.RestoreResponse{Revision: uint64(at.To)}, nil
}

func unstage(m *interrexv1.UnstageRequest) (state.Command, error) {
	return &machine.Unstage{File: m.GetFile()}, nil
}

func unstaged(r state.Result, _ state.State) (*interrexv1.UnstageResponse, error) {
	return &interrexv1.UnstageResponse{Revision: uint64(r.Revision)}, nil
}

func showStaged(_ *interrexv1.StagedRequest, s *machine.State) (*interrexv1.StagedResponse, error) {
	m := &interrexv1.StagedResponse{Revision: uint64(s.Revision()), ClusterId: s.Identity().ClusterID}
	if f, is := s.Staged(); is {
		now := s.Now()
		m.File = &interrexv1.StagedFile{
			File: f.File, Caller: f.By, Bytes: uint64(f.Bytes), Checksum: f.Checksum,
			Age: durationpb.New(now.Sub(f.Began)), Idle: durationpb.New(now.Sub(f.Last)), DroppedIn: durationpb.New(max(0, f.DroppedAt.Sub(now))),
		}
	}
	return m, nil
}

// errReply is the error for a reply of another operation.
func errReply(r state.Result) error {
	return interrex.Errorf(interrex.ErrOutcomeUnknown, "cannot read the reply: it is a %T", r.Reply)
}
