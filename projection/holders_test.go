package projection_test

import (
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/projection"
)

// one is a history, and recovered the same cluster's next one.
var (
	one       = projection.History{Cluster: "one", Epoch: interrex.Epoch{Number: 1, Bits: 0xa1}}
	recovered = projection.History{Cluster: "one", Epoch: interrex.Epoch{Number: 2, Bits: 0xa2}}
)

func at(revision int) projection.Position {
	return projection.Position{Revision: interrex.Revision(revision), History: one}
}

// step is one note: a claim, or an end when it has no holder.
type step struct {
	name, holder string
	token        int
}

func tell(steps ...step) func(*projection.Batch) error {
	return func(b *projection.Batch) error {
		for _, s := range steps {
			var err error
			if s.holder == "" {
				err = b.Ended(key(s.name), interrex.Token(s.token))
			} else {
				err = b.Claimed(holder(s.name, s.holder, s.token))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// started is a copy that is in history "one", at revision 0.
func started(t *testing.T, d database) (*projection.Holders, *sql.DB) {
	t.Helper()
	h, db := holders(t, d)
	replace(t, h, at(0))
	return h, db
}

func update(t *testing.T, h *projection.Holders, to int, steps ...step) {
	t.Helper()
	if err := h.Update(t.Context(), at(to), tell(steps...)); err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, h *projection.Holders, to projection.Position, pages ...[]projection.Holder) int {
	t.Helper()
	n, err := h.Replace(t.Context(), to, paged(pages...))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func paged(pages ...[]projection.Holder) iter.Seq2[[]projection.Holder, error] {
	return func(yield func([]projection.Holder, error) bool) {
		for _, p := range pages {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func wantPosition(t *testing.T, h *projection.Holders, want projection.Position) {
	t.Helper()
	if got, err := h.Position(t.Context()); err != nil || got != want {
		t.Errorf("Position = %+v, %v, want %+v", got, err, want)
	}
}

func TestRowsFollowClaimsAndEnds(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := started(t, d)
		update(t, h, 3, step{"a", "ann", 1}, step{"b", "bob", 2}, step{"c", "it's \\ \"é\"", 3})
		wantRows(t, db, `a=ann/1 b=bob/2 c=it's \ "é"/3`)
		update(t, h, 6, step{"a", "", 1}, step{"b", "cyd", 5}, step{"a", "dan", 6})
		wantRows(t, db, `a=dan/6 b=cyd/5 c=it's \ "é"/3`)
		wantPosition(t, h, at(6))
	})
}

func TestAnEndTakesARowOfAnEarlierHolderToo(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := started(t, d)
		update(t, h, 2, step{"a", "ann", 1}, step{"b", "bob", 2})
		update(t, h, 8, step{"a", "", 7}, step{"b", "", 1})
		wantRows(t, db, "b=bob/2") // the end of an earlier token ends nothing
	})
}

func TestToldAgainChangesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := started(t, d)
		history := []step{{"a", "ann", 1}, {"b", "bob", 2}, {"a", "", 1}, {"a", "cyd", 4}, {"b", "", 2}}
		update(t, h, 5, history...)
		wantRows(t, db, "a=cyd/4")
		for from := range history {
			update(t, h, 5, history[from:]...)
			wantRows(t, db, "a=cyd/4")
		}
		// And with more behind it.
		update(t, h, 6, append(history, step{"b", "eve", 6})...)
		wantRows(t, db, "a=cyd/4 b=eve/6")
	})
}

func TestOldNotesDoNotTouchNewerRows(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := started(t, d)
		update(t, h, 9, step{"a", "new", 9})
		update(t, h, 10, step{"a", "old", 3}, step{"a", "", 8})
		wantRows(t, db, "a=new/9")
		update(t, h, 11, step{"a", "old", 3})
		wantRows(t, db, "a=new/9")
	})
}

func TestUpdateToBehindTheCopyDoesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := started(t, d)
		update(t, h, 9, step{"a", "ann", 9})
		for _, to := range []int{8, 9} {
			update(t, h, to, step{"b", "bob", 8})
		}
		wantRows(t, db, "a=ann/9")
		wantPosition(t, h, at(9))
	})
}

func TestPositionAndRowsGoTogether(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := started(t, d)
		boom := errors.New("boom")
		err := h.Update(t.Context(), at(2), func(b *projection.Batch) error {
			return errors.Join(b.Claimed(holder("a", "ann", 1)), boom)
		})
		if !errors.Is(err, boom) {
			t.Errorf("Update: %v", err)
		}
		wantRows(t, db, "")
		wantPosition(t, h, at(0))
	})
}

