package featuretests

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/testport"
)

// emptyFleet returns a fleet without members.
func emptyFleet(t *testing.T) *fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleet-") // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, dir: dir}
	t.Cleanup(f.end)
	return f
}

// writeRelease writes what this build writes into a new directory, and its name behind
// those that are there.
func writeRelease(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatalf("a release is never changed: %v", err)
	}
	r := &release{t, dir}
	one := enrol(t, 1)
	asker := one.asker(0)
	r.writeJSON(releaseAsked, append(asker.all(releaseRequests()), asker.all(lastRequests())...))
	r.writeOperations()
	r.writeData()
	r.writeProgram()
	order, err := os.OpenFile(filepath.Join(releasesDir, "ORDER"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	r.must(err)
	_, err = order.WriteString(filepath.Base(dir) + "\n")
	r.must(err)
	r.must(order.Close())
}

func (r *release) write(name string, b []byte) {
	r.t.Helper()
	r.must(os.WriteFile(filepath.Join(r.dir, name), b, 0o644))
}

func (r *release) writeOperations() {
	f := enrol(r.t, 1)
	asker, all := f.asker(0), r.releaseOperations()
	for i := range all {
		all[i].Answer = asker.operate(all[i].Message)
	}
	r.writeJSON(releaseOperated, all)
}

func (r *release) writeJSON(name string, all any) {
	r.t.Helper()
	text, err := json.MarshalIndent(all, "", "\t")
	r.must(err)
	r.write(name, append(text, '\n'))
}

// writeData takes two agents through all that changes the state, until the second one is
// removed, and keeps the first one's directory.
func (r *release) writeData() {
	f := enrol(r.t, 1)
	f.joins("n1")
	addr := []string{"--addr", f.socket(0)}
	do := func(args ...string) { f.must(append(args, addr...)...) }
	called := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer called.Close()
	do("webhook", "set", "audit", "--url", called.URL, "--when", "after", "--kind", "lease.claimed")
	asker := f.asker(0)
	asker.all(releaseRequests())
	f.until("the webhook was notified", func() bool {
		_, list := asker.ask(ask("Webhook/List", `{}`))
		return strings.Contains(string(list), `"position"`)
	})
	r.restores(f, do)
	do("join-token", "revoke", strings.Fields(f.must(append([]string{"join-token", "list", "-o", "name"}, addr...)...))[0])
	do("cert", "renew", "n1", "--timeout", "1m")
	do("ca", "rotate", "--timeout", "2m")
	do("member", "remove", "n1")
	f.kill(1)
	f.restartedWithSnapshots()
	asker = f.asker(0)
	r.tail(asker)
	r.writeJSON(releaseHolds, asker.all(releaseContent()))
	r.write(releaseSaved, f.save(0, "saved.snap"))
	f.signal(0, syscall.SIGTERM)
	f.exit(0)
	r.write(releaseData, packed(r.t, f.data(0)))
}

// joins adds an agent, which gets no vote: with it the voters would be two.
func (f *fleet) joins(id string) {
	f.t.Helper()
	data, ports := filepath.Join(f.dir, id), testport.Ports(f.t, 2)
	m := &member{file: filepath.Join(data, "interrex.yaml"), log: filepath.Join(f.dir, id+".log")}
	m.config.Agent = config.Agent{ID: id, DataDir: data}
	m.config.API.Listen, m.config.Cluster.Listen = fmt.Sprint("127.0.0.1:", ports[0]), fmt.Sprint("127.0.0.1:", ports[1])
	f.members = append(f.members, m)
	f.must("agent", "join", f.members[0].config.Cluster.Listen, "--token-file", f.path(0, "join.token"),
		"--data-dir", data, "--id", id, "--api", m.config.API.Listen, "--cluster", m.config.Cluster.Listen)
	f.start(len(f.members) - 1)
	f.answers(len(f.members) - 1)
}

// restores replaces the state by a copy of it, and drops another file half way.
func (r *release) restores(f *fleet, do func(args ...string)) {
	r.t.Helper()
	file := f.save(0, "copy.snap")
	do("snapshot", "restore", filepath.Join(f.dir, "copy.snap"), "--yes")
	part, err := json.Marshal(map[string]any{"file": "9", "offset": "0", "data": file[:len(file)/2]})
	r.must(err)
	if status, answer := f.asker(0).ask(ask("Maintenance/Stage", string(part))); status != http.StatusOK {
		r.t.Fatalf("the file is not staged: %s", answer)
	}
	do("snapshot", "drop")
}

// restartedWithSnapshots starts the first agent again, and waits until it has made a
// snapshot.
func (f *fleet) restartedWithSnapshots() {
	f.t.Helper()
	f.stops(0)
	text, err := os.ReadFile(f.members[0].file)
	if err != nil {
		f.t.Fatal(err)
	}
	text = append(text, "raft:\n  snapshot-threshold: 1\n  snapshot-interval: 1s\n"...)
	if err := os.WriteFile(f.members[0].file, text, 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.start(0)
	f.answers(0)
	f.hasSnapshot(0)
}

// tail adds what stays: leases, changes, and what belongs to a lease.
func (r *release) tail(asker *asker) {
	r.t.Helper()
	for _, k := range []kept{
		ask("Lease/Claim", `{"key":"kept/a","holder":"ann","ttl":"86400s","metadata":{"a":"b"}}`),
		ask("Lease/Pin", `{"key":"kept/a","owner":"ops","reason":"stays"}`),
		ask("Change/Append", `{"data":"the end","tags":["end"]}`),
	} {
		if status, answer := asker.ask(k); status != http.StatusOK {
			r.t.Fatalf("%s: %s", k.Path, answer)
		}
	}
}

// packed returns the regular files of a directory.
func packed(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	files := tar.NewWriter(zipped)
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := files.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o600, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err = files.Write(content)
		return err
	})
	for _, closing := range []func() error{files.Close, zipped.Close} {
		if err == nil {
			err = closing()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
