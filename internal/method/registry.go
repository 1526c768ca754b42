package method

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// Service has the methods of one service, or represents a table that has none.
type Service struct {
	Methods []Method
	Watches []Watch
	// Setting is the setting that switches the service, for example "features.leases";
	// see Switches. Empty: it is always on. When it is off, requests that other agents
	// forward are served nevertheless: the service is on there.
	Setting string
	// Table is the table of a service without methods; otherwise it follows from the
	// methods' numbers.
	Table state.TableID
	// Holder returns the holder of the lease whose token a command shows; empty: it shows
	// none, or the lease has ended. The error says why this agent does not know it.
	// Optional.
	Holder func(state.Command, state.State) (string, error)
	// Data returns the JSON document of an event of the service's table for the
	// change feed and webhooks. nil: they show null.
	Data func(*state.Event, state.State) ([]byte, error)
}

// ServiceOf returns the service of an embedder's table.
func ServiceOf(declared api.Service) Service {
	s := Service{Data: declared.Data}
	for _, m := range declared.Methods {
		s.Methods = append(s.Methods, New(m))
	}
	for _, m := range declared.Watches {
		s.Watches = append(s.Watches, NewWatch(m))
	}
	return s
}

// Of reports whether the service belongs to a table.
func (s Service) Of(table state.TableID) bool {
	if len(s.Methods) == 0 {
		return s.Table == table
	}
	return state.TableID(s.Methods[0].Number>>8) == table
}

// declaration is what unary methods and watches have in common.
type declaration struct {
	wire.Method
	err error
}

func (s Service) declares() (all []declaration) {
	for _, m := range s.Methods {
		all = append(all, declaration{m.Method, m.Err})
	}
	for _, m := range s.Watches {
		all = append(all, declaration{m.Method, m.Err})
	}
	return all
}

// Validate reports what is wrong with the service of an embedder's table: a method
// that its .proto declares is missing, belongs to another table, or has a number
// outside the table's range.
func (s Service) Validate(table state.TableID) error {
	declared := map[string]bool{}
	first := uint32(table) << 8
	for _, m := range s.declares() {
		switch {
		case m.err != nil:
			return m.err
		case m.Number&^0xff != first:
			return interrex.Errorf(interrex.ErrInvalid, "method %s has the number %d: this table's are %d to %d", m.Procedure, m.Number, first, first|0xff)
		}
		declared[m.Procedure] = true
	}
	for _, m := range s.Methods {
		if m.Writes() && m.Declared.Table != table {
			return interrex.Errorf(interrex.ErrInvalid, "method %s writes to table %d, but is declared by table %d", m.Procedure, m.Declared.Table, table)
		}
	}
	for procedure := range declared {
		all, err := wire.MethodsOf(procedure)
		if err != nil {
			return err
		}
		for _, other := range all {
			if !declared[other.Procedure] {
				return interrex.Errorf(interrex.ErrInvalid, "method %s is declared in its .proto, and nothing serves it", other.Procedure)
			}
		}
	}
	return nil
}

// Registry has the methods that one agent serves.
type Registry struct {
	id         string // the agent's
	origin     string // of callers on the same machine
	Switches   *Switches
	state      *machine.State
	Procedures []wire.Method // all, unary methods and watches
	Methods    map[uint32]*Method
	Watches    map[uint32]*Watch
	takers     takers
	holder     func(state.Command, state.State) (string, error) // see Service
	ReadIndex  *Method
	// Audit receives refusals, and what operators do; nil: they are not logged.
	Audit *admission.Audit
}

