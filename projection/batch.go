package projection

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/interrex/interrex"
)

// Batch is one update under way. It lives as long as the call that it was
// given to.
type Batch struct {
	ctx context.Context // of the transaction
	tx  *sql.Tx

	// Prepared at their first use, since to read a statement costs as much as
	// to run it. The transaction closes them.
	claim, end *sql.Stmt
}

const upsert = `INSERT INTO lease_holders (key, namespace, name, holder, token, ttl_ms, acquired_at, revision)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
	ON CONFLICT (key) DO UPDATE SET holder = excluded.holder, token = excluded.token,
		ttl_ms = excluded.ttl_ms, acquired_at = excluded.acquired_at, revision = excluded.revision`

// Claimed says that a lease has a new holder: by claim, takeover or transfer.
// It changes nothing where a row stands with that token or a higher one.
func (b *Batch) Claimed(h Holder) error {
	err := b.run(&b.claim, upsert+" WHERE excluded.token > lease_holders.token", row(h)...)
	if err != nil {
		return fmt.Errorf("cannot put %s, held by %s, into the lease holders: %w", h.Key, h.Holder, err)
	}
	return nil
}

// Ended says that the lease of key that had this token is over. It changes
// nothing where none stands, or one with a higher token.
func (b *Batch) Ended(key interrex.Key, token interrex.Token) error {
	err := b.run(&b.end, "DELETE FROM lease_holders WHERE key = $1 AND token <= $2",
		key.String(), int64(token))
	if err != nil {
		return fmt.Errorf("cannot take %s out of the lease holders: %w", key, err)
	}
	return nil
}

// run runs a statement, which it prepares if that has not been done.
func (b *Batch) run(s **sql.Stmt, query string, args ...any) (err error) {
	if *s == nil {
		if *s, err = b.tx.PrepareContext(b.ctx, query); err != nil {
			return err
		}
	}
	_, err = (*s).ExecContext(b.ctx, args...)
	return err
}

// row gives a holder as the arguments of upsert.
func row(h Holder) []any {
	return []any{
		h.Key.String(), h.Key.Namespace, h.Key.Name, h.Holder, int64(h.Token),
		h.TTL.Milliseconds(), moment(h.AcquiredAt), int64(h.Revision),
	}
}

// moment is a time as text that sorts, which both dialects take.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
