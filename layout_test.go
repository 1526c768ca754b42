package interrex_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/interrex/interrex"

// floors is the floor of each folder. An import goes to a lower floor, never up
// and never sideways; tests below floor 9 may import anything. To change the
// architecture, change this table first, with a reason. ARCHITECTURE.md says what
// each folder owns.
var floors = map[string]int{
	"":                        0, // the vocabulary
	"internal/limits":         0, // the limits that several packages check
	"gate":                    0, // visits to what must outlive its users
	"internal/interest":       0, // which readers of events an event concerns
	"internal/pipe":           0, // connections within a process
	"config":                  0, // the configuration's types, file and validation
	"internal/disk":           0, // calls on a disk, small files, directories with one user
	"internal/inbound":        0, // the connections that come in at one port
	"internal/hclogger":       0, // the log lines of hashicorp's libraries in our log
	"gen/interrexv1":          0, // generated messages and handlers
	"internal/ports":          0, // the ports that an agent listens on
	"internal/backoff":        0, // the pause between an attempt that failed and the next
	"internal/fairshare":      0, // how callers divide what there is for all
	"internal/fifo":           0, // a first-in, first-out queue that shrinks
	"internal/registry":       0, // the registration of an agent's metrics
	"internal/silent":         0, // the logger that says nothing
	"internal/golden":         0, // the comparison of encodings with files, in tests
	"internal/waitlist":       0, // those who wait until a growing number reaches theirs
	"internal/wording":        0, // how values are written in messages
	"internal/validation":     1, // the checks that several packages make
	"internal/alarm":          1, // what is wrong with an agent now
	"state":                   1, // the contract between the replicated state and its tables
	"internal/machine":        1, // the replicated state: one log, many tables
	"internal/logs":           1, // how an agent logs
	"internal/hold":           1, // the holder's side of a lease
	"internal/wire":           1, // the vocabulary in the API's messages
	"internal/codec":          1, // the encoding that tables share
	"internal/snapfile":       1, // the format of snapshots
	"internal/capacity":       2, // the limits of a table in number and bytes
	"internal/founding":       2, // how a cluster begins
	"internal/lease":          2, // the table of leases
	"internal/resource":       2, // the table of resources
	"internal/change":         2, // the feed of everything that was committed
	"internal/webhook":        2, // the table of webhooks
	"internal/fsm":            2, // the table of an embedder's own state machine
	"internal/execution":      2, // a command under a lease, and every process that comes of it
	"queue":                   2, // operations waiting for the log
	"internal/testtable":      2, // tables for our own tests
	"internal/watch":          2, // events to any number of watchers
	"transport":               0, // the certificates and connections that a program provides
	"internal/peering":        2, // one TLS port between agents
	"internal/certificates":   1, // the certificates of agents
	"internal/authority":      2, // the CA of a cluster, and the certificates that it issues
	"internal/access":         2, // the table of access tokens
	"internal/accesstoken":    1, // the tokens with which callers use the API
	"internal/jointoken":      0, // the tokens with which agents join
	"internal/member":         2, // the table of members
	"internal/peerlogs":       1, // what an agent remembers of other agents' logs
	"internal/raftstream":     1, // raft's transport over streams between agents
	"internal/raftlog":        1, // what the files of raft's log can prove
	"internal/raftdir":        2, // raft's log, vote, floor and snapshots on disk
	"projection":              2, // lease holders in SQL
	"internal/raftrules":      3, // what one life of raft may send and accept
	"internal/datadir":        3, // an agent's data directory, and its repair
	"internal/appliermetrics": 3, // the applier's metrics
	"leaseapplier":            3, // from queue to raft and back to the caller
	"internal/reads":          3, // strong reads
	"notify":                  3, // lease changes into a target
	"storage":                 3, // resources as a storage backend
	"internal/peercall":       1, // small requests between agents
	"internal/custody":        3, // where the key of the cluster's CA lies
	"internal/rotation":       3, // how the cluster's CA is replaced
	"internal/renewal":        3, // how an agent renews its certificate
	"internal/joining":        3, // the exchange with which an agent joins a cluster
	"internal/compare":        3, // the comparison of replicas
	"internal/backup":         3, // the copies that an agent makes by itself
	"internal/enrolment":      5, // the directory of an agent that founds a cluster or joins one
	"internal/hookcaller":     3, // the calls of webhooks
	"client":                  3, // what programs import to talk to agents
	"internal/callstream":     2, // streams of operations to one agent
	"internal/forward":        4, // the way to the agent that leads
	"raftworker/leadership":   4, // who leads, and the flag whose life is one term
	"raftworker/clusterer":    4, // raft's configuration, in line with the table of members
	"raftworker/backstop":     4, // whether a cluster without a quorum goes on from this agent
	"internal/recovery":       5, // what remains of a cluster without a quorum, and who of it still answers
	"internal/check":          5, // the examination of a configuration
	"internal/doctor":         6, // the examination of an agent's machine
	"internal/health":         5, // what can be known of an agent by looking at what runs
	"raftworker":              4, // the supervised raft.Raft
	// The server of the API: what a table declares, then one call of it, then what
	// serves many, then what puts it together.
	"api":                  2, // how a table's service is declared
	"internal/admission":   2, // who the caller is, what is open, how long a peer may take
	"internal/listener":    2, // the worker that serves HTTP on a listener
	"internal/method":      3, // the methods that are served, and one call of one
	"internal/consistency": 3, // who leads, whether the state is fresh enough, and the errors
	"internal/operations":  4, // operations on streams: forwarding, retries, webhooks
	"internal/watches":     4, // the watches of callers
	"internal/copies":      4, // the copies of the state, and what is in one
	"internal/services":    4, // the services of interrex's own tables
	"internal/plainhttp":   5, // /changes and /kv
	"internal/apiserver":   6, // the API of one agent
	// How the workers of an agent are made and supervised.
	"internal/unit":        1, // what a worker is in the graph
	"internal/leaseworker": 2, // the worker that lives as long as one hold of a lease
	"internal/lives":       2, // the life of each worker
	"internal/sections":    2, // the configuration while an agent runs
	"internal/membership":  4, // who belongs to the cluster
	"internal/testport":    0, // ports for the processes of our own tests
	"internal/testworker":  2, // workers for our own tests
	"internal/testreplica": 3, // a replicated state that a test drives as raft would
	"internal/assembly":    7, // the dependency graph
	"agent":                8, // one agent
	"manifolds":            9, // an agent's workers in a program's own engine, and what it adds to them
	"cmd/interrex":         9, // the binary
	"interrextest":         9, // the test kit for embedders
	"featuretests":         9, // what a user can rely on
}

