package projection_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/projection"
)

// fenced runs one transaction of a user's own under a token.
func fenced(ctx context.Context, db *sql.DB, o *sql.TxOptions, token int, work func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, o)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := projection.Fence(tx, key("db"), interrex.Token(token)); err != nil {
		return err
	}
	if err := work(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func nothing(*sql.Tx) error { return nil }

func TestFenceLetsTokensOnlyRise(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		db := d.open(t) // of the user: no Open has been there
		for _, step := range []struct {
			token int
			want  error
		}{{5, nil}, {5, nil}, {4, interrex.ErrNotHeld}, {7, nil}, {5, interrex.ErrNotHeld}, {7, nil}} {
			if err := fenced(t.Context(), db, nil, step.token, nothing); !errors.Is(err, step.want) {
				t.Errorf("token %d: %v, want %v", step.token, err, step.want)
			}
		}
	})
}

func TestFencesOfKeysAreApart(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		db := d.open(t)
		for i, name := range []string{"a", "b", "it's"} {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(projection.Fence(tx, key(name), interrex.Token(9-i)), tx.Commit()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestFenceOfARolledBackTransactionIsForgotten(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		db, boom := d.open(t), errors.New("boom")
		if err := fenced(t.Context(), db, nil, 9, func(*sql.Tx) error { return boom }); !errors.Is(err, boom) {
			t.Fatal(err)
		}
		if err := fenced(t.Context(), db, nil, 5, nothing); err != nil {
			t.Error(err)
		}
	})
}

func TestFenceRefusesWhatIsNoTokenOrKey(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		tx, err := d.open(t).BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		for _, err := range []error{
			projection.Fence(tx, key("db"), 0),
			projection.Fence(tx, key("db"), math.MaxInt64+1),
			projection.Fence(tx, interrex.Key{}, 1),
		} {
			if !errors.Is(err, interrex.ErrInvalid) {
				t.Errorf("error = %v, want invalid", err)
			}
		}
		// The transaction is none the worse for it.
		if err := errors.Join(projection.Fence(tx, key("db"), math.MaxInt64), tx.Commit()); err != nil {
			t.Error(err)
		}
	})
}

func TestFenceFailsWithTheDatabaseItIsGiven(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		db := d.open(t)
		run(t, db, "CREATE TABLE interrex_fences (other TEXT)")
		if err := fenced(t.Context(), db, nil, 5, nothing); !errors.Is(err, interrex.ErrUnavailable) {
			t.Errorf("error = %v, want unavailable", err)
		}
	})
}

// A transaction that is under way under 5 is in front of one under 6, and one
// under 6 keeps the one under 5 from being committed at all.
func TestALowerTokenCommitsFirstOrNotAtAll(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		for _, first := range []int{5, 6} {
			t.Run(fmt.Sprint(first, " begins"), func(t *testing.T) {
				db := d.open(t)
				run(t, db, "DROP TABLE IF EXISTS interrex_fences")
				if err := fenced(t.Context(), db, nil, 1, nothing); err != nil {
					t.Fatal(err)
				}
				second := 11 - first
				ended := make(chan error, 1)
				err := fenced(t.Context(), db, nil, first, func(*sql.Tx) error {
					go func() { ended <- fenced(t.Context(), db, nil, second, nothing) }()
					select {
					case err := <-ended:
						return fmt.Errorf("the second did not wait: %w", err)
					case <-time.After(100 * time.Millisecond): // it stands at the database's lock
						return nil
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				err = <-ended
				if second == 6 && err != nil {
					t.Errorf("6 after 5: %v", err)
				}
				if second == 5 && err == nil {
					t.Error("5 was committed after 6")
				}
			})
		}
	})
}

// Many race for real, at each isolation level, over a table that is not there
// yet: in the order of commits, tokens never fall.
func TestRacingTokensNeverFall(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		levels := []sql.IsolationLevel{sql.LevelDefault}
		if d.dialect == projection.PostgreSQL {
			levels = []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable}
		}
		for _, level := range levels {
			t.Run(level.String(), func(t *testing.T) {
				db := d.open(t)
				run(t, db, "DROP TABLE IF EXISTS interrex_fences")
				run(t, db, "DROP TABLE IF EXISTS journal")
				run(t, db, "CREATE TABLE journal (at BIGINT PRIMARY KEY, token BIGINT NOT NULL)")
				race(t, db, &sql.TxOptions{Isolation: level})
				wantRising(t, db)
			})
		}
	})
}

// race has writers with tokens of their own each append to the journal. The
// journal's key makes its order that of the commits.
func race(t *testing.T, db *sql.DB, o *sql.TxOptions) {
	const writers, each = 6, 15
	committed := make(chan int)
	for writer := range writers {
		go func() {
			n := 0
			for i := range each {
				token := i*writers + writer + 1
				err := fenced(context.Background(), db, o, token, func(tx *sql.Tx) error {
					_, err := tx.Exec("INSERT INTO journal SELECT COALESCE(MAX(at), 0) + 1, $1 FROM journal", token)
					return err
				})
				if err == nil {
					n++
				}
			}
			committed <- n
		}()
	}
	total := 0
	for range writers {
		total += <-committed
	}
	if total == 0 {
		t.Error("nobody has committed anything")
	}
}

func wantRising(t *testing.T, db *sql.DB) {
	res, err := db.Query("SELECT token FROM journal ORDER BY at")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	for last := 0; res.Next(); {
		var token int
		if err := res.Scan(&token); err != nil {
			t.Fatal(err)
		}
		if token < last {
			t.Errorf("token %d was committed after %d", token, last)
		}
		last = token
	}
}
