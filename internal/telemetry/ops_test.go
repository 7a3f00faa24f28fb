package telemetry

import (
	"bytes"
	"cmp"
	"database/sql"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metricsql"
	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"
)

// offered are the labels of each series that we offer, by its name.
func offered(t *testing.T) map[string][]string {
	t.Helper()
	m := NewMetrics()
	m.WatchRedis(nil)
	m.WatchPostgreSQL(nil)
	m.WatchPool("work", new(sql.DB))
	series := map[string][]string{}
	add := func(c prometheus.Collector, suffixes map[string][]string) {
		descs := make(chan *prometheus.Desc)
		go func() {
			defer close(descs)
			c.Describe(descs)
		}()
		for d := range descs {
			found := regexp.MustCompile(`fqName: "([^"]+)".*constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`).FindStringSubmatch(d.String())
			if found == nil {
				t.Fatalf("cannot read %s", d)
			}
			names := []string{"instance", "job"} // Prometheus' own
			for _, l := range strings.FieldsFunc(found[2]+","+found[3], func(r rune) bool { return r == ',' }) {
				name, _, _ := strings.Cut(l, "=")
				names = append(names, name)
			}
			for suffix, more := range suffixes {
				series[found[1]+suffix] = append(slices.Clone(names), more...)
			}
		}
	}
	add(m.registry, map[string][]string{"": nil})
	for _, h := range []prometheus.Collector{m.acknowledgement, m.tasks, m.incidentDelay, m.forgeCalls} {
		add(h, map[string][]string{"_bucket": {"le"}, "_sum": nil, "_count": nil})
	}
	series["devflowfix_store_up"] = []string{"instance", "job", "store"}
	return series
}

// check reports what of a PromQL expression we do not offer. The parser is of a
// language that has all of PromQL and a little more, so what matters of that is
// ruled out.
func check(t *testing.T, where, expression string, series map[string][]string) {
	t.Helper()
	// Grafana puts a duration in the place of its variable.
	parsed, err := metricsql.Parse(strings.ReplaceAll(expression, "$__rate_interval", "5m"))
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	var known, grouped []string
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		switch e := e.(type) {
		case *metricsql.MetricExpr:
			known = append(known, checkSelector(t, where, e, series)...)
		case *metricsql.AggrFuncExpr:
			grouped = append(grouped, e.Modifier.Args...)
		case *metricsql.FuncExpr:
			if window, ok := e.Args[0].(*metricsql.RollupExpr); metricsql.IsRollupFunc(e.Name) && (!ok || window.Window == nil) {
				t.Errorf("%s: %s needs a range", where, e.Name)
			}
		}
	})
	for _, label := range grouped {
		if !slices.Contains(known, label) {
			t.Errorf("%s groups by %s, which nothing there has", where, label)
		}
	}
}

// checkSelector returns the labels of what an expression selects.
func checkSelector(t *testing.T, where string, e *metricsql.MetricExpr, series map[string][]string) []string {
	t.Helper()
	if len(e.LabelFilterss) != 1 || e.LabelFilterss[0][0].Label != "__name__" {
		t.Errorf("%s selects by no name", where)
		return nil
	}
	name := e.LabelFilterss[0][0].Value
	offers, ok := series[name]
	if !ok {
		t.Errorf("%s names %s, which we do not offer", where, name)
	}
	for _, f := range e.LabelFilterss[0][1:] {
		if !slices.Contains(offers, f.Label) {
			t.Errorf("%s: %s has no label %s", where, name, f.Label)
		}
	}
	return offers
}

func TestTheDashboardShowsWhatWeOffer(t *testing.T) {
	raw, err := os.ReadFile("ops/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID      int
			Type    string
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(raw, &dashboard); err != nil {
		t.Fatal(err)
	}
	series, ids := offered(t), map[int]bool{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d %q has another's id, no title or nothing to show", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			check(t, "the panel "+p.Title, target.Expr, series)
		}
	}
	// Whatever we measure ourselves has its place.
	for name := range series {
		measured := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if strings.HasPrefix(name, "devflowfix_") && !bytes.Contains(raw, []byte(measured)) {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

func TestEveryAlertNamesWhatWeOfferAndSaysWhatToDo(t *testing.T) {
	raw, err := os.ReadFile("ops/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert       string
				Expr        string
				For         string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	series, names := offered(t), map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if names[r.Alert] || !regexp.MustCompile(`^DevFlowFix[A-Za-z]+$`).MatchString(r.Alert) {
				t.Errorf("%q is no name, or another alert's", r.Alert)
			}
			names[r.Alert] = true
			check(t, r.Alert, r.Expr, series)
			if wait, err := time.ParseDuration(cmp.Or(r.For, "0s")); err != nil || wait > time.Hour {
				t.Errorf("%s waits for %q", r.Alert, r.For)
			}
			if !slices.Contains([]string{"info", "warning", "critical"}, r.Labels["severity"]) {
				t.Errorf("%s has the severity %q", r.Alert, r.Labels["severity"])
			}
			if r.Annotations["summary"] == "" || len(strings.Split(r.Annotations["description"], ". ")) < 2 {
				t.Errorf("%s does not say what it means and what to do: %v", r.Alert, r.Annotations)
			}
		}
	}
	if len(names) < 10 {
		t.Errorf("only %d alerts", len(names))
	}
}