func TestUpdateOfAnotherHistoryIsAConflict(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := started(t, d)
		update(t, h, 5, step{"a", "ann", 5})
		other := projection.Position{Revision: 9, History: recovered}
		if err := h.Update(t.Context(), other, tell(step{"a", "", 9})); interrex.KindOf(err) != interrex.ErrConflict {
			t.Errorf("Update: %v", err)
		}
		wantRows(t, db, "a=ann/5")
	})
}

func TestPositionAndRowsAreThereAfterReopening(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, _ := started(t, d)
		update(t, h, 5, step{"a", "ann", 5})
		again, db := holders(t, d)
		want := at(5)
		want.Unproved = d.dialect == projection.SQLite
		wantPosition(t, again, want)
		wantRows(t, db, "a=ann/5")
	})
}

// SQLite's file is not synced: what it says is not gone on from before it has
// been compared, and it does not go back for that.
func TestAnUnprovedCopyIsComparedFirst(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		if d.dialect != projection.SQLite {
			return
		}
		h, db := started(t, d)
		update(t, h, 5, step{"a", "ann", 5})
		again, _ := holders(t, d)
		if err := again.Update(t.Context(), at(6), tell(step{"b", "bob", 6})); interrex.KindOf(err) != interrex.ErrConflict {
			t.Errorf("Update: %v", err)
		}
		if _, err := again.Replace(t.Context(), at(4), paged()); interrex.KindOf(err) != interrex.ErrUnavailable {
			t.Errorf("Replace: %v", err)
		}
		wantRows(t, db, "a=ann/5")
		replace(t, again, at(5), []projection.Holder{holder("a", "ann", 5)})
		update(t, again, 6, step{"b", "bob", 6})
		wantRows(t, db, "a=ann/5 b=bob/6")
	})
}

func TestOpenAtOnceIsHarmless(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		errs := make(chan error)
		for range 8 {
			go func() {
				h, err := projection.Open(t.Context(), d.pool, d.dialect)
				if err == nil {
					_, err = h.Replace(t.Context(), at(0), paged())
					err = errors.Join(err, h.Close())
				}
				errs <- err
			}()
		}
		for range 8 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestOpenWaitsForAnotherThatOpens(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		if d.dialect != projection.SQLite {
			return // PostgreSQL has no file to open
		}
		other, err := d.pool()
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		conn, err := other.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(50*time.Millisecond, func() { _, _ = conn.ExecContext(t.Context(), "ROLLBACK") })
		h, err := projection.Open(t.Context(), d.pool, d.dialect)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestOpenRefusesAnUnknownDialect(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		if _, err := projection.Open(t.Context(), d.pool, "oracle"); err == nil {
			t.Error("an unknown dialect was opened")
		}
	})
}

func TestALaterSchemaIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := started(t, d)
		update(t, h, 1, step{"a", "ann", 1})
		run(t, db, "UPDATE lease_holders_position SET version = 3")
		_, position := h.Position(t.Context())
		_, replaced := h.Replace(t.Context(), at(9), paged())
		for _, err := range []error{position, replaced, h.Update(t.Context(), at(9), tell(step{"a", "", 1}))} {
			if err == nil || !strings.Contains(err.Error(), "version 3") {
				t.Errorf("error = %v", err)
			}
		}
		wantRows(t, db, "a=ann/1")
	})
}

// firstSchema is a copy as version 1 kept it.
var firstSchema = []string{
	"DROP TABLE IF EXISTS lease_holders",
	"DROP TABLE IF EXISTS lease_holders_position",
	"CREATE TABLE lease_holders (key TEXT PRIMARY KEY, holder TEXT NOT NULL)",
	"INSERT INTO lease_holders VALUES ('ns/old', 'ann')",
	"CREATE TABLE lease_holders_position (id INTEGER PRIMARY KEY, version INTEGER NOT NULL, history TEXT NOT NULL, revision BIGINT NOT NULL)",
	"INSERT INTO lease_holders_position VALUES (1, 1, 'one/1-00000000000000a1', 1)",
}

func TestAnOlderSchemaIsDroppedAndBuiltAgain(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := holders(t, d)
		for _, s := range firstSchema {
			run(t, db, s)
		}
		wantPosition(t, h, projection.Position{})
		replace(t, h, at(7), []projection.Holder{holder("a", "ann", 7)})
		update(t, h, 8, step{"b", "bob", 8})
		wantRows(t, db, "a=ann/7 b=bob/8")
	})
}

