package client_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/client"
	"github.com/devflowfix/devflowfix/internal/fault"
)

const token = "dff_0123456789"

func TestATokenIsNotSentWhereOthersReadIt(t *testing.T) {
	tests := map[string]bool{
		"https://dff.example": true, "https://dff.example/path/": true, "http://localhost:8080": true, "http://127.0.0.1:8080": true, "http://[::1]:1": true,
		"http://dff.example": false, "http://10.0.0.1": false, "http://localhost.example": false, "http://127.0.0.1.example": false,
		"dff.example": false, "ftp://dff.example": false, "https://u:p@dff.example": false, "https://dff.example?x=1": false, "": false,
	}
	for server, want := range tests {
		if _, err := client.New(server, token); (err == nil) != want {
			t.Errorf("%q: %v", server, err)
		}
	}
	for _, bad := range []string{"", "two words", "line\nline", "é"} {
		if _, err := client.New("https://dff.example", bad); err == nil {
			t.Errorf("the token %q is taken", bad)
		}
	}
}

// at returns a client of a server that answers with handle.
func at(t *testing.T, handle http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	c, err := client.New(server.URL+"/", token)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestARefusalBecomesASentence(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		kind   fault.Kind
		want   string
	}{
		{"unknown token", 401, `{"detail":"No."}`, fault.Unauthenticated, "devflowfix login"},
		{"forbidden", 403, `{"detail":"The token lacks the scope write."}`, fault.Forbidden, "lacks the scope write"},
		{"not there", 404, `{"detail":"You have no incident inc_x."}`, fault.NotFound, "inc_x"},
		{"input", 422, `{"detail":"See errors.","errors":[{"location":"query.limit","message":"At most 100."}]}`, fault.Invalid, "query.limit: At most 100."},
		{"ours", 500, `{"detail":"Something went wrong.","request_id":"r-7"}`, fault.Unavailable, "r-7"},
		{"a proxy", 502, `<html>Bad Gateway</html>`, fault.Unavailable, "502"},
		{"another server", 404, `<html>Nothing here</html>`, fault.Unavailable, "does not answer as DevFlowFix does"},
		{"another server's page", 200, `<html>Hello</html>`, fault.Unavailable, "does not answer as DevFlowFix does"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := at(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			})
			_, err := c.Me(t.Context())
			if !fault.Is(err, tt.kind) || !strings.Contains(fault.Sentence(err), tt.want) || strings.Contains(err.Error(), token) {
				t.Errorf("%s: %v", fault.KindOf(err), err)
			}
		})
	}
}

func TestARedirectGetsNoToken(t *testing.T) {
	c := at(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			t.Error("the redirect was followed")
		}
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	if _, err := c.Me(t.Context()); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

func TestAListIsReadPageByPage(t *testing.T) {
	var asked []string
	c := at(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("asked with %q", r.Header.Get("Authorization"))
		}
		q := r.URL.Query()
		asked = append(asked, q.Get("limit")+q.Get("cursor"))
		next, items := `"b"`, make([]string, 100)
		if q.Get("cursor") == "b" {
			next, items = "null", items[:20]
		}
		for i := range items {
			items[i] = fmt.Sprintf(`{"id":"inc_%d","status":"a status of tomorrow","new":{"member":true}}`, i)
		}
		fmt.Fprintf(w, `{"incidents":[%s],"next_cursor":%s}`, strings.Join(items, ","), next)
	})
	found, err := c.Incidents(t.Context(), client.IncidentFilter{Status: "open"}, 150)
	if err != nil || len(found.Items) != 120 || found.More || found.Items[119].Value.Status != "a status of tomorrow" {
		t.Errorf("%d, more %v, %v", len(found.Items), found.More, err)
	}
	if strings.Join(asked, " ") != "100 50b" {
		t.Errorf("asked for %q", asked)
	}
	raw, err := json.Marshal(found)
	if err != nil || !strings.Contains(string(raw), `"new":{"member":true}`) || !strings.HasSuffix(string(raw), `"next_cursor":null}`) {
		t.Errorf("%.200s, %v", raw, err)
	}
	if found, err = c.Incidents(t.Context(), client.IncidentFilter{}, 100); err != nil || !found.More {
		t.Errorf("the first page: %+v, %v", found.More, err)
	}
}

func TestAnExportThatIsCutIsAnError(t *testing.T) {
	tests := []struct {
		name   string
		answer func(w http.ResponseWriter)
		want   string // "" for a whole one
	}{
		{"whole", func(w http.ResponseWriter) {
			w.Header().Set("Content-Disposition", `attachment; filename="incidents.csv"`)
			fmt.Fprint(w, "id\r\ninc_1\r\n")
		}, ""},
		{"cut", func(w http.ResponseWriter) {
			w.Header().Set("Content-Disposition", `attachment; filename="incidents.csv"`)
			fmt.Fprint(w, "id\r\n")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "cannot be reached"},
		{"a page of another server", func(w http.ResponseWriter) { fmt.Fprint(w, "<html>") }, "does not answer as DevFlowFix does"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := at(t, func(w http.ResponseWriter, _ *http.Request) { tt.answer(w) })
			var out strings.Builder
			err := c.ExportIncidents(t.Context(), client.IncidentFilter{}, "csv", &out)
			if tt.want == "" && (err != nil || !strings.HasSuffix(out.String(), "inc_1\r\n")) {
				t.Errorf("%q, %v", out.String(), err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(fault.Sentence(err), tt.want)) {
				t.Errorf("%v", err)
			}
		})
	}
}
