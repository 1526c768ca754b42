package raftrules

import "github.com/hashicorp/raft"

// A leader may have stepped back behind the oldest entry that is left in this
// log. Raft looks for what it compares in its log alone, and would refuse that
// leader until it has no such entry itself and sends a snapshot; one that has
// its whole log, for ever. But what is applied here is committed, and every
// leader of the present term or a later one has it: where the log has no entry
// left, such a leader's word is as good.

// appends answers for entries that are applied here.
type appends struct{ *local }

// answer answers entries that are all applied here, of which the log has no
// longer what stands before them: with success, so that the leader comes
// forward again. A leader whose term is new here has to try again, as soon as
// raft has heard of that term.
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

// hand lets the log answer for entries that are applied here and that it no
// longer has, while raft looks at a request that goes on beyond them.
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

// behind reports whether a request of a leader that is not an old one begins
// with entries that are applied here, and which the log has not all of.
func (a *appends) behind(request *raft.AppendEntriesRequest) bool {
	running := a.raft.Load()
	if running == nil || request.PrevLogEntry >= running.AppliedIndex() || request.Term < a.dir.Term() {
		return false
	}
	first, err := a.dir.FirstIndex()
	return err == nil && first != 1 && (first == 0 || request.PrevLogEntry < first)
}
