package api

import (
	"context"
	"encoding/base64"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/wire"
)

// maxPageBytes is where a page of leases ends early: with 4 KiB of metadata
// each, a full one would be more than a client takes in one message.
const maxPageBytes = 1 << 20

// readOptions gives how fresh a read must be; false: it is no read.
func readOptions(in *interrexv1.StreamOperation) (interrex.ReadOptions, bool) {
	switch r := in.GetRequest().(type) {
	case *interrexv1.StreamOperation_Get:
		_, o, _ := wire.FromGet(r.Get)
		return o, true
	case *interrexv1.StreamOperation_List:
		l, _ := wire.FromList(r.List)
		return l.ReadOptions, true
	case *interrexv1.StreamOperation_History, *interrexv1.StreamOperation_ReadIndex:
		return interrex.ReadOptions{}, true
	}
	return interrex.ReadOptions{}, false
}

// read answers one read.
func (s *Server) read(ctx context.Context, c caller, in *interrexv1.StreamOperation) *interrexv1.StreamAnswer {
	o, _ := readOptions(in)
	if o == (interrex.ReadOptions{}) {
		return s.readAll(ctx, c, []*interrexv1.StreamOperation{in})[0]
	}
	return s.look(in, s.fresh(ctx, c, o))
}

// readAll answers strong reads, all by one question to the leader.
func (s *Server) readAll(ctx context.Context, c caller, reads []*interrexv1.StreamOperation) []*interrexv1.StreamAnswer {
	ctx, cancel := context.WithTimeout(ctx, s.config.ReadWait)
	defer cancel()
	index, err := s.index(ctx, c)
	applied := err
	if err == nil && slices.ContainsFunc(reads, func(in *interrexv1.StreamOperation) bool { return in.GetReadIndex() == nil }) {
		applied = s.config.State.WaitApplied(ctx, index)
	}
	answers := make([]*interrexv1.StreamAnswer, len(reads))
	for i, in := range reads {
		switch {
		case in.GetReadIndex() == nil:
			answers[i] = s.look(in, applied)
		case err != nil:
			answers[i] = s.failure(in, err)
		default:
			answers[i] = &interrexv1.StreamAnswer{Id: in.GetId(), Answer: &interrexv1.StreamAnswer_ReadIndex{
				ReadIndex: &interrexv1.ReadIndexResponse{LogIndex: index},
			}}
		}
	}
	return answers
}

// look reads the table as it stands; err is why it must not.
func (s *Server) look(in *interrexv1.StreamOperation, err error) *interrexv1.StreamAnswer {
	a := &interrexv1.StreamAnswer{Id: in.GetId()}
	if err == nil {
		switch r := in.GetRequest().(type) {
		case *interrexv1.StreamOperation_Get:
			var m *interrexv1.GetResponse
			m, err = s.get(r.Get)
			a.Answer = &interrexv1.StreamAnswer_Get{Get: m}
		case *interrexv1.StreamOperation_List:
			var m *interrexv1.ListResponse
			m, err = s.list(r.List)
			a.Answer = &interrexv1.StreamAnswer_List{List: m}
		case *interrexv1.StreamOperation_History:
			var m *interrexv1.HistoryResponse
			m, err = s.history(r.History)
			a.Answer = &interrexv1.StreamAnswer_History{History: m}
		}
	}
	if err != nil {
		return s.failure(in, err)
	}
	return a
}

func (s *Server) get(m *interrexv1.GetRequest) (*interrexv1.GetResponse, error) {
	k, _, err := wire.FromGet(m)
	if err != nil {
		return nil, err
	}
	var r lease.Record
	var held bool
	revision := s.stand(func(v lease.ReadView) { r, held = v.Get(k) })
	if !held {
		return nil, interrex.Errorf(interrex.KindNotFound, "nobody holds %s at revision %d", k, revision)
	}
	return wire.GetAnswer(s.present(r), revision), nil
}

