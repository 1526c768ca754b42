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

// Batch gathers one update: of each key, the last that was told of it. It lives
// as long as the call that it was given to.
type Batch struct {
	changes map[interrex.Key]change
}

// change is what happened to a key: it has a new holder, or none any more.
type change struct {
	Holder
	ended bool
}

// Claimed says that a lease has a new holder: by claim, takeover or transfer.
// It changes nothing where a row stands with that token or a higher one.
func (b *Batch) Claimed(h Holder) error { return b.add(change{Holder: h}) }

// Ended says that the lease of key that had this token is over. It changes
// nothing where none stands, or one with a higher token.
func (b *Batch) Ended(key interrex.Key, token interrex.Token) error {
	return b.add(change{Holder: Holder{Key: key, Token: token}, ended: true})
}

func (b *Batch) add(c change) error {
	last, told := b.changes[c.Key]
	if !told || c.Token > last.Token || c.Token == last.Token && c.ended {
		b.changes[c.Key] = c
	}
	return nil
}

// sorted gives the changes in the order of their keys, in which neighbours
// share a page of the database.
func (b *Batch) sorted() []change {
	all := make([]change, 0, len(b.changes))
	for _, c := range b.changes {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b change) int { return a.Key.Compare(b.Key) })
	return all
}

// The statements: the text in front of, for, and behind the changes that it
// makes.
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

// atOnce is how many changes one statement makes: with more, the drivers of
// SQLite become slower again.
const atOnce = 16

// writer makes changes within a transaction.
type writer struct {
	ctx     context.Context
	conn    *sql.Conn
	dialect Dialect
}

// write puts the holders in by a statement, and removes what has ended.
func (w writer) write(put statement, changes []change) error {
	var held, ended [][]any
	for _, c := range changes {
		if c.ended {
			ended = append(ended, []any{c.Key.Namespace, c.Key.Name, int64(c.Token)})
		} else {
			held = append(held, row(c.Holder))
		}
	}
	if err := w.run(put, held); err != nil {
		return fmt.Errorf("cannot put %d into the lease holders: %w", len(held), err)
	}
	if err := w.run(remove, ended); err != nil {
		return fmt.Errorf("cannot take %d out of the lease holders: %w", len(ended), err)
	}
	return nil
}

// run runs a statement for all rows of arguments. A full one is prepared: to
// read it costs as much as to run it.
func (w writer) run(s statement, rows [][]any) (err error) {
	text := func(n int) string { return s.head + w.dialect.repeat(s.unit, s.separator, n) + s.tail }
	if len(rows) >= atOnce {
		full, err := w.conn.PrepareContext(w.ctx, text(atOnce))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, full.Close()) }()
		for ; len(rows) >= atOnce; rows = rows[atOnce:] {
			if _, err := full.ExecContext(w.ctx, slices.Concat(rows[:atOnce]...)...); err != nil {
				return err
			}
		}
	}
	if len(rows) > 0 {
		_, err = w.conn.ExecContext(w.ctx, text(len(rows)), slices.Concat(rows...)...)
	}
	return err
}

// row gives a holder as the arguments of put.
func row(h Holder) []any {
	return []any{
		h.Key.Namespace, h.Key.Name, h.Holder, int64(h.Token),
		h.TTL.Milliseconds(), moment(h.AcquiredAt), int64(h.Revision),
	}
}

// moment is a time as text that sorts, which both dialects take.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
