package services

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/validation"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// Webhooks implements WebhookService.
type Webhooks struct {
	Table *webhook.Table
	// Health returns the health of a hook's calls; nil if this agent does not make
	// them. Optional.
	Health func(*webhook.Hook) *interrex.WebhookHealth
	// Ask calls hooks before an operation; wait waits for their verdict. nil: they
	// cannot be called here, and their failure policies decide.
	Ask func([]*webhook.Hook, hookcaller.Question) (wait func(context.Context) error, err error)
	// Test sends a sample to a hook. Optional.
	Test func(context.Context, *webhook.Hook) interrex.WebhookTest
}

// Service returns the methods.
func (w Webhooks) Service() method.Service {
	return method.Service{Setting: method.WebhooksSetting, Data: webhookData, Methods: []method.Method{
		method.Write(interrexv1.WebhookServiceSetProcedure, machine.WebhookTable, setWebhook, w.set),
		method.Write(interrexv1.WebhookServiceDeleteProcedure, machine.WebhookTable, deleteWebhook, webhookDeleted),
		method.AtLeader(method.Read(interrexv1.WebhookServiceGetProcedure, w.get)),
		method.AtLeader(method.Read(interrexv1.WebhookServiceListProcedure, w.list)),
		method.Act(interrexv1.WebhookServiceTestProcedure, "test webhooks", w.test),
	}}
}

func setWebhook(m *interrexv1.WebhookServiceSetRequest) (state.Command, error) {
	var in wire.Reader
	q := m.GetWebhook()
	c := &webhook.Set{Secret: webhook.Secret(m.GetSecret()), Spec: webhook.Spec{
		Name: q.GetName(), URL: q.GetUrl(), When: cmp.Or(interrex.WebhookWhen(q.GetWhen()), interrex.WebhookBefore),
		Kinds: q.GetKinds(), Prefixes: q.GetPrefixes(), DryRun: q.GetDryRun(),
		Timeout:   cmp.Or(in.Positive("timeout", q.GetTimeout()), limits.DefaultWebhookTimeout),
		OnFailure: cmp.Or(interrex.WebhookPolicy(q.GetOnFailure()), interrex.WebhookRefuse),
	}}
	for name, value := range q.GetHeaders() {
		c.Headers = append(c.Headers, webhook.Header{Name: http.CanonicalHeaderKey(name), Value: webhook.Secret(value)})
	}
	slices.SortFunc(c.Headers, func(a, b webhook.Header) int { return strings.Compare(a.Name, b.Name) })
	for _, prefix := range c.Prefixes {
		in.Fail(validation.Plain("prefixes", prefix))
	}
	in.Fail(validation.Plain("url", c.URL))
	if c.DryRun && c.When == interrex.WebhookAfter {
		in.Fail(interrex.Errorf(interrex.ErrInvalid, "dry_run: allowed only for a hook that is called before: after an event nothing is vetoed"))
	}
	if u, err := url.Parse(c.URL); c.URL == "" {
		// Validate reports that it is missing.
	} else if err != nil || u.Hostname() == "" {
		in.Fail(interrex.Errorf(interrex.ErrInvalid, "url: it cannot be parsed: give http://HOST/PATH or https://HOST/PATH"))
	} else if port, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && (err != nil || port == 0) {
		in.Fail(interrex.Errorf(interrex.ErrInvalid, "url: the port must be 1 to 65535, not %.80s", u.Port()))
	}
	return c, in.Err
}

func deleteWebhook(m *interrexv1.WebhookServiceDeleteRequest) (state.Command, error) {
	return &webhook.Delete{Name: m.GetName()}, nil
}

// hookReply returns the table's reply.
func hookReply(r state.Result) (*webhook.Reply, error) {
	reply, is := r.Reply.(*webhook.Reply)
	if !is || reply.Hook == nil {
		return nil, interrex.Errorf(interrex.ErrOutcomeUnknown, "cannot read the reply: it is a %T", r.Reply)
	}
	return reply, nil
}

func (w Webhooks) set(r state.Result, _ state.State) (*interrexv1.WebhookServiceSetResponse, error) {
	reply, err := hookReply(r)
	if err != nil {
		return nil, err
	}
	return &interrexv1.WebhookServiceSetResponse{
		Webhook: wire.Webhook(reply.Hook.State()), Secret: string(reply.Secret), Replayed: r.Replayed, Revision: uint64(r.Revision),
	}, nil
}

func webhookDeleted(r state.Result, _ state.State) (*interrexv1.WebhookServiceDeleteResponse, error) {
	return &interrexv1.WebhookServiceDeleteResponse{Replayed: r.Replayed, Revision: uint64(r.Revision)}, nil
}

// Consult calls hooks before an operation, unless they are off: see Ask.
func (w Webhooks) Consult(off bool, hooks []*webhook.Hook, q hookcaller.Question) (wait func(context.Context) error, err error) {
	if w.Ask != nil && !off {
		return w.Ask(hooks, q)
	}
	verdict := hookcaller.Unasked(hooks, "webhooks are off by configuration on the agent that leads")
	return func(context.Context) error { return verdict }, nil
}

// present returns a hook for users, with what this agent knows about it.
func (w Webhooks) present(h *webhook.Hook) *interrexv1.Webhook {
	s := h.State()
	if w.Health != nil {
		s.Health = w.Health(h)
	}
	return wire.Webhook(s)
}

func (w Webhooks) get(m *interrexv1.WebhookServiceGetRequest, s state.State) (*interrexv1.WebhookServiceGetResponse, error) {
	revision := s.Revision() // read first: the hook may be newer than the revision, but not older
	h := w.Table.Get(m.GetName())
	if h == nil {
		return nil, noWebhook(m.GetName(), revision)
	}
	return &interrexv1.WebhookServiceGetResponse{Webhook: w.present(h), Revision: uint64(revision)}, nil
}

func noWebhook(name string, at interrex.Revision) error {
	return interrex.Errorf(interrex.ErrNotFound, "webhook %q does not exist at revision %d: 'interrex webhook list' shows the names", name, at)
}

func (w Webhooks) list(_ *interrexv1.WebhookServiceListRequest, s state.State) (*interrexv1.WebhookServiceListResponse, error) {
	m := &interrexv1.WebhookServiceListResponse{Revision: uint64(s.Revision())}
	for _, h := range w.Table.Hooks() {
		m.Items = append(m.Items, w.present(h))
	}
	return m, nil
}

func (w Webhooks) test(ctx context.Context, m *interrexv1.WebhookServiceTestRequest, s state.State) (*interrexv1.WebhookServiceTestResponse, error) {
	h := w.Table.Get(m.GetName())
	if h == nil {
		return nil, noWebhook(m.GetName(), s.Revision())
	}
	if w.Test == nil {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "this agent does not call webhooks")
	}
	t := w.Test(ctx, h)
	return &interrexv1.WebhookServiceTestResponse{
		Status: wire.Count(t.Status), Duration: wire.Optional(t.Duration), Body: t.Body, Error: t.Error, Agent: t.Agent,
	}, nil
}

// webhookData implements method.Service.Data: it returns the hook without its secrets.
func webhookData(e *state.Event, _ state.State) ([]byte, error) {
	h, is := e.Value.(*webhook.Hook)
	if !is {
		return []byte("null"), nil
	}
	return wire.AppendJSON(nil, wire.Webhook(h.State()))
}
