package services

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// A method is declared to callers in its .proto, and to the log by its command. Only
// these tests check that both halves exist.

// tables are the tables with a service here, by the beginning of their commands: the
// bytes before a command's number.
var tables = map[state.TableID][]byte{machine.SystemTable: {1}, machine.LeaseTable: nil, machine.ResourceTable: nil, machine.ChangeTable: nil, machine.WebhookTable: nil, machine.MemberTable: nil, machine.AccessTable: nil}

// unreached are the commands that no method makes: with SetIdentity a leader records
// which cluster this is, and with Advance the progress of webhooks; Recover is
// executed on a directory that no agent uses; SetCA comes with a cluster's first entry,
// See, OfferCA and AdvanceCA from the leader.
var unreached = map[state.TableID][]state.Command{
	machine.SystemTable: {&machine.SetIdentity{}, &machine.Recover{}}, machine.WebhookTable: {&webhook.Advance{}},
	machine.MemberTable: {&member.SetCA{}, &member.See{}, &member.OfferCA{}, &member.AdvanceCA{}},
}

// unnamed are the methods that make commands of other names, with the reason.
var unnamed = map[string]string{
	interrexv1.StateServiceProposeProcedure: "it takes the commands of every embedder's table",
	interrexv1.StateServiceGroupProcedure:   "it takes the requests of other methods",
}

// declared returns the methods of all services of interrex.v1 that carry the
// option, with their descriptors.
func declared(t *testing.T) map[string]protoreflect.MethodDescriptor {
	t.Helper()
	found := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFilesByPackage("interrex.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			with := 0
			for j := range methods.Len() {
				d := methods.Get(j)
				procedure := "/" + string(d.Parent().FullName()) + "/" + string(d.Name())
				if _, err := wire.MethodOf(procedure); err == nil {
					found[procedure] = d
					with++
				} else if d.IsStreamingServer() && procedure == interrexv1.MaintenanceServiceSaveProcedure {
					with++ // it streams a file, and is served by itself
				}
			}
			if with > 0 && with < methods.Len() {
				t.Errorf("%s: %d of its %d methods lack the option", f.Services().Get(i).FullName(), methods.Len()-with, methods.Len())
			}
		}
		return true
	})
	if len(found) < 13 {
		t.Fatalf("only %d methods are found", len(found))
	}
	return found
}

// ours are the services of interrex itself.
func ours() []method.Service {
	return []method.Service{State(), Maintenance(), Leases{Table: lease.New()}.Service(), Resources{Table: resource.New()}.Service(), Changes{Table: change.New()}.Service(), Webhooks{Table: webhook.New()}.Service(), Members{Table: member.New()}.Service(), Certificates{Table: member.New()}.Service(), Tokens{Table: access.New()}.Service()}
}

// served returns the unary methods that a server has, by procedure.
func served(t *testing.T) map[string]method.Method {
	t.Helper()
	found := map[string]method.Method{}
	for _, s := range ours() {
		for _, m := range s.Methods {
			if m.Err != nil {
				t.Error(m.Err)
			}
			if _, twice := found[m.Procedure]; twice {
				t.Errorf("%s is served twice", m.Procedure)
			}
			found[m.Procedure] = m
		}
	}
	return found
}

func TestEveryDeclaredMethodIsServed(t *testing.T) {
	numbers := map[uint32]string{}
	served, watched := served(t), map[string]bool{}
	for _, s := range ours() {
		for _, w := range s.Watches {
			if w.Err != nil || watched[w.Procedure] {
				t.Errorf("%s: %v, or it is served twice", w.Procedure, w.Err)
			}
			watched[w.Procedure] = true
		}
	}
	for procedure := range declared(t) {
		m, err := wire.MethodOf(procedure)
		if err != nil {
			t.Fatal(err)
		}
		if other := numbers[m.Number]; other != "" {
			t.Errorf("%s and %s have the number %d", procedure, other, m.Number)
		}
		numbers[m.Number] = procedure
		_, is := served[procedure]
		if unary := m.Class != interrexv1.Class_CLASS_WATCH; is != unary {
			t.Errorf("%s: it is of %s, and a unary method that is served: %v", procedure, m.Class, is)
		}
		if watches := m.Class == interrexv1.Class_CLASS_WATCH; watched[procedure] != watches {
			t.Errorf("%s: it is of %s, and a watch that is served: %v", procedure, m.Class, watched[procedure])
		}
		delete(served, procedure)
	}
	for procedure := range served {
		t.Errorf("%s is served, and no .proto declares it", procedure)
	}
}