func (s *Server) list(m *interrexv1.ListRequest) (*interrexv1.ListResponse, error) {
	r, err := wire.FromList(m)
	if err != nil {
		return nil, err
	}
	if r.PageSize > MaxPage {
		return nil, interrex.Errorf(interrex.KindInvalid, "page_size: %d is more than %d", r.PageSize, MaxPage)
	}
	after, err := parsePageToken(r.PageToken)
	if err != nil {
		return nil, err
	}
	var items []lease.Record
	var more bool
	revision := s.stand(func(v lease.ReadView) {
		items, more = v.List(r.Namespace, r.Prefix, after, orElse(r.PageSize, MaxPage))
	})
	page := &interrexv1.ListResponse{Revision: uint64(revision)}
	bytes := 0
	for i, item := range items {
		l := wire.Lease(s.present(item))
		page.Items = append(page.Items, l)
		if bytes += proto.Size(l); bytes >= maxPageBytes && i < len(items)-1 {
			more = true
			break
		}
	}
	if more {
		page.NextPageToken = pageToken(items[len(page.Items)-1].Key)
	}
	return page, nil
}

func (s *Server) history(m *interrexv1.HistoryRequest) (*interrexv1.HistoryResponse, error) {
	k, err := wire.FromHistory(m)
	if err != nil {
		return nil, err
	}
	var past []interrex.PastLease
	revision := s.stand(func(v lease.ReadView) { past = v.History(k) })
	return wire.HistoryAnswer(past, revision), nil
}

// stand reads the table while it stands still, and gives the revision at which
// it stands.
func (s *Server) stand(fn func(lease.ReadView)) (revision interrex.Revision) {
	s.config.Leases.Read(func(v lease.ReadView) {
		fn(v)
		revision = s.config.State.Revision()
	})
	return revision
}

// A page token is the last key of the page before it; nobody outside may rely
// on that.
func pageToken(last interrex.Key) string {
	return base64.RawURLEncoding.EncodeToString([]byte(last.String()))
}

func parsePageToken(token string) (interrex.Key, error) {
	if token == "" {
		return interrex.Key{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		var k interrex.Key
		if k, err = interrex.ParseKey(string(b)); err == nil {
			return k, nil
		}
	}
	return interrex.Key{}, interrex.Errorf(interrex.KindInvalid, "page_token: %q is none: give back the next_page_token of the page before", token)
}

// fresh waits until this agent may answer a read.
func (s *Server) fresh(ctx context.Context, c caller, o interrex.ReadOptions) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.ReadWait)
	defer cancel()
	if o.Consistency == interrex.Eventual {
		return s.reach(ctx, c, o.MinRevision)
	}
	if err := s.current(ctx, c); err != nil {
		return err
	}
	return s.reached(o.MinRevision)
}

// current waits until this agent has applied everything that was committed when
// it was called.
func (s *Server) current(ctx context.Context, c caller) error {
	index, err := s.index(ctx, c)
	if err != nil {
		return err
	}
	return s.config.State.WaitApplied(ctx, index)
}

// index gives the log index that a linearizable read has to wait for.
func (s *Server) index(ctx context.Context, c caller) (uint64, error) {
	a := s.carry(ctx, c, readIndex{s.config.Clock.Now().Add(s.config.ReadWait)})
	e := a.GetError()
	if e == nil {
		return a.GetReadIndex().GetLogIndex(), nil
	}
	err := wire.FromDetail(e)
	if err.Kind == interrex.KindOutcomeUnknown { // of a read nothing is unknown
		err.Kind = interrex.KindUnavailable
	}
	return 0, err
}

// reached refuses a revision that the state, which is current, does not stand
// at: nobody can have seen it.
func (s *Server) reached(min interrex.Revision) error {
	if now := s.config.State.Revision(); now < min {
		return interrex.Errorf(interrex.KindInvalid, "min_revision: %d has not been reached by the cluster, which stands at %d", min, now)
	}
	return nil
}

// reach waits until a revision is applied here. The leader is asked whether
// there is such a revision at all; with no leader, the wait alone decides.
func (s *Server) reach(ctx context.Context, c caller, min interrex.Revision) error {
	if s.config.State.Revision() >= min {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel(nil)
	asking.Go(func() {
		if s.current(ctx, c) != nil {
			return
		}
		if err := s.reached(min); err != nil {
			cancel(err)
		}
	})
	err := s.config.State.WaitRevision(ctx, min)
	if err != nil && interrex.KindOf(context.Cause(ctx)) == interrex.KindInvalid {
		return context.Cause(ctx)
	}
	return err
}
