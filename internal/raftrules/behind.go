package raftrules

import "github.com/hashicorp/raft"

// A leader may have stepped back behind the oldest entry in this log. raft compares
// only with its log, and would refuse that leader until it sends a snapshot, which
// a leader with a complete log never does. But entries that are applied here are
// committed, and every leader of the present term or a later one has them: where
// the log has no entry, such a leader's terms are right.

// appends answers for entries that are applied here.
type appends struct{ *local }

// answer answers entries that are all applied here, where the log no longer has the
// entry before them: with success, so that the leader moves forward again. A leader
// whose term is new here has to retry once raft knows that term.
func (a *appends) answer(request *raft.AppendEntriesRequest) (response any, err error, answered bool) {
	n := len(request.Entries)
	if n == 0 || !a.behind(request) || request.Entries[n-1].Index > a.raft.Load().AppliedIndex() {
		return nil, nil, false
	}
	term := a.dir.Term()
	a.cfg.Logger.Debugf("entries %d to %d were not written: this agent has applied them", request.Entries[0].Index, request.Entries[n-1].Index)
	return &raft.AppendEntriesResponse{
		RPCHeader: a.header(), Term: term, LastLog: a.dir.End().Index, Success: request.Term == term,
	}, nil, true
}

// hand lets the log return stand-ins for applied entries that it no longer has,
// while raft handles a request that continues beyond them.
func (a *appends) hand(request *raft.AppendEntriesRequest) (answered func()) {
	if len(request.Entries) == 0 || !a.behind(request) {
		return nil
	}
	applied := a.raft.Load().AppliedIndex()
	terms := []uint64{request.PrevLogTerm}
	for _, e := range request.Entries {
		if e.Index > applied {
			break
		}
		terms = append(terms, e.Term)
	}
	return a.dir.Vouch(request.PrevLogEntry, terms)
}

// behind reports whether a request, of a leader whose term is not old, begins with
// entries that are applied here and that the log does not have completely.
func (a *appends) behind(request *raft.AppendEntriesRequest) bool {
	running := a.raft.Load()
	if running == nil || request.PrevLogEntry >= running.AppliedIndex() || request.Term < a.dir.Term() {
		return false
	}
	first, err := a.dir.FirstIndex()
	return err == nil && first != 1 && (first == 0 || request.PrevLogEntry < first)
}