// public are the folders that other programs import; testdata/api holds what they
// export. All others may change at any time.
var public = []string{
	"", "agent", "api", "client", "config", "gate", "gen/interrexv1", "interrextest", "leaseapplier", "manifolds", "notify", "projection", "queue",
	"raftworker", "raftworker/leadership", "state", "state/statetest", "storage", "storage/conformance", "transport",
}

// sideways are the imports within one floor that are allowed: a folder and the
// folder below it.
var sideways = map[[2]string]bool{
	{"raftworker", "raftworker/leadership"}:     true,
	{"featuretests", "interrextest"}:            true,
	{"internal/lease", "internal/capacity"}:     true, // tables are limited alike
	{"internal/resource", "internal/capacity"}:  true,
	{"internal/access", "internal/capacity"}:    true,
	{"internal/inbound", "internal/wording"}:    true, // both are below all that has a meaning
	{"config", "internal/disk"}:                 true, // config only reads, compares and
	{"config", "internal/inbound"}:              true, // checks, and needs what is below all
	{"config", "internal/limits"}:               true,
	{"config", "internal/wording"}:              true, // that has a meaning
	{"", "internal/limits"}:                     true, // the vocabulary checks itself, and these
	{"", "internal/wording"}:                    true, // two know nothing of it
	{"state", "internal/validation"}:            true, // one check, made by the caller,
	{"internal/machine", "internal/validation"}: true, // by the log,
	{"internal/hold", "internal/validation"}:    true, // by the holder's side, where it is read
	{"internal/wire", "internal/validation"}:    true, // and before it is applied
	{"internal/snapfile", "internal/codec"}:     true, // a format is made of an encoding,
	{"internal/machine", "internal/snapfile"}:   true, // and read also where there is no raft
	{"internal/machine", "state"}:               true, // one runs what the other asks of tables
}

