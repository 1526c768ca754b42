package projection

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"time"

	"github.com/interrex/interrex"
)

// Replace makes the copy equal to all existing leases: it creates tables that are
// missing or of an older version, compares page by page, writes what differs and
// removes what is gone, in one transaction, and returns the number of changed
// rows. A copy of another cluster or of a later epoch is left untouched, and the
// error is ErrConflict.
//
// The pages have the leases in the order of their keys; at is the position before
// the first page was read, and a later page may show a later state: repeating the
// events after at corrects that. Going back within a history does nothing.
func (h *Holders) Replace(ctx context.Context, at Position, pages iter.Seq2[[]Holder, error]) (mended int, err error) {
	err = h.transact(ctx, func(conn *sql.Conn) error {
		later, err := h.prepare(ctx, conn, at)
		if err != nil || later {
			return err
		}
		r := replacement{writer: writer{ctx, conn, h.dialect}}
		for page, err := range pages {
			if err != nil {
				return err
			}
			if err := r.page(page); err != nil {
				return err
			}
		}
		if err := r.rest(); err != nil {
			return err
		}
		mended = r.mended
		return h.move(ctx, conn, at)
	})
	if err != nil {
		return 0, fmt.Errorf("cannot repair the lease holders at revision %d: %w", at.Revision, err)
	}
	h.trust()
	return mended, nil
}

// prepare ensures that there is a copy that may be replaced, and reports whether it is
// a later one of that history.
func (h *Holders) prepare(ctx context.Context, conn *sql.Conn, at Position) (later bool, err error) {
	sound := h.trusted()
	if !sound {
		if err := quickCheck(ctx, conn); err != nil {
			return false, err
		}
	}
	stored, err := h.readStored(ctx, conn)
	if err == nil {
		err = at.History.mayReplace(stored.History)
	}
	if err != nil {
		return false, err
	}
	if !stored.whole {
		return false, runAll(ctx, conn, schema(h.dialect))
	}
	if later = stored.History == at.History && stored.Revision > at.Revision; later && !sound {
		return false, interrex.Errorf(interrex.ErrUnavailable, "the copy is at revision %d already, and must be compared", stored.Revision)
	}
	return later, nil
}

// replacement walks through the rows and the pages in parallel.
type replacement struct {
	writer
	after  interrex.Key // rows up to here are correct
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
	var changes []change
	for _, want := range page {
		have, there := rows[want.Key]
		delete(rows, want.Key)
		if !there || have != scanned(want) {
			changes = append(changes, change{Holder: want})
		}
	}
	for _, gone := range rows {
		changes = append(changes, change{Holder: gone, ended: true})
	}
	r.after = last
	r.mended += len(changes)
	return r.write(put, changes)
}

// rest removes the rows after the last page.
func (r *replacement) rest() error {
	n, err := changed(r.conn.ExecContext(r.ctx,
		r.dialect.repeat("DELETE FROM lease_holders WHERE (namespace, name) > (@, @)", "", 1), r.after.Namespace, r.after.Name))
	r.mended += int(n)
	return err
}

// rows reads the rows after after, up to last.
func (r *replacement) rows(last interrex.Key) (map[interrex.Key]Holder, error) {
	rows, err := r.conn.QueryContext(r.ctx, r.dialect.repeat(`SELECT namespace, name, holder, token, ttl_ms, acquired_at
		FROM lease_holders WHERE (namespace, name) > (@, @) AND (namespace, name) <= (@, @)`, "", 1),
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

// scan reads a row except its revision, which is not compared: the revision of a list's
// lease is that of its grant, and that of a row may be a later one.
func scan(rows *sql.Rows) (h Holder, err error) {
	var token, ttl int64
	var acquired stamp
	err = rows.Scan(&h.Key.Namespace, &h.Key.Name, &h.Holder, &token, &ttl, &acquired)
	h.Token, h.TTL = interrex.Token(token), time.Duration(ttl)*time.Millisecond
	h.AcquiredAt = time.Time(acquired)
	return h, err
}

// scanned returns h as scan would return it.
func scanned(h Holder) Holder {
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
		return fmt.Errorf("%T is not a time", v)
	}
	return nil
}
