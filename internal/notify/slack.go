package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// Slack keeps one message for each incident: a bot's message is edited, and
// what changed is told in its thread. An incoming webhook can do neither, so
// there each change is a message.
type Slack struct {
	API  string // https://slack.com/api, without a slash at its end
	HTTP *http.Client
}

const slackName = "Slack"

// message is the arguments of chat.postMessage and chat.update
// (docs.slack.dev, "chat.postMessage").
type message struct {
	Channel string `json:"channel,omitempty"`
	TS      string `json:"ts,omitempty"`        // of the message to edit
	Thread  string `json:"thread_ts,omitempty"` // of the message to reply to
	// Broadcast shows a reply in the channel too.
	Broadcast bool    `json:"reply_broadcast,omitempty"`
	Text      string  `json:"text"` // for notifications, and where there are no blocks
	Blocks    []block `json:"blocks,omitempty"`
	// Nothing in the text is looked at for names or links.
	Parse       string `json:"parse"`
	LinkNames   bool   `json:"link_names"`
	UnfurlLinks bool   `json:"unfurl_links"`
	UnfurlMedia bool   `json:"unfurl_media"`
}

type block struct {
	Type     string      `json:"type"`
	Text     *blockText  `json:"text,omitempty"`
	Fields   []blockText `json:"fields,omitempty"`
	Elements []blockText `json:"elements,omitempty"`
}

type blockText struct {
	Type string `json:"type"`
	Text string `json:"text"`
	// Verbatim keeps Slack from making links of URLs and names.
	Verbatim bool `json:"verbatim"`
}

// The limits of Block Kit, in characters (docs.slack.dev, "Section block").
const (
	blockLimit = 3000
	fieldLimit = 2000
)

// Send posts the incident's message, or edits it and replies in its thread.
func (s *Slack) Send(ctx context.Context, c Channel, n Notice, prior Prior) (Prior, error) {
	m := slackMessage(n)
	if c.Target.Secret.IsZero() {
		return prior, s.byHook(ctx, c, m)
	}
	m.Channel = c.Target.Conversation
	if prior.Timestamp == "" || prior.SentTo != c.Target.Conversation {
		return s.post(ctx, c, m, prior)
	}
	edited := m
	edited.Channel, edited.TS = prior.Conversation, prior.Timestamp
	_, err := s.call(ctx, c, "chat.update", edited)
	if isLost(err) {
		return s.post(ctx, c, m, prior)
	}
	if err != nil {
		return prior, err
	}
	_, err = s.call(ctx, c, "chat.postMessage", message{
		Channel: prior.Conversation, Thread: prior.Timestamp, Parse: "none",
		// An edit is silent; that it is red again is for everybody.
		Broadcast: n.Kind == Reopened,
		Text:      slackChange(n),
	})
	return prior, err
}

// Summarize posts a digest.
func (s *Slack) Summarize(ctx context.Context, c Channel, sum Summary) error {
	m := slackDigest(sum)
	if c.Target.Secret.IsZero() {
		return s.byHook(ctx, c, m)
	}
	m.Channel = c.Target.Conversation
	_, err := s.call(ctx, c, "chat.postMessage", m)
	return err
}

func (s *Slack) post(ctx context.Context, c Channel, m message, prior Prior) (Prior, error) {
	posted, err := s.call(ctx, c, "chat.postMessage", m)
	if err != nil {
		return prior, err
	}
	prior.Conversation, prior.Timestamp, prior.SentTo = posted.Channel, posted.TS, c.Target.Conversation
	return prior, nil
}

// posted is what Slack's API answers; HTTP's status is 200 also for errors.
type posted struct {
	OK      bool   `json:"ok"`
	Error   string `json:"error"`
	Channel string `json:"channel"`
	TS      string `json:"ts"`
}

