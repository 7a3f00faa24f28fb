// Package migrations holds the schema of the PostgreSQL store as numbered SQL
// files. They run forward only, by `devflowfix migrate`, and are safe beside
// processes of the previous release.
package migrations

import "embed"

// FS holds the SQL files.
//
//go:embed *.sql
var FS embed.FS
