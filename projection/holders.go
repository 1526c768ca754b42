package projection

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/interrex/interrex"
)

// Holder is one row: a lease and its holder.
//
// There is no time of expiry: an extend moves it and publishes nothing, so a
// copy of it would be wrong within a ttl.
type Holder struct {
	Key        interrex.Key
	Holder     string
	Token      interrex.Token
	TTL        time.Duration     // kept in milliseconds
	AcquiredAt time.Time         // the granting leader's wall clock, kept in microseconds
	Revision   interrex.Revision // of the change that wrote the row
}

// Position is how far the copy has advanced, and in which history. The zero
// Position is that of a copy that Replace has to create.
type Position struct {
	Revision interrex.Revision
	History  History
	// Unproved reports that Replace has not compared the copy since it was opened:
	// SQLite's file is not synced.
	Unproved bool
}

// Holders is the copy of lease holders in one database. Several may share a
// database, also in several processes: they take turns.
type Holders struct{ database }

// Open opens the copy: the tables lease_holders, for anyone to read, and
// lease_holders_position. Replace creates them if they are missing. The function
// open returns a pool that Holders closes; it is called again when SQLite's file
// was moved away or is damaged.
func Open(ctx context.Context, open func() (*sql.DB, error), dialect Dialect) (*Holders, error) {
	h := &Holders{database{dialect: dialect, open: open}}
	err := dialect.check()
	if err == nil {
		err = h.connect(ctx, func(conn *sql.Conn) error { return conn.PingContext(ctx) })
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the lease holders: %w", errors.Join(err, h.close()))
	}
	return h, nil
}

// Close closes the database.
func (h *Holders) Close() error { return h.close() }

// Position returns how far the copy has advanced.
func (h *Holders) Position(ctx context.Context) (p Position, err error) {
	err = h.connect(ctx, func(conn *sql.Conn) error {
		stored, err := h.readStored(ctx, conn)
		if stored.whole {
			p = stored.Position
			p.Unproved = !h.trusted()
		}
		return err
	})
	if err != nil {
		return Position{}, fmt.Errorf("cannot read the lease holders' position: %w", err)
	}
	return p, nil
}

// Update advances the copy to a position: fn reports what happened since the
// stored one, in order and without a gap. Rows and position change in one
// transaction. Repeating an update, also with further changes, is harmless. An
// update to the copy's position or an earlier one does nothing. If its history is
// not the copy's, or before the first Replace, the error is ErrConflict: call
// Replace.
func (h *Holders) Update(ctx context.Context, to Position, fn func(*Batch) error) error {
	b := &Batch{at: map[interrex.Key]int{}}
	err := fn(b)
	if err == nil {
		err = h.transact(ctx, func(conn *sql.Conn) error {
			stored, err := h.readStored(ctx, conn)
			switch {
			case err != nil:
				return err
			case !stored.whole || !h.trusted() || stored.History != to.History:
				return interrex.Errorf(interrex.ErrConflict, "the copy is of history %q, not %q: replace it", stored.History, to.History)
			case stored.Revision >= to.Revision:
				return nil
			}
			if err := (writer{ctx, conn, h.dialect}).write(putNewer, b.sorted()); err != nil {
				return err
			}
			return h.move(ctx, conn, to)
		})
	}
	if err != nil {
		return fmt.Errorf("cannot update the lease holders to revision %d: %w", to.Revision, err)
	}
	return nil
}

// move writes a position.
func (h *Holders) move(ctx context.Context, conn *sql.Conn, to Position) error {
	_, err := conn.ExecContext(ctx, h.dialect.repeat("UPDATE lease_holders_position SET history = @, revision = @", "", 1),
		to.History.String(), int64(to.Revision))
	return err
}

// stored is the position and the condition of a copy.
type stored struct {
	Position
	whole bool // both tables exist, in this version
}

// readStored reads the position of the copy. A copy of a later version is an error.
func (h *Holders) readStored(ctx context.Context, conn *sql.Conn) (k stored, err error) {
	there := map[string]bool{}
	for _, table := range []string{"lease_holders", "lease_holders_position"} {
		var is bool
		if err := conn.QueryRowContext(ctx, h.dialect.there(table)).Scan(&is); err != nil {
			return k, err
		}
		there[table] = is
	}
	if !there["lease_holders_position"] {
		return k, nil
	}
	var found, revision int64
	var history string
	err = conn.QueryRowContext(ctx, "SELECT version, history, revision FROM lease_holders_position WHERE id = 1").Scan(&found, &history, &revision)
	if errors.Is(err, sql.ErrNoRows) {
		return k, nil
	}
	if err != nil {
		return k, err
	}
	if found > version {
		return k, fmt.Errorf("the database has version %d of the schema, and this build knows %d: a later version of interrex wrote it", found, version)
	}
	k.Revision, k.whole = interrex.Revision(revision), found == version && there["lease_holders"]
	k.History, err = parseHistory(history)
	return k, err
}
