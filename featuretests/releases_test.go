package featuretests

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/assembly"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/raftlog"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/snapfile"
	"github.com/interrex/interrex/internal/testport"
	"github.com/interrex/interrex/state"
)

var newRelease = flag.String("release", "", "write testdata/releases/NAME, which must not exist")

// The files of a release.
const (
	releasesDir     = "../testdata/releases"
	releaseData     = "data.tar.gz"     // a data directory, as a stopped agent leaves it
	releaseProgram  = "program.tar.gz"  // the same of a program that embeds an agent
	releaseSaved    = "saved.snap"      // what 'snapshot save' wrote of that agent
	releaseAsked    = "requests.json"   // requests of every method, and a new agent's answers
	releaseOperated = "operations.json" // messages on the stream of operations, and a new agent's answers
	releaseHolds    = "content.json"    // reads of what is in the data directory
)

// What each release has written is read by this one; the newest has all that there is to
// be written.
func TestReleases(t *testing.T) {
	if *newRelease != "" {
		writeRelease(t, filepath.Join(releasesDir, *newRelease))
	}
	names := releases(t)
	for i, name := range names {
		r := &release{t: t, dir: filepath.Join(releasesDir, name)}
		t.Run(name+"/log", func(t *testing.T) { r.of(t).replays(i == len(names)-1) })
		t.Run(name+"/data", func(t *testing.T) { r.of(t).starts() })
		t.Run(name+"/program", func(t *testing.T) { r.of(t).runsAgain() })
		t.Run(name+"/operations", func(t *testing.T) { r.of(t).operates() })
		t.Run(name+"/requests", func(t *testing.T) { r.of(t).answers(i == len(names)-1) })
	}
}

// releases returns the releases, the newest last.
func releases(t *testing.T) (names []string) {
	t.Helper()
	all, err := os.ReadFile(filepath.Join(releasesDir, "ORDER"))
	if err != nil {
		t.Fatal(err)
	}
	names = strings.Fields(string(all))
	entries, err := os.ReadDir(releasesDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(names, e.Name()) {
			t.Errorf("%s is not in ORDER", e.Name())
		}
	}
	return names
}

// release is what one release has written.
type release struct {
	t   *testing.T
	dir string
}

func (r *release) of(t *testing.T) *release { return &release{t, r.dir} }

func (r *release) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *release) read(name string) []byte {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, name))
	r.must(err)
	return b
}

// requests reads a file of requests.
func (r *release) requests(name string) (all []kept) {
	r.t.Helper()
	r.must(json.Unmarshal(r.read(name), &all))
	return all
}

// unpack makes a copy of a data directory, in dir.
func (r *release) unpack(name, dir string) {
	r.t.Helper()
	zipped, err := gzip.NewReader(bytes.NewReader(r.read(name)))
	r.must(err)
	for files := tar.NewReader(zipped); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		r.must(err)
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		r.must(os.MkdirAll(filepath.Dir(path), 0o700))
		content, err := io.ReadAll(files)
		r.must(err)
		r.must(os.WriteFile(path, content, 0o600))
	}
}

// replays applies the release's log, from its first entry, and compares the state with the
// copy that the release has saved of it.
func (r *release) replays(newest bool) {
	saved := r.read(releaseSaved)
	in, err := snapfile.Open(bytes.NewReader(saved))
	r.must(err)
	dir := r.t.TempDir()
	r.unpack(releaseData, dir)
	log, err := raftlog.Inspect(filepath.Join(dir, "raft"), raftlog.Position{}, raftlog.Floor{})
	r.must(err)
	replayed, commands := r.state(), map[string]bool{}
	r.must(log.Each(func(l *raft.Log) error {
		if l.Type == raft.LogCommand && l.Index <= in.Header.Index {
			replayed.Apply(l)
		}
		return errors.Join(note(commands, l), replayed.Halted())
	}))
	if at, _ := replayed.Applied(); at != in.Header.Index {
		r.t.Fatalf("the log ends at %d, and the copy is of %d", at, in.Header.Index)
	}
	restored := r.state()
	r.must(restored.Restore(io.NopCloser(bytes.NewReader(saved))))
	now, again := r.copied(replayed), r.copied(restored)
	if !bytes.Equal(now, again) {
		r.t.Errorf("the log leads to another state than the saved copy: %d and %d bytes", len(now), len(again))
	}
	if slices.Equal(sections(r.t, now), sections(r.t, saved)) && !bytes.Equal(now, saved) {
		r.t.Errorf("the same sections have other bytes than the saved copy: %d and %d bytes", len(now), len(saved))
	}
	if newest {
		r.coversCommands(commands, sections(r.t, saved))
	}
}

