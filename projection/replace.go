package projection

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"time"

	"github.com/interrex/interrex"
)

// Replace brings the copy in step with all the leases that there are: it
// compares page by page, writes what differs and removes what is gone, in one
// transaction, and says how many rows that were.
//
// The pages have the leases in the order of their keys; at is the position as
// it was before the first of them was read, and a later page may show a later
// state: the events after at, told again, mend that. Going back within a
// history does nothing.
func (h *Holders) Replace(ctx context.Context, at Position, pages iter.Seq2[[]Holder, error]) (mended int, err error) {
	err = h.transact(ctx, func(tx *sql.Tx) error {
		moved, err := changed(tx.ExecContext(ctx,
			"UPDATE lease_holders_position SET revision = $1, history = $2 WHERE id = 1 AND (revision <= $3 OR history <> $4)",
			int64(at.Revision), at.History, int64(at.Revision), at.History))
		if err != nil || moved == 0 {
			return err
		}
		r := replacement{ctx: ctx, tx: tx}
		for page, err := range pages {
			if err != nil {
				return err
			}
			if err := r.page(page); err != nil {
				return err
			}
		}
		err = r.rest()
		mended = r.mended
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cannot mend the lease holders at revision %d: %w", at.Revision, err)
	}
	return mended, nil
}

// replacement walks through the rows and the pages side by side.
type replacement struct {
	ctx    context.Context
	tx     *sql.Tx
	after  interrex.Key // rows up to here are as they should be
	mended int
}

// page compares the rows from after to the page's end with the page.
func (r *replacement) page(page []Holder) error {
	if len(page) == 0 {
		return nil
	}
	last := page[len(page)-1].Key
	rows, err := r.rows(last)
	if err != nil {
		return err
	}
	for _, want := range page {
		have, there := rows[want.Key]
		delete(rows, want.Key)
		if there && have == kept(want) {
			continue
		}
		if _, err := r.tx.ExecContext(r.ctx, upsert, row(want)...); err != nil {
			return err
		}
		r.mended++
	}
	for key := range rows {
		if _, err := r.tx.ExecContext(r.ctx, "DELETE FROM lease_holders WHERE key = $1", key.String()); err != nil {
			return err
		}
		r.mended++
	}
	r.after = last
	return nil
}

// rest removes the rows behind the last page.
func (r *replacement) rest() error {
	n, err := changed(r.tx.ExecContext(r.ctx,
		"DELETE FROM lease_holders WHERE (namespace, name) > ($1, $2)", r.after.Namespace, r.after.Name))
	r.mended += int(n)
	return err
}

// rows reads the rows behind after, up to last.
func (r *replacement) rows(last interrex.Key) (map[interrex.Key]Holder, error) {
	rows, err := r.tx.QueryContext(r.ctx, `SELECT namespace, name, holder, token, ttl_ms, acquired_at
		FROM lease_holders WHERE (namespace, name) > ($1, $2) AND (namespace, name) <= ($3, $4)`,
		r.after.Namespace, r.after.Name, last.Namespace, last.Name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[interrex.Key]Holder)
	for rows.Next() {
		h, err := scan(rows)
		if err != nil {
			return nil, err
		}
		found[h.Key] = h
	}
	return found, rows.Err()
}

// scan reads a row but for its revision, which is not compared: a list does
// not know of every change that left holder and token as they were.
func scan(rows *sql.Rows) (h Holder, err error) {
	var token, ttl int64
	var acquired stamp
	err = rows.Scan(&h.Key.Namespace, &h.Key.Name, &h.Holder, &token, &ttl, &acquired)
	h.Token, h.TTL = interrex.Token(token), time.Duration(ttl)*time.Millisecond
	h.AcquiredAt = time.Time(acquired)
	return h, err
}

// kept is h as scan gives it back.
func kept(h Holder) Holder {
	h.TTL = h.TTL.Truncate(time.Millisecond)
	h.AcquiredAt = h.AcquiredAt.UTC().Truncate(time.Microsecond)
	h.Revision = 0
	return h
}

// stamp reads a time that is text in one dialect and a time in the other.
type stamp time.Time

// Scan implements sql.Scanner.
func (s *stamp) Scan(v any) error {
	switch v := v.(type) {
	case time.Time:
		*s = stamp(v.UTC())
	case string:
		t, err := time.Parse(time.RFC3339Nano, v)
		*s = stamp(t.UTC())
		return err
	default:
		return fmt.Errorf("%T is no time", v)
	}
	return nil
}
