package handlers

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
)

const notificationsPath = "/api/v2/notifications/"

// notificationRoutes are for users who want to be told of incidents.
func (d Deps) notificationRoutes(api huma.API) {
	channels, tags := notificationsPath+"channels", []string{"notifications"}
	huma.Register(api, huma.Operation{
		OperationID: "list-channels", Method: http.MethodGet, Path: channels,
		Summary: "List your notification channels, newest first", Tags: tags, Errors: everyRoute,
	}, call(d.listChannels))
	huma.Register(api, huma.Operation{
		OperationID: "create-channel", Method: http.MethodPost, Path: channels, DefaultStatus: http.StatusCreated,
		Summary: "Make a notification channel", Tags: tags,
		Description: "slack takes token (of a bot) and slack_channel, or the url of an incoming webhook; webhook takes url, and answers with the secret that signs, which is shown once; pagerduty takes routing_key.",
		Errors:      slices.Concat(everyRoute, bodyRoute, []int{http.StatusConflict}),
	}, call(d.createChannel))
	huma.Register(api, huma.Operation{
		OperationID: "show-channel", Method: http.MethodGet, Path: channels + "/{id}",
		Summary: "Show a notification channel, and why it fails if it does", Tags: tags,
		Errors: slices.Concat(everyRoute, []int{http.StatusNotFound}),
	}, call(d.showChannel))
	huma.Register(api, huma.Operation{
		OperationID: "change-channel", Method: http.MethodPatch, Path: channels + "/{id}",
		Summary: "Change, disable or enable a notification channel", Tags: tags,
		Errors: slices.Concat(everyRoute, bodyRoute, []int{http.StatusNotFound}),
	}, call(d.changeChannel))
	huma.Register(api, huma.Operation{
		OperationID: "delete-channel", Method: http.MethodDelete, Path: channels + "/{id}", DefaultStatus: http.StatusNoContent,
		Summary: "Delete a notification channel with what waits for it", Tags: tags,
		Errors: slices.Concat(everyRoute, []int{http.StatusNotFound}),
	}, call(d.deleteChannel))
	huma.Register(api, huma.Operation{
		OperationID: "test-channel", Method: http.MethodPost, Path: channels + "/{id}/test",
		Summary: "Send a sample now, and say what the receiver made of it", Tags: tags,
		Description: "Quiet hours and filters do not matter to a test. At PagerDuty it triggers an alert and resolves it at once. A channel that failed is active again when its test arrives.",
		Errors:      slices.Concat(everyRoute, []int{http.StatusNotFound, http.StatusBadGateway}),
	}, call(d.testChannel))
	huma.Register(api, huma.Operation{
		OperationID: "rotate-channel-secret", Method: http.MethodPost, Path: channels + "/{id}/rotate-secret",
		Summary: "Change the secret that signs a webhook, without losing a notice", Tags: tags,
		Description: "The new secret is shown once. For a day, what is sent carries the signatures of both.",
		Errors:      slices.Concat(everyRoute, []int{http.StatusNotFound, http.StatusConflict}),
	}, call(d.rotateChannelSecret))
	huma.Register(api, huma.Operation{
		OperationID: "show-notification-settings", Method: http.MethodGet, Path: notificationsPath + "settings",
		Summary: "Show your quiet hours and digest", Tags: tags, Errors: everyRoute,
	}, call(d.showNotificationSettings))
	huma.Register(api, huma.Operation{
		OperationID: "set-notification-settings", Method: http.MethodPut, Path: notificationsPath + "settings",
		Summary: "Set your quiet hours and digest", Tags: tags,
		Description: "They hold for channels that are not immediate. Critical incidents are told at once all the same. What waits already is told when it was due.",
		Errors:      slices.Concat(everyRoute, bodyRoute),
	}, call(d.setNotificationSettings))
}

// Channel is a notification channel as the API shows it: without its secrets.
// It is exported because the API's description takes only exported types as
// embedded.
type Channel struct {
	ID           string             `json:"id" example:"ntc_06e2v0w9k4m7x3t5q1n8b2c6d0"`
	Kind         notify.ChannelKind `json:"kind" enum:"slack,webhook,pagerduty"`
	Name         string             `json:"name"`
	LeadsTo      string             `json:"leads_to" doc:"Where to: the host of a webhook, the id of a Slack channel, or pagerduty."`
	Hint         string             `json:"hint" doc:"The last characters of the token, key or secret."`
	Filter       channelFilter      `json:"filter"`
	Immediate    bool               `json:"immediate" doc:"It is told at once, whatever your quiet hours and digest are."`
	Status       notify.Status      `json:"status" enum:"active,failing,disabled"`
	Error        string             `json:"error" doc:"Why it is not active, and what to do; empty when it is."`
	FailingSince *time.Time         `json:"failing_since" doc:"Null when it does not fail."`
	LastSentAt   *time.Time         `json:"last_sent_at" doc:"When a receiver last took a notice; null when none has."`
	CreatedAt    time.Time          `json:"created_at"`
}

