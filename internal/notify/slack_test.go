package notify_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/secret"
)

func bot() notify.Channel {
	return notify.Channel{ID: "ntc_1", Kind: notify.SlackKind, Target: notify.Target{Conversation: "C024BE91L", Secret: secret.NewText("xoxb-token")}}
}

var ok = reply{status: 200, body: `{"ok":true,"channel":"C024BE91L","ts":"1764064800.000100"}`}

func TestSlackHasOneMessageForAnIncident(t *testing.T) {
	r := startReceiver(t, ok)
	slack := senders(r)[notify.SlackKind]
	prior, err := slack.Send(t.Context(), bot(), failed(nil), notify.Prior{})
	if err != nil || prior.Timestamp != "1764064800.000100" {
		t.Fatalf("prior = %+v, %v", prior, err)
	}
	resolved := failed(func(n *notify.Notice) {
		n.Kind, n.Incident.Status, n.Reason = notify.Resolved, "resolved", "run 9 passed"
	})
	again, err := slack.Send(t.Context(), bot(), resolved, prior)
	if err != nil || again != prior || len(r.got) != 3 {
		t.Fatalf("prior = %+v, %v, %d requests", again, err, len(r.got))
	}
	posted, edited, replied := r.got[0], r.got[1], r.got[2]
	if posted.path != "/api/chat.postMessage" || posted.body["channel"] != "C024BE91L" || posted.header.Get("Authorization") != "Bearer xoxb-token" ||
		posted.body["link_names"] != false || posted.body["parse"] != "none" || posted.body["thread_ts"] != nil {
		t.Errorf("posted = %s", posted.raw)
	}
	if edited.path != "/api/chat.update" || edited.body["ts"] != prior.Timestamp || !strings.Contains(string(edited.raw), "🟢") {
		t.Errorf("edited = %s", edited.raw)
	}
	if replied.path != "/api/chat.postMessage" || replied.body["thread_ts"] != prior.Timestamp || replied.body["text"] != "devflowfix resolved it – run 9 passed" || replied.body["blocks"] != nil {
		t.Errorf("replied = %s", replied.raw)
	}
}

func TestSlackPostsAnewWhenItsMessageIsGoneOrElsewhere(t *testing.T) {
	gone := reply{status: 200, body: `{"ok":false,"error":"message_not_found"}`}
	r := startReceiver(t, gone, ok)
	slack := senders(r)[notify.SlackKind]
	old := notify.Prior{Conversation: "C024BE91L", Timestamp: "1.1", SentTo: "C024BE91L"}
	prior, err := slack.Send(t.Context(), bot(), failed(nil), old)
	if err != nil || prior.Timestamp == "1.1" || len(r.got) != 2 {
		t.Errorf("deleted: %+v, %v, %d requests", prior, err, len(r.got))
	}
	old.SentTo = "C0THER000"
	if prior, err = slack.Send(t.Context(), bot(), failed(nil), old); err != nil || prior.SentTo != "C024BE91L" || r.got[2].path != "/api/chat.postMessage" {
		t.Errorf("moved: %+v, %v", prior, err)
	}
}

func TestWhatSlacksErrorsMean(t *testing.T) {
	tests := []struct {
		name         string
		answer       reply
		wantKind     fault.Kind
		wantSentence string
		wantAfter    time.Duration
	}{
		{"not invited", reply{status: 200, body: `{"ok":false,"error":"not_in_channel"}`}, fault.Permanent, "/invite", 0},
		{"a bad token", reply{status: 200, body: `{"ok":false,"error":"invalid_auth"}`}, fault.Permanent, "token", 0},
		{"no such channel", reply{status: 200, body: `{"ok":false,"error":"channel_not_found"}`}, fault.Permanent, "its id", 0},
		{"an error of tomorrow", reply{status: 200, body: `{"ok":false,"error":"new_<b>thing"}`}, fault.Permanent, "new_bthing", 0},
		{"too often", reply{status: 429, header: map[string]string{"Retry-After": "30"}}, fault.Throttled, "wait", 30 * time.Second},
		{"its own fault", reply{status: 200, body: `{"ok":false,"error":"internal_error"}`}, fault.Transient, "tried again", 0},
		{"down", reply{status: 503}, fault.Transient, "503", 0},
		{"no JSON", reply{status: 200, body: `<html>`}, fault.Transient, "read", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := startReceiver(t, tt.answer)
			_, err := senders(r)[notify.SlackKind].Send(t.Context(), bot(), failed(nil), notify.Prior{})
			_, after := fault.Decide(err)
			if !fault.Is(err, tt.wantKind) || !strings.Contains(fault.Sentence(err), tt.wantSentence) || after != tt.wantAfter {
				t.Errorf("error = %v after %s", err, after)
			}
		})
	}
}