func TestADroppedTableIsMadeAgain(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		for _, table := range []string{"lease_holders", "lease_holders_position"} {
			h, db := holders(t, d)
			replace(t, h, at(7), []projection.Holder{holder("a", "ann", 7)})
			run(t, db, "DROP TABLE "+table)
			wantPosition(t, h, projection.Position{})
			if err := h.Update(t.Context(), at(8), tell(step{"b", "bob", 8})); interrex.KindOf(err) != interrex.ErrConflict {
				t.Errorf("Update without %s: %v", table, err)
			}
			replace(t, h, at(7), []projection.Holder{holder("a", "ann", 7)})
			wantRows(t, db, "a=ann/7")
		}
	})
}

// Another cluster's copy, that of a later epoch and that of another recovery
// stay as they are, whole or not, of this version or an older one.
func TestTheCopyOfAnotherIsNeverTouched(t *testing.T) {
	for name, mine := range map[string]projection.History{
		"another cluster":  {Cluster: "two", Epoch: interrex.Epoch{Number: 9, Bits: 1}},
		"an earlier epoch": {Cluster: "one", Epoch: interrex.Epoch{}},
		"another recovery": {Cluster: "one", Epoch: interrex.Epoch{Number: 1, Bits: 0xb1}},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, d database) {
				h, db := started(t, d)
				update(t, h, 5, step{"a", "ann", 5})
				refuses := func(h *projection.Holders) {
					t.Helper()
					_, err := h.Replace(t.Context(), projection.Position{Revision: 9, History: mine}, paged())
					if interrex.KindOf(err) != interrex.ErrConflict || !strings.Contains(err.Error(), "the database is of ") {
						t.Errorf("Replace: %v", err)
					}
				}
				other, _ := holders(t, d)
				refuses(other)
				if err := other.Update(t.Context(), projection.Position{Revision: 9, History: mine}, tell(step{"a", "", 9})); interrex.KindOf(err) != interrex.ErrConflict {
					t.Errorf("Update: %v", err)
				}
				wantRows(t, db, "a=ann/5")
				wantPosition(t, h, at(5))
				run(t, db, "UPDATE lease_holders_position SET version = 1")
				refuses(other)
				wantRows(t, db, "a=ann/5")
				run(t, db, "DROP TABLE lease_holders")
				refuses(other)
			})
		})
	}
}

func TestAnUnreadableHistoryIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := started(t, d)
		for _, text := range []string{"mine", "one/x-1", "one/1", "one/1-xyz"} {
			run(t, db, "UPDATE lease_holders_position SET history = '"+text+"'")
			if _, err := h.Replace(t.Context(), at(9), paged()); err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("Replace over %q: %v", text, err)
			}
		}
	})
}

// file is a copy in a file of SQLite that has one row.
func file(t *testing.T) (h *projection.Holders, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "lease-holders.db")
	h, _ = holders(t, database{projection.SQLite, "sqlite", path})
	replace(t, h, at(5), []projection.Holder{holder("a", "ann", 5)})
	return h, path
}

func TestAFileThatWasMovedAwayIsMadeAgain(t *testing.T) {
	for name, away := range map[string]func(path string) error{
		"renamed": func(path string) error { return os.Rename(path, path+".old") },
		"removed": os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, path := file(t)
			if err := away(path); err != nil {
				t.Fatal(err)
			}
			wantPosition(t, h, projection.Position{})
			if err := h.Update(t.Context(), at(6), tell(step{"b", "bob", 6})); interrex.KindOf(err) != interrex.ErrConflict {
				t.Errorf("Update: %v", err)
			}
			replace(t, h, at(6), []projection.Holder{holder("b", "bob", 6)})
			wantRows(t, database{projection.SQLite, "sqlite", path}.open(t), "b=bob/6")
		})
	}
}

