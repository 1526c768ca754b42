package interrex_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/api anew; that is a change for everybody who imports a public room")

// golden is the file that holds what a public room exports.
func golden(room string) string {
	return filepath.Join("testdata", "api", filepath.FromSlash(cmp.Or(room, "interrex")+".txt"))
}

func TestThePublicAPIChangesOnlyOnPurpose(t *testing.T) {
	wanted := map[string]bool{}
	for room, p := range publicRooms(t) {
		if fromProto(room) {
			continue // its .proto is what it exports, and its numbers are pinned
		}
		file := golden(room)
		wanted[filepath.ToSlash(file)] = true
		now := strings.Join(exports(p), "\n") + "\n"
		if *update {
			writeGolden(t, file, now)
			continue
		}
		was, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("%v: run 'go test . -run %s -update'", err, t.Name())
		}
		if change := changed(string(was), now); change != "" {
			t.Errorf("what %s exports has changed:\n%sIf that is meant, run 'go test . -run %s -update', and say it in CHANGELOG.md", p.Path(), change, t.Name())
		}
	}
	for _, file := range goldenFiles(t) {
		switch {
		case wanted[file]:
		case *update:
			if err := os.Remove(file); err != nil {
				t.Error(err)
			}
		default:
			t.Errorf("%s belongs to no public room: run 'go test . -run %s -update', or add the room to the list in layout_test.go", file, t.Name())
		}
	}
}

// mostNames is how many package-level names the public rooms may export.
const mostNames = 400

// Every name is a promise, and one more to read before one finds what one needs.
func TestThePublicAPIGetsNoLarger(t *testing.T) {
	all := 0
	for room, p := range publicRooms(t) {
		if fromProto(room) {
			continue
		}
		for _, name := range p.Scope().Names() {
			if token.IsExported(name) {
				all++
			}
		}
	}
	if all > mostNames {
		t.Errorf("public rooms export %d package-level names, and at most %d are allowed: move what only our own rooms use under internal, or change mostNames and say in the commit who outside needs the new ones", all, mostNames)
	}
}

func TestPublicSignaturesNameOnlyPublicTypes(t *testing.T) {
	for room, p := range publicRooms(t) {
		for _, leak := range leaks(p) {
			t.Errorf("%s, which is a type of a room that is not public", strings.TrimPrefix(room+"."+leak, "."))
		}
	}
}

func TestTheReadmeListsThePublicRooms(t *testing.T) {
	_, section, _ := strings.Cut(readText(t, "README.md"), "\n## What programs import\n")
	section, _, _ = strings.Cut(section, "\n## ")
	listed := []string{""} // the root, which no link leads to
	for _, m := range regexp.MustCompile(`\[([\w/]+)\]\(([\w/]+)\)`).FindAllStringSubmatch(section, -1) {
		if m[1] == m[2] && m[1] != "proto" && m[1] != "testdata/api" {
			listed = append(listed, m[1])
		}
	}
	slices.Sort(listed)
	if !slices.Equal(listed, public) {
		t.Errorf("README.md lists\n%q; public, in layout_test.go, are\n%q", listed, public)
	}
}

// fromProto reports whether a room is made from .proto files.
func fromProto(room string) bool { return strings.HasPrefix(room, "gen/") }

// publicRooms returns the public rooms as the compiler sees them.
func publicRooms(t *testing.T) map[string]*types.Package {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}
	for _, room := range public {
		args = append(args, "./"+room)
	}
	list := exec.Command("go", args...)
	list.Stderr = new(bytes.Buffer)
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, list.Stderr)
	}
	exported := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, file, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		exported[name] = file
	}
	from := importer.ForCompiler(token.NewFileSet(), "gc", func(name string) (io.ReadCloser, error) { return os.Open(exported[name]) })
	rooms := map[string]*types.Package{}
	for _, room := range public {
		if rooms[room], err = from.Import(strings.TrimSuffix(module+"/"+room, "/")); err != nil {
			t.Fatal(err)
		}
	}
	return rooms
}

// exports lists what a package exports: a line for each name, field and method.
func exports(p *types.Package) (lines []string) {
	within := types.RelativeTo(p)
	named := func(other *types.Package) string {
		if within(other) == "" {
			return ""
		}
		return other.Name()
	}
	for _, name := range p.Scope().Names() {
		o := p.Scope().Lookup(name)
		switch o := o.(type) {
		case *types.TypeName:
			if o.Exported() {
				lines = append(lines, typeLines(o, named)...)
			}
		case *types.Const:
			if o.Exported() {
				lines = append(lines, types.ObjectString(o, named)+" = "+o.Val().ExactString())
			}
		default:
			if o.Exported() {
				lines = append(lines, types.ObjectString(o, named))
			}
		}
	}
	return lines
}

