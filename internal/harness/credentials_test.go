package harness_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/harness"
)

const (
	refreshPath = "/api/v2/auth/refresh"
	logoutPath  = "/api/v2/auth/logout"
)

// refresh spends a refresh token.
func refresh(w *harness.World, token string) (harness.Answer, harness.Pair) {
	var p harness.Pair
	a := send(w, post(refreshPath, fmt.Sprintf(`{"refresh_token":%q}`, token)))
	if json.Unmarshal(a.Body, &p) == nil && a.Status == http.StatusOK {
		w.Secret(p.Access)
		w.Secret(p.Refresh)
	}
	return a, p
}

// send sends a request of nobody, with a body of JSON.
func send(w *harness.World, r harness.Request) harness.Answer {
	r.Header = http.Header{"Content-Type": {"application/json"}}
	return w.Send(r)
}

// lives reports whether an access token lets in.
func lives(w *harness.World, access string) bool {
	status, _ := whoIs(w, access)
	return status == http.StatusOK
}

func TestARefreshTokenGivesANewPairOnce(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	mira := w.LogIn("github", "mira")
	first := mira.Pair()
	_, second := refresh(w, first.Refresh)
	if !lives(w, first.Access) || !lives(w, second.Access) {
		t.Fatal("an access token does not let in")
	}
	_, third := refresh(w, second.Refresh)
	if third.Refresh == "" || third.Refresh == second.Refresh {
		t.Fatalf("the second refresh gives %q", third.Refresh)
	}
	// Whoever has the first one has stolen it, or was robbed.
	again, _ := refresh(w, first.Refresh)
	if p := w.Problem(again); again.Status != http.StatusUnauthorized || !strings.Contains(p.Detail, "log in again") {
		t.Errorf("used again: %d %s", again.Status, again.Body)
	}
	if a, _ := refresh(w, third.Refresh); a.Status != http.StatusUnauthorized {
		t.Errorf("the last of the login lives on: %d", a.Status)
	}
	if other := w.LogIn("github", "mira").Pair(); !lives(w, other.Access) {
		t.Error("another login does not work")
	}
	if n := audited(mira, "tokens.reused"); n != 1 {
		t.Errorf("the audit tells of it %d times", n)
	}
	// A token makes no new login.
	if status := w.With(first.Access).Call(http.MethodPost, tokenPath, nil, nil); status != http.StatusForbidden {
		t.Errorf("tokens by a token: %d", status)
	}
}

// audited counts the entries of an action that concern a person.
func audited(b *harness.Browser, action string) int {
	var page struct {
		Entries []struct {
			Action string `json:"action"`
		} `json:"entries"`
	}
	b.Call(http.MethodGet, auditPath+"?action="+action, nil, &page)
	return len(page.Entries)
}

