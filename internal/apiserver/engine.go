package apiserver

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/wire"
)

// engineService implements EngineService: the status and control of one agent.
type engineService struct{ server *Server }

var _ interrexv1.EngineServiceHandler = engineService{}

// reportTimeout bounds the wait for the engine's report.
const reportTimeout = 5 * time.Second

func (e engineService) Report(ctx context.Context, _ *connect.Request[interrexv1.ReportRequest]) (*connect.Response[interrexv1.ReportResponse], error) {
	if err := seesAgent(ctx); err != nil {
		return nil, wire.Error(err)
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	report, err := e.server.reports.get(ctx)
	if err != nil {
		return nil, wire.Error(err)
	}
	m := engineReport(report)
	m.AgentId = e.server.config.ID
	return connect.NewResponse(m), nil
}

func (e engineService) Status(ctx context.Context, _ *connect.Request[interrexv1.StatusRequest]) (*connect.Response[interrexv1.StatusResponse], error) {
	if err := seesAgent(ctx); err != nil {
		return nil, wire.Error(err)
	}
	c := &e.server.config
	own, l, identity := c.Engine.Status(), c.Leadership.Current(), c.State.Identity()
	if c.Elsewhere != nil {
		identity.Epoch = c.Elsewhere.Epoch()
	}
	applied, _ := c.State.Applied()
	m := &interrexv1.StatusResponse{
		Id: c.ID, Version: c.Version, ApiAddress: own.APIAddress,
		ClusterId: cmp.Or(identity.ClusterID, own.ClusterID), Epoch: identity.Epoch.Number,
		State: own.State.String(), LeaderId: l.LeaderID, LeaderAddress: l.LeaderAddress, Term: l.Term,
		Revision: uint64(c.State.Revision()), AppliedIndex: applied, CommitIndex: own.Log.CommitIndex,
		FirstIndex: own.Log.FirstIndex, LastIndex: own.Log.LastIndex, LastTerm: own.Log.LastTerm, Membership: "stable", // members change one at a time
		LastContact: durationpb.New(own.LastContact), Uptime: durationpb.New(own.Uptime),
		ClusterTime: durationpb.New(time.Duration(c.State.Now())),
		Quorum:      own.Quorum,
		Ready:       probes(e).ready(), Draining: own.Draining || e.server.Draining(),
		Leases: uint64(c.Leases.Table.Count()), Comparison: comparison(own.Comparison),
	}
	for _, member := range own.Members {
		m.Members = append(m.Members, memberStatus(member))
	}
	for _, a := range own.Alarms {
		m.Alarms = append(m.Alarms, &interrexv1.Alarm{
			Name: a.Name, Subject: a.Subject, Since: timestamppb.New(a.Since), Text: a.Text, Do: a.Do,
		})
	}
	return connect.NewResponse(m), nil
}

func comparison(c *interrex.Comparison) *interrexv1.Comparison {
	if c == nil {
		return nil
	}
	out := &interrexv1.Comparison{
		LogIndex: c.LogIndex, Term: c.Term, At: timestamppb.New(c.At), Complete: c.Complete,
		Missing: c.Missing, Differences: c.Differences, Kept: c.Kept,
	}
	for _, agent := range slices.Sorted(maps.Keys(c.Reports)) {
		report := &interrexv1.StateReport{Agent: agent}
		for _, s := range c.Reports[agent] {
			report.Sections = append(report.Sections, &interrexv1.StateSection{Name: s.Name, Version: uint32(s.Version), Hash: s.Hash})
		}
		out.Reports = append(out.Reports, report)
	}
	return out
}

func memberStatus(m interrex.Member) *interrexv1.MemberStatus {
	out := &interrexv1.MemberStatus{
		Id: m.ID, Address: m.Address, ApiAddress: m.APIAddress, Suffrage: m.Suffrage, Leader: m.Leader, Silent: m.Silent,
		Refusal: m.Refusal, MatchIndex: m.MatchIndex,
	}
	if m.LastContact != nil {
		out.LastContact = durationpb.New(*m.LastContact)
	}
	return out
}

func (e engineService) Config(ctx context.Context, _ *connect.Request[interrexv1.ConfigRequest]) (*connect.Response[interrexv1.ConfigResponse], error) {
	if err := admission.CallerOf(ctx).MayManage("show the configuration"); err != nil {
		return nil, wire.Error(err)
	}
	yaml, err := e.server.config.Engine.Config()
	if err != nil {
		return nil, managed("show the configuration", err)
	}
	return connect.NewResponse(&interrexv1.ConfigResponse{Yaml: yaml}), nil
}

func (e engineService) Reload(ctx context.Context, _ *connect.Request[interrexv1.ReloadRequest]) (*connect.Response[interrexv1.ReloadResponse], error) {
	if err := admission.CallerOf(ctx).MayManage("reload the configuration"); err != nil {
		return nil, wire.Error(err)
	}
	changed, err := e.server.config.Engine.Reload(ctx)
	if err != nil {
		return nil, managed("reload the configuration", err)
	}
	return connect.NewResponse(&interrexv1.ReloadResponse{Changed: changed}), nil
}

func (e engineService) Drain(ctx context.Context, _ *connect.Request[interrexv1.DrainRequest]) (*connect.Response[interrexv1.DrainResponse], error) {
	if err := admission.CallerOf(ctx).MayManage("drain the agent"); err != nil {
		return nil, wire.Error(err)
	}
	ctx, cancel := before(ctx)
	defer cancel()
	if err := e.server.config.Engine.Drain(ctx); err != nil {
		return nil, managed("drain the agent", err)
	}
	return connect.NewResponse(&interrexv1.DrainResponse{}), nil
}

// Leave takes the agent out of its cluster, then stops it.
func (e engineService) Leave(ctx context.Context, q *connect.Request[interrexv1.LeaveRequest]) (*connect.Response[interrexv1.LeaveResponse], error) {
	if err := admission.CallerOf(ctx).MayManage("have the agent leave its cluster"); err != nil {
		return nil, wire.Error(err)
	}
	ctx, cancel := before(ctx)
	defer cancel()
	if err := e.server.config.Engine.Leave(ctx, q.Msg.GetPurge()); err != nil {
		return nil, managed("leave the cluster", err)
	}
	return connect.NewResponse(&interrexv1.LeaveResponse{}), nil
}

// before returns a context that ends early, so that the caller learns the reason and
// not only of its timeout.
func before(ctx context.Context) (context.Context, context.CancelFunc) {
	end, is := ctx.Deadline()
	if !is {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)*9/10)
}

// managed adds a kind to an error of the agent itself, which mostly has none:
// ErrInvalid, because the caller has to correct it.
func managed(what string, err error) error {
	if interrex.KindOf(err) == "" {
		err = interrex.Errorf(interrex.ErrInvalid, "cannot %s: %v", what, err)
	}
	return wire.Error(err)
}
