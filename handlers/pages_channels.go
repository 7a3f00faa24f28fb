package handlers

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/web"
)

const channelsPath = "/settings/notifications"

// mountChannels adds the pages of the notification channels.
func (d Deps) mountChannels(mux *http.ServeMux) {
	one := channelsPath + "/{id}"
	mux.Handle("GET "+channelsPath, d.forViewer(d.showChannels))
	mux.Handle("POST "+channelsPath, d.forViewer(d.makeChannelByForm))
	mux.Handle("POST "+channelsPath+"/when", d.forViewer(d.setWhenByForm))
	mux.Handle("GET "+one, d.forViewer(d.showChannelPage))
	mux.Handle("POST "+one+"/test", d.forViewer(d.testChannelByForm))
	mux.Handle("POST "+one+"/filter", d.forViewer(d.filterChannelByForm))
	mux.Handle("POST "+one+"/target", d.forViewer(d.targetChannelByForm))
	mux.Handle("POST "+one+"/enable", d.forViewer(d.enableChannelByForm(true)))
	mux.Handle("POST "+one+"/disable", d.forViewer(d.enableChannelByForm(false)))
	mux.Handle("POST "+one+"/rotate", d.forViewer(d.rotateChannelByForm))
	mux.Handle("GET "+one+"/delete", d.forViewer(d.confirmDeleteChannel))
	mux.Handle("POST "+one+"/delete", d.forViewer(d.deleteChannelByForm))
}

// showChannels lists the viewer's channels.
func (d Deps) showChannels(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	page, err := d.channelsPage(r, viewer)
	if err != nil {
		return err
	}
	return d.show(w, r, page)
}

func (d Deps) channelsPage(r *http.Request, viewer auth.Identity) (web.ChannelsPage, error) {
	list, err := d.Store.ChannelsOf(r.Context(), viewer.UserID)
	if err != nil {
		return web.ChannelsPage{}, err
	}
	when, err := d.Store.NotificationSettingsOf(r.Context(), viewer.UserID)
	if err != nil {
		return web.ChannelsPage{}, err
	}
	page := web.ChannelsPage{
		Frame: d.frame(r, web.Settings, "Notifications"), Tabs: settingsTabs(channelsPath),
		Settings: web.NotificationForm{
			Zone: when.Quiet.Zone, From: when.Quiet.From, To: when.Quiet.To, Weekends: when.Quiet.Weekends,
			Digests: choices(string(when.Digest), "off", "none", "hourly", "every hour", "daily", "every day at 09:00"),
		},
	}
	for _, c := range list {
		page.List = append(page.List, channelRow(c, channelsPath))
	}
	return page, nil
}

// kindTitles are the kinds of channels for people.
var kindTitles = map[notify.ChannelKind]string{
	notify.SlackKind: "Slack", notify.WebhookKind: "Webhook", notify.PagerDutyKind: "PagerDuty",
}

// channelRow shows a channel; back is the page to which its test leads.
func channelRow(c store.Channel, back string) web.ChannelRow {
	path := channelsPath + "/" + c.ID
	return web.ChannelRow{
		ID: c.ID, Path: path, Name: c.Name, Kind: kindTitles[c.Kind], LeadsTo: c.LeadsTo, Hint: c.Hint, State: channelState(c.Status),
		Error: c.Error, FailingSince: c.FailingSince, LastSentAt: c.LastSentAt, Told: toldOf(c.Filter),
		Test: web.Action{ID: "test-" + c.ID, Label: "Test", Path: path + "/test", Fields: []web.Field{{Name: "back", Value: back}}},
	}
}

func channelState(s notify.Status) web.State {
	tones := map[notify.Status]web.Tone{notify.Active: web.Good, notify.Failing: web.Bad, notify.Disabled: web.Quiet}
	return web.State{Word: string(s), Tone: tones[s]}
}

// toldOf says what a filter lets through.
func toldOf(f notify.Filter) string {
	what := "changes of state or owner"
	if len(f.Kinds) > 0 {
		names := make([]string, len(f.Kinds))
		for i, k := range f.Kinds {
			names[i] = string(k)
		}
		what = strings.Join(names, ", ")
	}
	if f.OnlyMine {
		what += " of incidents that are yours"
	}
	if f.MinSeverity != "" {
		what += ", " + f.MinSeverity + " or worse"
	}
	switch {
	case len(f.Repositories) > 0:
		what += ", in " + strings.Join(f.Repositories, ", ")
	case f.Branches == notify.AllBranches:
		what += ", everywhere"
	}
	if f.Branches != notify.AllBranches {
		what += ", on default and protected branches"
	}
	return what
}