// A class determines which fields of a request belong to the envelope.
func TestRequestsHaveTheFieldsOfTheirClass(t *testing.T) {
	for procedure, d := range declared(t) {
		m, err := wire.MethodOf(procedure)
		if err != nil {
			t.Fatal(err)
		}
		recorded := m.Class == interrexv1.Class_CLASS_RECORDED
		fields := d.Input().Fields()
		for name, kind := range map[protoreflect.Name]protoreflect.Kind{"request_id": protoreflect.StringKind, "attempt": protoreflect.Uint32Kind} {
			f := fields.ByName(name)
			if recorded != (f != nil) {
				t.Errorf("%s: it is of %s, and has %s: %v", procedure, m.Class, name, f != nil)
			}
			if f != nil && f.Kind() != kind {
				t.Errorf("%s: %s is a %s", procedure, name, f.Kind())
			}
		}
		for _, name := range []protoreflect.Name{"fence", "wait"} {
			if fields.ByName(name) != nil && !m.Writes() {
				t.Errorf("%s: it is of %s, and has %s", procedure, m.Class, name)
			}
		}
		if f := fields.ByName("fence"); f != nil && (f.Message() == nil || f.Message().FullName() != "interrex.v1.Fence") {
			t.Errorf("%s: its fence is none", procedure)
		}
		if got := d.IsStreamingServer(); got != (m.Class == interrexv1.Class_CLASS_WATCH) || d.IsStreamingClient() {
			t.Errorf("%s: it is of %s, and streams: %v", procedure, m.Class, got)
		}
		if replayed := d.Output().Fields().ByName("replayed"); recorded != (replayed != nil) {
			t.Errorf("%s: it is of %s, and its answer has replayed: %v", procedure, m.Class, replayed != nil)
		}
	}
}

func TestEveryCommandIsReachedByAMethodOfItsName(t *testing.T) {
	reached := map[state.TableID]map[byte]string{}
	for table := range tables {
		reached[table] = map[byte]string{}
	}
	note := func(by string, table state.TableID, c state.Command) {
		data := c.Append(nil)
		before, known := tables[table]
		if !known || !bytes.HasPrefix(data, before) {
			t.Errorf("%s: add table %d to the tables of this test", by, table)
			return
		}
		number := data[len(before)]
		if other := reached[table][number]; other != "" {
			t.Errorf("%s and %s make the same command", by, other)
		}
		reached[table][number] = by
	}
	bare, err := machine.New(machine.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	for procedure, m := range served(t) {
		if !m.Writes() || unnamed[procedure] != "" {
			continue
		}
		empty, err := m.Decode(nil)
		if err != nil {
			t.Fatal(err)
		}
		table, c, _ := m.Command(empty, bare) // what is missing in it does not matter
		if got, want := c.About().Name, snake(m.Name()); got != want {
			t.Errorf("%s makes the command %q, want %q", procedure, got, want)
		}
		if m.Number>>8 != uint32(table) {
			t.Errorf("%s: its number %d is none of table %d", procedure, m.Number, table)
		}
		note(procedure, table, c)
	}
	for table, commands := range unreached {
		for _, c := range commands {
			note("nobody", table, c)
		}
	}
	for table := range tables {
		for number := range 256 {
			if by := reached[table][byte(number)]; (by != "") != knows(t, table, byte(number)) {
				t.Errorf("table %d, operation %d: the table knows it or a method makes it (%q), but not both", table, number, by)
			}
		}
	}
}

// knows reports whether a table's list of operations has a number.
func knows(t *testing.T, table state.TableID, number byte) bool {
	t.Helper()
	s, err := machine.New(machine.Config{Tables: []state.Table{lease.New(), resource.New(), change.New(), webhook.New(), member.New(), access.New()}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Decode(table, append(bytes.Clone(tables[table]), number))
	return err == nil || !strings.Contains(err.Error(), "unknown operation") && !strings.Contains(err.Error(), "unknown command")
}

// snake returns set_identity for SetIdentity.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