type channelFilter struct {
	Repositories []string        `json:"repositories,omitempty" maxItems:"50" nullable:"false" doc:"Names, where * stands for any text: acme/*. All when left out."`
	MinSeverity  string          `json:"min_severity,omitempty" enum:"critical,high,medium,low" doc:"The least severity. All when left out."`
	Branches     notify.Branches `json:"branches,omitempty" enum:"default,all" doc:"default (when left out): default and protected branches; all: those of pull and merge requests too."`
	OnlyMine     bool            `json:"only_mine,omitempty" doc:"Incidents that are yours."`
	Kinds        []notify.Kind   `json:"kinds,omitempty" maxItems:"20" nullable:"false" enum:"opened,reopened,acknowledged,assigned,fixing,verifying,fix_failed,resolved,snoozed,unsnoozed,comment,flaky" doc:"Changes of state or owner when left out."`
}

type channelOutput struct{ Body Channel }

type channelWithSecret struct {
	Body struct {
		Channel
		Secret *string `json:"secret" doc:"What signs the webhook's notices (whsec_…). It is not shown again. Null for other kinds."`
	}
}

func showOneChannel(c store.Channel) Channel {
	return Channel{
		ID: c.ID, Kind: c.Kind, Name: c.Name, LeadsTo: c.LeadsTo, Hint: c.Hint, Filter: channelFilter(c.Filter), Immediate: c.Immediate,
		Status: c.Status, Error: c.Error, FailingSince: utc(c.FailingSince), LastSentAt: utc(c.LastSentAt), CreatedAt: c.CreatedAt.UTC(),
	}
}

type channelsOutput struct {
	Body struct {
		Channels []Channel `json:"channels" nullable:"false"`
	}
}

func (d Deps) listChannels(ctx context.Context, caller auth.Identity, _ *struct{}) (*channelsOutput, error) {
	list, err := d.Store.ChannelsOf(ctx, caller.UserID)
	if err != nil {
		return nil, err
	}
	var out channelsOutput
	out.Body.Channels = []Channel{}
	for _, c := range list {
		out.Body.Channels = append(out.Body.Channels, showOneChannel(c))
	}
	return &out, nil
}

type createChannelInput struct {
	Body struct {
		Kind         notify.ChannelKind `json:"kind" enum:"slack,webhook,pagerduty"`
		Name         string             `json:"name" minLength:"1" maxLength:"100" doc:"What you call it."`
		URL          string             `json:"url,omitempty" maxLength:"2000" doc:"webhook: where to send; slack: an incoming webhook in the place of token."`
		Token        string             `json:"token,omitempty" maxLength:"500" doc:"slack: the bot token (xoxb-…) of an app with chat:write."`
		Conversation string             `json:"slack_channel,omitempty" maxLength:"30" doc:"slack: the channel's id, C024BE91L."`
		RoutingKey   string             `json:"routing_key,omitempty" maxLength:"100" doc:"pagerduty: the integration key of an Events API v2 integration."`
		Filter       channelFilter      `json:"filter,omitempty"`
		Immediate    *bool              `json:"immediate,omitempty" doc:"True for webhook and pagerduty when left out, for slack false."`
	}
}

func (d Deps) createChannel(ctx context.Context, caller auth.Identity, in *createChannelInput) (*channelWithSecret, error) {
	b := in.Body
	c := notify.Channel{UserID: caller.UserID, Kind: b.Kind, Name: b.Name, Filter: notify.Filter(b.Filter), Immediate: b.Kind != notify.SlackKind}
	if b.Immediate != nil {
		c.Immediate = *b.Immediate
	}
	if err := setTarget(&c.Target, c.Kind, b.URL, b.Token, b.Conversation, b.RoutingKey); err != nil {
		return nil, err
	}
	var out channelWithSecret
	if c.Kind == notify.WebhookKind {
		c.Target.Secret = notify.NewSecret()
		plain := c.Target.Secret.Reveal()
		out.Body.Secret = &plain
	}
	if err := c.Check(d.AllowPrivate); err != nil {
		return nil, err
	}
	made, err := d.Store.CreateChannel(ctx, c)
	if err != nil {
		return nil, err
	}
	d.audit(ctx, caller, "channel.create", made.ID, map[string]any{"kind": made.Kind, "name": made.Name, "leads_to": made.LeadsTo})
	out.Body.Channel = showOneChannel(made)
	return &out, nil
}

