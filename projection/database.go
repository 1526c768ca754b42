package projection

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// rollbackTimeout bounds the rollback of a transaction whose context has ended.
const rollbackTimeout = 5 * time.Second

// database is the pool of a copy. SQLite's is reopened when its file was
// replaced, removed or damaged.
type database struct {
	dialect Dialect
	open    func() (*sql.DB, error)

	mu    sync.Mutex
	db    *sql.DB     // nil: not open
	ended bool        // it must not be opened again
	path  string      // of SQLite's file; empty if there is none
	file  os.FileInfo // the file that was opened
	// compared reports whether this file has been checked and compared with the
	// leases since it was opened: only that shows that a power cut has not damaged
	// it.
	compared bool
}

// connect runs fn on a connection with its settings made.
func (d *database) connect(ctx context.Context, fn func(*sql.Conn) error) (err error) {
	db, err := d.pool(ctx)
	if err != nil {
		return d.examine(err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return d.examine(err)
	}
	err = runAll(ctx, conn, d.dialect.connect())
	if err == nil {
		err = fn(conn)
	}
	return d.examine(errors.Join(err, ignoreGone(conn.Close())))
}

// transact runs fn in one transaction, which excludes other writers.
func (d *database) transact(ctx context.Context, fn func(*sql.Conn) error) error {
	return d.connect(ctx, func(conn *sql.Conn) error {
		err := runAll(ctx, conn, d.dialect.begin())
		if err == nil {
			err = fn(conn)
		}
		if err == nil {
			_, err = conn.ExecContext(ctx, "COMMIT")
		}
		if err != nil {
			rollback(ctx, conn)
		}
		return err
	})
}

// rollback rolls back a failed transaction; if that fails, it closes the connection.
func rollback(ctx context.Context, conn *sql.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
}

// pool returns the pool, and opens it if necessary.
func (d *database) pool(ctx context.Context) (*sql.DB, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.db != nil && d.moved() {
		if err := d.drop(); err != nil {
			return nil, err
		}
	}
	if d.db != nil {
		return d.db, nil
	}
	if d.ended {
		return nil, errors.New("the database is closed")
	}
	db, err := d.open()
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	d.db, d.compared = db, d.dialect != SQLite
	if d.dialect == SQLite {
		if err := d.openFile(ctx); err != nil {
			return nil, errors.Join(err, d.drop())
		}
	}
	return d.db, nil
}

// openFile makes SQLite open its file, and stores which one it is.
func (d *database) openFile(ctx context.Context) error {
	var sequence int
	var name string
	err := d.db.QueryRowContext(ctx, "PRAGMA database_list").Scan(&sequence, &name, &d.path) // the main one is first
	if err != nil {
		return err
	}
	for _, s := range []string{
		"PRAGMA page_size = 1024",   // a change writes one page; only a new file takes it
		"PRAGMA journal_mode = WAL", // others may read the file meanwhile; stored in the file
	} {
		if err := d.patiently(ctx, s); err != nil {
			return err
		}
	}
	if d.path == "" {
		return nil
	}
	d.file, err = os.Stat(d.path)
	return err
}

// patiently runs a statement that SQLite refuses, regardless of busy_timeout, while
// another connection opens the same new file. It retries for at most 5 s.
func (d *database) patiently(ctx context.Context, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var locked error
	for {
		_, err := d.db.ExecContext(ctx, statement)
		switch {
		case err == nil:
			return nil
		case !strings.Contains(err.Error(), "database is locked"):
			return errors.Join(err, locked) // ctx may have ended
		}
		locked = err
		select {
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// moved reports whether the file that was opened is no longer at its path. The lock is
// held.
func (d *database) moved() bool {
	if d.file == nil {
		return false
	}
	now, err := os.Stat(d.path)
	return err != nil || !os.SameFile(now, d.file)
}

// drop closes the pool. The lock is held.
func (d *database) drop() error {
	if d.db == nil {
		return nil
	}
	err := d.db.Close()
	d.db, d.file, d.compared = nil, nil, false
	return err
}

func (d *database) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	return d.drop()
}

// trusted reports whether trust was called since the file was opened: see compared.
func (d *database) trusted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.compared
}

func (d *database) trust() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.compared = d.db != nil
}

// examine moves the file aside if an error means that it is damaged: the next use
// creates a new one.
func (d *database) examine(err error) error {
	if err == nil || d.dialect != SQLite || !isDamage(err) {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.path == "" {
		return err
	}
	aside := d.path + ".damaged"
	closed := d.drop()
	moved := os.Rename(d.path, aside)
	if moved == nil {
		moved = errors.Join(ignoreMissing(os.Remove(d.path+"-wal")), ignoreMissing(os.Remove(d.path+"-shm")))
	}
	if moved != nil {
		return errors.Join(err, closed, moved)
	}
	return fmt.Errorf("the database was damaged: it was moved to %s, and a new one will be created: %w", aside, err)
}

// isDamage recognises SQLite's error texts for damage, which all drivers pass on.
func isDamage(err error) bool {
	text := err.Error()
	return strings.Contains(text, "database disk image is malformed") || strings.Contains(text, "file is not a database")
}

// quickCheck reads the whole of an SQLite file.
func quickCheck(ctx context.Context, conn *sql.Conn) error {
	var found string
	if err := conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found); err != nil {
		return err
	}
	if found != "ok" {
		return fmt.Errorf("database disk image is malformed: %s", found)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// ignoreGone drops the error of a connection that a rollback has closed.
func ignoreGone(err error) error {
	if errors.Is(err, sql.ErrConnDone) || errors.Is(err, driver.ErrBadConn) {
		return nil
	}
	return err
}

func runAll(ctx context.Context, conn *sql.Conn, statements []string) error {
	for _, s := range statements {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// changed returns the number of rows that a statement changed.
func changed(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
