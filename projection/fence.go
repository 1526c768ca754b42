package projection

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"time"

	"github.com/interrex/interrex"
)

// fenceTimeout bounds Fence, which may wait for a transaction under another
// token.
const fenceTimeout = 10 * time.Second

const createFences = `CREATE TABLE IF NOT EXISTS interrex_fences (
	key   TEXT PRIMARY KEY,
	token BIGINT NOT NULL)`

// raise stores the highest token. An equal one is written too: that locks the row, so
// that two tokens can never overtake each other.
const raise = `INSERT INTO interrex_fences (key, token) VALUES ($1, $2)
	ON CONFLICT (key) DO UPDATE SET token = excluded.token WHERE excluded.token >= interrex_fences.token`

// Fence makes a transaction of the caller's own database that of the holder of
// key under token: it fails with ErrNotHeld if a transaction under a higher
// token has been committed there, and stores the highest token, in the table
// interrex_fences, which it creates if needed. If two race, the one with the
// lower token commits first or not at all, and the other has read nothing older.
//
// It works with SQLite and PostgreSQL, and the caller rolls back on any error,
// also one of Commit. Call it first, once for each transaction. At READ
// COMMITTED, PostgreSQL's default, anything else is ErrInvalid, because what was
// read before may be old. At REPEATABLE READ and SERIALIZABLE, and in SQLite, it
// may come anywhere and be called for several keys; if something was read too
// early, Fence or Commit fails.
//
// The token stays behind when the lease ends: never delete a row of a key that
// will be leased again. Fence fails after 10 s; in SQLite the
// connection's busy_timeout counts too.
func Fence(tx *sql.Tx, key interrex.Key, token interrex.Token) error {
	ctx, cancel := context.WithTimeout(context.Background(), fenceTimeout)
	defer cancel()
	return FenceContext(ctx, tx, key, token)
}

// FenceContext is Fence with a context in place of the 10 s.
func FenceContext(ctx context.Context, tx *sql.Tx, key interrex.Key, token interrex.Token) error {
	if err := key.Validate(); err != nil {
		return err
	}
	if token == 0 || token > math.MaxInt64 {
		return interrex.Errorf(interrex.ErrInvalid, "cannot fence %s: %d is not a token", key, token)
	}
	f := fence{ctx, tx, key}
	if err := f.readsNothingOld(); err != nil {
		return err
	}
	raised, err := f.raise(token)
	if err != nil {
		// The table may be missing. In PostgreSQL this fails if another process
		// creates it at the same time, which is just as good.
		_, createErr := f.try(createFences)
		if raised, err = f.raise(token); err != nil {
			return f.unavailable(errors.Join(err, createErr))
		}
	}
	if raised == 0 {
		return interrex.Errorf(interrex.ErrNotHeld, "cannot continue under token %d: a higher token of %s has written to this database", token, key)
	}
	return nil
}

type fence struct {
	ctx context.Context
	tx  *sql.Tx
	key interrex.Key
}

// readsNothingOld rejects a transaction that may have read rows that were changed
// since, unless the database itself fails such a transaction.
func (f fence) readsNothingOld() error {
	var level string
	if err := f.tx.QueryRowContext(f.ctx, "SHOW transaction_isolation").Scan(&level); err != nil {
		return f.sqlite(err)
	}
	if level != "read committed" && level != "read uncommitted" {
		return nil // a transaction with an old snapshot cannot write the row
	}
	// PostgreSQL lets a transaction change its level until its first query.
	if _, err := f.tx.ExecContext(f.ctx, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"); err != nil {
		return interrex.Errorf(interrex.ErrInvalid,
			"cannot fence %s: at READ COMMITTED it must be the first statement of the transaction, and the only fence: "+
				"call it first, or begin at REPEATABLE READ: %v", f.key, err).WithCause(err)
	}
	if _, err := f.tx.ExecContext(f.ctx, "SET TRANSACTION ISOLATION LEVEL "+level); err != nil {
		return f.unavailable(err)
	}
	return nil
}

// sqlite continues after PostgreSQL's statement has failed. In SQLite a transaction
// that has read too early cannot write, unless it also reads uncommitted rows.
func (f fence) sqlite(notPostgres error) error {
	var dirty bool
	if err := f.tx.QueryRowContext(f.ctx, "PRAGMA read_uncommitted").Scan(&dirty); err != nil {
		return f.unavailable(errors.Join(notPostgres, err))
	}
	if dirty {
		return interrex.Errorf(interrex.ErrInvalid, "cannot fence %s: PRAGMA read_uncommitted is on", f.key)
	}
	return nil
}

func (f fence) unavailable(err error) error {
	return interrex.Errorf(interrex.ErrUnavailable, "cannot fence %s: %v", f.key, err).WithCause(err)
}

func (f fence) raise(token interrex.Token) (int64, error) {
	return f.try(raise, f.key.String(), int64(token))
}

// try runs one statement so that the transaction survives its failure, which
// in PostgreSQL takes a savepoint.
func (f fence) try(statement string, args ...any) (int64, error) {
	if _, err := f.tx.ExecContext(f.ctx, "SAVEPOINT interrex_fence"); err != nil {
		return 0, err
	}
	n, err := changed(f.tx.ExecContext(f.ctx, statement, args...))
	if err != nil {
		_, undo := f.tx.ExecContext(f.ctx, "ROLLBACK TO SAVEPOINT interrex_fence")
		err = errors.Join(err, undo)
	}
	_, release := f.tx.ExecContext(f.ctx, "RELEASE SAVEPOINT interrex_fence")
	return n, errors.Join(err, release)
}
