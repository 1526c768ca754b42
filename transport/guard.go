package transport

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// needless reports whether a snapshot holds nothing that this replica has not
// applied. Installing it would take the state back, and raft panics later over
// the log that it compacts ("log not found"; family of hashicorp/raft#697).
// What is applied is committed, so the snapshot is a prefix of what is here,
// and success is the true answer (Raft paper, figure 13, rule 6). A leader of
// an old term is left to raft, which refuses it.
func needless(life Life, req *raft.InstallSnapshotRequest) (term uint64, skip bool) {
	applied, term := life.Progress()
	return term, req.LastLogIndex <= applied && req.Term >= term
}

// skip reads a needless snapshot to its end, as its sender expects, and
// answers that it is there.
func skip(rpc raft.RPC, req *raft.InstallSnapshotRequest, term uint64) {
	n, err := io.Copy(io.Discard, rpc.Reader)
	if err == nil && n != req.Size {
		err = errors.New("short read")
	}
	if err != nil {
		rpc.Respond(nil, fmt.Errorf("cannot read the snapshot: %w", err))
		return
	}
	// The term is our own, which may be lower: nothing of it is saved here.
	rpc.Respond(&raft.InstallSnapshotResponse{Term: term, Success: true}, nil)
}
