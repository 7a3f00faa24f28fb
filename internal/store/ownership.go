package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/owner"
)

// Ownership is what decides whose an incident is, beside CODEOWNERS and the
// culprit, with the choice that stands.
type Ownership struct {
	ConnectionID string
	Provider     forge.Provider
	Facts        owner.Facts
	// Branch is the branch whose CODEOWNERS count: that of the incident, of a
	// proposed change the one that everybody builds on. Empty when that is not
	// known.
	Branch   string
	Owner    string
	Rule     string
	IsChosen bool // the owner is more than the default of an incident that nobody has looked at
	IsOpen   bool
}

// Ownership returns what decides whose an incident is; NotFound when it is
// gone.
func (s *Store) Ownership(ctx context.Context, incidentID string) (Ownership, error) {
	return ownership(ctx, s.db, incidentID)
}

// OwnershipOf is the same for an incident that a user sees, NotFound for any
// other, with its culprit and what is known of CODEOWNERS.
func (s *Store) OwnershipOf(ctx context.Context, userID, incidentID string) (Ownership, error) {
	var o Ownership
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		var found struct {
			ID      string         `db:"id"`
			Culprit *CulpritRecord `db:"culprit"`
		}
		err := tx.GetContext(ctx, &found, `
			SELECT i.id, i.culprit FROM incidents i JOIN repository_connections c ON c.id = i.connection_id
			WHERE i.id = $2 AND `+visible, userID, clean(incidentID))
		if err != nil {
			return incidentFault(incidentID, err)
		}
		if o, err = ownership(ctx, tx, found.ID); err != nil {
			return err
		}
		if found.Culprit != nil {
			o.Facts.Culprit, o.Facts.CulpritState = found.Culprit.Author, string(found.Culprit.State)
		}
		return addCodeowners(ctx, tx, &o)
	})
	return o, err
}

// ownership reads what decides over an incident.
func ownership(ctx context.Context, db sqlx.ExtContext, incidentID string) (Ownership, error) {
	var row struct {
		ConnectionID string            `db:"connection_id"`
		Provider     forge.Provider    `db:"provider"`
		OwnerName    string            `db:"owner_name"`
		AssignedTo   string            `db:"assigned_to"`
		Workflow     string            `db:"workflow"`
		Job          string            `db:"job"`
		Kind         string            `db:"kind"`
		Branch       string            `db:"branch"`
		Category     evidence.Category `db:"category"`
		Fingerprint  string            `db:"fingerprint"`
		Owner        string            `db:"owner"`
		Rule         string            `db:"owner_rule"`
		IsChosen     bool              `db:"is_chosen"`
		Status       incident.Status   `db:"status"`
	}
	err := sqlx.GetContext(ctx, db, &row, `
		SELECT i.connection_id, c.provider, i.assigned_to, i.workflow, i.job, s.kind, i.branch, i.category, i.fingerprint,
			i.owner, i.owner_rule, i.owner_chosen_at IS NOT NULL AS is_chosen, i.status,
			COALESCE((SELECT name FROM users WHERE users.id = c.user_id),
				(SELECT account FROM installations WHERE installations.id = c.installation_id), '') AS owner_name
		FROM incidents i JOIN repository_connections c ON c.id = i.connection_id JOIN scopes s ON s.id = i.scope_id
		WHERE i.id = $1`, incidentID)
	if err != nil {
		return Ownership{}, incidentFault(incidentID, err)
	}
	o := Ownership{
		ConnectionID: row.ConnectionID, Provider: row.Provider, Branch: row.Branch,
		Owner: row.Owner, Rule: row.Rule, IsChosen: row.IsChosen, IsOpen: row.Status != incident.Resolved,
		Facts: owner.Facts{
			Manual: row.AssignedTo, Workflow: row.Workflow, Job: row.Job, Branch: row.Branch, Category: string(row.Category),
			Fingerprint: row.Fingerprint, Infra: row.Category.Infrastructure(), Config: OfConfiguration(row.Category),
			Default: row.OwnerName, DefaultReason: DefaultOwnerReason,
		},
	}
	if row.Kind == ScopeChange {
		if o.Branch, err = mainBranch(ctx, db, row.ConnectionID); err != nil {
			return o, err
		}
	}
	if o.Facts.Rules, err = routingRules(ctx, db, row.ConnectionID); err != nil {
		return o, err
	}
	named, err := namedFiles(ctx, db, incidentID)
	if err != nil {
		return o, err
	}
	o.Facts.Files, o.Facts.TestFiles, o.Facts.WorkflowFile = named.files, named.tests, named.workflow
	if o.Facts.WorkflowFile == "" && o.Provider == forge.GitLab {
		o.Facts.WorkflowFile = gitlabCI
	}
	return o, nil
}