// setTarget puts in what a user gave of a target; empty texts change nothing.
func setTarget(t *notify.Target, kind notify.ChannelKind, url, token, conversation, routingKey string) error {
	for _, given := range []struct {
		field, value string
		put          func(string)
		kinds        []notify.ChannelKind
	}{
		{"body.url", url, func(v string) { t.URL = secret.NewText(v) }, []notify.ChannelKind{notify.WebhookKind, notify.SlackKind}},
		{"body.token", token, func(v string) { t.Secret = secret.NewText(v) }, []notify.ChannelKind{notify.SlackKind}},
		{"body.slack_channel", conversation, func(v string) { t.Conversation = v }, []notify.ChannelKind{notify.SlackKind}},
		{"body.routing_key", routingKey, func(v string) { t.Secret = secret.NewText(v) }, []notify.ChannelKind{notify.PagerDutyKind}},
	} {
		if given.value == "" {
			continue
		}
		if !slices.Contains(given.kinds, kind) {
			return &fault.Error{Kind: fault.Invalid, Field: given.field, Sentence: "A channel of the kind " + string(kind) + " has no such thing. Leave it out."}
		}
		given.put(given.value)
	}
	return nil
}

type channelPath struct {
	ID string `path:"id" maxLength:"64"`
}

func (d Deps) showChannel(ctx context.Context, caller auth.Identity, in *channelPath) (*channelOutput, error) {
	c, err := d.Store.ChannelOf(ctx, caller.UserID, in.ID)
	if err != nil {
		return nil, err
	}
	return &channelOutput{showOneChannel(c)}, nil
}

type changeChannelInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Name         *string        `json:"name,omitempty" minLength:"1" maxLength:"100"`
		URL          string         `json:"url,omitempty" minLength:"1" maxLength:"2000"`
		Token        string         `json:"token,omitempty" minLength:"1" maxLength:"500"`
		Conversation string         `json:"slack_channel,omitempty" minLength:"1" maxLength:"30"`
		RoutingKey   string         `json:"routing_key,omitempty" minLength:"1" maxLength:"100"`
		Filter       *channelFilter `json:"filter,omitempty" doc:"In the place of the whole filter."`
		Immediate    *bool          `json:"immediate,omitempty"`
		IsEnabled    *bool          `json:"is_enabled,omitempty" doc:"false disables the channel; true makes it active, also one that fails."`
	}
}

func (d Deps) changeChannel(ctx context.Context, caller auth.Identity, in *changeChannelInput) (*channelOutput, error) {
	changed, err := d.Store.ChangeChannel(ctx, caller.UserID, in.ID, func(c *notify.Channel) error {
		if err := in.apply(c); err != nil {
			return err
		}
		return c.Check(d.AllowPrivate)
	})
	if err != nil {
		return nil, err
	}
	d.audit(ctx, caller, "channel.change", changed.ID, map[string]any{"name": changed.Name, "leads_to": changed.LeadsTo, "status": changed.Status})
	return &channelOutput{showOneChannel(changed)}, nil
}

// apply changes what was given.
func (in *changeChannelInput) apply(c *notify.Channel) error {
	b := in.Body
	if err := setTarget(&c.Target, c.Kind, b.URL, b.Token, b.Conversation, b.RoutingKey); err != nil {
		return err
	}
	if b.Name != nil {
		c.Name = *b.Name
	}
	if b.Filter != nil {
		c.Filter = notify.Filter(*b.Filter)
	}
	if b.Immediate != nil {
		c.Immediate = *b.Immediate
	}
	if b.IsEnabled != nil {
		c.Status = notify.Disabled
		if *b.IsEnabled {
			c.Status = notify.Active
		}
	}
	return nil
}

func (d Deps) deleteChannel(ctx context.Context, caller auth.Identity, in *channelPath) (*struct{}, error) {
	if err := d.Store.DeleteChannel(ctx, caller.UserID, in.ID); err != nil {
		return nil, err
	}
	d.audit(ctx, caller, "channel.delete", in.ID, nil)
	return &struct{}{}, nil
}

