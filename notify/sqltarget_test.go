package notify_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/juju/clock"
	_ "modernc.org/sqlite"

	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/projection"
	"github.com/interrex/interrex/watch"
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
	db, err := sql.Open("sqlite", file+"?_pragma=busy_timeout(10000)") // the worker writes to it too
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	h, err := projection.Open(t.Context(), db, projection.SQLite)
	if err != nil {
		t.Fatal(err)
	}
	worker, err := notify.NewWorker(notify.Config{
		Source: w.ring, Leases: w, State: w, Target: notify.NewTarget(h, nil), Clock: clock.WallClock,
		MinRetry: time.Millisecond, MaxRetry: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &sqlFixture{T: t, world: w, db: db, worker: worker}
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
		f.Fatal(err)
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
	w.restore("two", 7, "b", "c")
	w.claim("d", "dan")
	f.want("b=restored/7 c=restored/7 d=dan/8")
	f.stop()
}

// Another program drops the table under the worker; it is told on when the
// table is there again.
func TestBrokenDatabaseStopsNobodyAndIsCaughtUp(t *testing.T) {
	w := newWorld()
	w.ring = watch.New(watch.Config{})
	defer w.ring.Close()
	f := startSQL(t, w, filepath.Join(t.TempDir(), "lease-holders.db"))
	w.claim("a", "ann")
	f.want("a=ann/1")
	if _, err := f.db.Exec("ALTER TABLE lease_holders RENAME TO away"); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		w.claim(fmt.Sprint("k", i%3), "kay")
	}
	if _, err := f.db.Exec("ALTER TABLE away RENAME TO lease_holders"); err != nil {
		t.Fatal(err)
	}
	f.want("a=ann/1 k0=kay/101 k1=kay/99 k2=kay/100")
	f.stop()
}