// A second connection would wait for the first one's transaction.
func TestTheCopyHasOneConnection(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		var used *sql.DB
		h, err := projection.Open(t.Context(), func() (*sql.DB, error) {
			db, err := d.pool()
			used = db
			return db, err
		}, d.dialect)
		if err != nil {
			t.Fatal(err)
		}
		if n := used.Stats().MaxOpenConnections; n != 1 {
			t.Errorf("it has up to %d", n)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A power cut may leave any part of the file as it was before.
func TestADamagedFileIsSetAsideAndMadeAgain(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"no database": func([]byte) []byte { return []byte(strings.Repeat("no database ", 500)) },
		"zeroed page": func(b []byte) []byte { clear(b[1024:2048]); return b },
		"cut off":     func(b []byte) []byte { return b[:1024] },
	} {
		t.Run(name, func(t *testing.T) {
			h, path := file(t)
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, damage(content), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, beside := range []string{"-wal", "-shm"} { // of the same power cut
				if err := os.WriteFile(path+beside, []byte("left"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			d := database{projection.SQLite, "sqlite", path}
			h, err = projection.Open(t.Context(), d.pool, d.dialect)
			if err == nil {
				_, err = h.Replace(t.Context(), at(6), paged())
				err = errors.Join(err, h.Close())
			}
			if err == nil || !strings.Contains(err.Error(), "moved to "+path+".damaged") {
				t.Errorf("the first use: %v", err)
			}
			for _, beside := range []string{"-wal", "-shm"} {
				if _, err := os.Stat(path + beside); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the new file would be read with %s: %v", beside, err)
				}
			}
			h, db := holders(t, d)
			replace(t, h, at(6), []projection.Holder{holder("b", "bob", 6)})
			wantRows(t, db, "b=bob/6")
		})
	}
}

func TestOfAKeyOnlyTheLastIsWritten(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := started(t, d)
		var told []step
		for i := range 500 {
			name := fmt.Sprint("k", i%50)
			told = append(told, step{name, "h", 2*i + 1}, step{name, "", 2*i + 1})
			if i >= 470 {
				told = append(told, step{name, "last", 2*i + 2})
			}
		}
		update(t, h, 1000, told...)
		if n := len(strings.Fields(rows(t, db))); n != 30 || !strings.Contains(rows(t, db), "k49=last/1000") {
			t.Errorf("%d rows: %s", n, rows(t, db))
		}
		var ends []step
		for i := range 50 {
			ends = append(ends, step{fmt.Sprint("k", i), "", 1001})
		}
		update(t, h, 1001, ends...)
		wantRows(t, db, "")
	})
}

func TestReplaceMendsWhatDiffersAndNothingElse(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := started(t, d)
		update(t, h, 9, step{"a", "ann", 1}, step{"b", "bob", 2}, step{"c", "cyd", 3},
			step{"f", "fay", 6}, step{"y", "yve", 8}, step{"z", "zoe", 9})
		page1 := []projection.Holder{holder("b", "bob", 2), holder("c", "new", 12), holder("d", "dan", 11)}
		page2 := []projection.Holder{holder("f", "fay", 6)}
		if n := replace(t, h, at(12), page1, page2); n != 5 {
			t.Errorf("mended %d, want 5: a, c, d, y, z", n)
		}
		wantRows(t, db, "b=bob/2 c=new/12 d=dan/11 f=fay/6")
		wantPosition(t, h, at(12))
		if n := replace(t, h, at(12), page1, page2); n != 0 {
			t.Errorf("mended %d of what was right", n)
		}
		if n := replace(t, h, at(13)); n != 4 {
			t.Errorf("mended %d, want all 4 gone", n)
		}
	})
}

// Namespaces sort before names, bytewise, however their texts as a whole do.
func TestReplaceKnowsTheOrderOfKeys(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := started(t, d)
		var page []projection.Holder
		for _, k := range []interrex.Key{{Namespace: "a", Name: "B"}, {Namespace: "a", Name: "a"}, {Namespace: "a", Name: "é"},
			{Namespace: "a-b", Name: "a"}, {Namespace: "a.b", Name: "a"}, {Namespace: "b", Name: "a"}} {
			row := holder("", "ann", 1)
			row.Key = k
			page = append(page, row)
		}
		for size := range len(page) {
			var pages [][]projection.Holder
			for i := 0; i < len(page); i += size + 1 {
				pages = append(pages, page[i:min(i+size+1, len(page))])
			}
			want := 0
			if size == 0 {
				want = len(page)
			}
			if n := replace(t, h, at(size+1), pages...); n != want {
				t.Errorf("pages of %d: mended %d, want %d: %s", size+1, n, want, rows(t, db))
			}
		}
	})
}

func TestReplaceNeverGoesBackWithinAHistory(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := started(t, d)
		update(t, h, 9, step{"a", "ann", 9})
		replace(t, h, at(8))
		wantRows(t, db, "a=ann/9")
		wantPosition(t, h, at(9))
		other := projection.Position{Revision: 3, History: recovered}
		replace(t, h, other, []projection.Holder{holder("a", "bob", 3)})
		wantRows(t, db, "a=bob/3")
		wantPosition(t, h, other)
	})
}

