package featuretests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"hash/crc32"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
)

// tap is a socket before that of an agent. Once a caller has sent certain bytes, what it
// sends waits for pass, and it gets no more answers through here.
type tap struct {
	address string
	want    []byte
	seen    chan struct{} // closed when the bytes have come
	pass    chan struct{} // closed by the test
	end     chan struct{} // closed at its end
	once    sync.Once
	conns   sync.WaitGroup
}

func newTap(t *testing.T, agent string, want []byte) *tap {
	t.Helper()
	dir, err := os.MkdirTemp("", "tap-") // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{address: "unix://" + path, want: want, seen: make(chan struct{}), pass: make(chan struct{}), end: make(chan struct{})}
	p.conns.Go(func() {
		for {
			caller, err := l.Accept()
			if err != nil {
				return
			}
			p.conns.Go(func() { p.serve(caller, agent) })
		}
	})
	t.Cleanup(func() { close(p.end); l.Close(); p.conns.Wait() })
	return p
}

// serve serves one connection, until its caller or its agent is gone.
func (p *tap) serve(caller net.Conn, agent string) {
	defer caller.Close()
	to, err := net.Dial("unix", agent)
	if err != nil {
		return
	}
	defer to.Close()
	gone := make(chan struct{}) // the agent is
	p.conns.Go(func() {
		defer caller.Close()
		defer close(gone)
		p.answers(caller, to)
	})
	var sent []byte
	for b := make([]byte, 64<<10); ; {
		n, err := caller.Read(b)
		if err != nil {
			return
		}
		sent = append(sent[max(0, len(sent)-len(p.want)):], b[:n]...)
		if bytes.Contains(sent, p.want) {
			p.once.Do(func() { close(p.seen) })
			select {
			case <-p.pass:
			case <-gone:
				return
			case <-p.end:
				return
			}
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// answers passes on what an agent answers.
func (p *tap) answers(caller, agent net.Conn) {
	for b := make([]byte, 64<<10); ; {
		n, err := agent.Read(b)
		if err != nil {
			return
		}
		select {
		case <-p.seen:
			continue
		default:
		}
		if _, err := caller.Write(b[:n]); err != nil {
			return
		}
	}
}

// The command has sent the whole file. The leader dies before it has the final operation,
// also together with all others, with it, or once it is done and not answered yet: the
// command goes on to another agent, and the file is restored once.
func TestAFileIsRestoredOnceAlthoughTheLeaderDiesAtTheEnd(t *testing.T) {
	f := newFleet(t, 3, nil)
	kv := client.KV{By: f.client()}
	values(t, kv, "saved/", 8)
	path := filepath.Join(f.dir, "saved.snap")
	file := f.save(0, "saved.snap")
	last, err := proto.Marshal(&interrexv1.RestoreRequest{Bytes: uint64(len(file)), Checksum: crc32.Checksum(file, crc32.MakeTable(crc32.Castagnoli))})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{beforeAll, "before it has the operation", "with the operation", "when the operation is done"} {
		t.Run(at, func(t *testing.T) {
			values(t, kv, "later/", 1)
			leader := f.leader()
			others := f.others(leader)
			way := newTap(t, f.path(leader, "interrex.sock"), last)
			ended := restoring(t, path, way.address+","+f.socket(others[0])+","+f.socket(others[1]))
			select {
			case <-way.seen:
			case got := <-ended:
				t.Fatalf("it has ended before its final operation: %+v", got)
			case <-time.After(patience):
				t.Fatal("it does not send the final operation")
			}
			if !strings.HasPrefix(at, "before") {
				close(way.pass)
			}
			if at == "when the operation is done" {
				other := f.client(others[0])
				eventually(t, "it is done", func() error { return lacks(t, other) })
			}
			f.kill(leader)
			if at == beforeAll {
				for _, i := range others {
					f.kill(i)
					f.start(i)
				}
			}
			got := <-ended
			if got.err != nil {
				t.Fatalf("%v: %s", got.err, got.said)
			}
			f.start(leader)
			f.answers(leader)
			for i := range f.members {
				wantRestored(t, f.client(i), got.revision)
				if s, err := f.status(i); err != nil || s.Revision != uint64(got.revision) {
					t.Errorf("%s is at revision %d (%v), and the restore was at %d", f.id(i), s.GetRevision(), err, got.revision)
				}
			}
		})
	}
}

// beforeAll is when all agents die: what they have of the file is in their logs.
const beforeAll = "before it has the operation, with all others"

// lacks returns an error while an agent has what a restore replaces.
func lacks(t *testing.T, c *client.Client) error {
	_, err := (client.KV{By: c}).Get(t.Context(), "later/0", interrex.ReadOptions{Consistency: interrex.Eventual})
	if errors.Is(err, interrex.ErrNotFound) {
		return nil
	}
	return errors.Join(errors.New("it is there"), err)
}

// restoration is how 'snapshot restore' has ended.
type restoration struct {
	revision interrex.Revision
	said     string
	err      error
}

// restoring runs 'snapshot restore' at these agents, for a limited time.
func restoring(t *testing.T, path, addresses string) <-chan restoration {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	cmd := exec.CommandContext(ctx, program, "snapshot", "restore", path, "--yes", "-o", "json", "--timeout", (4 * patience).String(), "--addr", addresses)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &said, patience
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan restoration, 1)
	go func() {
		defer cancel()
		got := restoration{err: cmd.Wait()}
		var document struct {
			Revision interrex.Revision `json:"revision,string"`
		}
		if got.err == nil {
			got.err = json.Unmarshal(out.Bytes(), &document)
		}
		got.revision, got.said = document.Revision, said.String()
		ended <- got
	}()
	return ended
}