func TestTwoProgramsThatSpendOneRefreshTokenEndTheLogin(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	pair := w.LogIn("github", "mira").Pair()
	var mu sync.Mutex
	won := []harness.Pair{}
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			if a, next := refresh(w, pair.Refresh); a.Status == http.StatusOK {
				mu.Lock()
				defer mu.Unlock()
				won = append(won, next)
			} else if a.Status != http.StatusUnauthorized {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	all.Wait()
	if len(won) != 1 {
		t.Fatalf("%d have won", len(won))
	}
	if a, _ := refresh(w, won[0].Refresh); a.Status != http.StatusUnauthorized {
		t.Errorf("the winner goes on: %d", a.Status)
	}
}

func TestWhoLogsOutIsOut(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	mira, elsewhere := w.LogIn("gitlab", "mira"), w.LogIn("gitlab", "mira")
	pair := mira.Pair()
	if status := mira.Call(http.MethodPost, logoutPath, map[string]string{"refresh_token": pair.Refresh}, nil); status != http.StatusOK {
		t.Fatalf("log out: %d", status)
	}
	if status := mira.Call(http.MethodGet, mePath, nil, nil); status != http.StatusUnauthorized {
		t.Errorf("the session lives: %d", status)
	}
	if a, _ := refresh(w, pair.Refresh); a.Status != http.StatusUnauthorized {
		t.Errorf("the refresh token lives: %d", a.Status)
	}
	if status := elsewhere.Call(http.MethodGet, mePath, nil, nil); status != http.StatusOK {
		t.Errorf("the session elsewhere: %d", status)
	}
	for _, body := range []string{"", `{}`, `{"refresh_token":"dfr_nobodys"}`} {
		if a := send(w, post(logoutPath, body)); a.Status != http.StatusOK {
			t.Errorf("nobody logs out with %q: %d %s", body, a.Status, a.Body)
		}
	}
}

// apiToken is a personal token as it is shown when it is made.
type apiToken struct {
	ID       string     `json:"id"`
	Token    string     `json:"token"`
	Hint     string     `json:"hint"`
	Scopes   []string   `json:"scopes"`
	LastUsed *time.Time `json:"last_used_at"`
}

// makeToken makes a token in a user's name, and returns how that went.
func makeToken(w *harness.World, u *harness.User, scopes ...string) (int, apiToken) {
	var made apiToken
	body := map[string]any{"name": "ci"}
	if len(scopes) > 0 {
		body["scopes"] = scopes
	}
	status := u.Call(http.MethodPost, tokensPath, body, &made)
	w.Secret(made.Token)
	return status, made
}

func TestAPersonalTokenIsShownOnceAndKeptAsAHash(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	mira := w.LogIn("github", "mira").Program()
	status, made := makeToken(w, mira)
	if status != http.StatusCreated || !strings.HasPrefix(made.Token, "dff_") || !strings.HasSuffix(made.Token, made.Hint) || !slices.Equal(made.Scopes, []string{"read"}) {
		t.Fatalf("made: %d %+v", status, made)
	}
	list := func() apiToken {
		var page struct {
			Tokens []apiToken `json:"tokens"`
		}
		mira.Call(http.MethodGet, tokensPath, nil, &page)
		if len(page.Tokens) != 1 {
			t.Fatalf("tokens = %+v", page.Tokens)
		}
		return page.Tokens[0]
	}
	if before := list(); before.Token != "" || before.LastUsed != nil {
		t.Errorf("listed: %+v", before)
	}
	if !lives(w, made.Token) {
		t.Fatal("it does not let in")
	}
	if after := list(); after.LastUsed == nil || time.Since(*after.LastUsed) > time.Hour {
		t.Errorf("its use is not noted: %+v", after)
	}
	for _, table := range []string{"api_tokens", "audit_entries", "sessions", "users", "outbox"} {
		if n := w.Count(`SELECT count(*) FROM `+table+` t WHERE strpos(t::text, $1::text) > 0 OR strpos(t::text, encode(convert_to($1, 'UTF8'), 'hex')) > 0`, made.Token); n != 0 {
			t.Errorf("%s holds the token in clear", table)
		}
	}
	// Expiry, by moving the end of the token and not the clock.
	w.Count(`WITH ended AS (UPDATE api_tokens SET expires_at = now() RETURNING id) SELECT count(*) FROM ended`)
	if lives(w, made.Token) {
		t.Error("it lives beyond its end")
	}
}

func TestAPersonalTokenMayDoWhatItsScopesSay(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true, Settings: []string{"ADMINS=github:root"}})
	mira, root := w.LogIn("github", "mira").Program(), w.LogIn("github", "root").Program()
	type try struct {
		name string
		call func(*harness.User) int
	}
	connect := try{"connect", func(u *harness.User) int {
		return u.Call(http.MethodPost, connectPath, map[string]any{"repository_full_name": "acme/shop", "setup_webhook": false}, nil)
	}}
	look := try{"look", func(u *harness.User) int { return u.Call(http.MethodGet, connectionsPath, nil, nil) }}
	all := try{"everybody's audit", func(u *harness.User) int { return u.Call(http.MethodGet, auditPath+"?all=true", nil, nil) }}
	giving := func(scope string) try {
		return try{"hand on " + scope, func(u *harness.User) int { status, _ := makeToken(w, u, scope); return status }}
	}
	tests := []struct {
		name  string
		owner *harness.User
		scope string
		want  map[string]int
	}{
		{"read", mira, "read", map[string]int{"look": 200, "connect": 403, "everybody's audit": 403, "hand on read": 403, "hand on write": 403, "hand on admin": 403}},
		{"write", mira, "write", map[string]int{"look": 200, "connect": 201, "everybody's audit": 403, "hand on read": 201, "hand on write": 201, "hand on admin": 403}},
		{"an operator's write", root, "write", map[string]int{"look": 200, "connect": 201, "everybody's audit": 403, "hand on read": 201, "hand on write": 201, "hand on admin": 403}},
		{"an operator's admin", root, "admin", map[string]int{"look": 200, "connect": 409, "everybody's audit": 200, "hand on read": 201, "hand on write": 201, "hand on admin": 201}},
	}
	for _, tt := range tests {
		status, made := makeToken(w, tt.owner, tt.scope)
		if status != http.StatusCreated {
			t.Errorf("%s: %d", tt.name, status)
			continue
		}
		for _, try := range []try{look, connect, all, giving("read"), giving("write"), giving("admin")} {
			if got := try.call(w.With(made.Token)); got != tt.want[try.name] {
				t.Errorf("%s: %s gives %d, want %d", tt.name, try.name, got, tt.want[try.name])
			}
		}
	}
	if status, _ := makeToken(w, mira, "admin"); status != http.StatusForbidden {
		t.Errorf("admin for who is no operator: %d", status)
	}
	if status, _ := makeToken(w, mira, "read", "admin"); status != http.StatusForbidden {
		t.Errorf("admin beside read: %d", status)
	}
}