// makeChannelByForm makes a channel. What signs a webhook is shown with the
// answer, this once, and kept nowhere on the way.
func (d Deps) makeChannelByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	var in createChannelInput
	in.Body.Kind, in.Body.Name = notify.ChannelKind(form.Get("kind")), strings.TrimSpace(form.Get("name"))
	in.Body.URL, in.Body.Token, in.Body.Conversation, in.Body.RoutingKey = targetOf(form)
	if err := checkChannelName(in.Body.Name); err != nil {
		return d.notDone(w, r, channelsPath, err)
	}
	made, err := d.createChannel(r.Context(), viewer, &in)
	if err != nil {
		return d.notDone(w, r, channelsPath, err)
	}
	if made.Body.Secret == nil {
		return d.done(w, r, channelsPath+"/"+made.Body.ID, "The channel is made. Test it.")
	}
	return d.showWithSecret(w, r, viewer, made.Body.ID, *made.Body.Secret)
}

// checkChannelName holds a name to the limits that the API's description has.
func checkChannelName(name string) error {
	if n := utf8.RuneCountInString(name); n < 1 || n > 100 {
		return fault.New(fault.Invalid, "Call the channel something, in 1 to 100 letters.")
	}
	return nil
}

func targetOf(form url.Values) (address, token, conversation, key string) {
	return strings.TrimSpace(form.Get("url")), strings.TrimSpace(form.Get("token")), strings.TrimSpace(form.Get("slack_channel")),
		strings.TrimSpace(form.Get("routing_key"))
}

// showWithSecret shows a channel with a secret that was just made.
func (d Deps) showWithSecret(w http.ResponseWriter, r *http.Request, viewer auth.Identity, id, secret string) error {
	page, err := d.channelPage(r, viewer, id)
	if err != nil {
		return err
	}
	page.Secret, page.Address = secret, page.Row.Path
	return d.show(w, r, page)
}

// setWhenByForm sets the quiet hours and the digest.
func (d Deps) setWhenByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	in := settingsInput{notificationSettings{
		Zone: strings.TrimSpace(form.Get("time_zone")), From: form.Get("quiet_from"), To: form.Get("quiet_to"),
		Weekends: form.Get("quiet_weekends") == "true", Digest: notify.Digest(form.Get("digest")),
	}}
	if !slices.Contains([]notify.Digest{notify.NoDigest, notify.Hourly, notify.Daily}, in.Body.Digest) {
		in.Body.Digest = notify.NoDigest
	}
	if _, err := d.setNotificationSettings(r.Context(), viewer, &in); err != nil {
		return d.notDone(w, r, channelsPath, err)
	}
	return d.done(w, r, channelsPath, "Saved. What waits already is told when it was due.")
}

// showChannelPage shows one channel.
func (d Deps) showChannelPage(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	page, err := d.channelPage(r, viewer, r.PathValue("id"))
	if err != nil {
		return err
	}
	return d.show(w, r, page)
}

func (d Deps) channelPage(r *http.Request, viewer auth.Identity, id string) (web.ChannelPage, error) {
	c, err := d.Store.ChannelOf(r.Context(), viewer.UserID, id)
	if err != nil {
		return web.ChannelPage{}, err
	}
	path := channelsPath + "/" + c.ID
	page := web.ChannelPage{
		Frame: d.frame(r, web.Settings, c.Name), Tabs: settingsTabs(channelsPath), Row: channelRow(c, path),
		Repositories: strings.Join(c.Filter.Repositories, "\n"), OnlyMine: c.Filter.OnlyMine, Immediate: c.Immediate,
		Severities: leastSeverities(c.Filter.MinSeverity), Branches: channelBranches(string(c.Filter.Branches)),
		Conversation: c.Target.Conversation, TakesToken: c.Kind == notify.SlackKind, TakesURL: c.Kind != notify.PagerDutyKind,
		TakesKey: c.Kind == notify.PagerDutyKind,
	}
	for _, k := range notify.Kinds {
		page.Changes = append(page.Changes, web.Choice{Value: string(k), Label: strings.ReplaceAll(string(k), "_", " "), Selected: slices.Contains(c.Filter.Kinds, k)})
	}
	if c.Kind == notify.WebhookKind {
		page.Actions = append(page.Actions, web.Action{ID: "rotate", Label: "Change the secret", Path: path + "/rotate"})
	}
	if c.Status == notify.Disabled {
		page.Actions = append(page.Actions, web.Action{ID: "enable", Label: "Enable", Path: path + "/enable"})
	} else {
		page.Actions = append(page.Actions, web.Action{ID: "disable", Label: "Disable", Path: path + "/disable"})
	}
	page.Actions = append(page.Actions, web.Action{Label: "Delete", Path: path + "/delete", Link: true, Danger: true})
	return page, nil
}