type testChannelOutput struct {
	Body struct {
		Delivered bool   `json:"delivered" doc:"The receiver took the sample."`
		Message   string `json:"message" doc:"What the receiver made of it, and what to do."`
	}
}

func (d Deps) testChannel(ctx context.Context, caller auth.Identity, in *channelPath) (*testChannelOutput, error) {
	shown, err := d.Store.ChannelOf(ctx, caller.UserID, in.ID)
	if err != nil {
		return nil, err
	}
	c, err := d.Store.OpenChannel(shown)
	if err != nil {
		return nil, err
	}
	_, sendErr := d.Senders[c.Kind].Send(ctx, c, notify.Sample(c, requestID(ctx), d.BaseURL, d.Now()), notify.Prior{})
	var out testChannelOutput
	out.Body.Delivered, out.Body.Message = sendErr == nil, "The receiver took the sample."
	if sendErr != nil {
		out.Body.Message = fault.Sentence(sendErr)
		err = d.Store.FailChannel(ctx, c.ID, notify.Failing, out.Body.Message, d.Now())
	} else {
		err = d.Store.HealChannel(ctx, c.ID, d.Now())
	}
	if err != nil {
		return nil, err
	}
	d.audit(ctx, caller, "channel.test", c.ID, map[string]any{"delivered": out.Body.Delivered})
	return &out, nil
}

// secretGrace is how long the previous secret of a webhook signs too.
const secretGrace = 24 * time.Hour

func (d Deps) rotateChannelSecret(ctx context.Context, caller auth.Identity, in *channelPath) (*channelWithSecret, error) {
	next, until := notify.NewSecret(), d.Now().Add(secretGrace)
	changed, err := d.Store.ChangeChannel(ctx, caller.UserID, in.ID, func(c *notify.Channel) error {
		if c.Kind != notify.WebhookKind {
			return fault.New(fault.Conflict, "The secret of this channel is the receiver's. Make a new one there, and change the channel to it.")
		}
		c.Target.Previous, c.Target.PreviousUntil, c.Target.Secret = c.Target.Secret, &until, next
		return c.Check(d.AllowPrivate)
	})
	if err != nil {
		return nil, err
	}
	d.audit(ctx, caller, "channel.rotate", changed.ID, nil)
	var out channelWithSecret
	plain := next.Reveal()
	out.Body.Channel, out.Body.Secret = showOneChannel(changed), &plain
	return &out, nil
}

type notificationSettings struct {
	Zone     string        `json:"time_zone" maxLength:"100" doc:"Of the IANA database." example:"Europe/Berlin"`
	From     string        `json:"quiet_from" maxLength:"5" doc:"When quiet hours begin; empty for none." example:"22:00"`
	To       string        `json:"quiet_to" maxLength:"5" example:"07:00"`
	Weekends bool          `json:"quiet_weekends" doc:"Saturday and Sunday as a whole."`
	Digest   notify.Digest `json:"digest" enum:"off,hourly,daily" doc:"One message an hour, or a day at 09:00, in the place of many."`
}

type settingsInput struct{ Body notificationSettings }

type settingsOutput struct{ Body notificationSettings }

func (d Deps) showNotificationSettings(ctx context.Context, caller auth.Identity, _ *struct{}) (*settingsOutput, error) {
	s, err := d.Store.NotificationSettingsOf(ctx, caller.UserID)
	if err != nil {
		return nil, err
	}
	return &settingsOutput{notificationSettings{s.Quiet.Zone, s.Quiet.From, s.Quiet.To, s.Quiet.Weekends, s.Digest}}, nil
}

func (d Deps) setNotificationSettings(ctx context.Context, caller auth.Identity, in *settingsInput) (*settingsOutput, error) {
	b := in.Body
	s := store.NotificationSettings{Quiet: notify.QuietHours{From: b.From, To: b.To, Zone: b.Zone, Weekends: b.Weekends}, Digest: b.Digest}
	if err := s.Quiet.Check(); err != nil {
		return nil, err
	}
	if err := d.Store.SaveNotificationSettings(ctx, caller.UserID, s); err != nil {
		return nil, err
	}
	d.audit(ctx, caller, "notifications.settings", caller.UserID, map[string]any{"digest": b.Digest, "time_zone": b.Zone})
	return &settingsOutput{b}, nil
}
