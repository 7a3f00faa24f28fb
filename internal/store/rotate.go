package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lib/pq"
)

// sealedTable is a table with encrypted columns. Its statements take the
// primary key as an array of texts, padded with empty ones.
type sealedTable struct {
	name  string // for people
	count string
	// page reads $2 rows after the key $1.
	page string
	// swap replaces the tokens $2 of row $1 by $3. A row that has others by now
	// stays: whoever wrote them knows better.
	swap string
}

// sealedTables are all columns with Fernet tokens, but for key_check's.
var sealedTables = []sealedTable{
	{
		name:  "connections",
		count: `SELECT count(*) FROM repository_connections`,
		page: `
			SELECT ARRAY[id] AS key, ARRAY[webhook_secret, webhook_secret_next, webhook_secret_previous] AS tokens
			FROM repository_connections WHERE id > ($1::text[])[1] ORDER BY id LIMIT $2`,
		swap: `
			UPDATE repository_connections SET webhook_secret = ($3::text[])[1],
				webhook_secret_next = ($3::text[])[2], webhook_secret_previous = ($3::text[])[3]
			WHERE id = ($1::text[])[1] AND ARRAY[webhook_secret, webhook_secret_next, webhook_secret_previous] = $2::text[]`,
	},
	{
		name:  "grants",
		count: `SELECT count(*) FROM grants`,
		page: `
			SELECT ARRAY[user_id, provider, client] AS key, ARRAY[access_token, refresh_token] AS tokens
			FROM grants WHERE (user_id, provider, client) > (($1::text[])[1], ($1::text[])[2], ($1::text[])[3])
			ORDER BY user_id, provider, client LIMIT $2`,
		swap: `
			UPDATE grants SET access_token = ($3::text[])[1], refresh_token = ($3::text[])[2]
			WHERE (user_id, provider, client) = (($1::text[])[1], ($1::text[])[2], ($1::text[])[3])
				AND ARRAY[access_token, refresh_token] = $2::text[]`,
	},
	{
		name:  "GitHub App",
		count: `SELECT count(*) FROM github_app`,
		page: `
			SELECT ARRAY[id::text] AS key, ARRAY[client_secret, webhook_secret, private_key] AS tokens
			FROM github_app WHERE id::text > ($1::text[])[1] ORDER BY id::text LIMIT $2`,
		swap: `
			UPDATE github_app SET client_secret = ($3::text[])[1], webhook_secret = ($3::text[])[2], private_key = ($3::text[])[3]
			WHERE id::text = ($1::text[])[1] AND ARRAY[client_secret, webhook_secret, private_key] = $2::text[]`,
	},
	{
		name:  "channels",
		count: `SELECT count(*) FROM notification_channels`,
		page: `
			SELECT ARRAY[id] AS key, ARRAY[url, secret, secret_previous] AS tokens
			FROM notification_channels WHERE id > ($1::text[])[1] ORDER BY id LIMIT $2`,
		swap: `
			UPDATE notification_channels SET url = ($3::text[])[1], secret = ($3::text[])[2], secret_previous = ($3::text[])[3]
			WHERE id = ($1::text[])[1] AND ARRAY[url, secret, secret_previous] = $2::text[]`,
	},
}

// keyCheckTable comes last, when all else is under the first key: until then,
// a process that lacks the old key is refused at its start.
var keyCheckTable = sealedTable{
	name:  "key check",
	count: `SELECT count(*) FROM key_check`,
	page: `
		SELECT ARRAY[singleton::text] AS key, ARRAY[token] AS tokens
		FROM key_check WHERE singleton::text > ($1::text[])[1] LIMIT $2`,
	swap: `UPDATE key_check SET token = ($3::text[])[1] WHERE singleton::text = ($1::text[])[1] AND ARRAY[token] = $2::text[]`,
}

// KeyRotation is what became of the stored secrets.
type KeyRotation struct {
	Rows    int // that were looked at
	Renewed int // that were under another key, and are under the first now
	// Late rows came under another key while the others were renewed: a process
	// still encrypts under it. They are under the first key now.
	Late int
	Lost []string // rows with a secret that no key opens, which are as they were
}

