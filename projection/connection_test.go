package projection

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
)

// failing is a database that does nothing of what is asked for.
type failing struct {
	until  time.Time // the deadline of the last statement
	opened int
}

func (f *failing) Connect(context.Context) (driver.Conn, error) {
	f.opened++
	return connection{f}, nil
}

func (f *failing) Driver() driver.Driver { return nil }

type connection struct{ *failing }

var errNot = errors.New("not here")

func (c connection) Prepare(string) (driver.Stmt, error) { return nil, errNot }
func (c connection) Begin() (driver.Tx, error)           { return c, nil }
func (c connection) Close() error                        { return nil }
func (c connection) Commit() error                       { return nil }
func (c connection) Rollback() error                     { return nil }

// ExecContext does all but the end of a transaction.
func (c connection) ExecContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	if strings.HasPrefix(query, "ROLLBACK") {
		return nil, errNot
	}
	return driver.RowsAffected(1), nil
}

func (c connection) QueryContext(ctx context.Context, _ string, _ []driver.NamedValue) (driver.Rows, error) {
	c.until, _ = ctx.Deadline()
	return nil, errNot
}

func TestAFenceHasATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &failing{}
		db := sql.OpenDB(f)
		defer db.Close()
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		if err := Fence(tx, interrex.Key{Namespace: "jobs", Name: "db"}, 1); !errors.Is(err, errNot) || !f.until.Equal(time.Now().Add(10*time.Second)) {
			t.Errorf("it may take until %v: %v", f.until, err)
		}
	})
}

// What is left of a transaction that cannot be rolled back is nothing to begin
// another one on.
func TestAConnectionWhoseTransactionDoesNotEndIsNotUsedAgain(t *testing.T) {
	f := &failing{}
	d := &database{dialect: PostgreSQL, open: func() (*sql.DB, error) { return sql.OpenDB(f), nil }}
	defer d.close()
	for n := 1; n <= 2; n++ {
		if err := d.transact(t.Context(), func(*sql.Conn) error { return errNot }); !errors.Is(err, errNot) || f.opened != n {
			t.Errorf("transaction %d is on connection %d: %v", n, f.opened, err)
		}
	}
}

func TestAClosedCopyIsNotOpenedAgain(t *testing.T) {
	f := &failing{}
	opened := 0
	h := &Holders{database{dialect: PostgreSQL, open: func() (*sql.DB, error) { opened++; return sql.OpenDB(f), nil }}}
	if _, err := h.Position(t.Context()); !errors.Is(err, errNot) {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Position(t.Context()); err == nil || !strings.Contains(err.Error(), "the database is closed") || opened != 1 {
		t.Errorf("it was opened %d times: %v", opened, err)
	}
}
