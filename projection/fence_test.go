package projection_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
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
					case <-time.After(100 * time.Millisecond): // it waits for the database's lock
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

// levels are the isolation levels of a dialect that differ in what they read.
func levels(d database) []sql.IsolationLevel {
	if d.dialect == projection.PostgreSQL {
		return []sql.IsolationLevel{sql.LevelReadUncommitted, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable}
	}
	return []sql.IsolationLevel{sql.LevelDefault}
}

// A new holder reads 0, the old one adds 100 and commits, and the new one goes
// on from the 0: its fence must not let that be committed, wherever it is called.
func TestNoUpdateIsLostWhereverTheFenceStands(t *testing.T) {
	reads := map[string][2]string{ // what surrounds the read
		"plain":                 {"SELECT 1", "SELECT 1"},
		"rolled back savepoint": {"SAVEPOINT looked", "ROLLBACK TO SAVEPOINT looked"},
	}
	onEach(t, func(t *testing.T, d database) {
		for _, level := range levels(d) {
			for name, around := range reads {
				t.Run(level.String()+"/"+name, func(t *testing.T) {
					db := d.open(t)
					if d.dialect == projection.SQLite {
						run(t, db, "PRAGMA journal_mode = WAL") // or the old holder waits for the new one
					}
					run(t, db, "DROP TABLE IF EXISTS balance")
					run(t, db, "DROP TABLE IF EXISTS interrex_fences")
					run(t, db, "CREATE TABLE balance (cents BIGINT)")
					run(t, db, "INSERT INTO balance VALUES (0)")
					if err := readThenFence(t, db, &sql.TxOptions{Isolation: level}, around); err == nil {
						t.Error("the fence let through what had been read before")
					}
					var cents int
					if err := db.QueryRow("SELECT cents FROM balance").Scan(&cents); err != nil || cents != 100 {
						t.Errorf("the balance is %d, %v, want 100", cents, err)
					}
				})
			}
		}
	})
}

func readThenFence(t *testing.T, db *sql.DB, o *sql.TxOptions, around [2]string) error {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	var cents int
	_, before := tx.Exec(around[0])
	read := tx.QueryRow("SELECT cents FROM balance").Scan(&cents)
	_, after := tx.Exec(around[1])
	if err := errors.Join(before, read, after); err != nil {
		t.Fatal(err)
	}
	err = fenced(t.Context(), db, nil, 5, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE balance SET cents = cents + 100")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := projection.Fence(tx, key("db"), 6); err != nil {
		return err
	}
	if _, err := tx.Exec("UPDATE balance SET cents = $1", cents+1); err != nil {
		return err
	}
	return tx.Commit()
}

// Where a snapshot guards what was read, several keys may be fenced, anywhere;
// where none does, the second one says what to do.
func TestSeveralFencesInOneTransaction(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		for _, level := range levels(d) {
			t.Run(level.String(), func(t *testing.T) {
				db := d.open(t)
				err := fenced(t.Context(), db, &sql.TxOptions{Isolation: level}, 5, func(tx *sql.Tx) error {
					var n int
					return errors.Join(tx.QueryRow("SELECT 1").Scan(&n), projection.Fence(tx, key("other"), 6))
				})
				snapshot := level != sql.LevelReadCommitted && level != sql.LevelReadUncommitted
				if snapshot && err != nil {
					t.Error(err)
				}
				if !snapshot && (!errors.Is(err, interrex.ErrInvalid) || !strings.Contains(err.Error(), "call it first")) {
					t.Errorf("error = %v, want invalid", err)
				}
			})
		}
	})
}

func TestFenceLeavesTheIsolationLevelAsItWas(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		if d.dialect == projection.SQLite {
			return // it has one
		}
		for _, level := range levels(d) {
			err := fenced(t.Context(), d.open(t), &sql.TxOptions{Isolation: level}, 5, func(tx *sql.Tx) error {
				var now string
				err := tx.QueryRow("SHOW transaction_isolation").Scan(&now)
				if !strings.EqualFold(now, level.String()) {
					t.Errorf("%s became %s", level, now)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
}

func TestFenceRefusesDirtyReads(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "a.db")+"?_pragma=read_uncommitted(1)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := fenced(t.Context(), db, nil, 5, nothing); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("error = %v, want invalid", err)
	}
}

// A holder that was paused in the middle of a transaction holds the row.
func TestFenceDoesNotWaitForever(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		db := d.open(t)
		if err := fenced(t.Context(), db, nil, 1, nothing); err != nil {
			t.Fatal(err)
		}
		err := fenced(t.Context(), db, nil, 5, func(*sql.Tx) error {
			ended := make(chan error, 1)
			go func() { ended <- fenced(context.Background(), db, nil, 6, nothing) }()
			select {
			case err := <-ended:
				if !errors.Is(err, interrex.ErrUnavailable) {
					t.Errorf("error = %v, want unavailable", err)
				}
				return nil
			case <-time.After(time.Minute):
				return errors.New("the fence still waits")
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
}