func TestReplaceThatFailsLeavesAllAsItWas(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := started(t, d)
		update(t, h, 9, step{"a", "ann", 9})
		boom := errors.New("boom")
		_, err := h.Replace(t.Context(), at(12), func(yield func([]projection.Holder, error) bool) {
			_ = yield([]projection.Holder{holder("b", "bob", 10)}, nil) && yield(nil, boom)
		})
		if !errors.Is(err, boom) {
			t.Errorf("Replace: %v", err)
		}
		wantRows(t, db, "a=ann/9")
		wantPosition(t, h, at(9))
	})
}

func TestTimesAreReadable(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		h, db := started(t, d)
		update(t, h, 1, step{"a", "ann", 1})
		var got any
		var ttl int64
		if err := db.QueryRowContext(t.Context(), "SELECT acquired_at, ttl_ms FROM lease_holders").Scan(&got, &ttl); err != nil {
			t.Fatal(err)
		}
		if s, ok := got.(time.Time); ok {
			got = s.UTC().Format(time.RFC3339Nano)
		}
		if got != "2026-11-20T10:11:12.123456Z" || ttl != 15_000 {
			t.Errorf("acquired_at %v, ttl_ms %d", got, ttl)
		}
	})
}

// Several agents may share a database: one that is behind changes nothing.
func TestTwoWritersOfOneDatabaseAgree(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		started(t, d)
		const last = 60
		errs := make(chan error)
		var writers [3]*projection.Holders
		for i := range writers {
			writers[i], _ = started(t, d)
		}
		for writer, h := range writers {
			go func() { errs <- tellAll(t, h, last, writer+2) }()
		}
		for range 3 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		h, db := holders(t, d)
		wantRows(t, db, "k1=h/58 k2=h/59") // 60 ends k0
		want := at(last)
		want.Unproved = d.dialect == projection.SQLite
		wantPosition(t, h, want)
	})
}

// tellAll tells a history in steps of its own size: revision r claims k(r%3),
// every fifth one ends what that key had.
func tellAll(t *testing.T, h *projection.Holders, last, size int) error {
	held := map[string]int{}
	var told []step
	for r := 1; r <= last; r++ {
		name := "k" + string(rune('0'+r%3))
		if r%5 == 0 {
			told = append(told, step{name, "", held[name]})
		} else {
			held[name] = r
			told = append(told, step{name, "h", r})
		}
		if r%size == 0 || r == last {
			if err := h.Update(t.Context(), at(r), tell(told[max(0, r-2*size):]...)); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestAnotherProgramReadsWhileTheAgentWrites(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lease-holders.db")
	h, _ := started(t, database{projection.SQLite, "sqlite", file}) // no pragma: Open's own must do
	update(t, h, 1, step{"a", "ann", 1})
	reader := database{projection.SQLite, "sqlite", "file:" + file + "?mode=ro"}.open(t)
	_, err := h.Replace(t.Context(), at(2), func(yield func([]projection.Holder, error) bool) {
		yield([]projection.Holder{holder("a", "ann", 1), holder("b", "bob", 2)}, nil)
		wantRows(t, reader, "a=ann/1") // neither blocked nor dirty
	})
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, reader, "a=ann/1 b=bob/2")

	// A reader that takes its time holds the agent up as little.
	slow, err := reader.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := slow.QueryRow("SELECT count(*) FROM lease_holders").Scan(&n); err != nil || n != 2 {
		t.Fatalf("%d rows, %v", n, err)
	}
	update(t, h, 3, step{"c", "cat", 3})
	if err := slow.QueryRow("SELECT count(*) FROM lease_holders").Scan(&n); err != nil || n != 2 {
		t.Errorf("later in the same transaction: %d rows, %v", n, err)
	}
	if err := slow.Commit(); err != nil {
		t.Error(err)
	}
}

func TestTheFileIsNeverSynced(t *testing.T) {
	d := database{projection.SQLite, "sqlite", filepath.Join(t.TempDir(), "lease-holders.db")}
	var pool *sql.DB
	h, err := projection.Open(t.Context(), func() (*sql.DB, error) {
		var err error
		pool, err = d.pool()
		return pool, err
	}, d.dialect)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, h, at(1))
	var mode int
	if err := pool.QueryRow("PRAGMA synchronous").Scan(&mode); err != nil || mode != 0 {
		t.Errorf("the mode is %d, %v: want 0, which is OFF", mode, err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
