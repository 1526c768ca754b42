package notify_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/juju/clock"
	_ "modernc.org/sqlite"

	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/projection"
)

// sqlFixture is a worker over a real database, in real time.
type sqlFixture struct {
	*testing.T
	world  *world
	db     *sql.DB
	worker *notify.Worker
}

func startSQL(t *testing.T, w *world, file string) *sqlFixture {
	t.Helper()
	h, err := projection.Open(t.Context(), func() (*sql.DB, error) { return sql.Open("sqlite", file) }, projection.SQLite)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	worker, err := notify.NewWorker(notify.Config{
		Source: w.ring, Leases: w, State: w, Target: notify.NewTarget(h, nil), Clock: clock.WallClock,
		Look: 10 * time.Millisecond, MinRetry: time.Millisecond, MaxRetry: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &sqlFixture{T: t, world: w, worker: worker}
	f.open(file)
	return f
}

// open opens the file as another program does.
func (f *sqlFixture) open(file string) {
	f.Helper()
	db, err := sql.Open("sqlite", file+"?_pragma=busy_timeout(10000)") // the worker writes to it too
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { db.Close() })
	f.db = db
}

func (f *sqlFixture) stop() {
	f.Helper()
	f.worker.Kill()
	if err := f.worker.Wait(); err != nil {
		f.Error(err)
	}
}

// want waits until others read these rows.
func (f *sqlFixture) want(rows string) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), 10*time.Second)
	defer cancel()
	var got string
	for poll := time.NewTicker(time.Millisecond); ; {
		if got = f.rows(); got == rows {
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			f.Fatalf("rows are %q, want %q; %v", got, rows, f.worker.Report())
		}
	}
}

func (f *sqlFixture) rows() string {
	res, err := f.db.QueryContext(f.Context(), "SELECT name, holder, token FROM lease_holders ORDER BY namespace, name")
	if err != nil {
		return err.Error()
	}
	defer res.Close()
	var all []string
	for res.Next() {
		var name, holder string
		var token int
		if err := res.Scan(&name, &holder, &token); err != nil {
			f.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s=%s/%d", name, holder, token))
	}
	return strings.Join(all, " ")
}

func TestSQLTargetFollowsThroughRestartGapAndRestore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lease-holders.db")
	w := newWorld()
	defer w.ring.Close()
	f := startSQL(t, w, file)
	w.claim("a", "ann")
	w.claim("b", "bob")
	f.want("a=ann/1 b=bob/2")
	w.end("a")
	f.want("b=bob/2")
	f.stop()

	w.claim("a", "cyd")
	f = startSQL(t, w, file)
	f.want("a=cyd/4 b=bob/2")
	f.stop()

	for range 20 {
		w.end("b")
		w.claim("b", "bea")
	}
	f = startSQL(t, w, file)
	f.want("a=cyd/4 b=bea/44")
	w.recover(7, "b", "c")
	w.claim("d", "dan")
	f.want("b=restored/7 c=restored/7 d=dan/8")
	f.stop()
}

// Another program takes the table away under the worker, which hears of
// nothing meanwhile, or of very much.
func TestBrokenDatabaseStopsNobodyAndIsCaughtUp(t *testing.T) {
	for name, table := range map[string]string{"rows": "lease_holders", "position": "lease_holders_position"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			defer w.ring.Close()
			f := startSQL(t, w, filepath.Join(t.TempDir(), "lease-holders.db"))
			w.claim("a", "ann")
			f.want("a=ann/1")
			f.run("ALTER TABLE " + table + " RENAME TO away")
			f.eventually("the table is there again", func() bool {
				_, err := f.db.Exec("SELECT count(*) FROM " + table)
				return err == nil
			})
			f.want("a=ann/1")
			f.run("DROP TABLE " + table)
			for i := range 100 {
				w.claim(fmt.Sprint("k", i%3), "kay")
			}
			f.want("a=ann/1 k0=kay/101 k1=kay/99 k2=kay/100")
			f.eventually("the failures are over", func() bool { return f.worker.Progress().Failures == 0 })
			f.stop()
		})
	}
}

func TestAFileThatIsMovedAwayIsMadeAgain(t *testing.T) {
	w := newWorld()
	defer w.ring.Close()
	file := filepath.Join(t.TempDir(), "lease-holders.db")
	f := startSQL(t, w, file)
	w.claim("a", "ann")
	f.want("a=ann/1")
	f.db.Close()
	if err := os.Rename(file, file+".old"); err != nil {
		t.Fatal(err)
	}
	f.eventually("the file is there again", func() bool {
		_, err := os.Stat(file)
		return err == nil
	})
	f.open(file)
	f.want("a=ann/1")
	f.stop()
}

// A file that another cluster has written is left alone, and nobody's lease
// with it.
func TestTheCopyOfAnotherClusterIsLeftAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lease-holders.db")
	w := newWorld()
	defer w.ring.Close()
	f := startSQL(t, w, file)
	w.claim("a", "ann")
	f.want("a=ann/1")
	f.stop()
	other := newWorld()
	other.cluster = "two"
	defer other.ring.Close()
	g := startSQL(t, other, file)
	other.claim("b", "bob")
	g.eventually("the refusal is told", func() bool {
		p := g.worker.Progress()
		return p.Failures > 1 && strings.Contains(p.Err.Error(), "the database is of cluster one, and this is cluster two")
	})
	g.want("a=ann/1")
	g.stop()
}

func (f *sqlFixture) run(statement string) {
	f.Helper()
	if _, err := f.db.Exec(statement); err != nil {
		f.Fatal(err)
	}
}

func (f *sqlFixture) eventually(what string, is func() bool) {
	f.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			f.Fatalf("waited in vain until %s: %v", what, f.worker.Report())
		}
	}
}