// NewRegistry returns a registry. The error names the method that does not fit.
func NewRegistry(id string, s *machine.State, switches *Switches, services ...Service) (*Registry, error) {
	r := &Registry{id: id, origin: "agent " + id, Switches: switches, state: s, Methods: map[uint32]*Method{}, Watches: map[uint32]*Watch{}, takers: takers{}}
	for _, one := range services {
		if err := r.add(one); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Registry) add(s Service) error {
	for _, m := range s.declares() {
		if m.err != nil {
			return m.err
		}
		if i := slices.IndexFunc(r.Procedures, func(other wire.Method) bool { return other.Number == m.Number }); i >= 0 {
			return interrex.Errorf(interrex.ErrInvalid, "method %s: its number %d is that of %s", m.Procedure, m.Number, r.Procedures[i].Procedure)
		}
		r.Procedures = append(r.Procedures, m.Method)
	}
	if s.Holder != nil {
		r.holder = s.Holder
	}
	for _, m := range s.Methods {
		m.setting = s.Setting
		r.Methods[m.Number] = &m
		r.takers.add(&m)
		if m.Index != nil {
			r.ReadIndex = &m
		}
	}
	for _, m := range s.Watches {
		m.Setting = s.Setting
		r.Watches[m.Number] = &m
	}
	return nil
}

// Measure records the requests of all methods in by.
func (r *Registry) Measure(by *Metrics) {
	for _, m := range r.Methods {
		m.Latency = by.Latency(m.Procedure)
	}
}

// Method returns a unary method by its procedure.
func (r *Registry) Method(procedure string) *Method {
	for _, m := range r.Methods {
		if m.Procedure == procedure {
			return m
		}
	}
	return nil
}

// Allowed refuses a call of a method, or a watch, that the caller's rules do not allow.
// m is its request, or another one about the same keys.
func (r *Registry) Allowed(c admission.Caller, procedure string, m proto.Message) error {
	i := slices.IndexFunc(r.Procedures, func(p wire.Method) bool { return p.Procedure == procedure })
	if i < 0 {
		return interrex.Errorf(interrex.ErrDisabled, "agent %s has no method %s", r.id, procedure)
	}
	return r.judge(c, r.Procedures[i], purposeOf(r.Procedures[i]), m, nil)
}

// judge refuses what the caller may not do; command is nil for a read.
func (r *Registry) judge(c admission.Caller, m wire.Method, to purpose, q proto.Message, command state.Command) (err error) {
	if err := c.Doubt(); err != nil {
		return err
	}
	c = c.Now()
	act := to.act
	if command != nil && command.About().Privileged {
		act = "call " + strings.TrimPrefix(m.Procedure, "/")
	}
	privileged := act != ""
	if !privileged && (c.Operator || c.Grant == nil) {
		return nil
	}
	u := to.use(q, command)
	if privileged {
		err = c.MayDo(act)
	} else if u.Table != stateTable {
		err = r.may(c, u, command)
	}
	r.Audit.Judged(c, m.Procedure, u.Key, privileged, err)
	return err
}

// judgeNamed refuses a request that names something of which none of the caller's rules
// speaks, in a fence or as an owner: its failure would tell whether that is there.
func (r *Registry) judgeNamed(c admission.Caller, m wire.Method, table, key string) error {
	if c = c.Now(); c.Operator || c.Grant == nil {
		return nil
	}
	err := c.May(accesstoken.Use{Table: table, Key: key})
	r.Audit.Judged(c, m.Procedure, key, false, err)
	return err
}

// may refuses a use that the caller's rules do not allow.
func (r *Registry) may(c admission.Caller, u accesstoken.Use, command state.Command) (err error) {
	if command != nil && r.holder != nil && c.Grant.Binds() {
		if u.Held, err = r.holder(command, r.state); err != nil {
			return err
		}
	}
	return c.May(u)
}

// CheckRule refuses a rule that names a service or a method which this agent does not
// have: it would never allow anything.
func (r *Registry) CheckRule(rule interrex.AccessRule) error {
	verbs := map[string][]string{"agent": {"read"}}
	for _, m := range r.Procedures {
		p := purposeOf(m)
		verbs[p.table] = append(verbs[p.table], p.verb)
	}
	delete(verbs, stateTable)
	if rule.Table == "lease" && !strings.ContainsAny(rule.Prefix, "/*") {
		return interrex.Errorf(interrex.ErrInvalid, "rule: %q: %q is not NAMESPACE/NAME: give %s/%s", rule.String(), rule.Prefix, limits.DefaultNamespace, rule.Prefix)
	}
	of, known := verbs[rule.Table]
	if rule.Table == "*" {
		of, known = slices.Concat(slices.Collect(maps.Values(verbs))...), true
	}
	if !known {
		return interrex.Errorf(interrex.ErrInvalid, "rule: %q: there is no table %s: give %s, or *", rule.String(), rule.Table, listed(slices.Collect(maps.Keys(verbs))))
	}
	for _, verb := range rule.Verbs {
		if verb != "*" && !slices.Contains(of, verb) {
			return interrex.Errorf(interrex.ErrInvalid, "rule: %q: %s has no verb %s: give %s, or *", rule.String(), rule.Table, verb, listed(of))
		}
	}
	return nil
}

// listed returns words in order, each once.
func listed(words []string) string {
	slices.Sort(words)
	return strings.Join(slices.Compact(words), ", ")
}

// Served refuses calls of a service that is switched off here.
func (r *Registry) Served(setting string, c admission.Caller) error {
	if c.Door == admission.Peer || !r.Switches.IsOff(setting) {
		return nil
	}
	return interrex.Errorf(interrex.ErrDisabled, "%s are off by configuration on agent %s: set %s, or try another agent",
		strings.TrimPrefix(setting, "features."), r.id, setting)
}

// takers maps types of requests to the methods that write; one for a type that
// several methods take has an error.
type takers map[protoreflect.FullName]*Method

func (t takers) add(m *Method) {
	if !m.Writes() {
		return
	}
	if _, twice := t[m.takes]; twice {
		m = &Method{Method: m.Method, takes: m.takes, Err: interrex.Errorf(interrex.ErrInvalid, "several methods take a %s", m.takes)}
	}
	t[m.takes] = m
}
