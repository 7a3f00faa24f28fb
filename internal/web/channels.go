package web

import "time"

// ChannelsPage lists the ways in which the viewer is told of incidents.
type ChannelsPage struct {
	Frame
	Tabs     []Tab
	List     []ChannelRow
	Settings NotificationForm
}

func (ChannelsPage) template() string { return "channels.html" }

// ChannelRow is a channel in the list.
type ChannelRow struct {
	ID, Path, Name, Kind string
	LeadsTo, Hint        string
	State                State
	Error                string // why it is not active, and the cure
	FailingSince         *time.Time
	LastSentAt           *time.Time
	Told                 string // of what, in a sentence
	Test                 Action
}

// NotificationForm is when the viewer wants to be told.
type NotificationForm struct {
	Zone, From, To string
	Weekends       bool
	Digests        []Choice
}

// ChannelPage is one channel with what may be changed of it.
type ChannelPage struct {
	Frame
	Tabs         []Tab
	Row          ChannelRow
	Secret       string // what signs a webhook, just made; it is not shown again
	Actions      []Action
	Repositories string // globs, one in a line
	Severities   []Choice
	Branches     []Choice
	Changes      []Choice // the kinds of change
	OnlyMine     bool
	Immediate    bool
	TakesURL     bool
	TakesToken   bool
	TakesKey     bool
	Conversation string
}

func (ChannelPage) template() string { return "channel.html" }
