package handlers

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/web"
)

const trendsPath = "/trends"

// The times that the page of trends shows, in days.
const (
	trendByDay  = 30
	trendByWeek = 84
)

// shownWorkflows is how many workflows the page of trends lists.
const shownWorkflows = 10

// showTrends shows how it went over time.
func (d Deps) showTrends(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	q := r.URL.Query()
	bucket, days := bucketDay, trendByDay
	if q.Get("by") == bucketWeek {
		bucket, days = bucketWeek, trendByWeek
	}
	from := d.Now().UTC().AddDate(0, 0, 1-days).Format(time.DateOnly)
	span, err := d.span(viewer, Period{Repository: q.Get("repository"), From: from}, bucket)
	if err != nil {
		return err
	}
	all, worst, err := d.Store.VerdictTrend(r.Context(), span, "", "", shownWorkflows)
	if err != nil {
		return err
	}
	incidents, err := d.Store.IncidentTrend(r.Context(), span, d.Now())
	if err != nil {
		return err
	}
	page := web.TrendsPage{
		Frame: d.frame(r, web.Trends, "Trends"), Repository: q.Get("repository"), Empty: len(worst) == 0 && !anyIncident(incidents),
		Buckets: choices(bucket, bucketDay, "30 days", bucketWeek, "12 weeks"),
		Plots:   []web.Plot{failurePlot(span, all), greenPlot(span, incidents), incidentPlot(span, incidents)},
	}
	for _, of := range worst {
		page.Workflows = append(page.Workflows, web.WorkflowRow{
			Name: of.Name, FullName: of.FullName, Runs: of.Passed + of.Failed,
			Failures: percentOf(of.Failed, of.Passed+of.Failed), Flakes: percentOf(of.Flaky, of.Passed+of.Failed),
			Bars: failurePlot(span, of.Buckets).Bars,
		})
	}
	return d.show(w, r, page)
}

func anyIncident(list []store.IncidentFigures) bool {
	for _, f := range list {
		if f.Opened+f.Resolved+f.OpenAtEnd > 0 {
			return true
		}
	}
	return false
}

// starts are the first days of a span's buckets.
func starts(span store.Span) []string {
	list := make([]string, len(span.Bounds)-1)
	for n := range list {
		list[n] = span.Bounds[n].Format(time.DateOnly)
	}
	return list
}

func failurePlot(span store.Span, buckets []store.Verdicts) web.Plot {
	p := web.Plot{ID: "failures", Title: "Failure and flake rate", Note: "Of all runs that ended red or green. Flaky: the same commit passed, too.",
		Series: []web.Series{{Name: "broken", Tone: web.Bad}, {Name: "flaky", Tone: web.Warn}}}
	var columns [][]web.Column
	for _, v := range buckets {
		part := func(n int) web.Column {
			c := web.Column{Text: percentOf(n, v.Passed+v.Failed)}
			if rate := shareOf(n, v.Passed+v.Failed); rate != nil {
				c.Value = *rate
			}
			return c
		}
		columns = append(columns, []web.Column{part(v.Failed - v.Flaky), part(v.Flaky)})
	}
	return web.NewPlot(p, starts(span), columns, true, 0.1, func(top float64) string { return strconv.Itoa(int(top*100+0.5)) + " %" })
}

func greenPlot(span store.Span, buckets []store.IncidentFigures) web.Plot {
	p := web.Plot{ID: "green", Title: "Time to green", Note: "From the first red run to the green one with the cure: half took less.",
		Series: []web.Series{{Name: "median", Tone: web.Good}}}
	var columns [][]web.Column
	for _, f := range buckets {
		c := web.Column{Text: "–"}
		if f.ToGreen.P50 != nil {
			c.Value, c.Text = *f.ToGreen.P50, longTime(*f.ToGreen.P50)
		}
		columns = append(columns, []web.Column{c})
	}
	return web.NewPlot(p, starts(span), columns, false, 3600, longTime)
}

func incidentPlot(span store.Span, buckets []store.IncidentFigures) web.Plot {
	p := web.Plot{ID: "incidents", Title: "Incidents opened and ended", Note: "Suspected and flaky ones are among them.",
		Series: []web.Series{{Name: "opened", Tone: web.Bad}, {Name: "ended", Tone: web.Good}}}
	var columns [][]web.Column
	for _, f := range buckets {
		columns = append(columns, []web.Column{
			{Value: float64(f.Opened), Text: strconv.Itoa(f.Opened)}, {Value: float64(f.Resolved), Text: strconv.Itoa(f.Resolved)}})
	}
	return web.NewPlot(p, starts(span), columns, false, 1, func(top float64) string { return strconv.Itoa(int(top)) })
}

// percentOf is part of whole in words; a dash without a whole.
func percentOf(part, whole int) string {
	if whole == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

// longTime names a duration in seconds by its largest unit.
func longTime(seconds float64) string {
	switch d := time.Duration(seconds * float64(time.Second)); {
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes()+0.5)) + " min"
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	default:
		return fmt.Sprintf("%.1f days", d.Hours()/24)
	}
}
