package github

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/go-github/v89/github"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// What is read of a run's artifacts at the most.
const (
	reportArtifacts = 10
	reportPacked    = 20 << 20 // bytes of one artifact, as it is downloaded
	reportUnpacked  = 20 << 20 // bytes of all documents together
	reportDocuments = 500
)

// reportName recognises artifacts with results of tests by how people and the
// actions for it name them.
var reportName = regexp.MustCompile(`(?i)junit|xunit|surefire|nextest|test[-_ .]?(results?|reports?|output)|^tests?$`)

// TestReport reads the XML documents of the run's artifacts with results of
// tests. One that has expired, or is no zip, is passed over.
func (a api) TestReport(ctx context.Context, repo forge.Repository, run forge.Run, _ forge.Job) (forge.TestReport, error) {
	artifacts, err := a.reportArtifacts(ctx, repo, run)
	if err != nil {
		return forge.TestReport{}, err
	}
	var report forge.TestReport
	room := int64(reportUnpacked)
	for i, artifact := range artifacts {
		if i == reportArtifacts || artifact.GetSizeInBytes() > reportPacked {
			report.Truncated = true
			continue
		}
		packed, err := a.download(ctx, repo, artifact.GetID())
		switch {
		case fault.Is(err, fault.NotFound):
			continue
		case err != nil:
			return report, err
		case len(packed) > reportPacked:
			report.Truncated = true
			continue
		}
		unpack(packed, &report, &room)
	}
	return report, nil
}

// reportArtifacts lists the run's artifacts with results of tests. They belong
// to the run: of those of one name, which its attempts made, the newest counts.
func (a api) reportArtifacts(ctx context.Context, repo forge.Repository, run forge.Run) ([]*github.Artifact, error) {
	owner, name := split(repo)
	options := &github.ListOptions{PerPage: pageSize}
	newest := map[string]*github.Artifact{}
	var names []string
	for {
		page, response, err := a.Actions.ListWorkflowRunArtifacts(ctx, owner, name, run.ID, options)
		if err != nil {
			return nil, classify(err)
		}
		for _, artifact := range page.Artifacts {
			known := newest[artifact.GetName()]
			if artifact.GetExpired() || !reportName.MatchString(artifact.GetName()) || known.GetID() > artifact.GetID() {
				continue
			}
			if known == nil {
				names = append(names, artifact.GetName())
			}
			newest[artifact.GetName()] = artifact
		}
		if response.NextPage == 0 {
			break
		}
		options.Page = response.NextPage
	}
	list := make([]*github.Artifact, len(names))
	for i, n := range names {
		list[i] = newest[n]
	}
	return list, nil
}

// download reads an artifact, and a byte more than is wanted of one that is
// larger than its description said.
func (a api) download(ctx context.Context, repo forge.Repository, id int64) ([]byte, error) {
	owner, name := split(repo)
	link, response, err := a.Actions.DownloadArtifact(ctx, owner, name, id, maxRedirects)
	if err != nil {
		return nil, expired(unlinked(response, err))
	}
	body, err := a.open(ctx, link)
	if err != nil {
		return nil, err
	}
	defer body.Close() //nolint:errcheck // read as far as it is wanted
	packed, err := io.ReadAll(io.LimitReader(body, reportPacked+1))
	if err != nil {
		return nil, unreadable(err)
	}
	return packed, nil
}

// expired makes NotFound of GitHub's 410.
func expired(err error) error {
	if refused, ok := errors.AsType[*github.ErrorResponse](err); ok && refused.Response != nil && refused.Response.StatusCode == http.StatusGone {
		return fault.Wrap(fault.NotFound, err, "The artifact has expired.")
	}
	return err
}

// unpack adds the XML documents of a zip as far as there is room. The sizes
// that the zip claims are not believed.
func unpack(packed []byte, report *forge.TestReport, room *int64) {
	archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return
	}
	for _, entry := range archive.File {
		if !strings.EqualFold(entry.Name[max(0, len(entry.Name)-4):], ".xml") {
			continue
		}
		if len(report.Documents) == reportDocuments {
			report.Truncated = true
			return
		}
		file, err := entry.Open()
		if err != nil {
			continue // packed by a method that we do not know
		}
		document, err := io.ReadAll(io.LimitReader(file, *room+1))
		file.Close() //nolint:errcheck // read as far as it is wanted
		switch {
		case int64(len(document)) > *room:
			report.Truncated = true
			return
		case err == nil: // else it is damaged
			*room -= int64(len(document))
			report.Documents = append(report.Documents, document)
		}
	}
}
