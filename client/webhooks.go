package client

import (
	"context"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/wire"
)

// Webhooks returns the cluster's webhooks: see Calls.Webhooks.
func (c *Client) Webhooks() interrex.Webhooks { return Through(c).Webhooks() }

// Webhooks returns the webhooks of the cluster. A request without
// a RequestID is retried until it is answered; one with a RequestID is one
// attempt, and the caller counts the attempts.
func (c Calls) Webhooks() interrex.Webhooks { return webhooks(c) }

type webhooks struct{ by Caller }

func (w webhooks) Set(ctx context.Context, r interrex.WebhookRequest) (interrex.WebhookAnswer, error) {
	o := under(r.RequestID, r.Attempt)
	o.Fence = r.Fence
	m, err := Call[interrexv1.WebhookServiceSetRequest, interrexv1.WebhookServiceSetResponse](ctx, w.by, interrexv1.WebhookServiceSetProcedure,
		&interrexv1.WebhookServiceSetRequest{Webhook: wire.WebhookSpec(r.Webhook), Secret: r.Secret}, o)
	if err != nil {
		return interrex.WebhookAnswer{}, err
	}
	state, err := wire.FromWebhook(m.GetWebhook())
	return interrex.WebhookAnswer{Webhook: state, Secret: m.GetSecret(), Replayed: m.GetReplayed(), Revision: interrex.Revision(m.GetRevision())}, understood(err)
}

func (w webhooks) Delete(ctx context.Context, r interrex.WebhookDeletion) (replayed bool, at interrex.Revision, err error) {
	o := under(r.RequestID, r.Attempt)
	o.Fence = r.Fence
	m, err := Call[interrexv1.WebhookServiceDeleteRequest, interrexv1.WebhookServiceDeleteResponse](ctx, w.by, interrexv1.WebhookServiceDeleteProcedure,
		&interrexv1.WebhookServiceDeleteRequest{Name: r.Name}, o)
	return m.GetReplayed(), interrex.Revision(m.GetRevision()), err
}

func (w webhooks) Get(ctx context.Context, name string, o interrex.ReadOptions) (interrex.WebhookState, interrex.Revision, error) {
	m, err := Call[interrexv1.WebhookServiceGetRequest, interrexv1.WebhookServiceGetResponse](ctx, w.by, interrexv1.WebhookServiceGetProcedure,
		&interrexv1.WebhookServiceGetRequest{Name: name, Consistency: wire.Consistency(o.Consistency), MinRevision: uint64(o.MinRevision)}, Options{})
	if err != nil {
		return interrex.WebhookState{}, 0, err
	}
	state, err := wire.FromWebhook(m.GetWebhook())
	return state, interrex.Revision(m.GetRevision()), understood(err)
}

func (w webhooks) List(ctx context.Context, o interrex.ReadOptions) ([]interrex.WebhookState, interrex.Revision, error) {
	m, err := Call[interrexv1.WebhookServiceListRequest, interrexv1.WebhookServiceListResponse](ctx, w.by, interrexv1.WebhookServiceListProcedure,
		&interrexv1.WebhookServiceListRequest{Consistency: wire.Consistency(o.Consistency), MinRevision: uint64(o.MinRevision)}, Options{})
	if err != nil {
		return nil, 0, err
	}
	var all []interrex.WebhookState
	for _, item := range m.GetItems() {
		state, err := wire.FromWebhook(item)
		if err != nil {
			return nil, 0, understood(err)
		}
		all = append(all, state)
	}
	return all, interrex.Revision(m.GetRevision()), nil
}

// Test may take as long as the webhook's timeout, so no second agent is tried
// before that.
func (w webhooks) Test(ctx context.Context, name string) (interrex.WebhookTest, error) {
	m, err := Call[interrexv1.WebhookServiceTestRequest, interrexv1.WebhookServiceTestResponse](ctx, w.by, interrexv1.WebhookServiceTestProcedure,
		&interrexv1.WebhookServiceTestRequest{Name: name}, Options{limit: limits.MaxWebhookTimeout + attemptTimeout})
	if err != nil {
		return interrex.WebhookTest{}, err
	}
	var in wire.Reader
	t := interrex.WebhookTest{
		Status: int(m.GetStatus()), Duration: in.Duration("duration", m.GetDuration()), Body: m.GetBody(), Error: m.GetError(), Agent: m.GetAgent(),
	}
	return t, understood(in.Err)
}