func TestImportsGoDown(t *testing.T) {
	for dir, imports := range packages(t) {
		if strings.HasPrefix(dir, "examples/") || path.Base(dir) == "statetest" || path.Base(dir) == "conformance" {
			continue
		}
		floor, known := floors[dir]
		if !known {
			t.Errorf("%s has no floor: add it to the table, with what it owns", dir)
		}
		for _, imported := range imports {
			below, known := floors[imported]
			switch {
			case !known:
				t.Errorf("%s imports %s, which has no floor", dir, imported)
			case below >= floor && !sideways[[2]string{dir, imported}] && dir != "":
				t.Errorf("%s (floor %d) imports %s (floor %d)", dir, floor, imported, below)
			case dir == "" && !sideways[[2]string{dir, imported}]:
				t.Errorf("the vocabulary imports %s", imported)
			}
		}
	}
}

// An example shows what any program can do.
func TestExamplesImportOnlyPublicRooms(t *testing.T) {
	for _, folders := range []map[string][]string{packages(t), testPackages(t)} {
		for dir, imports := range folders {
			if !strings.HasPrefix(dir, "examples/") {
				continue
			}
			for _, imported := range imports {
				if !slices.Contains(public, imported) && !strings.HasPrefix(imported, "examples/") {
					t.Errorf("%s imports %s, which is not public", dir, imported)
				}
			}
		}
	}
}

// packages returns, by folder, which of our packages its files other than tests
// import.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	return imports(t, func(file string) bool { return !strings.HasSuffix(file, "_test.go") })
}

// testPackages returns, by folder, what its tests import of ours.
func testPackages(t *testing.T) map[string][]string {
	t.Helper()
	return imports(t, func(file string) bool { return strings.HasSuffix(file, "_test.go") })
}

// imports returns, by folder, what the files that are wanted import of ours.
func imports(t *testing.T, wanted func(file string) bool) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "tools" || name == "testdata" || name != "." && strings.HasPrefix(name, ".") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || !wanted(file) {
			return nil
		}
		dir := strings.TrimPrefix(path.Clean(filepath.ToSlash(filepath.Dir(file))), ".")
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		found[dir] = append(found[dir], []string{}...) // even if it imports none of ours
		for _, spec := range parsed.Imports {
			name := strings.Trim(spec.Path.Value, `"`)
			if name == module {
				found[dir] = append(found[dir], "")
			} else if ours, is := strings.CutPrefix(name, module+"/"); is {
				found[dir] = append(found[dir], ours)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// forbidden says which modules must not be linked by which folders, and why.
var forbidden = []struct{ folder, module, why string }{
	{"internal/hold", "github.com/hashicorp/raft", "a program that only holds leases needs no consensus"},
	{"client", "github.com/hashicorp/raft", "a program that only talks to agents needs no consensus"},
	{"state", "github.com/hashicorp/raft", "a table needs no consensus"},
	{"agent", "modernc.org/sqlite", "an embedder chooses the SQL driver"},
	{"agent", "github.com/jackc/pgx", "an embedder chooses the SQL driver"},
	{"agent", "github.com/spf13/cobra", "an embedder has its own command line"},
	{"projection", "modernc.org/sqlite", "the database is given to it"},
}

func TestClosuresLeaveOutWhatTheyMust(t *testing.T) {
	for _, f := range forbidden {
		out, err := exec.Command("go", "list", "-deps", "./"+f.folder).CombinedOutput()
		if err != nil {
			t.Fatalf("go list ./%s: %v\n%s", f.folder, err, out)
		}
		for dep := range strings.FieldsSeq(string(out)) {
			if dep == f.module || strings.HasPrefix(dep, f.module+"/") {
				t.Errorf("%s links %s: %s", f.folder, dep, f.why)
				break
			}
		}
	}
}

func TestEveryPackageSaysWhatItOwns(t *testing.T) {
	for dir := range packages(t) {
		if strings.Contains("/"+dir+"/", "/gen/") {
			continue
		}
		files, err := filepath.Glob(filepath.Join("./"+dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		documented := false
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			documented = documented || parsed.Doc != nil && !strings.HasSuffix(file, "_test.go")
		}
		if !documented {
			t.Errorf("no file of %s says in a package comment what it owns", dir)
		}
	}
}
