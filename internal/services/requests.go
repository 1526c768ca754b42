package services

import (
	"cmp"
	"encoding/base64"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

func openName(m *interrexv1.OpenNameRequest) (state.Command, error) {
	return &machine.OpenName{Bits: m.GetBits()}, nil
}

func nameOpened(r state.Result, _ state.State) (*interrexv1.OpenNameResponse, error) {
	opened, is := r.Reply.(*machine.OpenedName)
	if !is {
		return nil, errReply(r)
	}
	return &interrexv1.OpenNameResponse{Name: opened.Name, Revision: uint64(opened.Revision)}, nil
}

func listRequests(m *interrexv1.ListRequestsRequest, s *machine.State) (*interrexv1.ListRequestsResponse, error) {
	if m.GetPageSize() > MaxPage {
		return nil, interrex.Errorf(interrex.ErrInvalid, "page_size: %d is more than %d", m.GetPageSize(), MaxPage)
	}
	after, err := base64.RawURLEncoding.DecodeString(m.GetPageToken())
	if err != nil {
		return nil, errPageToken(m.GetPageToken())
	}
	page := s.RequestShares(string(after), cmp.Or(int(m.GetPageSize()), MaxPage))
	out := &interrexv1.ListRequestsResponse{Revision: uint64(page.Revision), Lost: uint64(page.Lost)}
	if page.Next != "" {
		out.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(page.Next))
	}
	for _, one := range page.Items {
		item := &interrexv1.RequestShare{
			Caller: one.User.Caller, Address: one.User.Address,
			Names: uint64(one.Names), NameRecords: uint64(one.NameRecords), NameBytes: uint64(one.NameBytes),
			Records: uint64(one.Records), RecordBytes: uint64(one.RecordBytes),
		}
		if one.Names > 0 {
			item.LongestIdle = durationpb.New(max(0, page.Now.Sub(one.LastWrite)))
		}
		out.Items = append(out.Items, item)
	}
	return out, nil
}

func dropRequests(m *interrexv1.DropRequestsRequest) (state.Command, error) {
	return &machine.DropRequests{User: machine.RequestUser{Caller: m.GetCaller(), Address: m.GetAddress()}}, nil
}

func requestsDropped(r state.Result, _ state.State) (*interrexv1.DropRequestsResponse, error) {
	return &interrexv1.DropRequestsResponse{Revision: uint64(r.Revision)}, nil
}
