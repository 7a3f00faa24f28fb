package forgesim

import (
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed page/*.html page/style.css
var pageFiles embed.FS

var pageTemplates = template.Must(template.New("").Funcs(template.FuncMap{
	"clock": func(t time.Time) string { return t.Format("15:04:05") },
	"short": func(sha string) string { return sha[:min(7, len(sha))] },
	"title": title,
}).ParseFS(pageFiles, "page/*.html"))

// showPage sends a page. Its form may lead to the simulator and, by way of a
// redirect, to one place more.
func showPage(w http.ResponseWriter, to step) {
	forms := "'self'"
	if u, err := url.Parse(to.leadsTo); err == nil && u.Host != "" && !strings.ContainsAny(u.Host, " ;,") {
		forms += " " + u.Scheme + "://" + u.Host
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action "+forms+"; base-uri 'none'; frame-ancestors 'none'")
	if to.status != 0 {
		w.WriteHeader(to.status)
	}
	_ = pageTemplates.ExecuteTemplate(w, to.page, to.view) // the reader has gone
}

// pageRoutes serve the control page, for people: what there is, and buttons
// that let workflows fail and pass.
func (s *Sim) pageRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		showPage(w, step{page: "control.html", view: s.controlPage(r.URL.Query().Get("problem"))})
	})
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, pageFiles, "page/style.css")
	})
	mux.HandleFunc("GET /runs/{provider}/{run}", func(w http.ResponseWriter, r *http.Request) {
		page, there := s.runPage(r.PathValue("provider"), parseID(r.PathValue("run")))
		if !there {
			http.NotFound(w, r)
			return
		}
		showPage(w, step{page: "run.html", view: page})
	})
	for path, act := range s.pageActions() {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			target := "/"
			if err := act(r); err != nil {
				target = "/?" + url.Values{"problem": {err.Error()}}.Encode()
			}
			http.Redirect(w, r, target, http.StatusSeeOther)
		})
	}
	return mux
}

// pageActions are what the page's buttons do.
func (s *Sim) pageActions() map[string]func(*http.Request) error {
	return map[string]func(*http.Request) error{
		"/act/run": func(r *http.Request) error {
			spec := RunSpec{
				Provider: r.PostFormValue("provider"), Repository: r.PostFormValue("repository"), Branch: r.PostFormValue("branch"),
				Workflow: r.PostFormValue("workflow"), Kind: r.PostFormValue("kind"), Conclusion: r.PostFormValue("conclusion"),
			}
			_, told, err := s.start(spec)
			if err != nil {
				return err
			}
			// The page that follows should show the answers.
			select {
			case <-told:
			case <-time.After(time.Second):
			}
			return nil
		},
		"/act/repository": func(r *http.Request) error {
			_, err := s.AddRepository(r.PostFormValue("provider"), strings.TrimSpace(r.PostFormValue("repository")))
			return err
		},
		"/act/redeliver": func(r *http.Request) error {
			_, err := s.Redeliver(parseID(r.PostFormValue("delivery")))
			return err
		},
		"/act/delete-hook": func(r *http.Request) error {
			s.DeleteHook(r.PostFormValue("provider"), parseID(r.PostFormValue("hook")))
			return nil
		},
		"/act/clear-faults": func(*http.Request) error { s.ClearFaults(); return nil },
	}
}

// controlView is what the control page shows.
type controlView struct {
	Problem      string
	Repositories []repositoryView
	Hooks        []Hook
	Deliveries   []Delivery // newest first
	Faults       []Fault
	Complaints   []Complaint
	App          *App // nil when there is none
	Installed    []Installation
	Kinds        []kind
	API          []controlRoute
	URL          string
}

// repositoryView is a repository with its lanes.
type repositoryView struct {
	Repository
	Lanes []laneView
}

// laneView is a workflow on a branch with its newest run, if it ran.
type laneView struct {
	Branch, Workflow string
	Last             *Run
}

// shownDeliveries is how many deliveries the page lists.
const shownDeliveries = 25

func (s *Sim) controlPage(problem string) controlView {
	v := controlView{
		Problem: problem, Hooks: s.Hooks(), Deliveries: s.Deliveries(), Faults: s.Faults(), Complaints: s.Complaints(),
		App: s.RegisteredApp(), Installed: s.Installations(),
		Kinds: kinds(), API: s.controlAPI(),
	}
	slices.Reverse(v.Deliveries)
	v.Deliveries = v.Deliveries[:min(shownDeliveries, len(v.Deliveries))]
	runs := s.Runs()
	for _, r := range s.Repositories() {
		if !r.Removed {
			v.Repositories = append(v.Repositories, repositoryView{r, lanes(r, runs)})
		}
	}
	s.mu.Lock()
	v.URL = s.publicURL
	s.mu.Unlock()
	return v
}

// lanes lists what ran in a repository; one that never ran gets a lane to
// begin with.
func lanes(r Repository, runs []Run) []laneView {
	var all []laneView
	for i := range runs {
		run := &runs[i]
		if run.Provider != r.Provider || run.RepositoryID != r.ID {
			continue
		}
		same := func(l laneView) bool { return l.Branch == run.Branch && l.Workflow == run.Workflow }
		if at := slices.IndexFunc(all, same); at >= 0 {
			all[at].Last = run
		} else {
			all = append(all, laneView{run.Branch, run.Workflow, run})
		}
	}
	if len(all) == 0 {
		first := laneView{Branch: r.DefaultBranch}
		if r.Provider == GitHub {
			first.Workflow = "CI"
		}
		all = append(all, first)
	}
	return all
}

// runView is a run with the logs of its newest attempt.
type runPageView struct {
	Run
	Attempt Attempt
	Jobs    []jobView
}

type jobView struct {
	Job
	Log string
}

func (s *Sim) runPage(provider string, id int64) (runPageView, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := s.runByID(provider, id)
	if run == nil {
		return runPageView{}, false
	}
	v := runPageView{Run: s.runView(run), Attempt: *run.latest()}
	for _, j := range run.latest().Jobs {
		v.Jobs = append(v.Jobs, jobView{j, strings.Join(j.output(), "\n")})
	}
	return v, true
}

// githubRunPage and gitlabRunPage are where the links in payloads lead: the
// forge's own address of a run, shown by the simulator.
func (s *Sim) githubRunPage(w http.ResponseWriter, r *http.Request) {
	_, rest, found := strings.Cut(r.URL.Path, "/actions/runs/")
	toRunPage(w, r, GitHub, rest, found)
}

func (s *Sim) gitlabRunPage(w http.ResponseWriter, r *http.Request) {
	_, rest, found := strings.Cut(r.URL.Path, "/-/pipelines/")
	toRunPage(w, r, GitLab, rest, found)
}

func toRunPage(w http.ResponseWriter, r *http.Request, provider, rest string, found bool) {
	first, _, _ := strings.Cut(rest, "/")
	id := parseID(first)
	if !found || id == 0 {
		http.Redirect(w, r, "/", http.StatusFound)
		return
	}
	http.Redirect(w, r, "/runs/"+provider+"/"+strconv.FormatInt(id, 10), http.StatusFound)
}