func (s *Slack) call(ctx context.Context, c Channel, method string, m message) (posted, error) {
	body, err := encode(m)
	if err != nil {
		return posted{}, err
	}
	header := http.Header{"Authorization": {"Bearer " + c.Target.Secret.Reveal()}}
	a, err := post(ctx, s.HTTP, slackName, s.API+"/"+method, body, header)
	if err != nil {
		return posted{}, err
	}
	if err := slackStatus(a); err != nil {
		return posted{}, err
	}
	var p posted
	if err := json.Unmarshal(a.body, &p); err != nil {
		return posted{}, fault.New(fault.Transient, "Slack's answer cannot be read. It is tried again.")
	}
	if !p.OK {
		return posted{}, slackFault(p.Error, waitOf(a.header, time.Now()))
	}
	return p, nil
}

// byHook sends to an incoming webhook, which answers in plain text
// (docs.slack.dev, "Sending messages using incoming webhooks").
func (s *Slack) byHook(ctx context.Context, c Channel, m message) error {
	body, err := encode(m)
	if err != nil {
		return err
	}
	a, err := post(ctx, s.HTTP, slackName, c.Target.URL.Reveal(), body, nil)
	if err != nil || a.isOK() {
		return err
	}
	if err := slackStatus(a); err != nil {
		return err
	}
	return slackFault(strings.TrimSpace(string(a.body)), 0)
}

// slackStatus is for the statuses that say the same of every method.
func slackStatus(a answer) error {
	switch {
	case a.status == http.StatusTooManyRequests:
		return &fault.Error{Kind: fault.Throttled, Code: "ratelimited", After: waitOf(a.header, time.Now()), Sentence: "Slack asks to wait. It is tried again."}
	case a.status >= 500:
		return &fault.Error{Kind: fault.Transient, After: waitOf(a.header, time.Now()), Sentence: fmt.Sprintf("Slack answered %d. It is tried again.", a.status)}
	case a.status >= 300 && a.status < 400:
		return fault.New(fault.Permanent, "The address is not Slack's: it redirects. Take the one that Slack shows for the incoming webhook.")
	}
	return nil
}

// slackCures say what Slack's errors mean for who made the channel
// (docs.slack.dev, "chat.postMessage", "Errors", and "Incoming webhooks").
var slackCures = map[string]string{
	"channel_not_found":                 "Slack does not find the channel. Check its id and, when it is private, invite the app to it.",
	"not_in_channel":                    "The app is not in the Slack channel. Invite it there: /invite with the app's name.",
	"is_archived":                       "The Slack channel is archived. Choose another one, or bring it back.",
	"channel_is_archived":               "The Slack channel is archived. Choose another one, or bring it back.",
	"invalid_auth":                      "Slack does not accept the token. Put in the bot token of the installed app.",
	"not_authed":                        "Slack does not accept the token. Put in the bot token of the installed app.",
	"account_inactive":                  "The Slack app was removed from its workspace. Install it again and put in its new bot token.",
	"token_revoked":                     "The Slack app's token was revoked. Install the app again and put in its new bot token.",
	"token_expired":                     "The Slack app's token has expired. Switch its token rotation off and put in a new bot token.",
	"missing_scope":                     "The Slack app may not write. Give it the scope chat:write, install it again, and put in its bot token.",
	"restricted_action":                 "The workspace's settings keep the app from posting in this Slack channel. Ask its administrators, or choose another channel.",
	"action_prohibited":                 "The workspace's settings keep the app from posting in this Slack channel. Ask its administrators, or choose another channel.",
	"posting_to_general_channel_denied": "The workspace's settings keep the app from posting in its general channel. Choose another channel.",
	"no_service":                        "The incoming webhook was removed from Slack. Make a new one and put in its address.",
	"no_active_hooks":                   "The incoming webhook is switched off in Slack. Make a new one and put in its address.",
	"no_team":                           "Slack does not know the incoming webhook. Put in its whole address.",
	"invalid_token":                     "Slack does not know the incoming webhook. Put in its whole address.",
	"user_not_found":                    "Slack does not know the incoming webhook's user any more. Make a new one and put in its address.",
}