// gitlabCI is where GitLab reads the configuration of pipelines, unless a
// project has it elsewhere.
const gitlabCI = ".gitlab-ci.yml"

// DefaultOwnerReason says why an incident that no rule fits is whose it is.
const DefaultOwnerReason = "connected the repository"

// OfConfiguration reports whether failures of a category lie in how the
// workflow is set up.
func OfConfiguration(c evidence.Category) bool {
	return c == evidence.CategoryConfig || c == evidence.CategoryPermission || c == evidence.CategorySecret
}

// named is what the newest failures of an incident name.
type named struct{ files, tests []string }

// evidenceRuns is how many failed runs of an incident are read for what they
// name, the newest.
const evidenceRuns = 3

// namedFiles reads which files and tests the newest failures of an incident
// name, and the file of the workflow.
func namedFiles(ctx context.Context, db sqlx.ExtContext, incidentID string) (struct {
	named
	workflow string
}, error) {
	var out struct {
		named
		workflow string
	}
	var rows []struct {
		RunID        int64         `db:"run_id"`
		WorkflowFile string        `db:"workflow_file"`
		Jobs         string        `db:"jobs"`
		Ours         pq.Int64Array `db:"ours"`
	}
	err := sqlx.SelectContext(ctx, db, &rows, `
		SELECT r.run_id, r.workflow_file, r.jobs, array_agg(o.job_id) AS ours
		FROM occurrences o JOIN runs r USING (connection_id, run_id, attempt)
		WHERE o.incident_id = $1 AND NOT o.is_stale
		GROUP BY r.connection_id, r.run_id, r.attempt
		ORDER BY r.run_created_at DESC, r.number DESC, r.run_id DESC, r.attempt DESC LIMIT $2`, incidentID, evidenceRuns)
	if err != nil {
		return out, fmt.Errorf("evidence of %s: %w", incidentID, classify(err))
	}
	for _, row := range rows {
		jobs, err := Occurrence{RunID: row.RunID, JobsJSON: row.Jobs}.Jobs()
		if err != nil {
			return out, err
		}
		for _, j := range jobs {
			if slices.Contains(row.Ours, j.ID) {
				out.add(j)
			}
		}
		if out.workflow == "" {
			out.workflow = row.WorkflowFile
		}
	}
	return out, nil
}

// add notes what a failed job names. The ids of tests begin with their file
// where the runner tells it.
func (n *named) add(j FailedJob) {
	for _, f := range j.Files {
		if !slices.Contains(n.files, f) {
			n.files = append(n.files, f)
		}
	}
	for _, t := range j.Tests {
		file, _, isFile := strings.Cut(t, "::")
		if isFile && strings.ContainsAny(file, "./") && !slices.Contains(n.files, file) && !slices.Contains(n.tests, file) {
			n.tests = append(n.tests, file)
		}
	}
}

// addCodeowners adds the CODEOWNERS file of the branch that counts, as far as
// it was read.
func addCodeowners(ctx context.Context, db sqlx.ExtContext, o *Ownership) error {
	f, err := codeowners(ctx, db, o.ConnectionID, o.Branch)
	if err != nil {
		return ignoreNotFound(err)
	}
	o.AddCodeowners(f)
	return nil
}