func leastSeverities(selected string) []web.Choice {
	return choices(selected, "", "any", "medium", "medium", "high", "high", "critical", "critical")
}

func channelBranches(selected string) []web.Choice {
	return choices(selected, "default", "default and protected ones", "all", "all, those of changes too")
}

// testChannelByForm sends a sample and says what the receiver made of it.
func (d Deps) testChannelByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	back := channelsPath + "/" + url.PathEscape(id)
	if form.Get("back") == channelsPath {
		back = channelsPath
	}
	out, err := d.testChannel(r.Context(), viewer, &channelPath{ID: id})
	if err == nil && !out.Body.Delivered {
		err = fault.New(fault.Conflict, "The test did not arrive. "+out.Body.Message)
	}
	if err != nil {
		return d.notDone(w, r, back, err)
	}
	return d.done(w, r, back, "The test arrived. "+out.Body.Message)
}

// changeChannelByForm changes a channel as a form says.
func (d Deps) changeChannelByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity, said string, change func(*changeChannelInput, url.Values)) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	in := changeChannelInput{ID: r.PathValue("id")}
	change(&in, form)
	back := channelsPath + "/" + url.PathEscape(in.ID)
	if in.Body.Name != nil {
		if err := checkChannelName(*in.Body.Name); err != nil {
			return d.notDone(w, r, back, err)
		}
	}
	if _, err := d.changeChannel(r.Context(), viewer, &in); err != nil {
		return d.notDone(w, r, back, err)
	}
	return d.done(w, r, back, said)
}

func (d Deps) filterChannelByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	return d.changeChannelByForm(w, r, viewer, "Saved.", func(in *changeChannelInput, form url.Values) {
		name := strings.TrimSpace(form.Get("name"))
		immediate := form.Get("immediate") == "true"
		filter := channelFilter{
			MinSeverity: selectedOf(leastSeverities(form.Get("min_severity"))), Branches: notify.Branches(selectedOf(channelBranches(form.Get("branches")))),
			OnlyMine:     form.Get("only_mine") == "true",
			Repositories: strings.Fields(strings.ReplaceAll(form.Get("repositories"), ",", " ")),
		}
		for _, k := range notify.Kinds {
			if slices.Contains(form["change"], string(k)) {
				filter.Kinds = append(filter.Kinds, k)
			}
		}
		in.Body.Name, in.Body.Immediate, in.Body.Filter = &name, &immediate, &filter
	})
}

func (d Deps) targetChannelByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	return d.changeChannelByForm(w, r, viewer, "Changed. Test it.", func(in *changeChannelInput, form url.Values) {
		in.Body.URL, in.Body.Token, in.Body.Conversation, in.Body.RoutingKey = targetOf(form)
	})
}

func (d Deps) enableChannelByForm(on bool) func(http.ResponseWriter, *http.Request, auth.Identity) error {
	said := "Disabled: it is told nothing."
	if on {
		said = "Enabled. Test it."
	}
	return func(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
		return d.changeChannelByForm(w, r, viewer, said, func(in *changeChannelInput, _ url.Values) { in.Body.IsEnabled = &on })
	}
}

// rotateChannelByForm changes what signs a webhook, and shows it this once.
func (d Deps) rotateChannelByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	id := r.PathValue("id")
	out, err := d.rotateChannelSecret(r.Context(), viewer, &channelPath{ID: id})
	if err != nil {
		return d.notDone(w, r, channelsPath+"/"+url.PathEscape(id), err)
	}
	return d.showWithSecret(w, r, viewer, id, *out.Body.Secret)
}

// confirmDeleteChannel asks before a channel is deleted.
func (d Deps) confirmDeleteChannel(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	c, err := d.Store.ChannelOf(r.Context(), viewer.UserID, r.PathValue("id"))
	if err != nil {
		return err
	}
	return d.show(w, r, web.ConfirmPage{
		Frame: d.frame(r, web.Settings, "Delete "+c.Name), Text: "The channel is told nothing any more:",
		Effects: []string{"What waits for it is dropped.", "Its secrets are erased. What was sent stays at the receiver."},
		Path:    r.URL.Path, Label: "Delete", Danger: true, Back: channelsPath + "/" + c.ID,
	})
}

func (d Deps) deleteChannelByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	if _, err := d.deleteChannel(r.Context(), viewer, &channelPath{ID: r.PathValue("id")}); err != nil {
		return err
	}
	return d.done(w, r, channelsPath, "The channel is deleted.")
}