// typeLines are those of a type: itself, its exported fields, its methods.
func typeLines(o *types.TypeName, named types.Qualifier) []string {
	whole := types.ObjectString(o, named)
	if o.IsAlias() {
		return []string{whole}
	}
	switch u := o.Type().Underlying().(type) {
	case *types.Struct:
		head, _, _ := strings.Cut(whole, " struct{")
		lines := []string{head + " struct"}
		for f := range u.Fields() {
			if f.Exported() {
				lines = append(lines, head+" struct, "+strings.TrimPrefix(types.ObjectString(f, named), "field "))
			}
		}
		return append(lines, methodLines(o, named)...)
	case *types.Interface:
		head, _, _ := strings.Cut(whole, " interface{")
		lines := []string{head + " interface"}
		for m := range u.Methods() {
			lines = append(lines, head+" interface, "+m.Name()+strings.TrimPrefix(types.TypeString(m.Type(), named), "func"))
		}
		return lines
	}
	return append([]string{whole}, methodLines(o, named)...)
}

// methodLines are the exported methods of a type and of a pointer to it.
func methodLines(o *types.TypeName, named types.Qualifier) (lines []string) {
	ofValue := types.NewMethodSet(o.Type())
	for m := range types.NewMethodSet(types.NewPointer(o.Type())).Methods() {
		if !m.Obj().Exported() {
			continue
		}
		receiver := "*" + o.Name()
		if ofValue.Lookup(o.Pkg(), m.Obj().Name()) != nil {
			receiver = o.Name()
		}
		lines = append(lines, fmt.Sprintf("method (%s) %s%s", receiver, m.Obj().Name(), strings.TrimPrefix(types.TypeString(m.Type(), named), "func")))
	}
	return lines
}

// leaks lists the exported names of a package, with what their signatures name
// of rooms of ours that are not public.
func leaks(p *types.Package) (all []string) {
	for _, name := range p.Scope().Names() {
		o := p.Scope().Lookup(name)
		if !o.Exported() {
			continue
		}
		v := visitor{of: p, seen: map[types.Type]bool{}, found: map[string]bool{}}
		v.object(o)
		for _, inner := range slices.Sorted(maps.Keys(v.found)) {
			all = append(all, name+" names "+inner)
		}
	}
	return all
}

// visitor walks all that a user of one exported name sees.
type visitor struct {
	of    *types.Package
	seen  map[types.Type]bool
	found map[string]bool
}

func (v *visitor) object(o types.Object) {
	name, is := o.(*types.TypeName)
	if !is {
		v.visit(o.Type())
		return
	}
	if alias, is := name.Type().(*types.Alias); is {
		v.visit(alias.Rhs())
		return
	}
	v.inside(name.Type().(*types.Named))
}

// inside visits what a type of this package shows: its fields and methods.
func (v *visitor) inside(n *types.Named) {
	for p := range n.TypeParams().TypeParams() {
		v.visit(p.Constraint())
	}
	v.visit(n.Underlying())
	for m := range types.NewMethodSet(types.NewPointer(n)).Methods() {
		if m.Obj().Exported() {
			v.visit(m.Type())
		}
	}
}

func (v *visitor) visit(t types.Type) {
	if v.seen[t] {
		return
	}
	v.seen[t] = true
	switch t := t.(type) {
	case *types.Named:
		v.named(t.Obj(), t.TypeArgs())
		if t.Obj().Pkg() == v.of && !t.Obj().Exported() {
			v.inside(t)
		}
	case *types.Alias:
		v.named(t.Obj(), t.TypeArgs())
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() || f.Embedded() {
				v.visit(f.Type())
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			v.visit(m.Type())
		}
	case *types.Signature:
		v.visit(t.Params())
		v.visit(t.Results())
		for p := range t.TypeParams().TypeParams() {
			v.visit(p.Constraint())
		}
	case *types.Tuple:
		for one := range t.Variables() {
			v.visit(one.Type())
		}
	case *types.Map:
		v.visit(t.Key())
		v.visit(t.Elem())
	case interface{ Elem() types.Type }:
		v.visit(t.Elem())
	}
}

func (v *visitor) named(o *types.TypeName, args *types.TypeList) {
	if p := o.Pkg(); p != nil {
		room, ours := strings.CutPrefix(p.Path()+"/", module+"/")
		if room = strings.TrimSuffix(room, "/"); ours && !slices.Contains(public, room) {
			v.found[room+"."+o.Name()] = true
		}
	}
	for t := range args.Types() {
		v.visit(t)
	}
}

// changed lists the lines that are in one text only; "" when there are none.
func changed(was, now string) string {
	before, after := strings.Split(was, "\n"), strings.Split(now, "\n")
	var text strings.Builder
	for _, line := range before {
		if !slices.Contains(after, line) {
			fmt.Fprintln(&text, "-", line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			fmt.Fprintln(&text, "+", line)
		}
	}
	return text.String()
}

func writeGolden(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func goldenFiles(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join("testdata", "api"), func(file string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, filepath.ToSlash(file))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
