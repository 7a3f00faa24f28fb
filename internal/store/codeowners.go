package store

import (
	"context"
	"crypto/sha1" //nolint:gosec // git's name of a file, not a secret
	"encoding/hex"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// CodeownersFile is the CODEOWNERS file of a branch's head, as it was read.
type CodeownersFile struct {
	Branch  string    `db:"branch"`
	Path    string    `db:"path"` // empty when the branch has none
	BlobID  string    `db:"blob_id"`
	Content string    `db:"content"`
	ReadAt  time.Time `db:"read_at"`
}

// Codeowners returns what is known of a branch's CODEOWNERS; NotFound when it
// was not read, or has to be read again.
func (s *Store) Codeowners(ctx context.Context, connectionID, branch string) (CodeownersFile, error) {
	return codeowners(ctx, s.db, connectionID, branch)
}

func codeowners(ctx context.Context, db sqlx.QueryerContext, connectionID, branch string) (CodeownersFile, error) {
	var f CodeownersFile
	err := sqlx.GetContext(ctx, db, &f, `
		SELECT branch, path, blob_id, content, read_at FROM codeowners WHERE connection_id = $1 AND branch = $2`, connectionID, clean(branch))
	if err != nil {
		return f, fmt.Errorf("CODEOWNERS of %s: %w", branch, classify(err))
	}
	return f, nil
}

// SaveCodeowners keeps the CODEOWNERS file of a branch, or with an empty path
// that it has none.
func (s *Store) SaveCodeowners(ctx context.Context, connectionID string, f CodeownersFile) error {
	f.Content = clean(f.Content)
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO codeowners (connection_id, branch, path, blob_id, content, read_at)
		SELECT c.id, $2, $3, $4, $5, $6 FROM repository_connections c WHERE c.id = $1
		ON CONFLICT (connection_id, branch) DO UPDATE SET
			path = EXCLUDED.path, blob_id = EXCLUDED.blob_id, content = EXCLUDED.content, read_at = EXCLUDED.read_at`,
		connectionID, clean(f.Branch), f.Path, blobID(f), f.Content, f.ReadAt)
	if err != nil {
		return fmt.Errorf("CODEOWNERS of %s: %w", f.Branch, classify(err))
	}
	return nil
}

// blobID is git's name of a file's content; empty when there is no file.
func blobID(f CodeownersFile) string {
	if f.Path == "" {
		return ""
	}
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(f.Content), f.Content)) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}

// ForgetCodeowners has the CODEOWNERS file of a branch read again, after a
// push that touched it or deleted the branch. Open incidents are assessed when
// the file is next needed, not now.
func (tx *Tx) ForgetCodeowners(ctx context.Context, connectionID, branch string) error {
	_, err := tx.tx.ExecContext(ctx, `DELETE FROM codeowners WHERE connection_id = $1 AND branch = $2`, connectionID, clean(branch))
	if err != nil {
		return fmt.Errorf("CODEOWNERS of %s: %w", branch, classify(err))
	}
	return nil
}

// MainBranch is the branch of a connection's repository that everybody builds
// on, as far as deliveries told; empty when none has.
func (s *Store) MainBranch(ctx context.Context, connectionID string) (string, error) {
	return mainBranch(ctx, s.db, connectionID)
}

func mainBranch(ctx context.Context, db sqlx.QueryerContext, connectionID string) (string, error) {
	var branch string
	err := sqlx.GetContext(ctx, db, &branch, `
		SELECT branch FROM scopes WHERE connection_id = $1 AND kind = 'branch' AND is_main ORDER BY id DESC LIMIT 1`, connectionID)
	if err = classify(err); err != nil && !fault.Is(err, fault.NotFound) {
		return "", fmt.Errorf("main branch of %s: %w", connectionID, err)
	}
	return branch, nil
}
