package main

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/handlers"
	"github.com/devflowfix/devflowfix/internal/app"
	"github.com/devflowfix/devflowfix/internal/egress"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// visit checks everything that there is to check beside the settings.
func (r *round) visit(a *app.App) {
	r.tell(checkAddress(a.Config.BaseURL, a.Config.AllowPrivate))
	hasDatabase := r.checkDatabase(a)
	r.check("Redis", "it holds the deliveries between their receipt and their effect", "check REDIS_URL, and that the server lets this machine in", func(ctx context.Context) (finding, error) {
		found, err := a.CheckRedis(ctx)
		if found.Warning != "" {
			return finding{State: warning, Found: strings.TrimSpace(found.Version+" answers; ") + " " + found.Warning, Cure: found.Cure}, err
		}
		return note("%s", strings.TrimSpace(found.Version+" answers, keeps its data and drops nothing")), err
	})
	for _, p := range []forge.Provider{forge.GitHub, forge.GitLab} {
		r.checkForge(a, p)
	}
	if hasDatabase || a.App.InSettings() {
		r.checkApp(a)
	}
}

// checkDatabase looks at what is in the database. It reports whether there is
// one: without, each further look would say the same.
func (r *round) checkDatabase(a *app.App) bool {
	var down bool
	r.check("PostgreSQL", "everything that must not be lost is there", "check DATABASE_URL, and that the server lets this machine in", func(ctx context.Context) (finding, error) {
		err := a.Store.Ready(ctx)
		down = fault.Is(err, fault.Unavailable)
		return note("answers, and its schema is right"), err
	})
	if down {
		return false
	}
	r.checkServer(a)
	r.check("isolation", "else a mistake in one query shows users what is another's", "make an ordinary role that owns the database, and name it in DATABASE_URL", func(ctx context.Context) (finding, error) {
		exempt, err := a.Store.Isolation(ctx)
		if err == nil && exempt != "" {
			err = fault.New(fault.Conflict, exempt)
		}
		return note("row-level security binds the database's role"), err
	})
	r.check("key", "without the right key, no stored secret can be read", "check OAUTH_TOKEN_ENCRYPTION_KEY", func(ctx context.Context) (finding, error) {
		return note("opens what the database holds"), a.Store.CheckKey(ctx)
	})
	return true
}

// checkAddress looks whether the forges can reach an address, by its form
// alone.
func checkAddress(base string, private bool) finding {
	f := finding{Name: "address", State: well, Found: base + " has the form of an address that the forges can reach"}
	u, err := url.Parse(base)
	if err != nil {
		return finding{Name: "address", State: wrong, Found: "WEBHOOK_BASE_URL is no URL", Cure: "set it to https://devflowfix.example.com"}
	}
	host := u.Hostname()
	ip, notIP := netip.ParseAddr(host)
	isInside := host == "localhost" || notIP == nil && !egress.Public(ip) || notIP != nil && !strings.Contains(host, ".")
	switch {
	case isInside && private:
		f.Found = base + " is in a private network, as ALLOW_PRIVATE_NETWORKS says that the forges are"
	case isInside:
		f.State, f.Found = warning, base+" is in a private network"
		f.Why = "GitHub and GitLab on the internet cannot deliver to it"
		f.Cure = "set WEBHOOK_BASE_URL to a public https address, or read their logs with `devflowfix pull`"
	case notIP == nil:
		f.State, f.Found = warning, base+" names a host by its IP address"
		f.Why, f.Cure = "hardly any certificate is good for one, and hooks look at certificates", "set WEBHOOK_BASE_URL to a host name"
	case u.Path != "":
		f.State, f.Found = warning, base+" has a path"
		f.Why, f.Cure = "the proxy in front has to take it away, or every delivery meets 404", "let "+base+"/healthz answer 200, or set WEBHOOK_BASE_URL without a path"
	}
	return f
}

const (
	oldestPostgres = 140000
	// mostAhead is how far clocks may be apart. GitHub refuses an App's JWT
	// that is a minute old before it is made.
	mostAhead = 30 * time.Second
)

// checkServer looks at the server of the database.
func (r *round) checkServer(a *app.App) {
	r.check("server", "the database is no use without it", "see PostgreSQL above", func(ctx context.Context) (finding, error) {
		began := time.Now()
		c, err := a.Store.Condition(ctx)
		if err != nil {
			return finding{}, err
		}
		ahead := c.Now.Sub(began.Add(time.Since(began) / 2)).Round(time.Second)
		free := c.Limit - c.Connections
		switch {
		case c.Number < oldestPostgres:
			return finding{State: warning, Found: "PostgreSQL " + c.Version + " is older than 14", Why: "its developers mend it no more", Cure: "move to a release that they do"}, nil
		case ahead.Abs() > mostAhead:
			return finding{State: warning, Found: "the database's clock is " + apart(ahead) + " ours", Why: "retries and ends of tokens come too early or too late", Cure: "let both machines take their time from NTP"}, nil
		case free < a.Config.DatabaseConnections:
			return finding{State: warning, Found: fmt.Sprintf("%d of %d connections are taken, and a process of ours takes up to %d", c.Connections, c.Limit, a.Config.DatabaseConnections),
				Why: "a process that gets none cannot work", Cure: "raise max_connections, or lower DATABASE_MAX_CONNECTIONS"}, nil
		}
		return note("PostgreSQL %s, %d of %d connections are free, its clock is right", c.Version, free, c.Limit), nil
	})
}

