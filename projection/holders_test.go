package projection_test

import (
	"database/sql"
	"errors"
	"iter"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/projection"
)

func at(revision int) projection.Position {
	return projection.Position{Revision: interrex.Revision(revision), History: "one"}
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
		other := projection.Position{Revision: 9, History: "two"}
		if err := h.Update(t.Context(), other, tell(step{"a", "", 9})); interrex.KindOf(err) != interrex.KindConflict {
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
		wantPosition(t, again, at(5))
		wantRows(t, db, "a=ann/5")
	})
}

func TestOpenAtOnceIsHarmless(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		db, errs := d.open(t), make(chan error)
		for range 8 {
			go func() {
				_, err := projection.Open(t.Context(), db, d.dialect)
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

func TestOpenRefusesAnotherVersionAndAnUnknownDialect(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		_, db := holders(t, d)
		if _, err := projection.Open(t.Context(), db, "oracle"); err == nil {
			t.Error("an unknown dialect was opened")
		}
		run(t, db, "UPDATE lease_holders_position SET version = 2")
		if _, err := projection.Open(t.Context(), db, d.dialect); err == nil || !strings.Contains(err.Error(), "version 2") {
			t.Errorf("Open: %v", err)
		}
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
		other := projection.Position{Revision: 3, History: "two"}
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

// Several agents may share a database: whoever is behind changes nothing.
func TestTwoWritersOfOneDatabaseAgree(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		started(t, d)
		const last = 60
		errs := make(chan error)
		for writer := range 3 {
			h, _ := holders(t, d)
			go func() { errs <- tellAll(t, h, last, writer+2) }()
		}
		for range 3 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		h, db := holders(t, d)
		wantRows(t, db, "k1=h/58 k2=h/59") // 60 ends k0
		wantPosition(t, h, at(last))
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
	err := h.Update(t.Context(), at(2), func(b *projection.Batch) error {
		if err := b.Claimed(holder("b", "bob", 2)); err != nil {
			return err
		}
		wantRows(t, reader, "a=ann/1") // neither blocked nor dirty
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, reader, "a=ann/1 b=bob/2")
}
