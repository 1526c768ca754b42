package projection

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/interrex/interrex"
)

// Batch collects one update: the last change of each key. It is valid during the
// call that it is passed to.
type Batch struct {
	changes []change
	at      map[interrex.Key]int // index of a key's change
}

// change is the change of a key: it has a new holder, or its lease has ended.
type change struct {
	Holder
	ended bool
}

// Claimed records that a lease has a new holder: by claim, takeover or transfer.
// It changes nothing if the row has that token or a higher one.
func (b *Batch) Claimed(h Holder) error { return b.add(change{Holder: h}) }

// Ended records that the lease of key under this token has ended. It changes
// nothing if there is no row, or one with a higher token.
func (b *Batch) Ended(key interrex.Key, token interrex.Token) error {
	return b.add(change{Holder: Holder{Key: key, Token: token}, ended: true})
}

func (b *Batch) add(c change) error {
	i, found := b.at[c.Key]
	if !found {
		b.at[c.Key] = len(b.changes)
		b.changes = append(b.changes, c)
		return nil
	}
	if last := b.changes[i]; c.Token > last.Token || c.Token == last.Token && c.ended {
		b.changes[i] = c
	}
	return nil
}

// sorted returns the changes in the order of their keys, because neighbours share a
// page of the database.
func (b *Batch) sorted() []change {
	b.at = nil
	slices.SortFunc(b.changes, func(a, b change) int { return a.Key.Compare(b.Key) })
	return b.changes
}

// statement is the text before, for, and after the changes of a statement.
type statement struct{ head, unit, separator, tail string }

var (
	put = statement{
		"INSERT INTO lease_holders (namespace, name, holder, token, ttl_ms, acquired_at, revision) VALUES ",
		"(@, @, @, @, @, @, @)", ", ",
		` ON CONFLICT (namespace, name) DO UPDATE SET holder = excluded.holder, token = excluded.token,
			ttl_ms = excluded.ttl_ms, acquired_at = excluded.acquired_at, revision = excluded.revision`,
	}
	putNewer = statement{put.head, put.unit, put.separator, put.tail + " WHERE excluded.token > lease_holders.token"}
	remove   = statement{"DELETE FROM lease_holders WHERE ", "(namespace = @ AND name = @ AND token <= @)", " OR ", ""}
)

// atOnce is the number of changes of one statement: with more, the drivers of SQLite
// become slower.
const atOnce = 16

// writer makes changes within a transaction.
type writer struct {
	ctx     context.Context
	conn    *sql.Conn
	dialect Dialect
}

// write writes the holders with the statement put, and removes the ended leases.
func (w writer) write(put statement, changes []change) error {
	if err := w.run(put, changes, false, appendRow); err != nil {
		return fmt.Errorf("cannot write new lease holders: %w", err)
	}
	if err := w.run(remove, changes, true, appendEnd); err != nil {
		return fmt.Errorf("cannot remove ended leases from the lease holders: %w", err)
	}
	return nil
}

// run runs a statement for the changes that are ends, or for the others. A full one is
// prepared, because parsing it costs as much as running it.
func (w writer) run(s statement, changes []change, ended bool, appendArgs func([]any, Holder) []any) (err error) {
	text := func(n int) string { return s.head + w.dialect.repeat(s.unit, s.separator, n) + s.tail }
	var full *sql.Stmt
	defer func() {
		if full != nil {
			err = errors.Join(err, full.Close())
		}
	}()
	var args []any
	n := 0
	for _, c := range changes {
		if c.ended != ended {
			continue
		}
		args = appendArgs(args, c.Holder)
		if n++; n < atOnce {
			continue
		}
		if full == nil {
			if full, err = w.conn.PrepareContext(w.ctx, text(atOnce)); err != nil {
				return err
			}
		}
		if _, err := full.ExecContext(w.ctx, args...); err != nil {
			return err
		}
		args, n = args[:0], 0
	}
	if n > 0 {
		_, err = w.conn.ExecContext(w.ctx, text(n), args...)
	}
	return err
}

// appendRow returns the arguments of put.
func appendRow(args []any, h Holder) []any {
	return append(args, h.Key.Namespace, h.Key.Name, h.Holder, int64(h.Token),
		h.TTL.Milliseconds(), moment(h.AcquiredAt), int64(h.Revision))
}

// appendEnd returns the arguments of remove.
func appendEnd(args []any, h Holder) []any {
	return append(args, h.Key.Namespace, h.Key.Name, int64(h.Token))
}

// moment formats a time as text that sorts, and that both dialects accept.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