// IsWhole reports whether every secret is under the first key.
func (r KeyRotation) IsWhole() bool { return r.Late == 0 && len(r.Lost) == 0 }

// RotateKey encrypts every stored secret that is not under the first key of the
// ring under it, beside running processes. What is done stays done when it is
// interrupted. tell hears how far a table is.
func (s *Store) RotateKey(ctx context.Context, tell func(table string, done, total int)) (KeyRotation, error) {
	r, err := s.rotateTables(ctx, tell, sealedTables...)
	if err != nil {
		return r, err
	}
	second, err := s.rotateTables(ctx, nil, sealedTables...)
	r.Late = second.Renewed
	if err != nil || !r.IsWhole() {
		return r, err
	}
	last, err := s.rotateTables(ctx, nil, keyCheckTable)
	r.Lost = last.Lost
	return r, err
}

// rotateBatch is how many rows are read at once.
const rotateBatch = 200

func (s *Store) rotateTables(ctx context.Context, tell func(string, int, int), tables ...sealedTable) (KeyRotation, error) {
	var r KeyRotation
	for _, t := range tables {
		if err := s.rotateTable(ctx, t, tell, &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (s *Store) rotateTable(ctx context.Context, t sealedTable, tell func(string, int, int), r *KeyRotation) error {
	var total int
	if err := s.db.GetContext(ctx, &total, t.count); err != nil {
		return fmt.Errorf("count %s: %w", t.name, classify(err))
	}
	after := pq.StringArray{"", "", ""}
	for done := 0; ; {
		var rows []sealedRow
		if err := s.db.SelectContext(ctx, &rows, t.page, after, rotateBatch); err != nil {
			return fmt.Errorf("read %s: %w", t.name, classify(err))
		}
		if len(rows) == 0 {
			return nil
		}
		batch, changed, err := s.rotateRows(ctx, t, rows)
		r.Renewed += batch.Renewed
		if err != nil {
			return err
		}
		if changed {
			continue // somebody wrote meanwhile: look again
		}
		done += len(rows)
		r.Rows += len(rows)
		r.Lost = append(r.Lost, batch.Lost...)
		after = rows[len(rows)-1].Key
		if tell != nil {
			tell(t.name, done, max(done, total))
		}
	}
}

type sealedRow struct {
	Key    pq.StringArray `db:"key"`
	Tokens pq.StringArray `db:"tokens"`
}

// rotateRows renews rows, and tells whether one of them was changed by another.
func (s *Store) rotateRows(ctx context.Context, t sealedTable, rows []sealedRow) (batch KeyRotation, changed bool, err error) {
	for _, row := range rows {
		renewed, lost := s.renew(row.Tokens)
		if lost {
			batch.Lost = append(batch.Lost, t.name+" "+strings.Join(row.Key, "/"))
		}
		if renewed == nil {
			continue
		}
		result, err := s.db.ExecContext(ctx, t.swap, row.Key, row.Tokens, renewed)
		if err != nil {
			return batch, false, fmt.Errorf("renew %s %v: %w", t.name, row.Key, classify(err))
		}
		switch n, err := result.RowsAffected(); {
		case err != nil:
			return batch, false, fmt.Errorf("renew %s %v: %w", t.name, row.Key, classify(err))
		case n == 0:
			changed = true
		default:
			batch.Renewed++
		}
	}
	return batch, changed, nil
}

// renew returns the tokens under the first key, nil when they all are. One
// that cannot be opened stays, and lost is true. Equal tokens stay equal: a
// secret that is both the active and the next one is told by that.
func (s *Store) renew(tokens []string) (renewed pq.StringArray, lost bool) {
	list := make(pq.StringArray, len(tokens))
	same := true
	for i, token := range tokens {
		if first := slices.Index(tokens, token); first < i {
			list[i] = list[first]
			continue
		}
		under, err := s.ring.Renew(token)
		if err != nil {
			under, lost = token, true
		}
		list[i] = under
		same = same && under == token
	}
	if same {
		return nil, lost
	}
	return list, lost
}
