package projection

import "fmt"

// version is that of the schema. A copy of an older one is built again.
const version = 2

// schema returns the statements that replace the copy by an empty one. Names are
// compared bytewise in both dialects, as keys are. The columns of
// lease_holders_position are the same in every version, because they identify the
// copy.
//
// A token is a BIGINT: it is a revision, and those stay below 2^63. They count
// by one, and a recovery raises them to no more than the greater of 2^40 above
// the counter and the unix time x 2^28, which is below 2^63 until the year 3058.
func schema(d Dialect) []string {
	// In SQLite a row is in one tree only, and its key is computed when it is read.
	text, moment, stored, only := "TEXT", "TEXT", "VIRTUAL", "WITHOUT ROWID"
	if d == PostgreSQL {
		text, moment, stored, only = `TEXT COLLATE "C"`, "TIMESTAMPTZ", "STORED", ""
	}
	return []string{
		"DROP TABLE IF EXISTS lease_holders",
		"DROP TABLE IF EXISTS lease_holders_position",
		`CREATE TABLE lease_holders (
			key         ` + text + ` GENERATED ALWAYS AS (namespace || '/' || name) ` + stored + `,
			namespace   ` + text + ` NOT NULL,
			name        ` + text + ` NOT NULL,
			holder      ` + text + ` NOT NULL,
			token       BIGINT NOT NULL,
			ttl_ms      BIGINT NOT NULL,
			acquired_at ` + moment + ` NOT NULL,
			revision    BIGINT NOT NULL,
			PRIMARY KEY (namespace, name)) ` + only,
		`CREATE TABLE lease_holders_position (
			id       INTEGER PRIMARY KEY CHECK (id = 1),
			version  INTEGER NOT NULL,
			history  TEXT NOT NULL,
			revision BIGINT NOT NULL)`,
		fmt.Sprintf("INSERT INTO lease_holders_position (id, version, history, revision) VALUES (1, %d, '', 0)", version),
	}
}
