package handlers

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// The content types of an export. JSON lines have no registered one; this is
// what their tools know.
const (
	csvType   = "text/csv; charset=utf-8"
	jsonlType = "application/x-ndjson"
)

func (d Deps) exportRoute(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "export-incidents", Method: http.MethodGet, Path: "/api/v2/incidents/export",
		Summary: "Export incidents as CSV or JSON lines, newest first", Tags: []string{"incidents"},
		Description: "Takes the filters of the list, and sends all of them. In CSV a cell that a spreadsheet would take for a formula begins with an apostrophe. A connection that is cut means that the export is not whole.",
		Errors:      everyRoute,
		Responses: map[string]*huma.Response{"200": {Description: "The incidents, a line each.", Content: map[string]*huma.MediaType{
			"text/csv": {}, jsonlType: {},
		}}},
	}, call(d.exportIncidents))
}

type exportInput struct {
	Format string `query:"format" enum:"csv,jsonl" default:"csv"`
	IncidentFilter
}

// exportPage is how many incidents are in memory at a time. Between two pages
// no connection of the database is held, however slowly the reader reads.
const exportPage = 500

func (d Deps) exportIncidents(ctx context.Context, caller auth.Identity, in *exportInput) (*huma.StreamResponse, error) {
	filter, err := in.read(caller.UserID)
	if err != nil {
		return nil, err
	}
	filter.Limit = exportPage
	first, err := d.Store.IncidentsOf(ctx, filter)
	if err != nil {
		return nil, err
	}
	name := "incidents-" + d.Now().UTC().Format(time.DateOnly) + "." + in.Format
	return &huma.StreamResponse{Body: func(out huma.Context) {
		out.SetHeader("Content-Disposition", `attachment; filename="`+name+`"`)
		write := linesTo(out)
		if in.Format == "csv" {
			write = rowsTo(out)
		}
		if err := d.exportPages(out.Context(), filter, first, write); err != nil {
			zerolog.Ctx(ctx).Warn().Err(err).Str(telemetry.Path, "/api/v2/incidents/export").Msg("export ended early")
			panic(http.ErrAbortHandler) // else the reader would take it for whole
		}
	}}, nil
}

// exportPages writes one page of incidents after the other.
func (d Deps) exportPages(ctx context.Context, filter store.IncidentFilter, page []store.Incident, write func([]store.Incident) error) error {
	for {
		if err := write(page); err != nil {
			return fmt.Errorf("write export: %w", err)
		}
		if len(page) < filter.Limit {
			return nil
		}
		last := page[len(page)-1]
		filter.BeforeTime, filter.BeforeID = last.OpenedAt, last.ID
		var err error
		if page, err = d.Store.IncidentsOf(ctx, filter); err != nil {
			return err
		}
	}
}

// linesTo writes incidents as JSON, a line each.
func linesTo(out huma.Context) func([]store.Incident) error {
	out.SetHeader("Content-Type", jsonlType)
	encoder := json.NewEncoder(out.BodyWriter())
	return func(page []store.Incident) error {
		for _, i := range page {
			if err := encoder.Encode(summarise(i)); err != nil {
				return err
			}
		}
		return nil
	}
}

// rowsTo writes incidents as CSV by RFC 4180, below a row of names.
func rowsTo(out huma.Context) func([]store.Incident) error {
	out.SetHeader("Content-Type", csvType)
	return csvTo(out.BodyWriter())
}

func csvTo(w io.Writer) func([]store.Incident) error {
	rows := csv.NewWriter(w)
	rows.UseCRLF = true
	named := false
	return func(page []store.Incident) error {
		if !named {
			named = true
			rows.Write(exportColumns) //nolint:errcheck // Error tells
		}
		for _, i := range page {
			row := exportRow(i)
			for n, cell := range row {
				row[n] = safeCell(cell)
			}
			rows.Write(row) //nolint:errcheck // Error tells
		}
		rows.Flush()
		return rows.Error()
	}
}

var exportColumns = []string{
	"id", "provider", "repository_full_name", "status", "resolution", "severity", "title", "headline", "workflow", "job", "branch", "category",
	"fingerprint", "fingerprint_key", "specificity", "episode", "is_flaky", "occurrences", "owner", "owner_rule", "assigned_to",
	"acknowledged_by", "acknowledged_at", "opened_at", "last_seen_at", "resolved_at", "resolved_sha", "duplicate_of", "recurrence_of",
}

func exportRow(i store.Incident) []string {
	return []string{
		i.ID, string(i.Provider), i.FullName, string(i.Status), string(i.Resolution), string(i.Severity), i.Title, i.Headline, i.Workflow, i.Job,
		i.Branch, string(i.Category), i.Fingerprint, i.Key, string(i.Specificity), strconv.Itoa(i.Episode), strconv.FormatBool(i.IsFlaky),
		strconv.Itoa(i.Occurrences), i.Owner, i.OwnerRule, i.AssignedTo, i.AcknowledgedBy, timeCell(i.AcknowledgedAt), timeCell(&i.OpenedAt),
		timeCell(&i.LastSeenAt), timeCell(i.ResolvedAt), i.ResolvedSHA, textCell(i.DuplicateOf), textCell(i.RecurrenceOf),
	}
}

func timeCell(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func textCell(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// safeCell keeps spreadsheets from taking a text for a formula: OWASP, "CSV
// Injection".
func safeCell(text string) string {
	if text != "" && strings.ContainsAny(text[:1], "=+-@\t\r\n") {
		return "'" + text
	}
	return text
}
