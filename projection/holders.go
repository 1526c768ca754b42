package projection

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/interrex/interrex"
)

// Holder is one row: a lease and who holds it.
//
// There is no time of expiry: an extend moves it and publishes nothing, so a
// copy of it would be wrong within a ttl.
type Holder struct {
	Key        interrex.Key
	Holder     string
	Token      interrex.Token
	TTL        time.Duration     // kept in milliseconds
	AcquiredAt time.Time         // the granting leader's wall clock, kept in microseconds
	Revision   interrex.Revision // of the change that made the row so
}

// Position says how far the copy has come, in which history. The zero
// Position is that of a new copy.
type Position struct {
	Revision interrex.Revision
	History  string // which cluster, and which of its epochs
}

// Holders is the copy of lease holders in one database. Several may share a
// database, also in several processes: they take turns.
type Holders struct {
	db      *sql.DB
	dialect Dialect
}

// Open makes what is missing of the schema: the tables lease_holders (for
// everybody to read), lease_holders_position and interrex_fences. db stays the
// caller's, to be closed after the last use of Holders.
func Open(ctx context.Context, db *sql.DB, dialect Dialect) (*Holders, error) {
	statements, err := dialect.schema()
	if err != nil {
		return nil, fmt.Errorf("cannot open the lease holders: %w", err)
	}
	h := &Holders{db: db, dialect: dialect}
	if err := h.install(ctx, statements); err != nil {
		return nil, fmt.Errorf("cannot open the lease holders: %w", err)
	}
	return h, nil
}

// install runs the statements of the schema: in one transaction, but in SQLite,
// where one that has begun to read cannot wait for the lock to write.
func (h *Holders) install(ctx context.Context, statements []string) error {
	if h.dialect == PostgreSQL {
		return h.transact(ctx, func(tx *sql.Tx) error { return runAll(ctx, tx, statements) })
	}
	return h.connect(ctx, func(conn *sql.Conn) error { return runAll(ctx, conn, statements) })
}

// database is a connection or a transaction.
type database interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func runAll(ctx context.Context, db database, statements []string) error {
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return checkVersion(ctx, db)
}

func checkVersion(ctx context.Context, db database) error {
	var found int
	if err := db.QueryRowContext(ctx, "SELECT version FROM lease_holders_position").Scan(&found); err != nil {
		return err
	}
	if found != version {
		return fmt.Errorf("the database has version %d of the schema, and only %d is known here", found, version)
	}
	return nil
}

// Position says how far the copy has come.
func (h *Holders) Position(ctx context.Context) (Position, error) {
	p, err := position(ctx, h.db)
	if err != nil {
		return Position{}, fmt.Errorf("cannot read the lease holders' position: %w", err)
	}
	return p, nil
}

// Update moves the copy on to a position: fn tells what happened since the
// one that is kept, in order and without a gap. Rows and position change in
// one transaction. It is harmless to tell again what has been told, alone or
// with more behind it. An update to where the copy is, or before, does
// nothing. Of another history than the copy's it is KindConflict: Replace.
func (h *Holders) Update(ctx context.Context, to Position, fn func(*Batch) error) error {
	err := h.transact(ctx, func(tx *sql.Tx) error {
		// The first statement writes: that puts those who share the database
		// in line, in both dialects.
		moved, err := changed(tx.ExecContext(ctx,
			"UPDATE lease_holders_position SET revision = $1 WHERE id = 1 AND revision < $2 AND history = $3",
			int64(to.Revision), int64(to.Revision), to.History))
		if err != nil {
			return err
		}
		if moved == 0 {
			return sameHistory(ctx, tx, to)
		}
		return fn(&Batch{ctx: ctx, tx: tx})
	})
	if err != nil {
		return fmt.Errorf("cannot update the lease holders to revision %d: %w", to.Revision, err)
	}
	return nil
}

func sameHistory(ctx context.Context, tx *sql.Tx, to Position) error {
	kept, err := position(ctx, tx)
	if err == nil && kept.History != to.History {
		err = interrex.Errorf(interrex.KindConflict, "the copy is of history %q, not %q: replace it", kept.History, to.History)
	}
	return err
}

func position(ctx context.Context, db database) (p Position, err error) {
	var revision int64
	err = db.QueryRowContext(ctx, "SELECT history, revision FROM lease_holders_position WHERE id = 1").
		Scan(&p.History, &revision)
	p.Revision = interrex.Revision(revision)
	return p, err
}

// connect runs fn on a connection that waits for those who share the database,
// whatever the pool has done since.
func (h *Holders) connect(ctx context.Context, fn func(*sql.Conn) error) (err error) {
	conn, err := h.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if h.dialect == SQLite {
		if _, err := conn.ExecContext(ctx, "PRAGMA busy_timeout = 5000"); err != nil {
			return err
		}
	}
	return fn(conn)
}

// transact runs fn in one transaction.
func (h *Holders) transact(ctx context.Context, fn func(*sql.Tx) error) error {
	return h.connect(ctx, func(conn *sql.Conn) error {
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if err := fn(tx); err != nil {
			return errors.Join(err, ignoreDone(tx.Rollback()))
		}
		return tx.Commit()
	})
}

// ignoreDone drops the error of a rollback that the end of a context has done
// before.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// changed says how many rows a statement changed.
func changed(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
