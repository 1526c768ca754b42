package main

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// openSQLite opens the file of lease holders. The projection sets its pragmas on
// each connection.
func openSQLite(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath())
	if err != nil {
		return nil, fmt.Errorf("cannot open the SQLite database %s: %w", path, err)
	}
	return db, nil
}

// openPostgres opens a database by its URL, which contains a secret and must not
// appear in any message: the driver's error for an invalid URL repeats it.
func openPostgres(url string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("its PostgreSQL URL is not valid: check the port, sslmode and the other parameters, and the files that they name")
	}
	return stdlib.OpenDB(*config), nil
}
