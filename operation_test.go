package interrex_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/interrex/interrex/gen/interrexv1"
)

// An operation stands in its table's folder, and in one file each of services, client
// and proto; the watch of a table in one more of client. What lies between knows that there are operations, and not which:
// otherwise a further one would have to be written in all of it.
var home = []string{"internal/lease/", "internal/services/leases", "client/leases.go", "client/leasewatch.go"}

// leaseProto is the .proto of the same.
const leaseProto = "interrex/v1/lease.proto"

// source is one file that is neither a test nor generated.
type source struct {
	path    string
	set     *token.FileSet
	file    *ast.File
	imports map[string]string // paths of ours, by the names they have in the file
}

func sources(t *testing.T) []source {
	t.Helper()
	var found []source
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "gen" || name == "tools" || name == "testdata" || name != "." && strings.HasPrefix(name, ".") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		s := source{path: filepath.ToSlash(path), set: token.NewFileSet(), imports: map[string]string{}}
		if s.file, err = parser.ParseFile(s.set, path, nil, parser.SkipObjectResolution); err != nil {
			return err
		}
		for _, spec := range s.file.Imports {
			from := strings.Trim(spec.Path.Value, `"`)
			name := from[strings.LastIndexByte(from, '/')+1:]
			if spec.Name != nil {
				name = spec.Name.Name
			}
			if ours, is := strings.CutPrefix(from, module+"/"); is {
				s.imports[name] = ours
			} else if from == module {
				s.imports[name] = "."
			}
		}
		found = append(found, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 100 {
		t.Fatalf("only %d files are found", len(found))
	}
	return found
}

// named returns the folder and the name of what an expression names in another
// package of ours; empty: nothing.
func (s source) named(e ast.Expr) (folder, name string) {
	if star, is := e.(*ast.StarExpr); is {
		e = star.X
	}
	selector, is := e.(*ast.SelectorExpr)
	if !is {
		return "", ""
	}
	if from, is := selector.X.(*ast.Ident); is && s.imports[from.Name] != "" {
		return s.imports[from.Name], selector.Sel.Name
	}
	return "", ""
}

// commands returns the types in the numbered list of the table of leases.
func commands(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, m := range regexp.MustCompile(`func\(\) command \{ return new\((\w+)\) \}`).FindAllStringSubmatch(readText(t, "internal/lease/command.go"), -1) {
		found = append(found, m[1])
	}
	if len(found) < 6 {
		t.Fatalf("internal/lease/command.go lists only %q: the pattern does not find them", found)
	}
	return found
}

// leaseMethods returns the methods of LeaseService.
func leaseMethods() []protoreflect.MethodDescriptor {
	var found []protoreflect.MethodDescriptor
	methods := interrexv1.File_interrex_v1_lease_proto.Services().ByName("LeaseService").Methods()
	for i := range methods.Len() {
		found = append(found, methods.Get(i))
	}
	return found
}

// streams returns the methods of StreamService.
func streams() protoreflect.MethodDescriptors {
	return interrexv1.File_interrex_v1_stream_proto.Services().ByName("StreamService").Methods()
}

// generated returns what generated code calls the parts of operations on leases:
// ClaimRequest and ClaimResponse, LeaseServiceClaimProcedure, and the StreamClaim
// and Operation_Claim that a stream would need which knew its operations.
func generated() *regexp.Regexp {
	var names []string
	for _, m := range leaseMethods() {
		name := string(m.Name())
		names = append(names, "(Stream)?("+string(m.Input().Name())+"|"+string(m.Output().Name())+")",
			"Stream"+name, `\w+_`+name, "LeaseService"+name+"Procedure")
	}
	return regexp.MustCompile("^(" + strings.Join(names, "|") + ")$")
}

func TestAnOperationStandsInItsFilesAlone(t *testing.T) {
	types, parts, seen := commands(t), generated(), 0
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			e, is := n.(*ast.SelectorExpr)
			if !is {
				return true
			}
			folder, name := s.named(e)
			if !(folder == "internal/lease" && slices.Contains(types, name) || folder == "gen/interrexv1" && parts.MatchString(name)) {
				return true
			}
			if seen++; !slices.ContainsFunc(home, func(h string) bool { return strings.HasPrefix(s.path, h) }) {
				t.Errorf("%s names %s.%s, which is for %s", s.set.Position(n.Pos()), folder, name, strings.Join(home, ", "))
			}
			return true
		})
	}
	if seen < 40 {
		t.Errorf("only %d places are found: the test does not see them", seen)
	}
}

func TestAnOperationStandsInOneProto(t *testing.T) {
	own, names := map[protoreflect.FullName]bool{}, map[string]bool{}
	for _, m := range leaseMethods() {
		own[m.Input().FullName()], own[m.Output().FullName()] = true, true
		names[strings.ToLower(string(m.Name()))] = true
	}
	parts, files := generated(), 0
	protoregistry.GlobalFiles.RangeFilesByPackage("interrex.v1", func(f protoreflect.FileDescriptor) bool {
		if files++; f.Path() == leaseProto {
			return true
		}
		for i := range f.Messages().Len() {
			m := f.Messages().Get(i)
			if parts.MatchString(string(m.Name())) {
				t.Errorf("%s has the message %s, which is for %s", f.Path(), m.Name(), leaseProto)
			}
			for j := range m.Fields().Len() {
				field := m.Fields().Get(j)
				if field.Message() != nil && own[field.Message().FullName()] || field.ContainingOneof() != nil && names[string(field.Name())] {
					t.Errorf("%s: %s is an operation on leases", f.Path(), field.FullName())
				}
			}
		}
		for i := range f.Services().Len() {
			for j := range f.Services().Get(i).Methods().Len() {
				if m := f.Services().Get(i).Methods().Get(j); own[m.Input().FullName()] || own[m.Output().FullName()] {
					t.Errorf("%s: %s takes or gives what is for %s", f.Path(), m.FullName(), leaseProto)
				}
			}
		}
		return true
	})
	if files < 6 {
		t.Errorf("only %d files are found", files)
	}
}

// Where all operations are told apart, a further one is forgotten.
func TestNobodyTellsOperationsApart(t *testing.T) {
	types, parts, message := commands(t), generated(), regexp.MustCompile(`(Request|Response)$`)
	carries := map[string]bool{} // messages that carry operations are not operations themselves
	for i := range streams().Len() {
		carries[string(streams().Get(i).Input().Name())], carries[string(streams().Get(i).Output().Name())] = true, true
	}
	for _, s := range sources(t) {
		if strings.HasPrefix(s.path, "internal/lease/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			c, is := n.(*ast.CaseClause)
			if !is {
				return true
			}
			for _, e := range c.List {
				folder, name := s.named(e)
				requests := folder == "." || strings.Contains("/"+folder, "/gen/")
				if folder == "internal/lease" && slices.Contains(types, name) || requests && !carries[name] && (message.MatchString(name) || parts.MatchString(name)) {
					t.Errorf("%s: a case for %s: let each operation say it by itself", s.set.Position(e.Pos()), name)
				}
			}
			return true
		})
	}
}