// AddCodeowners adds a CODEOWNERS file to the facts.
func (o *Ownership) AddCodeowners(f CodeownersFile) {
	if f.Path != "" {
		o.Facts.Codeowners, o.Facts.CodeownersPath = owner.Parse(owner.Dialect(o.Provider), f.Content), f.Path
	}
}

// PreviewOf returns what decides whose a failure of a connection would be, for
// a user who sees the connection: rules, CODEOWNERS as far as they were read,
// and the default. Branch is empty for the one that everybody builds on.
func (s *Store) PreviewOf(ctx context.Context, userID, connectionID, branch string) (Ownership, error) {
	var o Ownership
	err := s.read(ctx, userID, func(tx *sqlx.Tx) error {
		var c Connection
		err := tx.GetContext(ctx, &c, `SELECT `+connectionColumns+` FROM repository_connections c WHERE c.id = $2 AND `+visible, userID, clean(connectionID))
		if err != nil {
			return connectionFault(connectionID, err)
		}
		o = Ownership{ConnectionID: c.ID, Provider: c.Provider, Branch: branch, Facts: owner.Facts{Default: c.OwnerName, DefaultReason: DefaultOwnerReason}}
		if o.Facts.Rules, err = routingRules(ctx, tx, c.ID); err != nil {
			return err
		}
		if branch == "" {
			if o.Branch, err = mainBranch(ctx, tx, c.ID); err != nil {
				return err
			}
		}
		o.Facts.Branch = o.Branch
		return addCodeowners(ctx, tx, &o)
	})
	return o, err
}

// SaveOwner stores whose an incident is, after facts that still hold, and
// tells its history when it changes. The first choice belongs to the opening,
// and what a person has assigned was told as that.
func (tx *Tx) SaveOwner(ctx context.Context, incidentID string, choice owner.Choice) error {
	var was struct {
		Owner      string `db:"owner"`
		IsChosen   bool   `db:"is_chosen"`
		AssignedTo string `db:"assigned_to"`
	}
	err := tx.tx.GetContext(ctx, &was, `
		SELECT owner, owner_chosen_at IS NOT NULL AS is_chosen, assigned_to FROM incidents WHERE id = $1 FOR NO KEY UPDATE`, incidentID)
	if err != nil {
		return incidentFault(incidentID, err)
	}
	if (choice.Kind == owner.KindManual) != (was.AssignedTo != "") {
		return nil // a person was faster; their change is assessed by itself
	}
	_, err = tx.tx.ExecContext(ctx, `
		UPDATE incidents SET owner = $2, owner_rule = $3, owner_chosen_at = COALESCE(owner_chosen_at, now())
		WHERE id = $1 AND (owner, owner_rule) IS DISTINCT FROM ($2, $3) OR id = $1 AND owner_chosen_at IS NULL`,
		incidentID, clean(choice.Owner), clean(choice.Rule))
	if err != nil {
		return fmt.Errorf("owner of %s: %w", incidentID, classify(err))
	}
	if !was.IsChosen || was.Owner == choice.Owner || choice.Kind == owner.KindManual {
		return nil
	}
	return tx.AddEntry(ctx, incidentID, EntryOwner, SystemActor, choice.Rule, OwnerInputs{Owner: choice.Owner, Before: was.Owner, Kind: choice.Kind, Line: choice.Line})
}

// EntryOwner is the kind of entry that says that an incident has another owner.
const EntryOwner = "owner"

// OwnerInputs is what a change of the owner was decided by.
type OwnerInputs struct {
	Owner  string `json:"owner"`
	Before string `json:"before"`
	Kind   string `json:"kind"`           // of the rule that decided
	Line   int    `json:"line,omitempty"` // of CODEOWNERS
}

// Scan reads a culprit from its column.
func (r *CulpritRecord) Scan(value any) error {
	raw, isBytes := value.([]byte)
	if !isBytes {
		text, _ := value.(string)
		raw = []byte(text)
	}
	return json.Unmarshal(raw, r)
}
