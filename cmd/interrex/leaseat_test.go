package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
)

// twoPages answers with two pages, whatever is requested.
type twoPages struct {
	interrex.Leases
	lists []interrex.ListRequest
	to    []interrex.Revision
}

func (p *twoPages) next() (name, token string) {
	if len(p.lists) == 1 {
		return "a", "next"
	}
	return "b", ""
}

func (p *twoPages) List(_ context.Context, r interrex.ListRequest) (page interrex.Page[interrex.Lease], err error) {
	p.lists = append(p.lists, r)
	name, token := p.next()
	l := interrex.Lease{Key: mustKey(name), Holder: "ann", Token: 7}
	return interrex.Page[interrex.Lease]{Items: []interrex.Lease{l}, NextPageToken: token, Revision: 9}, nil
}

func (p *twoPages) Diff(_ context.Context, _, to interrex.Revision, r interrex.ListRequest) (page interrex.Page[interrex.LeaseDifference], err error) {
	p.lists, p.to = append(p.lists, r), append(p.to, to)
	name, token := p.next()
	d := interrex.LeaseDifference{Key: mustKey(name), After: &interrex.Lease{Holder: "ann", Token: 7}}
	return interrex.Page[interrex.LeaseDifference]{Items: []interrex.LeaseDifference{d}, NextPageToken: token, Revision: 9}, nil
}

// More may have happened before the second page is requested.
func TestAllPagesOfATimeAreOfOneRevision(t *testing.T) {
	var out bytes.Buffer
	a, p := &app{out: &out, output: "table"}, &twoPages{}
	if err := a.list(t.Context(), session{leases: p}, interrex.ListRequest{AtTime: time.Unix(1, 0)}, a.printPast); err != nil {
		t.Fatal(err)
	}
	if second := p.lists[1]; second.AtRevision != 9 || !second.AtTime.IsZero() || second.PageToken != "next" {
		t.Errorf("the second page is requested with %+v", second)
	}
	if text := out.String(); !strings.Contains(text, "default/a  ann") || !strings.Contains(text, "default/b  ann") {
		t.Errorf("printed is\n%s", text)
	}
	a, p = &app{out: &out, output: "table"}, &twoPages{}
	if err := a.diff(t.Context(), session{leases: p}, 3, 0, interrex.ListRequest{}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.to, []interrex.Revision{0, 9}) || p.lists[1].PageToken != "next" {
		t.Errorf("the pages of a difference are requested up to %v, with %+v", p.to, p.lists)
	}
	if text := out.String(); !strings.Contains(text, "default/b  -       -      ann    7") {
		t.Errorf("printed is\n%s", text)
	}
}