// passing are Slack's errors of its own.
var passing = map[string]bool{
	"ratelimited": true, "rate_limited": true, "message_limit_exceeded": true, "fatal_error": true, "internal_error": true,
	"service_unavailable": true, "request_timeout": true, "rollup_error": true, "team_added_to_org": true,
}

func slackFault(code string, wait time.Duration) error {
	code = strings.Map(func(r rune) rune {
		if r == '_' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, cut(code, 60))
	if passing[code] {
		return &fault.Error{Kind: fault.Transient, Code: code, After: wait, Sentence: "Slack cannot take it now (" + code + "). It is tried again."}
	}
	sentence, known := slackCures[code]
	if !known {
		sentence = "Slack refuses the message (" + orElse(code, "it says no reason") + ")."
	}
	return &fault.Error{Kind: fault.Permanent, Code: code, Sentence: sentence}
}

// isLost reports that a message cannot be edited any more: somebody deleted
// it, or it is too old. The incident gets another one.
func isLost(err error) bool {
	switch fault.Code(err) {
	case "message_not_found", "cant_update_message", "edit_window_closed":
		return err != nil
	}
	return false
}

// slackMessage shows how an incident is.
func slackMessage(n Notice) message {
	i := n.Incident
	head := statusMark(i) + " *" + slackLink(i.URL, i.title(), 300) + "*"
	state := "_" + slackEscape(orElse(i.Status, "open"), 40) + "_"
	if i.Reason != "" {
		state += " – " + slackEscape(i.Reason, 500)
	}
	head += "\n" + state
	if i.Headline != "" {
		head += "\n" + slackEscape(i.Headline, 500)
	}
	m := message{Text: statusMark(i) + " " + slackEscape(i.Repository+": "+i.title(), 300), Parse: "none", Blocks: []block{section(head)}}
	if fields := slackFields(i); len(fields) > 0 {
		m.Blocks = append(m.Blocks, block{Type: "section", Fields: fields})
	}
	if lines := slackLines(i.Lines); lines != "" && !i.IsResolved() {
		m.Blocks = append(m.Blocks, section(lines))
	}
	if foot := slackFoot(i); foot != "" {
		m.Blocks = append(m.Blocks, block{Type: "context", Elements: []blockText{mrkdwn(foot)}})
	}
	return m
}

func slackFields(i Incident) []blockText {
	at := i.Branch
	if i.Scope == ScopeChange && i.ChangeNumber != 0 {
		at = fmt.Sprintf("%s (%d)", i.Branch, i.ChangeNumber)
	}
	var fields []blockText
	for _, f := range []struct{ name, value, why string }{
		{"Repository", i.Repository, ""}, {"Branch", at, ""}, {"Workflow", i.Workflow, ""}, {"Job", i.Job, ""},
		{"Severity", i.Severity, i.Category}, {"Owner", i.Owner, i.OwnerRule}, {"Culprit", i.Culprit, i.CulpritState},
	} {
		if f.value == "" {
			continue
		}
		text := "*" + f.name + "*\n" + slackEscape(f.value, 300)
		if f.why != "" {
			text += " (" + slackEscape(f.why, 300) + ")"
		}
		fields = append(fields, mrkdwn(text))
	}
	return fields
}

// slackLines is the evidence as preformatted text. Three backticks would end
// it, so they become others.
func slackLines(lines []string) string {
	const fence = "```"
	var b strings.Builder
	for n, line := range lines {
		if n == mostLines {
			break
		}
		escaped := strings.ReplaceAll(slackEscape(line, 400), "`", "'") + "\n"
		if utf8.RuneCountInString(b.String()+escaped) > blockLimit-2*len(fence) {
			break
		}
		b.WriteString(escaped)
	}
	if b.Len() == 0 {
		return ""
	}
	return fence + b.String() + fence
}

func slackFoot(i Incident) string {
	var parts []string
	if link := slackLink(i.RunURL, "failed run", 100); i.RunURL != "" {
		parts = append(parts, link)
	}
	if i.IsResolved() && i.ResolvedURL != "" {
		parts = append(parts, slackLink(i.ResolvedURL, "run that passed", 100))
	}
	if i.SHA != "" {
		parts = append(parts, slackEscape(i.SHA[:min(len(i.SHA), 10)], 10)+" "+slackEscape(i.CommitTitle, 200))
	}
	if i.Author != "" {
		parts = append(parts, "by "+slackEscape(i.Author, 100))
	}
	if i.Occurrences > 1 {
		parts = append(parts, fmt.Sprintf("%d failures", i.Occurrences))
	}
	return strings.Join(parts, " · ")
}

// slackChange is what the thread says.
func slackChange(n Notice) string {
	actor, what := n.sentence()
	text := slackEscape(actor, 100) + " " + what
	if n.Kind == Assigned && n.Incident.Owner != "" {
		text += ": " + slackEscape(n.Incident.Owner, 200)
	}
	if n.Reason != "" {
		text += " – " + slackEscape(n.Reason, 1000)
	}
	return text
}

// mostInDigest is how many incidents a digest names.
const mostInDigest = 20

func slackDigest(s Summary) message {
	head := fmt.Sprintf("%d incidents have changed", len(s.Notices))
	if len(s.Notices) == 1 {
		head = "1 incident has changed"
	}
	m := message{Text: head, Parse: "none", Blocks: []block{section("*" + head + "*")}}
	for i, n := range s.Notices {
		if i == mostInDigest {
			m.Blocks = append(m.Blocks, section(fmt.Sprintf("and %d more", len(s.Notices)-i)))
			break
		}
		in := n.Incident
		m.Blocks = append(m.Blocks, section(fmt.Sprintf("%s %s\n%s, %s – %s", statusMark(in), slackLink(in.URL, in.title(), 200),
			slackEscape(in.Repository, 200), slackEscape(in.Branch, 100), slackEscape(orElse(in.Status, "open"), 40))))
	}
	return m
}

// statusMark is a sign that is seen at once.
func statusMark(i Incident) string {
	switch {
	case i.IsResolved():
		return "🟢"
	case i.Status == "open" || i.Status == "suspected" || i.Status == "":
		return "🔴"
	}
	return "🟡"
}

func section(text string) block {
	t := mrkdwn(text)
	return block{Type: "section", Text: &t}
}

func mrkdwn(text string) blockText { return blockText{Type: "mrkdwn", Text: text, Verbatim: true} }

// slackEscape makes a text of others' inert: Slack reads mentions, links and
// commands only between angle brackets (docs.slack.dev, "Formatting message
// text", "Escaping text"). It is shortened to so many characters, and never
// within an escape.
func slackEscape(s string, limit int) string {
	var b strings.Builder
	left := limit - 1 // for the sign that something is missing
	for _, r := range oneLine(s) {
		piece := string(r)
		switch r {
		case '&':
			piece = "&amp;"
		case '<':
			piece = "&lt;"
		case '>':
			piece = "&gt;"
		}
		size := utf8.RuneCountInString(piece)
		if size > left {
			b.WriteRune('…')
			break
		}
		left -= size
		b.WriteString(piece)
	}
	return b.String()
}

// slackLink is a link with a text of others' making, or the text alone when
// the address is none.
func slackLink(address, text string, limit int) string {
	label := slackEscape(text, limit)
	link := webLink(address)
	if link == "" || len(link) > 1000 {
		return label
	}
	return "<" + strings.ReplaceAll(link, "&", "&amp;") + "|" + strings.ReplaceAll(label, "|", "¦") + ">"
}