func TestAnIncomingWebhookTakesAMessageForEachChange(t *testing.T) {
	r := startReceiver(t, reply{status: 200, body: "ok"}, reply{status: 404, body: "no_service"})
	c := notify.Channel{Kind: notify.SlackKind, Target: notify.Target{URL: secret.NewText(r.URL + "/services/T/B/X")}}
	slack := senders(r)[notify.SlackKind]
	if prior, err := slack.Send(t.Context(), c, failed(nil), notify.Prior{}); err != nil || prior != (notify.Prior{}) || r.got[0].header.Get("Authorization") != "" {
		t.Errorf("prior = %+v, %v", prior, err)
	}
	if _, err := slack.Send(t.Context(), c, failed(nil), notify.Prior{}); !fault.Is(err, fault.Permanent) || !strings.Contains(fault.Sentence(err), "was removed") {
		t.Errorf("error = %v", err)
	}
}

// FuzzSlackStaysInert puts a stranger's text everywhere: no mention or link
// comes out of it, and no block is longer than Slack takes.
func FuzzSlackStaysInert(f *testing.F) {
	for _, s := range []string{"<!channel> <@U1> <https://evil.example|ok>", "a & b > c", "```\n<!here>", strings.Repeat("&<>", 4000), "\xff\u202e|>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := startReceiver(t, ok)
		n := failed(func(n *notify.Notice) {
			i := &n.Incident
			i.Title, i.Headline, i.Reason, i.Repository, i.Branch, i.Workflow, i.Job, i.Owner, i.OwnerRule, i.Culprit = s, s, s, s, s, s, s, s, s, s
			i.CommitTitle, i.Author, i.SHA, i.Status, i.Severity, i.Category, i.RunURL, i.URL, i.Lines = s, s, s, s, s, s, s, s, []string{s, s, s, s, s, s, s, s, s}
			n.Actor, n.Reason = s, s
		})
		slack := senders(r)[notify.SlackKind]
		prior, err := slack.Send(t.Context(), bot(), n, notify.Prior{})
		if err == nil {
			_, err = slack.Send(t.Context(), bot(), n, prior)
		}
		if err == nil {
			err = slack.(notify.Summarizer).Summarize(t.Context(), bot(), notify.Summary{Notices: []notify.Notice{n}})
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range r.got {
			var texts []string
			collect(g.body, &texts)
			for _, text := range texts {
				// An address is the only thing that may stand between angle brackets.
				for _, part := range strings.Split(text, "<")[1:] {
					if !strings.HasPrefix(part, "http") {
						t.Errorf("an angle bracket in %q", text)
					}
				}
				if utf8.RuneCountInString(text) > 3000 {
					t.Errorf("%d characters", utf8.RuneCountInString(text))
				}
			}
		}
	})
}

// collect gathers the texts that Slack reads for its notation.
func collect(v any, texts *[]string) {
	switch v := v.(type) {
	case map[string]any:
		if text, is := v["text"].(string); is {
			*texts = append(*texts, text)
		}
		for _, inner := range v {
			collect(inner, texts)
		}
	case []any:
		for _, inner := range v {
			collect(inner, texts)
		}
	}
}

func TestSlacksBlocksAreAsDescribed(t *testing.T) {
	r := startReceiver(t, ok)
	fenced := failed(func(n *notify.Notice) { n.Incident.Lines[1] = "```<!here>" })
	if _, err := senders(r)[notify.SlackKind].Send(t.Context(), bot(), fenced, notify.Prior{}); err != nil {
		t.Fatal(err)
	}
	var m struct {
		Blocks []struct {
			Type   string
			Text   *struct{ Type, Text string }
			Fields []struct{ Type, Text string }
		}
	}
	if err := json.Unmarshal(r.got[0].raw, &m); err != nil || len(m.Blocks) != 4 {
		t.Fatalf("%d blocks, %v", len(m.Blocks), err)
	}
	if head := m.Blocks[0]; head.Type != "section" || head.Text.Type != "mrkdwn" || !strings.HasPrefix(head.Text.Text, "🔴 *<https://dff.example/incidents/inc_1|TestPay fails>*") {
		t.Errorf("head = %+v", head.Text)
	}
	if fields := m.Blocks[1].Fields; len(fields) > 10 || fields[0].Text != "*Repository*\nacme/shop" {
		t.Errorf("fields = %+v", fields)
	}
	if lines := m.Blocks[2].Text.Text; lines != "```--- FAIL: TestPay\n'''&lt;!here&gt;\n```" {
		t.Errorf("lines = %q", lines)
	}
}
