package client_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
)

func TestACallWithoutACallerIsRefused(t *testing.T) {
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"kv":    func() error { _, err := client.KV{}.Get(ctx, "a", interrex.ReadOptions{}); return err },
		"claim": func() error { _, err := client.Through(nil).Leases().Claim(ctx, interrex.ClaimRequest{}); return err },
		"hold": func() error {
			_, err := client.Through(nil).Leases().Hold(ctx, "a", interrex.HoldOptions{})
			return err
		},
		"watch": func() error {
			_, err := client.Through(nil).Changes().Watch(ctx, interrex.WatchChangesRequest{})
			return err
		},
		"call": func() error {
			_, err := client.Call[interrexv1.GetRequest, interrexv1.GetResponse](ctx, nil, interrexv1.LeaseServiceGetProcedure, new(interrexv1.GetRequest), client.Options{})
			return err
		},
	} {
		if err := call(); interrex.KindOf(err) != interrex.ErrInvalid || !strings.Contains(err.Error(), "Caller is nil") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAGroupWithoutOneOfItsOperationsIsRefused(t *testing.T) {
	_, err := client.Through(silent{}).Group(t.Context(), []proto.Message{new(interrexv1.ClaimRequest), nil}, client.Options{})
	if interrex.KindOf(err) != interrex.ErrInvalid || !strings.Contains(err.Error(), "operation 2: it is nil") {
		t.Error(err)
	}
}

// A value that the wire cannot represent is refused, not sent as the default.
func TestANumberOutOfItsRangeIsRefused(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	by := silent{}
	for name, call := range map[string]func(n int) error{
		"page_size: ": func(n int) error {
			_, err := client.Through(by).Leases().List(ctx, interrex.ListRequest{PageSize: n})
			return err
		},
		"page_size:": func(n int) error {
			_, err := client.Through(by).Resources().List(ctx, interrex.ListResourcesRequest{PageSize: n})
			return err
		},
		"page_size": func(n int) error {
			_, err := client.Through(by).Resources().ListByOwner(ctx, interrex.ListOwnedRequest{PageSize: n})
			return err
		},
		"limit: ": func(n int) error {
			_, err := client.Through(by).Changes().List(ctx, interrex.ListChangesRequest{Limit: n})
			return err
		},
	} {
		for _, n := range []int{-1, 1 << 32} {
			if err := call(n); interrex.KindOf(err) != interrex.ErrInvalid || !strings.Contains(err.Error(), name) {
				t.Errorf("%s%d: %v", name, n, err)
			}
		}
	}
}

// silent is a Caller that has no client.
type silent struct{}

func (silent) Client(context.Context) (*client.Client, error) {
	return nil, interrex.Errorf(interrex.ErrUnavailable, "no client")
}