// apart says on which side of another clock one is.
func apart(ahead time.Duration) string {
	if ahead < 0 {
		return (-ahead).String() + " behind"
	}
	return ahead.String() + " ahead of"
}

// checkForge looks at a forge as the operator's token and our clock meet it.
func (r *round) checkForge(a *app.App, p forge.Provider) {
	name := strings.ToUpper(string(p))
	if a.Access.Operator[p].IsZero() {
		r.tell(finding{Name: p.Title(), State: skipped, Found: "no token of the operator's; users log in"})
	} else {
		r.check(p.Title(), "connections of users whom you made use it", fmt.Sprintf("check %[1]s_TOKEN and %[1]s's URL", name), func(ctx context.Context) (finding, error) {
			return checkToken(ctx, a, p)
		})
	}
	if !isUsed(a, p) {
		return
	}
	r.check(p.Title()+" clock", "tokens and signatures are good for a time", "check that this machine reaches "+p.Title(), func(ctx context.Context) (finding, error) {
		ahead, err := a.ForgeAhead(ctx, p)
		if err == nil && ahead.Abs() > mostAhead {
			return finding{State: wrong, Found: p.Title() + "'s clock is " + apart(ahead) + " ours", Cure: "let this machine take its time from NTP"}, nil
		}
		return note("agrees with ours"), err
	})
}

// isUsed reports whether the settings let anybody reach the forge.
func isUsed(a *app.App, p forge.Provider) bool {
	if p == forge.GitLab {
		return !a.Config.GitLab.Token.IsZero() || !a.Config.GitLab.OAuth.IsZero()
	}
	return !a.Config.GitHub.Token.IsZero() || !a.Config.GitHub.OAuth.IsZero() || a.App.InSettings()
}

func checkToken(ctx context.Context, a *app.App, p forge.Provider) (finding, error) {
	f, err := a.Access.Openers[p].Open(ctx, forge.Access{Token: a.Access.Operator[p]})
	if err != nil {
		return finding{}, err
	}
	self, err := f.Self(ctx)
	if err != nil {
		return finding{}, err
	}
	missing, err := f.MissingScopes(ctx)
	if err != nil {
		return finding{}, err
	}
	if len(missing) > 0 {
		return finding{State: wrong, Found: "the token of " + self.Login + " lacks the scope " + strings.Join(missing, ", "), Why: "webhooks cannot be made with it",
			Cure: fmt.Sprintf("make a token with it at %s, and set %s_TOKEN", p.Title(), strings.ToUpper(string(p)))}, nil
	}
	return note("answers, and the token is of %s", self.Login), nil
}

// checkApp compares the GitHub App with what it is needed for.
func (r *round) checkApp(a *app.App) {
	r.check("GitHub App", "its deliveries come from all repositories that install it", "check GITHUB_APP_INTEGRATION_ID and GITHUB_APP_PRIVATE_KEY", func(ctx context.Context) (finding, error) {
		got, err := a.App.Settings(ctx)
		if fault.Is(err, fault.NotFound) && !a.App.InSettings() {
			return finding{State: skipped, Found: "none is registered; `devflowfix app create` registers one"}, nil
		}
		if err != nil {
			return finding{}, err
		}
		return checkAppSettings(got, a.Config.BaseURL+handlers.AppHookPath), nil
	})
}

// checkAppSettings names everything that is wrong with an App whose hook should
// send to hookURL.
func checkAppSettings(got forge.AppSettings, hookURL string) finding {
	var found, cures []string
	if lacks := got.Lacks(); len(lacks) > 0 {
		found = append(found, "it does not ask for "+strings.Join(lacks, ", "))
		cures = append(cures, "add that under Permissions & events, and let the installations accept it")
	}
	if got.HookURL != hookURL {
		found = append(found, fmt.Sprintf("its webhook sends to %q, not to %s", got.HookURL, hookURL))
		cures = append(cures, "set the webhook URL to "+hookURL)
	}
	if !got.HasSecret {
		found = append(found, "its webhook has no secret")
		cures = append(cures, "set the webhook secret to GITHUB_APP_WEBHOOK_SECRET")
	}
	if got.InsecureTLS {
		found = append(found, "its webhook does not look at certificates")
		cures = append(cures, "enable SSL verification")
	}
	if len(found) > 0 {
		return finding{State: wrong, Found: got.Slug + ": " + strings.Join(found, "; "), Why: "events do not arrive, or are refused",
			Cure: "in the App's settings at GitHub: " + strings.Join(cures, "; ")}
	}
	if forgoes := got.Forgoes(); len(forgoes) > 0 {
		return finding{State: warning, Found: got.Slug + ": it does not ask for " + strings.Join(forgoes, ", "),
			Why:  "it shows no checks, runs no jobs again or proposes no fixes",
			Cure: "add that under Permissions & events in the App's settings at GitHub, and let the installations accept it, if you want that"}
	}
	return note("%s asks for all that it can use, and its webhook sends here, signed", got.Slug)
}