func TestARevokedTokenEndsAtOnceAndAnothersDoesNot(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	ann, bob := w.User("ann"), w.User("bob")
	_, made := makeToken(w, ann, "write")
	if status := bob.Call(http.MethodDelete, tokensPath+"/"+made.ID, nil, nil); status != http.StatusNotFound || !lives(w, made.Token) {
		t.Errorf("bob revokes ann's: %d", status)
	}
	for range 100 - 1 {
		if status, _ := makeToken(w, ann); status != http.StatusCreated {
			t.Fatalf("one of a hundred: %d", status)
		}
	}
	if a := ann.Send(post(tokensPath, `{"name":"one more"}`)); a.Status != http.StatusConflict {
		t.Errorf("the 101st: %d %s", a.Status, a.Body)
	}
	if a := ann.Send(harness.Request{Method: http.MethodDelete, Path: tokensPath + "/" + made.ID}); a.Status != http.StatusNoContent {
		t.Errorf("revoke: %d %s", a.Status, a.Body)
	}
	if lives(w, made.Token) {
		t.Error("the revoked token lets in")
	}
	if status := ann.Call(http.MethodDelete, tokensPath+"/"+made.ID, nil, nil); status != http.StatusNotFound {
		t.Errorf("revoked twice: %d", status)
	}
	if status, _ := makeToken(w, ann); status != http.StatusCreated {
		t.Errorf("room for one: %d", status)
	}
}

// TestEveryBadJWTIsRefusedAlike is for what is not our own format alone; see
// TestOnlyOurTokensLetIn for the claims.
func TestEveryBadJWTIsRefusedAlike(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true})
	ann := w.User("ann")
	ours := w.App.Config.Keyring.Derive("devflowfix jwt v1")[0]
	claims := func(subject string) jwt.MapClaims {
		return jwt.MapClaims{"iss": "devflowfix", "aud": "devflowfix", "sub": subject, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	}
	signed := func(method jwt.SigningMethod, key any, subject string, header map[string]any) string {
		token := jwt.NewWithClaims(method, claims(subject))
		for name, value := range header {
			token.Header[name] = value
		}
		text, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good := signed(jwt.SigningMethodHS256, ours, ann.ID, nil)
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	gone, err := w.App.Tokens.Issue(auth.Identity{UserID: "usr_gone", Name: "ann"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if !lives(w, good) {
		t.Fatal("a good one is refused")
	}
	for name, token := range map[string]string{
		"RS256 in the header of an HMAC": signed(jwt.SigningMethodHS256, ours, ann.ID, map[string]any{"alg": "RS256"}),
		"RS256":                          signed(jwt.SigningMethodRS256, rsaKey(t), ann.ID, nil),
		"HS384":                          signed(jwt.SigningMethodHS384, ours, ann.ID, nil),
		"an empty key":                   signed(jwt.SigningMethodHS256, []byte{}, ann.ID, nil),
		"a key of its own":               signed(jwt.SigningMethodHS256, []byte("mine"), ann.ID, map[string]any{"jwk": map[string]string{"kty": "oct", "k": "bWluZQ"}}),
		"an empty subject":               signed(jwt.SigningMethodHS256, ours, "", nil),
		"a user who is gone":             gone,
		"alg none":                       none + "." + parts[1] + ".",
		"alg none with our signature":    none + "." + parts[1] + "." + parts[2],
		"no signature":                   parts[0] + "." + parts[1] + ".",
		"two parts":                      parts[0] + "." + parts[1],
		"a personal token of nobody":     "dff_" + strings.Repeat("a", 52),
		"a refresh token":                w.LogIn("github", "mira").Pair().Refresh,
	} {
		a := w.With(token).Send(get(mePath))
		if p := w.Problem(a); a.Status != http.StatusUnauthorized || p.Code != "unauthenticated" {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
}

func TestOperatorsAreThoseOfTheList(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true, Settings: []string{"ADMINS=github:Boss, gitlab:mira"}})
	is := func(b *harness.Browser) bool {
		var who me
		if status := b.Call(http.MethodGet, mePath, nil, &who); status != http.StatusOK {
			t.Errorf("me: %d", status)
		}
		return who.IsOperator
	}
	if first := w.LogIn("github", "mira"); is(first) {
		t.Error("the first user is an operator, by an account at another forge")
	}
	boss := w.LogIn("github", "boss")
	if !is(boss) {
		t.Error("github:boss is none")
	}
	if status := boss.Call(http.MethodGet, auditPath+"?all=true", nil, nil); status != http.StatusOK {
		t.Errorf("the operator's audit: %d", status)
	}
	token := boss.Pair().Access
	_, personal := makeToken(w, w.With(token), "admin")
	for _, credential := range []string{token, personal.Token} {
		before, err := w.Beside().Callers.Identify(t.Context(), credential)
		if err != nil || !before.Admin {
			t.Errorf("before: %+v, %v", before, err)
		}
		after, err := w.Beside("ADMINS=github:somebody-else").Callers.Identify(t.Context(), credential)
		if err != nil || after.Admin || after.Require(auth.Admin) == nil || after.Require(auth.Write) != nil {
			t.Errorf("off the list: %+v, %v", after, err)
		}
	}
}
