package raftworker

import "github.com/hashicorp/raft"

// A leader may have stepped back behind the oldest entry that is left in this
// log. Raft looks for what it compares in its log alone, and would refuse that
// leader until it has no such entry itself and sends a snapshot; one that has
// its whole log, for ever. But what is applied here is committed, and every
// leader of the present term or a later one has it: where the log has no entry
// left, such a leader's word is as good.

// answerAppend answers entries that are all applied here, of which the log has no
// longer what stands before them: with success, so that the leader comes
// forward again. A leader whose term is new here has to try again, as soon as
// raft has heard of that term.
func (r *rules) answerAppend(request *raft.AppendEntriesRequest) (response any, err error, answered bool) {
	n := len(request.Entries)
	if n == 0 || !r.behindLog(request) || request.Entries[n-1].Index > r.raft.Load().AppliedIndex() {
		return nil, nil, false
	}
	term := r.dir.Term()
	r.cfg.Logger.Debugf("entries %d to %d were not written: this agent has applied them", request.Entries[0].Index, request.Entries[n-1].Index)
	return &raft.AppendEntriesResponse{
		RPCHeader: r.header(), Term: term, LastLog: r.dir.End().Index, Success: request.Term == term,
	}, nil, true
}

// handAppend lets the log answer for entries that are applied here and that it no
// longer has, while raft looks at a request that goes on beyond them.
func (r *rules) handAppend(request *raft.AppendEntriesRequest) (answered func()) {
	if len(request.Entries) == 0 || !r.behindLog(request) {
		return nil
	}
	applied := r.raft.Load().AppliedIndex()
	terms := []uint64{request.PrevLogTerm}
	for _, e := range request.Entries {
		if e.Index > applied {
			break
		}
		terms = append(terms, e.Term)
	}
	return r.dir.Vouch(request.PrevLogEntry, terms)
}

// behindLog reports whether a request of a leader that is not an old one begins
// with entries that are applied here, and which the log has not all of.
func (r *rules) behindLog(request *raft.AppendEntriesRequest) bool {
	running := r.raft.Load()
	if running == nil || request.PrevLogEntry >= running.AppliedIndex() || request.Term < r.dir.Term() {
		return false
	}
	first, err := r.dir.FirstIndex()
	return err == nil && first != 1 && (first == 0 || request.PrevLogEntry < first)
}