// state returns an empty state with interrex's own tables.
func (r *release) state() *machine.State {
	r.t.Helper()
	st, _, err := assembly.NewState(silent.Logger{})
	r.must(err)
	r.t.Cleanup(st.Close)
	return st
}

// copied returns a copy of a state, as 'snapshot save' writes it.
func (r *release) copied(st *machine.State) []byte {
	r.t.Helper()
	frozen, err := st.Copy()
	r.must(err)
	defer frozen.Release()
	var to sink
	r.must(frozen.Persist(&to))
	return to.Bytes()
}

// sink is a raft.SnapshotSink in memory.
type sink struct{ bytes.Buffer }

func (*sink) ID() string    { return "copy" }
func (*sink) Cancel() error { return nil }
func (*sink) Close() error  { return nil }

// sections returns the sections of a snapshot, with their versions.
func sections(t *testing.T, file []byte) (all []snapfile.Section) {
	t.Helper()
	in, err := snapfile.Open(bytes.NewReader(file))
	for err == nil {
		var s snapfile.Section
		if s, err = in.Next(); err == nil {
			all = append(all, s)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return all
}

// note notes the commands of an entry.
func note(commands map[string]bool, l *raft.Log) error {
	if l.Type != raft.LogCommand {
		return nil
	}
	var e machine.Entry
	err := e.Decode(l.Data)
	for _, o := range e.Operations {
		for _, p := range append(o.Group, state.Part{Table: o.Table, Data: o.Data}) {
			if len(o.Group) == 0 || len(p.Data) > 0 {
				commands[nameOf(p.Table, p.Data)] = true
			}
		}
	}
	return err
}

// nameOf names a command by its table and number; the state's own have a version first.
func nameOf(table state.TableID, data []byte) string {
	if table == machine.SystemTable && len(data) > 1 {
		data = data[1:]
	}
	return fmt.Sprintf("table %d, command %d", table, data[0])
}

// coversCommands checks that the newest release has every command and every section.
func (r *release) coversCommands(commands map[string]bool, has []snapfile.Section) {
	probe := r.state()
	// A recovery writes its command into a snapshot, and into no log.
	commands[nameOf(machine.SystemTable, (&machine.Recover{}).Append(nil))] = true
	missing := func(what string) {
		r.t.Errorf("%s is not in %s: write it anew, see CONTRIBUTING.md", what, r.dir)
	}
	for number := range 256 {
		data := []byte{1, byte(number)}
		if _, err := probe.Decode(machine.SystemTable, data); (err == nil || !strings.Contains(err.Error(), "unknown command")) && !commands[nameOf(machine.SystemTable, data)] {
			missing(nameOf(machine.SystemTable, data))
		}
	}
	for _, table := range assembly.OwnTables() {
		knower, is := table.(state.Knower)
		if !is {
			r.t.Errorf("table %q is no state.Knower", table.Name())
			continue
		}
		for number := range 256 {
			if data := []byte{byte(number)}; knower.Knows(data) && !commands[nameOf(table.ID(), data)] {
				missing(nameOf(table.ID(), data))
			}
		}
		if s := (snapfile.Section{Table: uint16(table.ID()), Name: table.Name(), Version: table.Version()}); !slices.Contains(has, s) {
			missing(fmt.Sprintf("the section %+v", s))
		}
	}
}

// starts starts an agent on a copy of the data directory, which finds all that was there,
// and restores the saved copy.
func (r *release) starts() {
	f := emptyFleet(r.t)
	ports := testport.Ports(r.t, 2)
	m := &member{file: filepath.Join(f.dir, "n0.yaml"), log: filepath.Join(f.dir, "n0.log"), config: config.Default()}
	m.config.Agent = config.Agent{ID: "n0", DataDir: filepath.Join(f.dir, "n0")}
	m.config.API.Listen, m.config.Cluster.Listen = fmt.Sprint("127.0.0.1:", ports[0]), fmt.Sprint("127.0.0.1:", ports[1])
	f.members = append(f.members, m)
	r.unpack(releaseData, m.config.Agent.DataDir)
	if _, err := (config.Source{Path: filepath.Join(m.config.Agent.DataDir, "interrex.yaml")}).Load(); err != nil {
		r.t.Errorf("its configuration: %v", err)
	}
	f.write(m)
	f.start(0)
	f.answers(0)
	r.finds(f.asker(0))
	saved := filepath.Join(r.dir, releaseSaved)
	f.must("snapshot", "inspect", saved)
	f.must("snapshot", "restore", saved, "--yes", "--addr", f.socket(0))
}

// finds compares what an agent holds with what it held.
func (r *release) finds(asker *asker) {
	for _, want := range r.requests(releaseHolds) {
		status, got := asker.ask(want)
		if status != want.Status {
			r.t.Errorf("%s: the status is %d, and was %d: %s", want.Path, status, want.Status, got)
			continue
		}
		var old, now any
		r.must(errors.Join(json.Unmarshal(want.Answer, &old), json.Unmarshal(got, &now)))
		for _, lost := range without(want.method(), old, now) {
			r.t.Error(lost)
		}
	}
}

// moving are the places whose values differ when an agent runs again, elsewhere, or whose
// texts are each release's own. A place without a dot is a field anywhere.
var moving = []string{
	"remaining", "expires_at", "until", "health", "about", "default",
	"Change/List.last", "Webhook/List.items[].position",
	"Member/List.items[].cluster_address", "Member/List.items[].api_address", "Member/List.items[].version",
	"Member/List.items[].tables", "Member/List.items[].revision",
	"Lease/List.revision", "Lease/History.revision", "Resource/List.revision", "Change/List.revision", "Webhook/List.revision",
	"Token/List.revision", "State/GetSettings.revision", "State/ListRequests.revision", "Member/List.revision", "Member/ListJoinTokens.revision",
}

// without returns what of old is not in now.
func without(place string, old, now any) (lost []string) {
	if slices.Contains(moving, place) || slices.Contains(moving, place[strings.LastIndex(place, ".")+1:]) {
		return nil
	}
	switch old := old.(type) {
	case map[string]any:
		with, _ := now.(map[string]any)
		for name, value := range old {
			lost = append(lost, without(place+"."+name, value, with[name])...)
		}
	case []any:
		with, _ := now.([]any)
		if len(with) < len(old) {
			return []string{fmt.Sprintf("%s has %d items, and had %d", place, len(with), len(old))}
		}
		for i, value := range old {
			lost = append(lost, without(place+"[]", value, with[i])...)
		}
	default:
		if old != now {
			lost = append(lost, fmt.Sprintf("%s is %v, and was %v", place, now, old))
		}
	}
	return lost
}

// answers sends the release's requests to a new agent, whose answers have at least what
// they had.
func (r *release) answers(newest bool) {
	f := enrol(r.t, 1)
	asker, asked := f.asker(0), map[string]bool{}
	for _, want := range r.requests(releaseAsked) {
		status, got := asker.ask(want)
		asked[want.Path] = true
		if status != want.Status {
			r.t.Errorf("%s %s: the status is %d, and was %d: %s", want.Path, want.Body, status, want.Status, got)
			continue
		}
		has := shape(got)
		for place, kind := range shape(want.Answer) {
			if has[place] != kind && !inEmpty(place, has) {
				r.t.Errorf("%s %s: %s is %q, and was %q: %s", want.Path, want.Body, place, has[place], kind, got)
			}
		}
	}
	if newest {
		r.coversMethods(asked)
	}
}

// coversMethods checks that the newest release has a request of every method. The streams
// of operations and of watches have the methods' own requests.
func (r *release) coversMethods(asked map[string]bool) {
	protoregistry.GlobalFiles.RangeFilesByPackage("interrex.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			service := f.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				if path := fmt.Sprintf("/%s/%s", service.FullName(), m.Name()); !m.IsStreamingClient() && !asked[path] {
					r.t.Errorf("%s is not in %s: write it anew, see CONTRIBUTING.md", path, r.dir)
				}
			}
		}
		return true
	})
}
