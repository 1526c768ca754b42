package projection

import (
	"context"
	"database/sql"
	"errors"
	"math"

	"github.com/interrex/interrex"
)

const createFences = `CREATE TABLE IF NOT EXISTS interrex_fences (
	key   TEXT PRIMARY KEY,
	token BIGINT NOT NULL)`

// raise keeps the highest token. An equal one is written too: that locks the
// row, so that two tokens can never pass each other.
const raise = `INSERT INTO interrex_fences (key, token) VALUES ($1, $2)
	ON CONFLICT (key) DO UPDATE SET token = excluded.token WHERE excluded.token >= interrex_fences.token`

// Fence makes a transaction of the caller's own database that of the holder of
// key under token: it is KindNotHeld when a transaction under a higher token
// has been committed there, and remembers the highest, in the table
// interrex_fences, which it makes if need be. Of two that race, the one with
// the lower token commits first or not at all.
//
// The caller rolls back on any error, also one of Commit. It works with SQLite
// and PostgreSQL, at every isolation level. The token stays behind when the
// lease ends: never delete a row of a key that will be leased again.
func Fence(tx *sql.Tx, key interrex.Key, token interrex.Token) error {
	return FenceContext(context.Background(), tx, key, token)
}

// FenceContext is Fence with a context for its statements: Fence has that of
// the transaction alone.
func FenceContext(ctx context.Context, tx *sql.Tx, key interrex.Key, token interrex.Token) error {
	if err := key.Validate(); err != nil {
		return err
	}
	if token == 0 || token > math.MaxInt64 {
		return interrex.Errorf(interrex.KindInvalid, "cannot fence %s: %d is no token", key, token)
	}
	f := fence{ctx, tx}
	raised, err := f.raise(key, token)
	if err != nil {
		// The table may be missing. Somebody else may make it at this moment,
		// which fails here in PostgreSQL, and is as good.
		_, createErr := f.try(createFences)
		if raised, err = f.raise(key, token); err != nil {
			return interrex.Errorf(interrex.KindUnavailable, "cannot fence %s: %v", key, err).
				WithCause(errors.Join(err, createErr))
		}
	}
	if raised == 0 {
		return interrex.Errorf(interrex.KindNotHeld, "cannot go on under token %d: a higher one of %s has written here", token, key)
	}
	return nil
}

type fence struct {
	ctx context.Context
	tx  *sql.Tx
}

func (f fence) raise(key interrex.Key, token interrex.Token) (int64, error) {
	return f.try(raise, key.String(), int64(token))
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
